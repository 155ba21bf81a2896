"""The table of odd inputs for estimators of doses: what changes where the treatment is an amount.

The clean table is that of arms with a dose on a scale in the place of the arm. Every odd table and
question that is not about arms is asked of it, and beside them what only a dose can be asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from ..core.seeding import Seed
from .dose_curves import curve_questions, nobody
from .odd_inputs import (
    EFFECT,
    TABLES,
    OddInput,
    clean_table,
    odd,
    put,
    refusal,
    turn,
    warning,
)
from .odd_questions import (
    EffectQuestion,
    OddQuestion,
    asked_of,
    asker,
    dosed,
    mean_effect,
    plain,
    questions,
    with_dose,
)

OF_ARMS = frozenset(
    {
        "all treated",
        "one treated row",
        "treatment a step of a covariate",
        "treatment as a category of numbers in text",
        "text treatment",
        "true or false treatment",
        "treatment coded 1 and 2",
        "treatment in uint8",
        "treatment in uint8 coded 0 and 255",
        "treatment as numbers in text",
        "level of a contrast that is not in the data",
        "three arms",
        "treatment is a number on a scale",
        "dose far outside the data",
        "no covariates at all",
    }
)


OTHERWISE: dict[str, dict[str, Any]] = {  # what may come out of a dose and not of arms
    "single value of 1e12 in a confounder": {"refusable": ("'b'", "row 8")},
    # One regression of everything may shrink the dose away; it is enough that this is told.
    "more columns than rows": {"expected": warning("sample-size", right=False)},
}


def dose_table(n: int = 300, random_state: Seed = 0) -> pd.DataFrame:
    """b raises the dose t; y = 2 t + b + a + noise of sd 0.5.

    Example:
        >>> dose_table(5)["t"].nunique()
        5
    """
    return with_dose(clean_table(n, random_state))


def dose_cases(random_state: Any = 0) -> tuple[OddQuestion, ...]:
    """All cases of the table of doses: odd tables, odd questions, odd questions to curves."""
    case = asker(random_state, dose_table)
    tables = [asked_of(c, random_state, dose_table) for c in (*TABLES, *DOSES)]
    asked = [*tables, *questions(random_state, dose_table)]
    return (
        *(replace(q, **OTHERWISE.get(q.name, {})) for q in asked if q.name not in OF_ARMS),
        *_questions(case),
        *curve_questions(case),
    )


def takes_doses(estimator: Any) -> bool:
    """Whether an estimator's treatment is an amount, by its tag ``treatment`` and parameters."""
    kind = getattr(estimator, "treatment", None)
    declared = getattr(estimator, "discrete_treatment", None)
    return kind == "continuous" or kind == "any" and declared is False


def _to(function: Callable[[pd.Series], Any]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Another dose, from which the outcome follows."""
    return lambda df: dosed(df, function(df["t"]))


def _scaled(by: float, shift: float = 0.0) -> dict[str, Any]:
    """The dose in another unit, and the contrast of before in it."""
    return {"change": turn("t", lambda s: shift + by * s), "arms": (shift, shift + by)}


def _words(s: pd.Series) -> np.ndarray:
    return np.array(["low", "mid", "top"], dtype=object)[np.digitize(s, [-0.5, 0.5])]


def _team(df: pd.DataFrame) -> np.ndarray:
    return np.digitize(df.b, [-1, -0.5, 0, 0.5, 1])


def _with_gap(s: pd.Series) -> pd.Series:
    out = s.astype("Float64")
    out.iloc[3] = pd.NA
    return out


DOSES: tuple[OddInput, ...] = (
    # Doses that are no amounts, or not all of them
    odd(
        "infinite dose",
        put("t", 5, np.inf),
        refusal("'t'", "row 5"),
        problem="inf",
    ),
    odd("minus infinite dose", put("t", 6, -np.inf), refusal("'t'", "row 6"), problem="inf"),
    odd("nullable dose with NA", turn("t", _with_gap), refusal("'t'", "row 3"), problem="nan|NA"),
    odd("nullable dose", turn("t", lambda s: s.astype("Float64"))),
    odd(
        "dose as numbers in text",
        turn("t", lambda s: s.astype(str)),
        refusal("'t'", "row 0", unless_right=True),
        problem="text|str|convert",
    ),
    odd("dose in words", turn("t", _words), refusal("'t'"), problem="text|str|convert|level"),
    odd(
        "one word among doses in text",
        turn("t", lambda s: ["none" if i == 7 else str(v) for i, v in enumerate(s)]),
        refusal("'t'", "none"),
        problem="text|str|convert",
    ),
    odd(
        "one word among doses",
        put("t", 6, "x", object),
        refusal("'t'", "row 6"),
        problem="text|str|convert|mix",
    ),
    odd("doses as objects", turn("t", lambda s: s.astype(object))),
    odd(
        "doses as Decimal objects",
        turn("t", lambda s: pd.Series([Decimal(str(round(v, 6))) for v in s], dtype=object)),
    ),
    odd(
        "lists as doses",
        turn("t", lambda s: pd.Series([[v] for v in s], dtype=object)),
        refusal("'t'", "row 0"),
        problem="list|object|sequence",
    ),
    odd(
        "dates as doses",
        turn("t", lambda s: pd.Timestamp("2020") + pd.to_timedelta(s, unit="D")),
        refusal("'t'"),
        problem="date|time",
    ),
    odd(
        "durations as doses",
        turn("t", lambda s: pd.to_timedelta(s, unit="D")),
        refusal("'t'", unless_right=True),
        problem="timedelta|duration|date|convert",
    ),
    odd("complex doses", turn("t", lambda s: s + 1j), refusal("'t'", "row 0"), problem="complex"),
    odd(
        "category of doses",
        lambda df: (lambda d: d.assign(t=pd.Categorical(d.t)))(dosed(df, df.t.round())),
        refusal("'t'", unless_right=True),
        problem="categor|level",
    ),
    # Doses of few values
    odd(
        "constant dose",
        _to(lambda s: 0 * s + 1.5),
        refusal("'t'", "1.5"),
        problem="constant|same value|vary",
    ),
    odd(
        "two distinct doses",
        _to(lambda s: 1.0 * (s > 0)),
        refusal("'t'", unless_right=True),
        problem="value|distinct|arms",
    ),
    odd(
        "dose that is true or false",
        lambda df: (lambda d: d.assign(t=d.t > 0))(dosed(df, 1.0 * (df.t > 0))),
        refusal("'t'", unless_right=True),
        problem="value|distinct|arms|bool",
    ),
    odd(
        "three distinct doses",
        _to(lambda s: s.clip(-1, 1).round()),
        refusal("'t'", "3 values", unless_right=True),
        problem="value|distinct|arms",
    ),
    odd("dose in whole numbers", lambda df: dosed(df, df.t.round()).astype({"t": int})),
    odd("dose of zero in half of the rows", _to(lambda s: s.clip(lower=0))),
    odd("highest dose in a third of the rows", _to(lambda s: s.clip(upper=0.5) + 0.5)),
    # Units
    odd("dose in thousandths", **_scaled(1e3)),
    odd("dose in millions", **_scaled(1e-6)),
    odd("dose moved by 1000", **_scaled(1.0, 1e3)),
    odd("dose around 1e9", **_scaled(1.0, 1e9)),
    odd("dose turned round", **_scaled(-1.0)),
    odd("dose in float32", turn("t", lambda s: s.astype("float32"))),
    odd("dose in float16", turn("t", lambda s: s.astype("float16"))),
    odd(
        "dose in uint8",
        lambda df: dosed(df, df.t.clip(-2, 2)).assign(
            t=lambda d: (100 + 50 * d.t).round().astype("uint8")
        ),
        arms=(100, 150),
    ),
    odd(
        "dose of scale 1e300",
        turn("t", lambda s: s * 1e300),
        refusal("'t'", "e+"),
        problem="scale|large|overflow",
        arms=(0, 1e300),
    ),
    odd(
        "dose of scale 1e-300",
        turn("t", lambda s: s * 1e-300),
        refusal("'t'", "e-"),
        problem="scale|small",
        arms=(0, 1e-300),
    ),
    odd(
        "single dose of 1e12",
        put("t", 8, 1e12),
        warning("outlier", right=False),
        problem="outlier|extreme",
    ),
    odd(
        "gaps of the dose filled with -999",
        turn("t", lambda s: s.where(s.index % 7 > 0, -999.0)),
        warning("fill-in", right=False),
        problem="999|missing|outlier",
    ),
    odd(
        "gaps of the outcome filled with -999",
        turn("y", lambda s: s.where(s.index % 7 > 0, -999.0)),
        warning("fill-in", right=False),
        problem="999|missing|outlier",
    ),
    # Doses that covariates fix
    odd(
        "dose a function of a covariate",
        lambda df: dosed(df, np.tanh(df.b) + 0.2 * df.b**2),
        warning("overlap", right=False),
        problem="overlap",
    ),
    odd(
        "dose all but a covariate",
        lambda df: dosed(df, 2 * df.b + 0.001 * df.t),
        warning("overlap", right=False),
        problem="overlap",
    ),
    odd(
        "dose fixed by a level",
        lambda df: dosed(df, _team(df) ** 2.0).assign(b=[f"team {k}" for k in _team(df)]),
        warning("overlap", right=False),
        problem="overlap",
    ),
    # Sizes
    odd("twelve rows", lambda df: df.iloc[:12], warning("sample-size", right=False)),
)


def _questions(case: Callable[..., OddQuestion]) -> list[OddQuestion]:
    return [
        case("twenty rows", lambda df: plain(df.iloc[:20], tolerance=2.0)),
        case(
            "no covariates but chance",
            _randomised,
            problem="modifier|X|need",
            refusable=("'X'",),
        ),
        case("outcome in other units", _thousandfold),
        # Contrasts
        case(
            "contrast beyond the doses",
            lambda df: plain(df, T1=50.0),
            warning("extrapolation", right=False),
        ),
        case(
            "infinite contrast",
            lambda df: plain(df, T1=np.inf),
            refusal("'t'", "inf"),
            "finite|inf",
        ),
        case(
            "true in a contrast",
            lambda df: plain(df, T1=True),
            refusal("'t'", "True", unless_right=True),
            "finite|bool|dose",
        ),
        # Who is asked about
        case(
            "no rows at prediction",
            lambda df: _at(df, df[["b", "a"]].iloc[:0], read=_shape_of_none, truth=0, tolerance=0),
        ),
        case("one row at prediction", lambda df: _at(df, df[["b", "a"]].iloc[[7]])),
        case(
            "average over no rows",
            lambda df: _at(
                df, df[["b", "a"]].iloc[:0], read=lambda e, q: e.ate(q.at, T0=q.T0, T1=q.T1)
            ),
            refusal("X", "0 rows"),
            "rows|empty",
            needs="ate",
        ),
        # The same question asked twice
        case("same seed, same bits", lambda df: _twins(df, plain(df), 0.0)),
        case("rows in another order, same answer", lambda df: _twins(df, plain(_mixed(df)), 0.1)),
        case(
            "columns in another order, same answer",
            lambda df: replace(
                _twins(df, _at(df, df[["b", "a"]]), 0.01),
                X=df[["a", "b"]],
                W=None,
                at=df[["a", "b"]],
            ),
        ),
        case("saved and loaded", lambda df: _twins(df, plain(df, read=_reloaded), 0.0)),
        case(
            "dose in other units, same answer",
            lambda df: _twins(df, plain(df.assign(t=1e3 + 1e3 * df.t), T0=1e3, T1=2e3), 0.05),
        ),
        # Weights and clusters
        case(
            "equal weights, same answer",
            lambda df: _twins(df, _weighted(df, np.full(len(df), 3.0)), 0.05),
        ),
        case("rows of weight zero", _spoilt_without_weight),
        case(
            "weight without a value",
            lambda df: _weighted(df, np.where(df.index == 3, np.nan, 1.0)),
            refusal("'sample_weight'", "row 3"),
            "nan|missing|empty",
        ),
        case(
            "infinite weight",
            lambda df: _weighted(df, np.where(df.index == 3, np.inf, 1.0)),
            refusal("'sample_weight'", "row 3"),
            "inf",
        ),
        case(
            "no weight at all",
            lambda df: _weighted(df, np.zeros(len(df))),
            refusal("'sample_weight'", "zero"),
            "weight|zero",
        ),
        case(
            "one weight short",
            lambda df: _weighted(df, np.ones(len(df) - 1)),
            refusal("'sample_weight0'", "299"),
            "length|rows|inconsistent|shape|samples",
        ),
        case(
            "all weight on a few rows",
            lambda df: _weighted(df, np.where(df.index < 6, 1.0, 1e-9)),
            warning("weights", right=False),
            "weight",
        ),
        case("clusters as text", lambda df: _clustered(df, [f"c{i % 30}" for i in df.index])),
        case("every row a cluster", lambda df: _clustered(df, df.index)),
        case(
            "cluster without a name",
            lambda df: _clustered(df, np.where(df.index == 3, np.nan, df.index % 30)),
            refusal("'groups'", "row 3"),
            "nan|missing|empty",
        ),
        case(
            "two clusters",
            lambda df: _clustered(df, df.index % 2),
            refusal("'groups'", "2 clusters"),
            "cluster|group|split|fold",
        ),
        case(
            "dose the same in every cluster",
            _dose_of_clusters,
            warning("few-clusters", right=False),
            "cluster|group",
        ),
    ]


def _at(df: pd.DataFrame, at: Any, **more: Any) -> EffectQuestion:
    return plain(df, **{"X": df[["b", "a"]], "W": None, "at": at} | more)


def _twins(df: pd.DataFrame, twin: EffectQuestion, slack: float) -> EffectQuestion:
    return plain(df, twin=twin, truth=0.0, tolerance=slack)


def _weighted(df: pd.DataFrame, weight: Any) -> EffectQuestion:
    return plain(df, more={"sample_weight": weight})


def _clustered(df: pd.DataFrame, groups: Any) -> EffectQuestion:
    return plain(df, more={"groups": np.asarray(groups)})


def _mixed(df: pd.DataFrame) -> pd.DataFrame:
    return df.sample(frac=1, random_state=1)


def _thousandfold(df: pd.DataFrame) -> EffectQuestion:
    y = 1e3 + 1e3 * df.y
    return plain(df, Y=y, truth=1e3 * EFFECT, tolerance=1e3 * plain(df).tolerance)


def _randomised(df: pd.DataFrame) -> EffectQuestion:
    table = dosed(df, pd.Series(np.random.default_rng(2).normal(size=len(df)), df.index))
    return EffectQuestion(table.y, table.t)


def _spoilt_without_weight(df: pd.DataFrame) -> EffectQuestion:
    """One row in ten is wrong in everything, and has no weight."""
    out = df.index % 10 == 0
    spoilt = df.assign(t=df.t.where(~out, 40.0), y=df.y.where(~out, -500.0))
    return _weighted(spoilt, np.where(out, 0.0, 1.0))


def _dose_of_clusters(df: pd.DataFrame) -> EffectQuestion:
    """Six wards, each with a dose of its own."""
    ward = df.index % 6
    return _clustered(dosed(df, ward / 2.0), ward)


def _shape_of_none(estimator: Any, question: EffectQuestion) -> float:
    """How far the answer about nobody is from no numbers."""
    found = np.asarray(estimator.effect(question.at, T0=question.T0, T1=question.T1))
    return float(found.size if found.shape == (0,) else nobody())


def _reloaded(estimator: Any, question: EffectQuestion) -> float:
    """What the estimator answers when it comes back from a file; a recipe is fitted once more."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from ..core.saving import load, save

    with TemporaryDirectory() as folder:
        back = load(save(estimator, Path(folder) / "estimator"))
    if getattr(back, "saved_hash", None) is not None:
        instrument = {} if question.Z is None else {"Z": question.Z}
        back.fit(question.Y, question.T, X=question.X, W=question.W, **instrument)
    return mean_effect(back, question)
