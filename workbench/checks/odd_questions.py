"""Odd questions to an effect estimator: contrasts, alignment, arrays, what is asked at prediction.

Each is made from the clean table and says what has to come out; the odd tables are asked the plain
question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from .odd_inputs import (
    EFFECT,
    TABLES,
    TOLERANCE,
    Expected,
    OddInput,
    answer,
    clean_table,
    refusal,
    warning,
)
from .offer import offer


def mean_effect(estimator: Any, question: EffectQuestion) -> float:
    """The mean of ``effect(at, T0=, T1=)``."""
    found = estimator.effect(question.at, T0=question.T0, T1=question.T1)
    return float(np.mean(np.asarray(found, dtype=float)))


@dataclass(frozen=True, eq=False)
class EffectQuestion:
    """What an estimator is asked: ``fit(Y, T, X=, W=)`` and a number, mostly a mean effect.

    Attributes:
        Y, T, X, W: As in ``fit``; Z: an instrument, for estimators that need one; more: further
            keywords of it.
        at: The X to ask about.
        T0, T1: The contrast.
        truth: The right answer; tolerance: how far off it may be.
        before: A question to fit first: nothing of it may remain.
        read: How the number is read from the fitted estimator.
        twin: A question asked afterwards; the number is then the difference of the two answers.
    """

    Y: Any
    T: Any
    X: Any = None
    W: Any = None
    at: Any = None
    T0: Any = 0
    T1: Any = 1
    truth: float = EFFECT
    tolerance: float = TOLERANCE
    more: Mapping[str, Any] = field(default_factory=dict)
    before: EffectQuestion | None = None
    Z: Any = None
    read: Callable[[Any, EffectQuestion], float] = mean_effect
    twin: EffectQuestion | None = None

    def suited(self, adjusts_for_w: bool, needs_instrument: bool) -> EffectQuestion:
        """The same question to an estimator that wants all of W in X, or an instrument as well."""
        asked = self
        for name in ("before", "twin"):
            other = getattr(self, name)
            if other is not None:
                asked = replace(asked, **{name: other.suited(adjusts_for_w, needs_instrument)})
        flat = np.ndim(self.X) <= 2 and np.shape(self.X)[:1] == np.shape(self.W)[:1]
        together = self.X is None or flat
        if not adjusts_for_w and self.W is not None and together:
            at = self.at
            if at is not None and np.shape(at)[:1] == np.shape(self.W)[:1]:
                at = _beside(at, self.W)
            asked = replace(asked, X=_beside(self.X, self.W), W=None, at=at)
        if needs_instrument:
            asked = replace(asked, Z=offer(self.T))
        return asked

    def frames(self) -> list[pd.DataFrame]:
        """The caller's tables, none of which may change."""
        given = (self.Y, self.T, self.X, self.W, self.at, *self.more.values())
        tables = [g.to_frame() if isinstance(g, pd.Series) else g for g in given]
        return [g for g in tables if isinstance(g, pd.DataFrame)]


@dataclass(frozen=True)
class OddQuestion:
    """A case of the effect table: how to ask, what has to come out, and what else may.

    Attributes:
        refusable: Whether a refusal with these places is as good as the answer, because not every
            estimator can be asked this.
        needs: A method without which the question is left out.
    """

    name: str
    ask: Callable[[], EffectQuestion]
    expected: Expected
    problem: str = ""
    columns: tuple[str, ...] = ("b", "a", "t", "y")
    refusable: tuple[str, ...] | None = None
    needs: str = ""


def _beside(x: Any, w: Any) -> Any:
    """Two groups of columns as one, in the container they came in."""
    if x is None:
        return w
    if isinstance(x, pd.DataFrame | pd.Series) and isinstance(w, pd.DataFrame | pd.Series):
        w = w.loc[x.index] if w.index.is_unique and set(w.index) == set(x.index) else w
        return pd.concat([x, w], axis=1)
    if isinstance(x, list) and isinstance(w, list):
        return [[*left, *right] for left, right in zip(x, w, strict=True)]
    stack = np.ma.column_stack if np.ma.isMaskedArray(w) else np.column_stack
    return stack([np.asarray(x), w])


def plain(df: pd.DataFrame, **changes: Any) -> EffectQuestion:
    """The effect of t on y, with b as modifier and a to adjust for."""
    asked = {"Y": df["y"], "T": df["t"], "X": df[["b"]], "W": df[["a"]], "at": df[["b"]]}
    return EffectQuestion(**(asked | changes))


def asked_of(
    case: OddInput, random_state: Any = 0, clean: Callable[..., pd.DataFrame] = clean_table
) -> OddQuestion:
    """The plain question to an odd table."""

    def ask() -> EffectQuestion:
        df = case.change(clean(random_state=random_state))
        b, a, t, y = (case.column(r) for r in "baty")
        x = df[[b]]
        return EffectQuestion(df[y], df[t], x, df[[a]], x, *case.arms)

    columns = tuple(str(case.column(r)) for r in "baty")
    return OddQuestion(case.name, ask, case.expected["effects"], case.problem, columns)


def effect_cases(random_state: Any = 0) -> tuple[OddQuestion, ...]:
    """All cases of the effect table: every odd table, then every odd question."""
    return (*(asked_of(case, random_state) for case in TABLES), *questions(random_state))


def asker(random_state: Any, clean: Callable[..., pd.DataFrame]) -> Callable[..., OddQuestion]:
    """A maker of questions to a clean table: name, question, what has to come out, and the rest."""

    def case(
        name: str,
        make: Callable[[pd.DataFrame], EffectQuestion],
        expected: Expected | None = None,
        problem: str = "",
        refusable: tuple[str, ...] | None = None,
        needs: str = "",
    ) -> OddQuestion:
        def ask() -> EffectQuestion:
            return make(clean(random_state=random_state))

        return OddQuestion(
            name, ask, expected or answer(), problem, refusable=refusable, needs=needs
        )

    return case


def questions(
    random_state: Any, clean: Callable[..., pd.DataFrame] = clean_table
) -> list[OddQuestion]:
    """Questions that are odd, of a clean table."""
    case = asker(random_state, clean)
    return [
        # Contrasts
        case("reversed contrast", lambda df: plain(df, T0=1, T1=0, truth=-EFFECT)),
        case("contrast of an arm with itself", lambda df: plain(df, T0=1, T1=1, truth=0.0)),
        case(
            "level of a contrast that is not in the data",
            lambda df: plain(df, T1=7),
            refusal("'t'", "7"),
            "level|arm|range|contrast|treatment",
        ),
        case(
            "text in a contrast of numbers",
            lambda df: plain(df, T0="0", T1="yes"),
            refusal("'t'", "'0'"),
            "level|arm|contrast|treatment",
        ),
        case(
            "empty contrast",
            lambda df: plain(df, T1=float("nan")),
            refusal("'t'", "nan"),
            "nan|arm|finite",
        ),
        case(
            "two contrasts at once",
            lambda df: plain(df, T0=[0, 1], T1=[1, 0]),
            refusal("T0, T1"),
            "contrast|shape|length",
        ),
        case("three arms", _three_arms, problem="arm", refusable=("'t'",)),
        case(
            "treatment is a number on a scale",
            _dose,
            answer(),
            "continuous|discrete|arm|dose",
            refusable=("'t'",),
        ),
        case(
            "dose far outside the data",
            _far_dose,
            warning("extrapolation"),
            "continuous|discrete|arm|dose",
            refusable=("'t'",),
        ),
        # Rows and columns that must be matched by name
        case(
            "Y with a shuffled index", lambda df: plain(df, Y=df.y.sample(frac=1, random_state=1))
        ),
        case("W with a shuffled index", lambda df: plain(df, W=df[["a"]].iloc[::-1])),
        case(
            "T with another index",
            lambda df: plain(df, T=df.t.set_axis(df.index + 1000)),
            refusal("'", "index"),
            "index|align",
        ),
        case(
            "Y one row short",
            lambda df: plain(df, Y=df.y.iloc[:-1]),
            refusal("'", "299"),
            "length|rows|inconsistent|shape|samples",
        ),
        case(
            "shuffled labels that repeat",
            _repeated_labels,
            refusal("'", "repeat"),
            "index|label|align",
        ),
        case("columns reordered at prediction", _reordered),
        case("columns added at prediction", _more_columns),
        case(
            "column missing at prediction",
            lambda df: _moving(df, lambda at: at[["a"]]),
            refusal("'b'"),
            "column|feature|shape|dim",
        ),
        case(
            "empty cell at prediction",
            lambda df: plain(df, at=_hole(df, np.nan)),
            refusal("'b'", "row 3"),
            "nan|missing|empty",
        ),
        case(
            "infinite cell at prediction",
            lambda df: plain(df, at=_hole(df, np.inf)),
            refusal("'b'", "row 3"),
            "inf",
        ),
        case(
            "unseen level at prediction",
            _unseen_level,
            refusal("'b'", "'new'"),
            "level|categor|convert|unknown",
        ),
        case(
            "array at prediction after a table",
            lambda df: _moving(df, lambda at: at.to_numpy()),
            refusal("'a'", unless_right=True),
            "names|columns",
        ),
        # A column with two parts to play
        case(
            "treatment also in X",
            lambda df: plain(df, X=df[["b", "t"]], at=df[["b", "t"]]),
            refusal("'t'"),
            "treatment|both|also",
        ),
        case(
            "outcome also in W",
            lambda df: plain(df, W=df[["a", "y"]]),
            refusal("'y'"),
            "outcome|both|also",
        ),
        case(
            "copy of the treatment in W",
            lambda df: plain(df, W=df[["a"]].assign(c=5 - 2 * df.t)),
            refusal("'c'", "'t'"),
            "treatment|copy|singular|collinear",
        ),
        case(
            "copy of the outcome in X",
            lambda df: plain(df, X=df[["b"]].assign(c=df.y * 100), at=df[["b"]].assign(c=df.y)),
            refusal("'c'", "'y'"),
            "outcome|copy",
        ),
        case(
            "one column in X and in W",
            lambda df: plain(df, W=df[["a", "b"]]),
            refusal("'b'"),
            "both|also|twice",
        ),
        case(
            "treatment as outcome",
            lambda df: plain(df, Y=df.t),
            refusal("'t'"),
            "treatment|outcome|same",
        ),
        # Containers
        case("Series instead of tables", lambda df: plain(df, X=df.b, W=df.a, at=df.b)),
        case("arrays", lambda df: _as(df, np.asarray)),
        case("lists", lambda df: _as(df, lambda v: np.asarray(v).tolist())),
        case("read-only arrays", lambda df: _as(df, _read_only)),
        case("arrays in Fortran order", lambda df: _as(df, np.asfortranarray)),
        case(
            "strided arrays", lambda df: _as(df, lambda v: np.repeat(np.asarray(v), 2, axis=0)[::2])
        ),
        case("masked arrays without a mask", lambda df: _as(df, np.ma.asarray)),
        case(
            "masked array with a hidden cell",
            lambda df: plain(df, W=_masked(df[["a"]])),
            warning("missing-values"),
            "mask|nan|missing|empty",
        ),
        case(
            "masked outcome",
            lambda df: plain(df, Y=_masked(df.y)),
            refusal("Y", "row 3"),
            "mask|nan|missing|empty",
        ),
        case("Y and T as columns", lambda df: plain(df, Y=df[["y"]], T=df[["t"]])),
        case(
            "generator",
            lambda df: plain(df, Y=(v for v in df.y)),
            refusal("generator", unless_right=True),
            "generator|array|dimension",
        ),
        case(
            "dictionary",
            lambda df: plain(df, X={"b": df.b}),
            refusal("X", "dict", unless_right=True),
            "dict|array",
        ),
        case(
            "X on its side",
            lambda df: plain(df, X=df[["b"]].to_numpy().T),
            refusal("X", "1 row"),
            "length|rows|inconsistent|shape|samples|dimension",
        ),
        case(
            "array of three dimensions",
            lambda df: plain(df, X=np.zeros((len(df), 2, 2))),
            refusal("X"),
            "dimension|shape",
        ),
        case(
            "two outcomes",
            lambda df: plain(df, Y=df[["y", "a"]], W=None),
            refusal("'a'", "2"),
            "one|columns|shape|dimension|1d",
        ),
        case(
            "names of several levels",
            lambda df: plain(
                df, W=df[["a"]].set_axis(pd.MultiIndex.from_tuples([("a", "z")]), axis=1)
            ),
            refusal("W", "'a'", unless_right=True),
            "levels|MultiIndex",
        ),
        # Amounts
        case("more columns than rows", _wide, warning("sample-size"), "sample|few|rank"),
        case(
            "no covariates at all",
            _randomised,
            problem="modifier|X|need",
            refusable=("'X'",),
        ),
        case(
            "negative weight",
            lambda df: plain(df, more={"sample_weight": np.where(df.index == 3, -1.0, 1.0)}),
            refusal("'sample_weight'", "-1"),
            "weight|negative",
        ),
        case(
            "one cluster",
            lambda df: plain(df, more={"groups": np.zeros(len(df), int)}),
            refusal("'groups'", "1 cluster"),
            "cluster|group|split|fold",
        ),
        case(
            "refit after another question",
            lambda df: plain(df, before=plain(df, Y=(5 * df.t + df.b).rename("y"))),
        ),
    ]


def _hole(df: pd.DataFrame, value: float) -> pd.DataFrame:
    return df["b"].where(df.index != 3, value).to_frame()


def _three_arms(df: pd.DataFrame) -> EffectQuestion:
    arms = np.where(df.a > 0.8, 2, df.t)
    y = (df.y + (EFFECT * (1.5 * (arms == 2) + (arms == 1) - df.t))).rename("y")
    return plain(df, T=pd.Series(arms, df.index, name="t"), Y=y)


def with_dose(df: pd.DataFrame) -> pd.DataFrame:
    """The same law with a dose t on a scale, raised by b."""
    noise = np.random.default_rng(1).normal(size=len(df))
    if np.array_equal(noise, df.b):  # the table was drawn with this seed as well
        noise = noise[::-1]
    return dosed(df, 0.8 * df.b + noise)


def dosed(df: pd.DataFrame, dose: Any) -> pd.DataFrame:
    """The same law with another dose."""
    return df.assign(t=dose, y=df.y + EFFECT * (dose - df.t))


def _dose(df: pd.DataFrame) -> EffectQuestion:
    return plain(with_dose(df))


def _far_dose(df: pd.DataFrame) -> EffectQuestion:
    asked = _dose(df)
    return plain(df, T=asked.T, Y=asked.Y, T1=50.0, truth=50 * EFFECT, tolerance=50 * TOLERANCE)


def _repeated_labels(df: pd.DataFrame) -> EffectQuestion:
    labels = df.index // 2
    return plain(df.set_axis(labels), Y=df.y.set_axis(labels[::-1]))


def _moving(df: pd.DataFrame, at: Callable[[pd.DataFrame], Any]) -> EffectQuestion:
    """The effect is 2 + 2 b: where b is 1 and a is -1 it is 4 (and 0 if they are swapped)."""
    y = (df.y + 2 * df.t * df.b).rename("y")
    asked = at(pd.DataFrame({"a": [-1.0] * 3, "b": [1.0] * 3}))
    return plain(df, Y=y, X=df[["a", "b"]], W=None, at=asked, truth=EFFECT + 2, tolerance=0.9)


def _reordered(df: pd.DataFrame) -> EffectQuestion:
    return _moving(df, lambda at: at[["b", "a"]])


def _more_columns(df: pd.DataFrame) -> EffectQuestion:
    return _moving(df, lambda at: at.assign(c=9.0, z="z")[["z", "b", "c", "a"]])


def _unseen_level(df: pd.DataFrame) -> EffectQuestion:
    team = pd.Series(np.where(df.b > 0, "red", "blue"), df.index, name="b").to_frame()
    return plain(df, X=team, at=team.replace("red", "new"))


def _as(df: pd.DataFrame, kind: Callable[[Any], Any]) -> EffectQuestion:
    y, t, x, w = (kind(v.to_numpy()) for v in (df.y, df.t, df[["b"]], df[["a"]]))
    return EffectQuestion(y, t, x, w, x)


def _read_only(values: Any) -> np.ndarray:
    out = np.array(values)
    out.flags.writeable = False
    return out


def _masked(values: Any) -> np.ma.MaskedArray:
    """The fourth row is hidden, and what is under the mask must not be used."""
    out = np.ma.masked_array(values.to_numpy(copy=True), mask=False)
    out[3] = 1e6
    out[3] = np.ma.masked
    return out


def _wide(df: pd.DataFrame) -> EffectQuestion:
    few = df.iloc[:60]
    noise = np.random.default_rng(1).normal(size=(len(few), 90))
    wide = pd.DataFrame(noise, index=few.index).add_prefix("w").assign(a=few.a)
    return plain(few, W=wide, tolerance=1.5)


def _randomised(df: pd.DataFrame) -> EffectQuestion:
    t = pd.Series(np.arange(len(df)) % 2, df.index, name="t")
    y = (df.y + EFFECT * (t - df.t)).rename("y")
    return EffectQuestion(y, t)
