import warnings

import numpy as np
import pandas as pd
import pytest

from workbench import CausalWarning
from workbench.core.errors import DataError, QuestionError, recording
from workbench.tables.effect_data import arm, effect_data


@pytest.fixture
def parts(people):
    return {
        "Y": people["score"],
        "T": people["treated"],
        "X": people[["sex", "age"]],
        "W": people[["visits"]],
    }


def test_everything_is_aligned_and_in_canonical_order(parts, people, untouched):
    for value in (parts["X"], parts["W"]):
        untouched(value)
    data = effect_data(**parts, groups=people["region"], sample_weight=np.ones(len(people)))
    assert data.arms == (0, 1) and data.x.names == ["age", "sex"] and data.w.names == ["visits"]
    assert set(data.groups) == {0, 1, 2} and data.weight.sum() == len(people)
    shuffled = {k: v.sample(frac=1, random_state=i) for i, (k, v) in enumerate(parts.items())}
    again = effect_data(**shuffled)
    order = [list(data.index).index(label) for label in again.index]
    np.testing.assert_array_equal(again.y, data.y[order])
    np.testing.assert_array_equal(again.t, data.t[order])
    pd.testing.assert_frame_equal(again.x.frame, data.x.frame.iloc[order])


@pytest.mark.parametrize(
    ("column", "arms"),
    [
        ([False, True], (False, True)),
        (["old", "new"], ("new", "old")),
        ([1, 2], (1, 2)),
        ([0.0, 1.0], (0, 1)),
        (np.array([0, 1], dtype="uint8"), (0, 1)),
        (pd.Categorical(["old", "new"], ["old", "new"]), ("old", "new")),
        (["a", "b", "c"], ("a", "b", "c")),
    ],
)
def test_treatments_of_every_type(column, arms, parts):
    n = len(parts["Y"])
    picks = np.arange(n) % len(column)
    values = (
        column[picks]
        if isinstance(column, np.ndarray | pd.Categorical)
        else [column[i] for i in picks]
    )
    data = effect_data(parts["Y"], pd.Series(values, index=parts["Y"].index), X=parts["X"])
    assert data.arms == arms
    assert sorted(set(data.t)) == list(range(len(arms)))


def test_doses_keep_their_values(parts, people):
    data = effect_data(parts["Y"], people["age"], X=people[["sex"]])
    assert data.arms is None
    np.testing.assert_array_equal(data.t, people["age"])


def change(name, value):
    return lambda parts, people: {**parts, name: value(parts, people)}


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        (
            change("Y", lambda p, d: p["Y"].where(d.index != 4)),
            DataError,
            "'score'.*missing.*row 4",
        ),
        (
            change("T", lambda p, d: p["T"].where(d.index != 4)),
            DataError,
            "'treated'.*missing.*row 4",
        ),
        (change("Y", lambda p, d: p["Y"][:-1]), DataError, "'score'.*59 rows"),
        (change("Y", lambda p, d: p["Y"].set_axis([0] * len(d))), DataError, "index labels"),
        (change("Y", lambda p, d: p["Y"] * 0), DataError, "'score'.*same value"),
        (change("Y", lambda p, d: d["region"].rename("score")), DataError, "'score'.*3 levels"),
        (change("T", lambda p, d: p["T"] * 0), DataError, "'treated'.*nothing to compare"),
        (change("T", lambda p, d: (p["T"].index == 3) * 1), DataError, "only 1 row.*treatment 1"),
        (change("X", lambda p, d: d[["age", "treated"]]), QuestionError, "'treated'.*also in X"),
        (change("W", lambda p, d: d[["visits", "score"]]), QuestionError, "'score'.*also in W"),
        (change("W", lambda p, d: d[["age"]]), QuestionError, "'age': is in X and in W"),
        (change("T", lambda p, d: p["Y"]), QuestionError, "both treatment and outcome"),
        (
            change("X", lambda p, d: d[["age"]].assign(copy=3 * d["treated"] - 1)),
            QuestionError,
            "'copy': in X is a copy of the treatment",
        ),
        (change("X", lambda p, d: -p["Y"].to_numpy()), QuestionError, "'X0'.*copy of the outcome"),
        (change("T", lambda p, d: d[["treated", "age"]]), DataError, "2 columns, one is needed"),
        (change("sample_weight", lambda p, d: -d["age"]), DataError, "weight.*non-negative"),
        (
            change("groups", lambda p, d: d["sex"].where(d.index != 2, None)),
            DataError,
            "groups.*row 2",
        ),
        (lambda p, d: {k: v[:5] for k, v in p.items()}, DataError, "5 rows, at least 10"),
    ],
)
def test_refusals_name_the_place(edit, error, message, parts, people):
    with pytest.raises(error, match=message):
        effect_data(**edit(parts, people))


def test_a_dose_declared_discrete_is_refused(parts, people):
    with pytest.raises(QuestionError, match="'age'.*60 different values.*at most 20"):
        effect_data(parts["Y"], people["age"], discrete_treatment=True)
    with pytest.raises(QuestionError, match="'sex'.*a dose must be a number"):
        effect_data(parts["Y"], people["sex"], discrete_treatment=False)


def test_too_many_named_arms_are_refused(parts):
    arm = pd.Series([f"a{i % 60}" for i in range(300)])
    rng = np.random.default_rng(0)
    with pytest.raises(QuestionError, match="arms, at most .* Group them"):
        effect_data(rng.normal(size=300), arm, X=rng.normal(size=(300, 1)))


@pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")
@pytest.mark.parametrize(
    ("kind", "told"),
    [("measured", True), ("rounded", False), ("counts", False), ("mostly zero", False)],
)
def test_units_seen_again_are_told_where_chance_does_not_explain_them(kind, told):
    rng = np.random.default_rng(0)
    x = {
        "measured": rng.normal(size=(300, 2))[np.arange(600) % 300],
        "rounded": rng.normal(size=(600, 1)).round(1),
        "counts": rng.integers(0, 30, (600, 2)).astype(float),
        "mostly zero": np.where(rng.random((600, 2)) < 0.8, 0, rng.lognormal(size=(600, 2))),
    }[kind]
    with recording() as notes:
        effect_data(rng.normal(size=600), rng.integers(0, 2, 600), X=x)
    assert ("repeated-units" in {w.code for w in notes}) == told
    with recording() as notes:
        effect_data(rng.normal(size=600), rng.integers(0, 2, 600), X=x, groups=np.arange(600) % 300)
    assert "repeated-units" not in {w.code for w in notes}


def test_two_level_outcomes_become_numbers(parts, people):
    data = effect_data(people["sex"], parts["T"], X=people[["age"]])
    np.testing.assert_array_equal(data.y, people["sex"] == "m")


def test_columns_that_name_rows_are_not_covariates(parts, people):
    x = people[["age"]].assign(day=pd.date_range("2024-01-01", periods=len(people)))
    with pytest.warns(CausalWarning, match="'day'.*not used"):
        assert effect_data(parts["Y"], parts["T"], X=x).x.names == ["age"]


def test_arms_are_found_by_value():
    assert arm((0, 1), 1, "t") == 1 and arm((False, True), 1, "t") == 1
    assert arm(("a", "b"), "a", "t") == 0
    with pytest.raises(QuestionError, match="'t'.*no such arm.*7.*Arms: 0, 1"):
        arm((0, 1), 7, "t")


def test_the_alphabet_is_named_where_nobody_put_text_in_order():
    rng = np.random.default_rng(0)
    arms = np.where(rng.random(40) < 0.5, "active", "placebo")
    y = rng.normal(size=40)
    with pytest.warns(CausalWarning, match="against 'T0?' = 'active'"):
        effect_data(y, arms)
    with pytest.warns(CausalWarning, match="share of 'Y0?' = 'ok' .'high' counts as 0."):
        effect_data(np.where(y > 0, "ok", "high"), np.arange(40) % 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CausalWarning)
        effect_data(y, pd.Series(arms).astype(pd.CategoricalDtype(["placebo", "active"])))
