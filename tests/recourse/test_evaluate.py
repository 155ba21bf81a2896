"""The judges: failures count, and what is handed out is seen."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from workbench.core.errors import DataError, ParameterError
from workbench.recourse import Judge, NearestTarget, RecourseProblem, evaluate

RNG = np.random.default_rng(0)
DATA = pd.DataFrame({"a": RNG.uniform(0, 1, 300), "b": RNG.uniform(0, 1, 300)})


def asked():
    return RecourseProblem(lambda d: d["a"], data=DATA, target={"above": 0.5}, scale="range")


def test_a_failed_row_is_a_failure_in_every_share():
    problem = asked()
    judge = Judge(
        problem,
        labeller=lambda d: np.ones(len(d)),
        favourable=DATA[DATA["a"] > 0.5],
        retrained=[lambda d: np.ones(len(d))],
        noise=0.0,
    )
    start = np.tile([0.2, 0.5], (4, 1))
    end = np.tile([0.8, 0.5], (4, 1))
    measures = judge(start, end, np.array([True, True, True, False]))
    shares = ["found", "valid", "valid_model", "inlier", "inlier_20", "dense", "retrained"]
    assert [measures[name] for name in shares] == [0.75] * len(shares)
    assert measures["cost"] == pytest.approx(0.6 / np.ptp(DATA["a"]))
    assert measures["score"] == pytest.approx(1.5 - measures["cost"] / 2)
    assert measures["commonest"] == 0.75 and measures["changed"] == 1.0
    nobody = judge(start, end, np.zeros(4, dtype=bool))
    assert nobody["found"] == nobody["valid"] == nobody["inlier"] == nobody["score"] == 0.0
    assert np.isnan(nobody["cost"])


def test_noise_rejects_as_often_as_the_normal_law_says():
    problem = asked()
    end = np.tile([0.5 + 0.1 * np.ptp(DATA["a"]), 0.5], (4000, 1))
    judge = Judge(problem, noise=0.1)
    measures = judge(end - 0.3, end, np.ones(4000, dtype=bool))
    assert measures["noise"] == pytest.approx(0.158655, abs=0.006)  # one standard deviation away


def test_rows_handed_out_and_outliers_are_seen():
    problem = asked()
    plan = NearestTarget().fit(problem).recommend(DATA)
    table = evaluate(
        {"nearest": plan}, problem, favourable=DATA[DATA["a"] > 0.5], seconds={"nearest": 3.0}
    )
    row = table.loc["nearest"]
    assert row["people"] == (DATA["a"] <= 0.5).sum()
    assert row["exact_rows"] == 1.0 and row["violations"] == 0.0 and row["found"] == 1.0
    assert row["seconds"] == pytest.approx(3.0 / row["people"])
    far = np.tile([5.0, 5.0], (10, 1))
    measures = Judge(problem, favourable=DATA[DATA["a"] > 0.5])(
        0.1 * far, far, np.ones(10, dtype=bool)
    )
    assert measures["inlier"] == measures["dense"] == measures["exact_rows"] == 0.0
    assert measures["violations"] == 1.0  # beyond the range of the data


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(DataError, match="2 distinct"):
        Judge(asked(), favourable=DATA.head(2))
    with pytest.raises(ParameterError, match="noise"):
        Judge(asked(), noise=-1.0)


@pytest.mark.parametrize(
    ("labeller", "error"),
    [
        (lambda df: np.ones((len(df), 2)), "shape"),
        (lambda df: np.ones(1), "shape"),
        (lambda df: np.full(len(df), 2), "not 2 to 2"),
        (lambda df: np.full(len(df), np.nan), "between 0 and 1"),
        (lambda df: ["yes"] * len(df), "between 0 and 1"),
        (LinearRegression(), "function"),
    ],
)
def test_a_labeller_that_gives_no_probabilities_is_refused(labeller, error):
    plan = NearestTarget().fit(asked()).recommend(DATA)
    with pytest.raises((DataError, ParameterError), match=error):
        evaluate(plan, asked(), labeller=labeller)


def test_what_is_no_recommendation_is_refused():
    plan = NearestTarget().fit(asked()).recommend(DATA)
    with pytest.raises(ParameterError, match="Recommendations"):
        evaluate([plan], asked())
    with pytest.raises(ParameterError, match="Did you mean 'near'"):
        evaluate({"near": plan}, asked(), seconds={"nearr": 1.0})
