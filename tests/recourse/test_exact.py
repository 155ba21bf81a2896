"""Exact recourse: nothing permitted is cheaper, and infeasible means infeasible."""

import itertools
import time

import numpy as np
import pandas as pd
import pytest

from workbench import Feature, Schema
from workbench.core.errors import ParameterError, QuestionError
from workbench.recourse import ExactRecourse, RecourseProblem

LEVELS = ("a", "b", "c")


class LinearScore:
    """A linear model over numbers and levels, in the shape of a scikit-learn pipeline."""

    @staticmethod
    def fit(df, weights, effects):
        from sklearn.compose import make_column_transformer
        from sklearn.linear_model import LinearRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder

        numbers = list(weights)
        y = df[numbers].to_numpy(float) @ np.array(list(weights.values()))
        y = y + df["kind"].map(effects).to_numpy(float)
        prepare = make_column_transformer(
            ("passthrough", numbers), (OneHotEncoder(categories=[list(LEVELS)]), ["kind"])
        )
        return make_pipeline(prepare, LinearRegression()).fit(df, y)


def small_problem(seed):
    rng = np.random.default_rng(seed)
    n = 60
    df = pd.DataFrame(
        {
            "money": rng.normal(0, 2, n).clip(-5, 5),
            "visits": rng.integers(0, 4, n),
            "grade": rng.integers(1, 5, n),
            "member": rng.integers(0, 2, n),
            "kind": rng.choice(LEVELS, n),
            "age": rng.normal(40, 5, n),
        }
    )
    directions = [True, True, "increase", "decrease", False]

    def way():
        return directions[rng.integers(len(directions))]

    schema = Schema(
        [
            Feature(
                "money", bounds=(-5, 5), actionable=way() or True, cost=float(rng.uniform(0.5, 2))
            ),
            Feature("visits", "count", bounds=(0, 4), actionable=way()),
            Feature("grade", "ordinal", levels=(1, 2, 3, 4), actionable=way()),
            Feature("member", "binary", levels=(0, 1), actionable=bool(rng.integers(2))),
            Feature(
                "kind", "categorical", levels=LEVELS, actionable=bool(rng.integers(2)), cost=1.5
            ),
            Feature("age", actionable=False),
        ]
    )
    names = ["money", "visits", "grade", "member", "age"]
    weights = dict(zip(names, rng.normal(size=5), strict=True))
    effects = dict(zip(LEVELS, rng.normal(size=3), strict=True))
    model = LinearScore.fit(df, weights, effects)
    more = {"cost": ["l1", "l0", "linf"][rng.integers(3)]}
    if rng.random() < 0.4:
        more["max_changes"] = int(rng.integers(1, 4))
    if rng.random() < 0.4:
        more["constraints"] = ["visits + money <= 5"]
    threshold = float(np.quantile(model.predict(df), rng.uniform(0.3, 0.95)))
    side = "above" if rng.random() < 0.5 else "below"
    problem = RecourseProblem(model, data=df, schema=schema, target={side: threshold}, **more)
    return problem, df, model


def brute_force(problem, x):
    """Cheapest cost by listing every discrete choice; the number then goes just far enough."""
    space = problem.space
    low, high = (side[0] for side in problem.reach(x[None]))
    money = space.place("money")
    options = []
    for j, _feature in enumerate(space.features):
        whole = space.discrete[j] or space.integer[j]
        if j == money or not problem.movable[j] or not whole:
            options.append([x[j]])
        else:
            options.append(list(np.arange(low[j], high[j] + 1)))
    choices = np.array(list(itertools.product(*options)))
    line = problem.view.linear()
    sign = problem.target.sign
    slope = sign * line.weights[space.slots[money].start]
    need = sign * (problem.target.threshold - line.decision(space.design(choices)))
    ends = [choices]
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.where(need > 0, need / slope, 0.0)
    moved = choices.copy()
    moved[:, money] = x[money] + step * (1 + 1e-10) + 1e-10 * np.sign(step)
    ends.append(moved)
    for bound in (low[money], high[money]):
        at = choices.copy()
        at[:, money] = bound
        ends.append(at)
    for row in range(len(problem.couplings)):  # where the coupling binds
        at = choices.copy()
        at[:, money] = problem.couplings.high[row] - choices[:, space.place("visits")]
        ends.append(at)
    z = np.concatenate(ends)
    z = z[np.isfinite(z).all(axis=1)]
    start = np.repeat(x[None], len(z), axis=0)
    mask = z != start
    good = problem.permitted(start, mask, z, z) & problem.accepts(problem.score(z))
    good |= problem.permitted(start, mask, z, z) & (
        problem.target.margin(problem.score(z)) >= -1e-9
    )
    return problem.cost(start, mask, z)[good].min(initial=np.inf)


def check_against_brute_force(seeds):
    checked = found = 0
    for seed in seeds:
        problem, df, _ = small_problem(seed)
        plan = ExactRecourse().fit(problem).recommend(df.iloc[:6], progress=False)
        x = problem.space.codes(df.iloc[:6])
        for i, row in plan.outcomes.reset_index(drop=True).iterrows():
            if row["status"] == "already accepted":
                continue
            best = brute_force(problem, x[i])
            checked += 1
            if row["status"] == "infeasible":
                assert np.isinf(best), (seed, i, best)
            else:
                found += 1
                assert row["status"] == "found", (seed, i, row["status"], row["reason"], best)
                assert row["cost"] == pytest.approx(best, abs=2e-6), (seed, i)
                assert row["bound"] == pytest.approx(best, abs=2e-6), (seed, i)
    return checked, found


def test_nothing_permitted_is_cheaper():
    checked, found = check_against_brute_force(range(25))
    assert checked > 50 and found > 20


@pytest.mark.slow
def test_nothing_permitted_is_cheaper_in_200_problems():
    checked, found = check_against_brute_force(range(25, 225))
    assert checked > 400 and found > 200


def test_one_feature_by_hand():
    from sklearn.linear_model import LinearRegression

    df = pd.DataFrame({"a": [0.0, 1.0, 2.0, 4.0], "b": [1.0, 0.0, 4.0, 1.5]})
    model = LinearRegression().fit(df, 3 * df["a"] + df["b"])
    problem = RecourseProblem(model, data=df, target={"above": 10}, scale={"a": 1, "b": 1})
    plan = ExactRecourse().fit(problem).recommend(df)
    # Person 1 scores 3 and needs 7 more: 7/3 of a, within the range of the data (0 to 4).
    assert plan.outcomes["cost"].iloc[1] == pytest.approx(7 / 3, abs=1e-6)
    assert plan.recommended["b"].tolist() == df["b"].tolist()
    dear = Schema.infer(df).correct(a={"cost": 10.0})
    problem = RecourseProblem(
        model, data=df, schema=dear, target={"above": 10}, scale={"a": 1, "b": 1}
    )
    plan = ExactRecourse().fit(problem).recommend(df)
    # b is now cheaper per point, but ends at 4; a does the rest.
    assert plan.recommended["b"].iloc[0] == pytest.approx(4, abs=1e-6)
    assert plan.recommended["a"].iloc[0] == pytest.approx(2, abs=1e-6)


def test_thirty_features_take_milliseconds():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    df = pd.DataFrame(rng.normal(size=(300, 30)), columns=[f"v{j}" for j in range(30)])
    y = df.to_numpy() @ rng.normal(size=30) + rng.normal(size=300) > 1
    model = LogisticRegression().fit(df, y)
    problem = RecourseProblem(model, data=df, max_changes=3)
    method = ExactRecourse().fit(problem)
    people = df[model.predict(df) == 0].iloc[:40]
    method.recommend(people.iloc[:2])
    start = time.perf_counter()
    plan = method.recommend(people, progress=False)
    seconds = time.perf_counter() - start
    assert (plan.status == "found").all() and model.predict(plan.recommended).all()
    assert seconds / len(people) < 0.1  # 0.02 on an idle machine
    assert (plan.acted.sum(axis=1) <= 3).all()


def test_unreachable_and_contradictory_questions_are_told_apart():
    from sklearn.linear_model import LinearRegression

    df = pd.DataFrame({"a": [0.0, 1.0, 2.0, 4.5], "b": [1.0, 0.0, 4.0, 1.5]})
    model = LinearRegression().fit(df, 3 * df["a"] + df["b"])
    plan = ExactRecourse().fit(RecourseProblem(model, data=df, target={"above": 100})).recommend(df)
    assert set(plan.status) == {"infeasible"}
    assert plan.outcomes["reason"].str.contains("reaches the target").all()
    assert plan.to_frame()["a"].isna().all()
    problem = RecourseProblem(model, data=df, target={"above": 15}, constraints=["a + b >= 50"])
    plan = ExactRecourse().fit(problem).recommend(df)
    assert plan.outcomes["reason"].iloc[0] == "no permitted action satisfies the constraints"
    problem = RecourseProblem(model, data=df, target={"above": 15}, budget=0.1)
    plan = ExactRecourse().fit(problem).recommend(df)
    assert "the budget is 0.1" in plan.outcomes["reason"].iloc[0]


def test_other_models_are_sent_to_other_methods():
    from sklearn.neighbors import KNeighborsClassifier

    df = pd.DataFrame({"a": [0.0, 1.0, 2.0, 4.5], "b": [1.0, 0.0, 4.0, 1.5]})
    model = KNeighborsClassifier(1).fit(df, [0, 1, 0, 1])
    with pytest.raises(QuestionError, match="GrowingSpheres"):
        ExactRecourse().fit(RecourseProblem(model, data=df))
    line = RecourseProblem(lambda d: d["a"], data=df, target={"above": 2})
    with pytest.raises(QuestionError, match="the function is not known to be one"):
        ExactRecourse().fit(line)
    with pytest.raises(ParameterError, match="time_limit"):
        ExactRecourse(time_limit=0).fit(line)


@pytest.mark.parametrize("more", [{"cost": "l2"}, {"cost": "carma"}, {"scale": "percentile"}])
def test_costs_that_are_not_linear_are_refused(more):
    from sklearn.linear_model import LinearRegression

    df = pd.DataFrame({"a": [0.0, 1.0, 2.0, 4.5], "b": [1.0, 0.0, 4.0, 1.5]})
    model = LinearRegression().fit(df, df["a"])
    problem = RecourseProblem(model, data=df, target={"above": 2}, **more)
    with pytest.raises(QuestionError, match="not linear"):
        ExactRecourse().fit(problem)


def test_unbounded_counting_needs_bounds():
    from sklearn.linear_model import LinearRegression

    df = pd.DataFrame({"a": [0.0, 1.0, 2.0, 4.5], "b": [1.0, 0.0, 4.0, 1.5]})
    model = LinearRegression().fit(df, df["a"])
    schema = Schema.infer(df)
    free = {"schema": schema, "target": {"above": 9}, "scale": {"a": 1, "b": 1}}
    plan = ExactRecourse().fit(RecourseProblem(model, **free)).recommend(df)
    assert plan.recommended["a"].round(5).eq(9).all()
    problem = RecourseProblem(model, max_changes=1, **free)
    with pytest.raises(ParameterError, match="'a'.*no bounds"):
        ExactRecourse().fit(problem).recommend(df)


def test_a_score_exactly_at_the_threshold_is_enough():
    from sklearn.linear_model import LinearRegression

    from workbench.recourse import GrowingSpheres, Wachter

    rng = np.random.default_rng(0)
    df = pd.DataFrame(rng.integers(0, 6, size=(60, 2)), columns=["a", "b"])
    model = LinearRegression(fit_intercept=False).fit(df, df["a"] + 2 * df["b"])
    model.coef_ = np.array([1.0, 2.0])
    scale = {"a": 1.0, "b": 3.0}
    problem = RecourseProblem(model, data=df, target={"above": 7}, scale=scale)
    people = pd.DataFrame({"a": [1, 2, 0], "b": [1, 0, 3]})
    for method in (ExactRecourse(), GrowingSpheres(), Wachter()):
        plan = method.fit(problem).recommend(people, progress=False)
        assert plan.outcomes["score_after"].iloc[0] == 7, method
    # One more a gains 1 and costs 1; one more b gains 2 and costs a third.
    exact = ExactRecourse().fit(problem).recommend(people, progress=False)
    assert np.allclose(exact.outcomes["cost"], [2 / 3, 1.0, 1 / 3])
