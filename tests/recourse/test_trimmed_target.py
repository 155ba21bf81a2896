"""Trimmed targets: held to their own rule, cheaper than the rows they start from."""

import numpy as np
import pandas as pd
import pytest

from workbench import Feature, Schema, load
from workbench.core.errors import CausalWarning, DataError, ParameterError, QuestionError
from workbench.recourse import (
    Acceptance,
    NearestTarget,
    RecourseProblem,
    TrimmedTarget,
    Wachter,
)
from workbench.recourse.outcomes import favourable

SCHEMA = Schema(
    [
        Feature("age", actionable=False),
        Feature("income", bounds=(0, 100)),
        Feature("loans", "count", actionable="decrease"),
        Feature("town", "categorical", levels=("A", "B", "C")),
        Feature("female", "binary", levels=(0, 1), actionable=False),
    ]
)


class Model:
    """A score that ignores age, though age decides about outcomes."""

    def __call__(self, df):
        town = (df["town"].astype(object) == "A").to_numpy(dtype=float)
        z = 0.1 * df["income"].to_numpy() - 0.8 * df["loans"].to_numpy(dtype=float) + town - 3.0
        return 1 / (1 + np.exp(-z))


def table(n, seed):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.integers(20, 26, n).astype(float),
            "income": rng.uniform(0, 100, n).round(),
            "loans": rng.integers(0, 6, n),
            "town": rng.choice(list("ABC"), n),
            "female": rng.integers(0, 2, n),
        },
        index=np.arange(n) + 1000,
    )


DATA = table(600, 0)
HAPPENED = pd.Series(
    Model()(DATA) > np.random.default_rng(1).uniform(0.2, 0.8, len(DATA)), index=DATA.index
)


def problem(**more):
    return RecourseProblem(Model(), schema=SCHEMA, data=DATA, target={"above": 0.5}, **more)


@pytest.fixture(scope="module")
def fitted():
    return TrimmedTarget().fit(problem(), HAPPENED)


@pytest.fixture(scope="module")
def plan(fitted):
    people = table(60, 5)
    return fitted.recommend(people[Model()(people) <= 0.5])


def test_ends_pass_the_rule_and_are_cheaper_than_the_rows_they_start_from(fitted, plan):
    found = (plan.status == "found").to_numpy()
    assert found.mean() > 0.8
    asked = fitted.problem_
    ends = asked.space.codes(plan.recommended[found])
    assert fitted.acceptance_.accepts(ends).all()
    start = asked.space.codes(plan.people[found])
    who, rows = fitted.nearest(start)
    whole = asked.cost(start[who], rows != start[who], rows)
    cheapest = np.array([whole[who == i].min() for i in range(len(start))])
    assert (plan.outcomes["cost"][found] <= cheapest + 1e-12).all()
    assert (plan.outcomes["cost"][found] < cheapest - 1e-9).mean() > 0.5


def test_values_are_seen_or_todays_and_no_rule_is_broken(plan):
    found = (plan.status == "found").to_numpy()
    people, ends = plan.people[found], plan.recommended[found]
    for name in DATA.columns:
        seen = ends[name].isin(set(DATA[name])) | (ends[name] == people[name])
        assert seen.all()
    assert (ends["age"] == people["age"]).all() and (ends["female"] == people["female"]).all()
    assert (ends["loans"] <= people["loans"]).all()


def test_budget_changes_and_couplings_hold():
    tight = problem(budget=2.0, max_changes=2, constraints=["income <= 90"])
    people = table(40, 6)
    for method in (TrimmedTarget(), NearestTarget()):
        answer = method.fit(tight, HAPPENED).recommend(people)
        found = (answer.status == "found").to_numpy()
        assert found.any()
        assert (answer.outcomes["cost"][found] <= 2.0 + 1e-9).all()
        assert (answer.changed[found].sum(axis=1) <= 2).all()
        assert (answer.recommended["income"][found] <= 90).all()


def test_outcomes_are_matched_by_index_and_same_seed_gives_same_bits(fitted, plan):
    shuffled = HAPPENED.sample(frac=1.0, random_state=3)
    again = TrimmedTarget().fit(problem(), shuffled).recommend(plan.people)
    pd.testing.assert_frame_equal(again.to_frame(), plan.to_frame())


def test_a_stricter_rule_costs_more(fitted, plan):
    strict = Acceptance(strictness=0.6).fit(fitted.problem_, HAPPENED)
    usual = fitted.acceptance_
    assert strict.score_bar_ > usual.score_bar_ and strict.chance_bar_ >= usual.chance_bar_
    assert len(strict.pool_) < len(usual.pool_)


def test_unchangeable_levels_must_be_the_same_and_numbers_are_kept():
    no_woman = HAPPENED & (DATA["female"] == 0)
    people = table(20, 8).assign(age=21.5, income=1.0)  # nobody in the data is 21.5
    answer = TrimmedTarget().fit(problem(), no_woman).recommend(people)
    women = (people["female"] == 1).to_numpy()
    assert (answer.status[women] == "not found").all()
    assert answer.outcomes["reason"][women].str.contains("can be reached").all()
    assert (answer.status[~women] == "found").any()
    assert (answer.recommended["age"] == 21.5).all()


def test_without_any_favourable_outcome_nothing_is_found():
    none = pd.Series(False, index=DATA.index)
    answer = TrimmedTarget().fit(problem(), none).recommend(table(20, 9))
    assert not (answer.status == "found").any()


def test_without_outcomes_the_answer_says_so():
    with pytest.warns(CausalWarning, match="own decisions"):
        answer = TrimmedTarget().fit(problem()).recommend(table(20, 9))
    assert [note.code for note in answer.warnings] == ["no-labels"]


def test_saved_and_loaded_it_answers_the_same(fitted, plan, tmp_path):
    fitted.save(tmp_path / "method")
    again = load(tmp_path / "method", model=fitted.problem_.model).recommend(plan.people)
    pd.testing.assert_frame_equal(again.to_frame(), plan.to_frame())


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="labels.*no entry.*1599"):
        TrimmedTarget().fit(problem(), HAPPENED.drop(1599))
    with pytest.raises(DataError, match="3 entries for 600"):
        TrimmedTarget().fit(problem(), [True, False, True])
    with pytest.raises(DataError, match="labels.*is empty.*1000"):
        TrimmedTarget().fit(problem(), HAPPENED.astype(object).where(HAPPENED.index > 1000))
    with pytest.raises(ParameterError, match="Wachter learns nothing"):
        Wachter().fit(problem(), HAPPENED)
    with pytest.raises(ParameterError, match="strictness"):
        TrimmedTarget(strictness=1.0).fit(problem(), HAPPENED)
    with pytest.raises(ParameterError, match="data"):
        TrimmedTarget().fit(RecourseProblem(Model(), schema=SCHEMA, target={"above": 0.5}))


@pytest.mark.parametrize(
    ("target", "labels"),
    [
        ({"below": 0.3}, lambda bad: bad),  # the probability of 1, which must fall
        ({"below": 0.3}, lambda bad: bad == 0),
        ({"below": 0.3}, lambda bad: (bad == 0).astype(object)),
        (0, lambda bad: bad),
        (0, lambda bad: bad == 0),
    ],
)
def test_labels_are_read_as_the_target_asks(target, labels):
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    df = pd.DataFrame({"a": rng.normal(size=200)})
    bad = (df["a"] + 0.5 * rng.normal(size=200) > 0).astype(int)
    problem = RecourseProblem(LogisticRegression().fit(df, bad), data=df, target=target)
    method = NearestTarget().fit(problem, labels(bad))
    good = problem.accepts(problem.scores) & (bad == 0)
    assert sorted(method.targets_[:, 0]) == sorted(df["a"][good])


def test_labels_of_another_kind_or_the_wrong_way_round_are_told():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    df = pd.DataFrame({"a": rng.normal(size=200)})
    good = df["a"] > 0
    model = LogisticRegression().fit(df, np.where(good, "good", "bad"))
    problem = RecourseProblem(model, data=df, target="good")
    with pytest.raises(DataError, match="labels.*nor a class of the model.*'bad', 'good'"):
        NearestTarget().fit(problem, np.where(good, "Good", "Bad"))
    with pytest.warns(CausalWarning, match="wrong way round"):
        NearestTarget().fit(problem, ~good)


def test_a_causal_model_is_refused():
    from workbench import CausalGraph

    graph = CausalGraph(["income", "loans"], [("income", "loans")])
    numbers = DATA[["income", "loans"]].astype(float)
    asked = RecourseProblem(
        lambda d: d["income"] - d["loans"], data=numbers, target={"above": 0}, graph_or_scm=graph
    )
    with pytest.raises(QuestionError, match="follows"):
        TrimmedTarget().fit(asked)


def test_nearest_target_with_outcomes_uses_favourable_rows_only():
    nearest = NearestTarget().fit(problem(), HAPPENED)
    good = DATA[HAPPENED.to_numpy() & (Model()(DATA) >= 0.5)]
    assert len(nearest.targets_) == len(good.drop_duplicates())


def correlated(n, seed):
    """Two numbers that go together, and an outcome that either decides."""
    rng = np.random.default_rng(seed)
    middle = rng.uniform(0, 10, n)
    noise = rng.normal(0, 0.3, (2, n))
    return pd.DataFrame({"a": middle + noise[0], "b": middle + noise[1]}).round(2)


def test_what_goes_together_stays_together():
    data = correlated(800, 0)
    asked = RecourseProblem(lambda d: d["a"] / 10, data=data, target={"above": 0.5})
    rule = Acceptance().fit(asked, data["a"] > 5)
    fits, does_not = np.array([[8.0, 8.0]]), np.array([[8.0, 5.8]])
    assert rule.accepts(fits).all() and not rule.accepts(does_not).any()
    loose = rule.without_density()
    assert not loose.dense and rule.dense
    assert (loose.usual(data.to_numpy()) >= rule.usual(data.to_numpy())).all()


def test_density_is_dropped_where_it_is_too_dear(monkeypatch):
    data = correlated(800, 0)
    asked = RecourseProblem(lambda d: d["a"] / 10, data=data, target={"above": 0.5})
    assert TrimmedTarget().fit(asked, data["a"] > 5).acceptance_.dense
    monkeypatch.setattr("workbench.recourse.trimmed_target._DEARER", 0.5)
    method = TrimmedTarget().fit(asked, data["a"] > 5)
    assert not method.acceptance_.dense
    people = data[data["a"] < 5]
    assert (method.recommend(people).status == "found").all()


@pytest.mark.parametrize("kind", ["RandomForestClassifier", "ExtraTreesClassifier"])
def test_sums_over_trees_are_those_of_the_forest(kind):
    from sklearn import ensemble

    from workbench.recourse.readers import trees
    from workbench.recourse.tree_sums import TreeSums

    rng = np.random.default_rng(3)
    x = rng.uniform(size=(400, 4)).round(2)
    forest = getattr(ensemble, kind)(20, random_state=0).fit(x, rng.random(400) < x[:, 0])
    new = rng.uniform(-0.2, 1.2, size=(300, 4)).round(2)
    sums = TreeSums(trees(forest, 1)[0])
    np.testing.assert_allclose(sums(new), forest.predict_proba(new)[:, 1], atol=1e-12)
    assert sums(new[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("classes", "target", "labels", "wished"),
    [
        ([0, 1], {"above": 0.5}, [0, 1, 1], [0, 1, 1]),
        ([0, 1], {"below": 0.5}, [0, 1, 1], [1, 0, 0]),  # class 1 is what nobody wishes for
        (["bad", "good"], {"above": 0.5}, [False, True, True], [0, 1, 1]),
        (["bad", "good"], {"above": 0.5}, ["bad", "good", "good"], [0, 1, 1]),
        ([False, True], {"above": 0.5, "class": False}, [False, True, True], [1, 0, 0]),
        ([1, 2], {"above": 0.5, "class": 2}, [False, True, True], [0, 1, 1]),
    ],
)
def test_labels_are_classes_of_the_model_or_true_and_false(classes, target, labels, wished):
    from sklearn.linear_model import LogisticRegression

    df = pd.DataFrame({"a": [0.0, 1.0, 2.0]})
    model = LogisticRegression().fit(df, [classes[0], classes[1], classes[1]])
    asked = RecourseProblem(model, data=df, target=target)
    assert favourable(asked, np.array(labels)).tolist() == [bool(w) for w in wished]


def test_labels_that_are_no_class_or_the_wrong_way_round_are_told():
    asked = problem()
    with pytest.raises(DataError, match=r"a class of the model.*row \d+"):
        favourable(asked, HAPPENED.astype(int) + 1)
    with pytest.warns(CausalWarning, match="wrong way round"):
        favourable(asked, ~HAPPENED)


def test_limits_that_keep_rows_out_of_reach_are_named():
    tight = problem(max_changes=1, budget=0.01)
    plan = TrimmedTarget().fit(tight, HAPPENED).recommend(table(20, 6))
    stuck = plan.outcomes["reason"][plan.status == "not found"]
    assert len(stuck) and stuck.str.endswith("within max_changes=1 and budget=0.01").all()


def test_outcomes_that_say_nothing_are_told():
    noise = pd.Series(np.random.default_rng(9).random(len(DATA)) < 0.5, index=DATA.index)
    with pytest.warns(CausalWarning, match="outcomes-like-noise"):
        plan = TrimmedTarget().fit(problem(), noise).recommend(table(20, 6), progress=False)
    assert "outcomes-like-noise" in {w.code for w in plan.warnings}
    with pytest.warns(CausalWarning, match="one-outcome"):
        Acceptance().fit(problem(), pd.Series(True, index=DATA.index))


def test_changes_are_counted_at_the_trimmed_end():
    few = problem(max_changes=1)
    asked = table(60, 6)
    plan = TrimmedTarget().fit(few, HAPPENED).recommend(asked, progress=False)
    found = plan.status == "found"
    assert found.sum() >= 5 and plan.changed.sum(axis=1).isin([0, 1]).all()
    assert few.target.direction == "above" and (Model()(plan.recommended[found]) > 0.5).all()
