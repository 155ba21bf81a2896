"""A scorecard is read strictly, scores exactly, and is seen by every method as what it is."""

import numpy as np
import pandas as pd
import pytest

from workbench import Feature, Schema, load, save
from workbench.core.errors import DataError, ParameterError
from workbench.recourse import GrowingSpheres, ModelView, RecourseProblem, Scorecard, reasons

TEXT = """feature,lower,upper,level,points
(intercept),,,,12
age,,25,,-10
age,25,40,,0
age,40,,,15.5
age,,,(missing),-3
debts,,1,,20
debts,1,3,,5
debts,3,,,-20
home,,,owner,30
home,,,rent|free,10
home,,,(other),0
"""
SCALING = {"pdo": 20, "base_score": 40, "base_odds": 2}
SCHEMA = Schema(
    [
        Feature("age", bounds=(18, 90), actionable=False),
        Feature("debts", "count", bounds=(0, 10), actionable="decrease"),
        Feature("home", "categorical", levels=("owner", "rent", "free", "parents")),
    ]
)


def people(n=200, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 80, n).astype(float),
            "debts": rng.integers(0, 6, n),
            "home": rng.choice(["owner", "rent", "free", "parents"], n),
        }
    )


@pytest.fixture
def card(tmp_path):
    file = tmp_path / "card.csv"
    file.write_text(TEXT)
    return Scorecard.read_csv(file, **SCALING)


def by_hand(df):
    age = np.select([df["age"].isna(), df["age"] < 25, df["age"] < 40], [-3, -10, 0], 15.5)
    debts = np.select([df["debts"] < 1, df["debts"] < 3], [20, 5], -20)
    home = df["home"].map({"owner": 30, "rent": 10, "free": 10}).fillna(0)
    return 12 + age + debts + home.to_numpy()


def test_points_are_those_of_the_bins(card):
    df = people()
    df.loc[3, "age"] = np.nan
    assert np.allclose(card.points(df), by_hand(df))
    odds = 2 * 2 ** ((by_hand(df) - 40) / 20)
    assert np.allclose(card.predict_proba(df)[:, 1], odds / (1 + odds))
    assert np.allclose(card.probability(40), 2 / 3)
    edges = pd.DataFrame({"age": [25.0, 40.0], "debts": [1, 3], "home": ["rent", "x"]})
    assert card.points(edges).tolist() == [12 + 0 + 5 + 10, 12 + 15.5 - 20 + 0]
    right = Scorecard(card.to_frame(), closed="right")
    assert right.points(edges).tolist() == [12 - 10 + 20 + 10, 12 + 0 + 5 + 0]


def test_it_comes_back_from_a_file(card, tmp_path):
    df = people()
    card.to_csv(tmp_path / "again.csv")
    again = Scorecard.read_csv(tmp_path / "again.csv", **SCALING)
    pd.testing.assert_frame_equal(again.to_frame(), card.to_frame())
    assert (again.points(df) == card.points(df)).all()
    save(card, tmp_path / "saved")
    assert (load(tmp_path / "saved").predict_proba(df) == card.predict_proba(df)).all()


def test_weights_of_evidence_times_coefficients():
    table = pd.DataFrame(
        {
            "feature": ["(intercept)", "age", "age"],
            "lower": [np.nan, np.nan, 30],
            "upper": [np.nan, 30, np.nan],
            "woe": [-0.5, -1.0, 2.0],
            "coefficient": [np.nan, 0.5, 0.5],
        }
    )
    card = Scorecard(table)
    assert card.decision_function(pd.DataFrame({"age": [29, 30]})).tolist() == [-1.0, 0.5]
    with pytest.raises(DataError, match="'age'.*both woe and coefficient.*row 2"):
        Scorecard(table.assign(coefficient=[np.nan, 0.5, np.nan]))
    with pytest.raises(DataError, match="'coefficient'"):
        Scorecard(table.drop(columns="coefficient"))


@pytest.mark.parametrize("label", [0, 1])
def test_a_view_knows_it_as_trees(card, label):
    df = people()
    problem = RecourseProblem(card, schema=SCHEMA, data=df, target=label)
    assert problem.view.structure == "trees"
    codes = problem.space.codes(people(300, 1))
    expected = problem.view.score(problem.space.frame(codes))
    assert np.allclose(problem.view.trees().score(codes), expected)
    gaps = df.assign(age=np.where(df.index % 2, df["age"], np.nan))
    codes = problem.space.codes(gaps)
    assert np.allclose(problem.view.trees().score(codes), card.predict_proba(gaps)[:, label])
    assert ModelView(card, columns=["age", "debts", "home"], schema=SCHEMA).is_probability


def test_recourse_and_reasons_on_a_scorecard(card):
    df = people()
    target = {"above": card.probability(60)}
    problem = RecourseProblem(card, schema=SCHEMA, data=df, target=target)
    plan = GrowingSpheres(samples=16, rounds=2).fit(problem).recommend(df, progress=False)
    found = (plan.status == "found").to_numpy()
    assert found.any() and (card.points(plan.recommended)[found] > 60).all()
    df.loc[0, "age"] = np.nan
    why = reasons(problem, df, reference="best", progress=False)
    no = (why.status == "declined").to_numpy()
    best = pd.Series({"age": 15.5, "debts": 20, "home": 30})
    lost = (best - card.breakdown(df)) * np.log(2) / 20
    assert no[0] and np.allclose(why.contributions[no], lost[no])


@pytest.mark.parametrize(
    "change, says",
    [
        (("age,25,40", "age,26,40"), "'age'.*a gap.*25 to 26"),
        (("age,25,40", "age,24,40"), "'age'.*an overlap.*24 to 25"),
        (("age,,25,", "age,18,25,"), "'age'.*no bin below 18.*lower"),
        (("age,40,,", "age,40,99,"), "'age'.*no bin above 99.*upper"),
        (("age,25,40", "age,40,25"), "'age'.*empty range"),
        (("rent|free", "rent|owner"), "'home'.*two bins.*'owner'"),
        (("home,,,owner", "debts,,,owner"), "'debts'.*mixes.*'owner'"),
        (("home,,,owner", "home,1,,owner"), "'home'.*range and a level"),
        (("owner,30", "owner,many"), "'home'.*no number.*'many'"),
        (("owner,30", "owner,"), "'home'.*no points"),
        (("level,points", "level,score"), "'points'.*not on the scorecard"),
    ],
)
def test_tables_that_make_no_sense_are_refused(tmp_path, change, says):
    assert change[0] in TEXT
    file = tmp_path / "card.csv"
    file.write_text(TEXT.replace(*change, 1))
    with pytest.raises(DataError, match=says):
        Scorecard.read_csv(file)


def test_values_that_no_bin_holds_are_refused(card):
    df = people(5)
    with pytest.raises(DataError, match="'debts'.*empty cell.*row 2"):
        card.points(df.assign(debts=[0, 1, None, 1, 1]))
    with pytest.raises(DataError, match="'home'.*missing"):
        card.points(df.drop(columns="home"))
    with pytest.raises(DataError, match="'age'.*binned by numbers"):
        card.points(df.assign(age="old"))
    strict = Scorecard(card.to_frame().query("level != '(other)'"))
    with pytest.raises(DataError, match="'home'.*no bin holds.*'boat'"):
        strict.points(df.assign(home="boat"))
    with pytest.raises(ParameterError, match="'base_odds'"):
        Scorecard(card.to_frame(), pdo=20, base_score=1)
    with pytest.raises(ParameterError, match="'pdo'.*positive"):
        Scorecard(card.to_frame(), pdo=0, base_score=1, base_odds=1)


def test_it_says_what_it_is():
    card = Scorecard(pd.DataFrame({"feature": ["a", "a"], "lower": [None, 1], "upper": [1, None],
                                   "points": [0, 1]}))  # fmt: skip
    assert repr(card) == "Scorecard(2 bins of a; points are log-odds)"
