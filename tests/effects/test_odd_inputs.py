"""Odd inputs end in the right answer, a refusal that names the place, or a named warning."""

import numpy as np
import pandas as pd
import pytest

from workbench.core.errors import CausalWarning, QuestionError, WorkbenchError
from workbench.effects import AIPW
from workbench.effects.catalogue import ENTRIES, make


def put(column, row, value):
    def change(df):
        df = df.copy()
        df[column] = df[column].astype(object if isinstance(value, str) else float)
        df.loc[row, column] = value
        return df

    return change


REFUSALS = {
    "empty cell in T": (put("t", 3, np.nan), "'t'.*row 3"),
    "empty cell in Y": (put("y", 4, np.nan), "'y'.*row 4"),
    "infinite W": (put("a", 5, np.inf), "'a'.*row 5"),
    "all treated": (lambda df: df.assign(t=1), "'t'"),
    "one treated row": (lambda df: df.assign(t=(df.index == 7).astype(int)), "'t'.*row 7"),
    "text outcome": (lambda df: df.assign(y=df.arm), "'y'"),
    "constant outcome": (lambda df: df.assign(y=1.0), "'y'"),
    "mixed objects": (put("a", 6, "x"), "'a'.*row 6"),
    "empty table": (lambda df: df.iloc[:0], "0 rows"),
    "one row": (lambda df: df.iloc[:1], "1 row"),
    "three rows": (lambda df: df.iloc[:3], "3 rows"),
    "treatment copied into X": (lambda df: df.assign(b=df.t * 2.0 + 1), "'b'"),
    "dates": (
        lambda df: df.assign(t=pd.date_range("2020", periods=len(df), tz="UTC")),
        "'t'",
    ),
}

ANSWERABLE = {
    "constant column": lambda df: df.assign(a=1.0),
    "column three times another": lambda df: df.assign(a=3 * df.b),
    "empty cell in X": put("a", 3, np.nan),
    "nullable integers": lambda df: df.assign(a=pd.array([1, 2, None] * 100, dtype="Int64")),
    "index all zeros": lambda df: df.set_axis(np.zeros(len(df), dtype=int)),
    "large scale": lambda df: df.assign(a=1e15 + 1e9 * df.a),
    "many levels": lambda df: df.assign(a=[f"v{i % 60}" for i in range(len(df))]),
    "odd names": lambda df: df,
}


@pytest.fixture(params=[e.name for e in ENTRIES if e.cls.treatment != "continuous"])
def entry(request):
    return next(e for e in ENTRIES if e.name == request.param)


def fit(entry, df, x=("a",), w=("b",), **more):
    """Fit it, with an instrument if it needs one, and with all covariates in X if it wants that."""
    estimator = make(entry.name, **entry.test_params)
    if not estimator.adjusts_for_w:
        x, w = (*x, *w), ()
    parts = {"X": df[list(x)], "W": df[list(w)] if w else None, **more}
    if estimator.needs_instrument:
        parts["Z"] = df[["z_t"]]
    return estimator.fit(parts.pop("Y", df.y), df.t, **parts)


@pytest.mark.parametrize("case", REFUSALS)
@pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")
def test_refusals_name_the_place(case, entry, confounded):
    change, place = REFUSALS[case]
    with pytest.raises(WorkbenchError, match=place):
        fit(entry, change(confounded(300)))


@pytest.mark.parametrize("case", ANSWERABLE)
@pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")
def test_answerable_cases_are_answered(case, entry, confounded):
    df = ANSWERABLE[case](confounded(300))
    x = ["a", "b"]
    if case == "odd names":
        df = df.rename(columns={"a": "propensity_score", "b": 'größe -> <b>;"'})
        x = ["propensity_score", 'größe -> <b>;"']
    estimator = fit(entry, df, x, ())
    assert abs(estimator.ate() - 1) < 0.6 or "weak-instrument" in {
        w.code for w in estimator.warnings_
    }
    assert np.isfinite(estimator.effect(df[x].iloc[:5])).all()


@pytest.mark.parametrize("step", [lambda b: b > 0, lambda b: abs(b) > 0.7])
def test_no_overlap_is_never_quiet(step, entry, confounded):
    df = confounded(300)
    df["t"] = step(df.b).astype(int)
    df["z_t"] = np.where(df.index % 9 == 0, 1 - df.t, df.t)
    with pytest.warns(CausalWarning, match="no overlap"):
        estimator = fit(entry, df)
    assert [w.code for w in estimator.warnings_].count("overlap") == 1
    assert estimator.overlap_.grade == "none"


@pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")
def test_more_columns_than_rows(entry):
    rng = np.random.default_rng(0)
    w = pd.DataFrame(rng.normal(size=(60, 90))).add_prefix("w")
    t = (rng.random(60) < 1 / (1 + np.exp(-w["w0"]))).astype(int)
    y = (2 * t + w["w0"] + rng.normal(size=60)).rename("y")
    df = w.assign(t=t, y=y, z_t=np.where(rng.random(60) < 0.1, 1 - t, t))
    try:
        estimator = fit(entry, df, ["w0"], list(w.columns[1:]))
    except QuestionError as error:
        assert "not moved by the instruments" in str(error)
        return
    assert any(w.code == "sample-size" for w in estimator.warnings_)
    assert abs(estimator.ate() - 2) < 1.5


def test_unequal_lengths_and_foreign_index(entry, confounded):
    df = confounded()
    with pytest.raises(WorkbenchError, match="rows"):
        fit(entry, df, Y=df.y.iloc[:-1])
    with pytest.raises(WorkbenchError, match="index"):
        fit(entry, df, Y=df.y.set_axis(df.index + 1))


def test_a_dose_declared_discrete(confounded):
    df = confounded()
    with pytest.raises(WorkbenchError, match="'d'.*300 different values"):
        AIPW().fit(df.yd, df.d, W=df[["a"]])


def test_redundant_and_constant_columns_are_named(confounded):
    df = confounded()
    with pytest.warns(CausalWarning, match="rank"):
        estimator = AIPW().fit(df.y, df.t, W=df[["b"]].assign(c=1.0, e=3 * df.b))
    named = {c for w in estimator.warnings_ if w.code == "rank" for c in w.columns}
    assert "c" in named and named & {"b", "e"}
