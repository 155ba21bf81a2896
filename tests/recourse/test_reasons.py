"""Reasons are complete, exact, in order, and say when they can't be."""

import os
import time
import warnings
from itertools import combinations
from math import factorial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench import Feature, Schema, load
from workbench.core.errors import CausalWarning, DataError, ParameterError, QuestionError
from workbench.recourse import RecourseProblem, reasons

HELOC = Path(os.environ.get("WORKBENCH_DATA", "/nowhere")) / "heloc"


def people(n, seed, width=5):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(rng.normal(size=(n, width)), columns=list("abcdefghijklmno"[:width]))


def label(df):
    return (df["a"] + df["b"] * df["c"] - df["d"].abs() > 0).astype(int)


def brute_force(decide, x, reference):
    """Shapley values from the definition: the mean over reference rows of every subset."""
    width = x.shape[1]
    out = np.zeros(x.shape)
    for i in range(len(x)):
        worth = {}
        for size in range(width + 1):
            for chosen in combinations(range(width), size):
                mixed = reference.copy()
                mixed[:, chosen] = x[i, chosen]
                worth[chosen] = decide(mixed).mean()
        for j in range(width):
            for chosen, value in worth.items():
                if j not in chosen:
                    s = len(chosen)
                    weight = factorial(s) * factorial(width - s - 1) / factorial(width)
                    out[i, j] += weight * (worth[tuple(sorted((*chosen, j)))] - value)
    return out


def tree_models():
    import lightgbm
    from sklearn.ensemble import (
        GradientBoostingClassifier,
        HistGradientBoostingClassifier,
        RandomForestClassifier,
    )

    return {
        "forest": RandomForestClassifier(8, max_depth=4, random_state=0),
        "boosted": GradientBoostingClassifier(n_estimators=10, random_state=0),
        "histogram": HistGradientBoostingClassifier(max_iter=10, random_state=0),
        "lightgbm": lightgbm.LGBMClassifier(n_estimators=10, num_leaves=7, verbose=-1),
    }


@pytest.mark.parametrize("name", tree_models())
def test_trees_are_explained_as_the_definition_says(name):
    from scipy.special import logit

    df = people(200, 0)
    model = tree_models()[name]
    gappy = df.mask(np.random.default_rng(1).random(df.shape) < 0.15)
    train = df if name == "boosted" else gappy
    model.fit(train, label(df))
    problem = RecourseProblem(model, schema=Schema.infer(df), data=df)
    yes = train[model.predict_proba(train)[:, 1] > 0.5].iloc[:15]
    why = reasons(problem, train.iloc[:30], reference=yes, progress=False)
    told = np.flatnonzero(why.status == "declined")[:4]
    link = (lambda p: p) if name == "forest" else logit

    def decide(rows):
        return link(model.predict_proba(pd.DataFrame(rows, columns=df.columns))[:, 1])

    expected = -brute_force(decide, train.iloc[told].to_numpy(), yes.to_numpy())
    assert np.allclose(why.contributions.iloc[told], expected, atol=1e-9)
    rows = (why.status == "declined").to_numpy()
    gap = why.outcomes["gap"][rows]
    assert np.allclose(why.contributions[rows].sum(axis=1), gap) and (gap > 0).all()
    if name != "boosted":
        assert train.iloc[told].isna().any(axis=None)


def test_additive_models_are_explained_term_by_term():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    df = people(300, 2)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(df, label(df))
    problem = RecourseProblem(model, data=df)
    yes = df[model.predict(df) == 1]
    why = reasons(problem, df.iloc[:50], progress=False)
    weights = model[-1].coef_[0] / model[0].scale_
    no = (why.status == "declined").to_numpy()
    expected = (yes.mean() - df.iloc[:50]) * weights
    assert np.allclose(why.contributions[no], expected[no])
    best = reasons(problem, df.iloc[:50], reference="best", progress=False)
    assert (best.contributions[no] >= -1e-12).all(axis=None)
    assert (best.outcomes["gap"][no] > why.outcomes["gap"][no]).all()


def test_networks_and_callables_agree_with_the_definition():
    from sklearn.neural_network import MLPClassifier

    df = people(120, 3)
    model = MLPClassifier((6,), max_iter=200, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(df, label(df))
    problem = RecourseProblem(
        lambda d: model.predict_proba(d)[:, 1], data=df, target={"above": 0.5}
    )
    few = df[problem.view.score(df) > 0.5].iloc[:10]
    why = reasons(problem, df.iloc[:20], reference=few, progress=False)
    told = np.flatnonzero(why.status == "declined")[:3]

    def decide(rows):
        return model.predict_proba(pd.DataFrame(rows, columns=df.columns))[:, 1]

    expected = -brute_force(decide, df.iloc[told].to_numpy(), few.to_numpy())
    assert np.allclose(why.contributions.iloc[told], expected)
    inside = reasons(RecourseProblem(model, data=df), df.iloc[:20], progress=False)
    no = (inside.status == "declined").to_numpy()
    assert inside.scale == "log-odds" and inside.kind == "relu"
    assert np.allclose(inside.contributions[no].sum(axis=1), inside.outcomes["gap"][no])


def test_every_reference_row_counts_or_the_answer_says_how_many_do():
    from sklearn.linear_model import LinearRegression

    df = people(300, 7, width=8)
    model = LinearRegression().fit(df, df @ np.linspace(1, 2, 8))
    asked = {"data": df, "target": {"above": 0.0}}
    truth = reasons(RecourseProblem(model, **asked), df.iloc[:6], progress=False)
    blind = RecourseProblem(model.predict, **asked)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exact = reasons(blind, df.iloc[:6], progress=False)
    assert "exact" in exact.verdict()
    assert np.allclose(exact.contributions, truth.contributions, equal_nan=True)
    wide = people(300, 7, width=10)
    blind = RecourseProblem(lambda d: d.sum(axis=1), data=wide, target={"above": 0.0})
    with pytest.warns(CausalWarning, match="64 of 1.. accepted applicants"):
        why = reasons(blind, wide.iloc[:2], progress=False)
    assert "estimated" in why.verdict() and why.reference.startswith("64 of ")


def test_many_features_without_structure_are_estimated_and_say_so():
    df = people(80, 4, width=13)
    problem = RecourseProblem(
        lambda d: np.tanh(d.to_numpy().sum(axis=1)) + d["a"] * d["b"],
        data=df,
        target={"above": 0.5},
    )
    with pytest.warns(CausalWarning, match="estimated from orders"):
        why = reasons(problem, df.iloc[:10], progress=False)
    no = (why.status == "declined").to_numpy()
    assert np.allclose(why.contributions[no].sum(axis=1), why.outcomes["gap"][no])
    assert "estimated" in why.verdict()


def black_box(model):
    return lambda df: model.predict_proba(df)[:, 1]


def no_larger_is_left_out(why):
    for i, reasons_of_one in why.listed.groupby("row"):
        rest = why.contributions.iloc[i].drop(reasons_of_one["code"])
        least = reasons_of_one["contribution"].min() if len(reasons_of_one) == why.most else 0.0
        assert (rest <= least + 1e-8 * why.contributions.iloc[i].abs().sum()).all()
        assert (reasons_of_one["contribution"] > 0).all()
        assert (np.diff(reasons_of_one["contribution"]) <= 1e-8).all()


@pytest.mark.parametrize("most", [1, 2, 4, 9])
def test_the_largest_come_first_and_none_is_left_out(most):
    df = people(200, 5)
    model = tree_models()["histogram"].fit(df, label(df))
    problem = RecourseProblem(model, data=df)
    why = reasons(problem, df, max=most, progress=False)
    no_larger_is_left_out(why)
    assert why.listed.groupby("row").size().between(1, most).all()
    again = reasons(problem, df, max=most, progress=False)
    pd.testing.assert_frame_equal(why.to_frame(), again.to_frame())
    rows = np.random.default_rng(0).permutation(len(df))
    other = reasons(problem, df.iloc[rows][df.columns[::-1]], max=most, progress=False)
    pd.testing.assert_frame_equal(why.to_frame().iloc[rows], other.to_frame())


def test_ties_go_by_name():
    df = pd.DataFrame({"z": [0.0, 1, 0, 3], "b": [0.0, 1, 0, 3], "m": [0.0, 1, 0, 3]})
    problem = RecourseProblem(lambda d: d["b"] + d["m"] + d["z"], data=df, target={"above": 8})
    with pytest.warns(CausalWarning, match="give them one code"):
        why = reasons(problem, df, max=2, progress=False)
    assert why.to_frame().loc[0, ["reason 1", "reason 2"]].tolist() == ["b", "m"]


def test_codes_merge_columns_and_reach_the_text(tmp_path):
    from sklearn.linear_model import LinearRegression

    df = people(60, 6, width=3).rename(columns={"a": "late 30", "b": "late 60", "c": "income"})
    model = LinearRegression().fit(df, df["income"] - df["late 30"] - df["late 60"])
    problem = RecourseProblem(model, data=df, target={"above": 0.5})
    plain = reasons(problem, df, progress=False)
    file = tmp_path / "codes.csv"
    file.write_text(
        "feature,code,text\nlate 30,D1,Paid late\nlate 60,D1,Paid late\nincome,I1,Low\n"
    )
    why = reasons(problem, df, codes=file, progress=False)
    assert list(why.contributions) == ["D1", "I1"]
    no = (why.status == "declined").to_numpy()
    both = plain.contributions[["late 30", "late 60"]].sum(axis=1)
    assert np.allclose(why.contributions["D1"][no], both[no])
    no_larger_is_left_out(why)
    long = why.to_frame(long=True)
    assert set(long.loc[long["code"] == "D1", "features"]) == {"late 30, late 60"}
    told = why.status.index[no][why.contributions["D1"][no].to_numpy() > 0][0]
    assert "Paid late [D1]: late 30 is" in why.explain(told)
    given = {"late 30": ("D1", "Paid late"), "late 60": ("D1", "Paid late"), "income": "I1"}
    same = reasons(problem, df, codes=given, progress=False)
    pd.testing.assert_frame_equal(same.contributions, why.contributions)


@pytest.mark.parametrize(
    "codes, says",
    [
        ({"a": "R1"}, "'b'.*no reason code"),
        ({"a": "R1", "b": "R2", "q": "R3"}, "'q'.*no feature"),
        ({"a": ("R1", "x"), "b": ("R1", "y")}, "second text"),
        ({"a": "R1", "b": ""}, "'b'.*needs a code"),
    ],
)
def test_code_tables_that_make_no_sense_are_refused(codes, says):
    df = people(20, 7, width=2)
    problem = RecourseProblem(lambda d: d["a"] + d["b"], data=df, target={"above": 0})
    with pytest.raises(DataError, match=says):
        reasons(problem, df, codes=codes)


def test_what_nobody_can_change_stays_a_reason_and_what_is_protected_is_refused():
    df = people(50, 8, width=3).rename(columns={"a": "age", "b": "sex", "c": "income"})
    schema = Schema([Feature(n, actionable=n == "income") for n in df])
    problem = RecourseProblem(
        lambda d: 3 * d["age"] + d["income"], schema=schema, data=df, target={"above": 0}
    )
    with pytest.warns(CausalWarning, match="'sex'.*protected"):
        why = reasons(problem, df, progress=False)
    assert "age" in set(why.listed["code"])
    with pytest.raises(QuestionError, match="'age'.*protected"):
        reasons(problem, df, protected="age")
    with pytest.raises(ParameterError, match="Did you mean 'age'"):
        reasons(problem, df, protected=["agee"])


def test_every_odd_case_has_its_own_outcome():
    df = people(40, 9, width=2)
    problem = RecourseProblem(lambda d: d["a"] + d["b"], data=df, target={"above": 0})
    gaps = df.iloc[:6].copy()
    gaps.loc[2, "b"] = np.nan
    why = reasons(problem, gaps, progress=False)
    assert why.status[2] == "incomplete" and "'b' is empty" in why.explain(2)
    accepted = why.status.index[why.status == "already accepted"]
    assert "is accepted" in why.explain(accepted[0])
    assert why.contributions.loc[[2, *accepted]].isna().all(axis=None)
    nobody = reasons(problem, df.iloc[:0], progress=False)
    assert len(nobody.to_frame()) == 0 and "nobody asked" in repr(nobody)
    never = RecourseProblem(lambda d: 0 * d["a"], data=df, target={"above": 1})
    with pytest.raises(QuestionError, match="no complete row that the model accepts"):
        reasons(never, df)
    with pytest.raises(DataError, match="does not accept every reference row.*row 0"):
        reasons(problem, df, reference=df.assign(a=-9.0))
    with pytest.raises(QuestionError, match="not additive"):
        reasons(problem, df, reference="best")
    with pytest.raises(ParameterError, match="'accepted', 'best'"):
        reasons(problem, df, reference="acepted")
    with pytest.raises(ParameterError, match="max"):
        reasons(problem, df, max=0)
    with pytest.raises(DataError, match="'b'"):
        reasons(problem, df[["a"]])
    with pytest.raises(DataError, match="empty cell of the reference"):
        reasons(problem, df, reference=df.where(df["a"] > 0, df + 9).assign(b=np.nan))


def test_the_answer_can_be_read_and_kept(tmp_path):
    import matplotlib

    matplotlib.use("Agg")
    df = people(120, 10)
    model = tree_models()["histogram"].fit(df, label(df))
    before = df.copy(deep=True)
    why = reasons(RecourseProblem(model, data=df), df, progress=False)
    pd.testing.assert_frame_equal(df, before)
    told = why.status.index[why.status == "declined"][0]
    assert "what speaks against them most: (1)" in why.explain(told)
    assert len(repr(why).splitlines()) <= 10 and "<table" in why._repr_html_()
    assert "log-odds" in why.plot(told).get_xlabel()
    why.save(tmp_path / "why")
    back = load(tmp_path / "why")
    pd.testing.assert_frame_equal(back.to_frame(long=True), why.to_frame(long=True))
    assert back.explain(told) == why.explain(told)


@pytest.mark.slow
@pytest.mark.skipif(not HELOC.exists(), reason="needs the HELOC data in $WORKBENCH_DATA")
def test_all_declined_of_clean_heloc_within_a_minute():
    from lightgbm import LGBMClassifier

    train, test = (pd.read_csv(HELOC / f"{part}_clean.csv.gz") for part in ("train", "test"))
    y = train.pop("RiskPerformance")
    better = {"ExternalRiskEstimate": 1, "NumSatisfactoryTrades": 1, "PercentTradesNeverDelq": 1}
    worse = {"NumInqLast6M": -1, "NetFractionRevolvingBurden": -1, "NumTradesOpeninLast12M": -1}
    signs = [(better | worse).get(c, 0) for c in train]
    model = LGBMClassifier(monotone_constraints=signs, verbose=-1, n_jobs=1).fit(train, y)
    problem = RecourseProblem(model, schema=Schema.infer(train), data=train)
    start = time.process_time()
    why = reasons(problem, test, progress=False)
    assert time.process_time() - start < 60
    no = (why.status == "declined").to_numpy()
    assert no.sum() > 1200 and (why.status != "incomplete").all()
    assert np.allclose(why.contributions[no].sum(axis=1), why.outcomes["gap"][no])
    assert why.listed.groupby("row").size().between(1, 4).all()
    no_larger_is_left_out(why)
    pd.testing.assert_frame_equal(why.to_frame(), reasons(problem, test, progress=False).to_frame())


def test_levels_are_told_with_how_many_have_them():
    from sklearn.linear_model import LinearRegression

    df = pd.DataFrame({"phone": [0.0, 1.0, 0.0, 0.0, 0.0] * 4, "late": [0.0, 1, 2, 3, 9] * 4})
    schema = Schema([Feature("phone", "binary", levels=(0.0, 1.0)), Feature("late")])
    model = LinearRegression().fit(df, df["phone"] - df["late"])
    problem = RecourseProblem(model, schema=schema, data=df, target={"above": -2.5})
    why = reasons(problem, df.iloc[[4]], progress=False)
    assert "phone is 0, theirs mostly 0 (67%)" in why.explain(4)
    assert "late is 9, theirs on average 1" in why.explain(4)
