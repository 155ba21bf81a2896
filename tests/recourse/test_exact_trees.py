"""Exact recourse for trees: nothing permitted is cheaper, and infeasible means infeasible."""

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from workbench import CausalGraph, Feature, Schema, StructuralCausalModel
from workbench.recourse import ExactRecourse, RecourseProblem

LEVELS = ("a", "b", "c")
COUPLED = 3.0


def lightgbm(**more):
    from lightgbm import LGBMClassifier

    return LGBMClassifier(n_estimators=4, max_depth=2, min_child_samples=3, verbose=-1, **more)


MODELS = {
    "tree": lambda seed: DecisionTreeClassifier(max_depth=4, random_state=seed),
    "forest": lambda seed: RandomForestClassifier(4, max_depth=2, random_state=seed),
    # Pure leaves: scores lie exactly at the threshold all the time.
    "voters": lambda seed: RandomForestClassifier(4, max_depth=4, random_state=seed),
    "extra": lambda seed: ExtraTreesClassifier(4, max_depth=2, random_state=seed),
    "regression": lambda seed: RandomForestRegressor(3, max_depth=3, random_state=seed),
    "boosted": lambda seed: GradientBoostingRegressor(
        n_estimators=4, max_depth=2, random_state=seed
    ),
    "histogram": lambda seed: HistGradientBoostingClassifier(
        max_iter=4, max_depth=2, min_samples_leaf=5, categorical_features=None
    ),
    "lightgbm": lambda seed: lightgbm(),
}


def small_problem(seed, kind, **more):
    """Mixed features, random rules, a fitted model and a threshold that is not trivial."""
    rng = np.random.default_rng(seed)
    n = 80
    df = pd.DataFrame(
        {
            "money": rng.normal(0, 2, n).clip(-5, 5).round(2),
            "debt": rng.gamma(2.0, 1.0, n).round(1),
            "visits": rng.integers(0, 6, n),
            "grade": rng.integers(1, 5, n),
            "member": rng.integers(0, 2, n),
            "kind": rng.choice(LEVELS, n),
        }
    )

    def way():
        return [True, True, "increase", "decrease", False][rng.integers(5)]

    def cost():
        return float(rng.uniform(0.5, 2))

    schema = Schema(
        [
            Feature("money", bounds=(-5, 5), cost=cost()),
            Feature("debt", actionable=way(), cost=cost()),
            Feature("visits", "count", bounds=(0, 5), actionable=way(), cost=cost()),
            Feature("grade", "ordinal", levels=(1, 2, 3, 4), actionable=way(), cost=cost()),
            Feature("member", "binary", levels=(0, 1), actionable=bool(rng.integers(2))),
            Feature("kind", "categorical", levels=LEVELS, actionable=bool(rng.integers(2))),
        ]
    )
    numbers = ["money", "debt", "visits", "grade", "member"]
    levels = OneHotEncoder(categories=[list(LEVELS)], sparse_output=False)
    if rng.random() < 0.5:
        levels = OrdinalEncoder(categories=[list(LEVELS)])
    scaled = StandardScaler() if rng.random() < 0.4 else "passthrough"
    model = make_pipeline(
        make_column_transformer((scaled, numbers), (levels, ["kind"])), MODELS[kind](seed)
    )
    signal = df[numbers] @ rng.normal(size=5) + df["kind"].map(
        dict(zip(LEVELS, rng.normal(size=3), strict=True))
    )
    is_class = hasattr(model, "predict_proba")
    model.fit(df, (signal > signal.median()).astype(int) if is_class else signal)
    target = None
    if not is_class:
        side = "above" if rng.random() < 0.5 else "below"
        target = {side: float(np.quantile(model.predict(df), rng.uniform(0.3, 0.95)))}
    elif rng.random() < 0.5:
        target = 0 if rng.random() < 0.5 else {"above": float(rng.uniform(0.4, 0.8))}
    more.setdefault("cost", ["l1", "l1", "l0", "linf"][rng.integers(4)])
    if rng.random() < 0.4:
        more.setdefault("max_changes", int(rng.integers(1, 4)))
    if rng.random() < 0.2:
        more.setdefault("budget", float(rng.uniform(0.3, 3)))
    problem = RecourseProblem(model, data=df, schema=schema, target=target, **more)
    assert problem.view.structure == "trees", kind
    return problem, df


def brute_force(problem, x):
    """The cheapest of all combinations of cell edges, as the model itself judges them."""
    space = problem.space
    low, high = (side[0] for side in problem.reach(x[None]))
    options = []
    for j in range(len(space)):
        values = {x[j]}
        if problem.movable[j] and (space.discrete[j] or space.integer[j]):
            values |= set(np.arange(np.ceil(low[j]), np.floor(high[j]) + 1))
        elif problem.movable[j]:
            for tree in problem.view.trees().trees:
                cuts = tree.threshold[(tree.feature == j) & (tree.left >= 0)]
                values |= set(cuts[cuts < x[j]] - 1e-9) | set(cuts[cuts >= x[j]] + 1e-9)
        if len(problem.couplings) and space.names[j] == "money":
            values |= set(COUPLED - np.arange(6))  # where the coupling binds
        options.append(sorted(v for v in values if v == x[j] or low[j] <= v <= high[j]))
    z = np.array(list(itertools.product(*options)))
    start = np.repeat(x[None], len(z), axis=0)
    good = problem.permitted(start, z != start, z, z)
    z, start = z[good], start[good]
    good = problem.accepts(problem.view.score(space.frame(z)))
    return problem.cost(start, z != start, z)[good].min(initial=np.inf)


def check(seeds, kinds, people=3, exact=1e-7, **more):
    found = refused = 0
    for seed in seeds:
        kind = kinds[seed % len(kinds)]
        problem, df = small_problem(seed, kind, **more)
        rows = df[~problem.accepts(problem.scores)].iloc[:people]
        plan = ExactRecourse().fit(problem).recommend(rows, progress=False)
        x = problem.space.codes(rows)
        for i, row in plan.outcomes.reset_index(drop=True).iterrows():
            best, told = brute_force(problem, x[i]), (seed, kind, i, row["status"], row["reason"])
            if np.isinf(best):
                assert row["status"] == "infeasible", told
                refused += 1
            else:
                found += 1
                assert row["status"] == "found", (*told, best)
                assert row["cost"] == pytest.approx(best, abs=exact), told
                assert row["bound"] == pytest.approx(best, abs=exact), told
    return found, refused


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """The search is compiled at its first use, which is nobody's fault."""
    problem, df = small_problem(0, "tree")
    rows = df[~problem.accepts(problem.scores)].iloc[:1]
    ExactRecourse().fit(problem).recommend(rows, progress=False)


@pytest.mark.parametrize("kind", MODELS)
def test_nothing_permitted_is_cheaper(kind):
    assert sum(check(range(2), [kind], people=2))


def test_couplings_are_kept_at_the_least_cost():
    rule = {"constraints": [f"money + visits <= {COUPLED}"]}
    found, _ = check([300], ["forest"], people=1, exact=3e-6, cost="l1", **rule)
    assert found


@pytest.mark.slow
def test_couplings_are_kept_at_the_least_cost_in_40_problems():
    rule = {"constraints": [f"money + visits <= {COUPLED}"]}
    found, _ = check(range(300, 340), list(MODELS), people=2, exact=3e-6, **rule)
    assert found > 50


@pytest.mark.slow
def test_nothing_permitted_is_cheaper_in_100_problems():
    found, refused = check(range(100, 200), list(MODELS))
    assert found > 150 and refused > 10


def forest(seed=0, **more):
    """A forest of numbers, enough to be no toy."""
    rng = np.random.default_rng(seed)
    df = pd.DataFrame(rng.normal(size=(300, 4)), columns=list("abcd"))
    says_yes = df.sum(axis=1) + rng.normal(size=300) > 0.5
    model = RandomForestClassifier(10, max_depth=4, random_state=seed).fit(df, says_yes)
    return df, model, RecourseProblem(model, data=df, **more)


def test_every_odd_person_has_an_outcome():
    df, model, problem = forest()
    no = df[model.predict(df) == 0].iloc[:1]
    yes = df[model.predict(df) == 1].iloc[:1]
    people = pd.concat([no, yes, no.assign(b=np.nan), no.assign(a=9.0)])
    plan = ExactRecourse().fit(problem).recommend(people, progress=False)
    assert plan.status.tolist()[:3] == ["found", "already accepted", "incomplete"]
    assert plan.status.iloc[3] in ("found", "already accepted")  # outside the data
    assert ExactRecourse().fit(problem).recommend(df.iloc[:0], progress=False).status.empty


def test_infeasible_is_said_where_it_is_proven():
    df, model, _ = forest()
    no = df[model.predict(df) == 0].iloc[:2]

    def ask(**more):
        problem = RecourseProblem(model, data=df, **more)
        return ExactRecourse().fit(problem).recommend(no, progress=False)

    never = RandomForestClassifier(5, max_depth=2, random_state=0).fit(df, np.arange(300) < 1)
    problem = RecourseProblem(never, data=df)
    plan = ExactRecourse().fit(problem).recommend(no, progress=False)
    assert set(plan.status) == {"infeasible"}
    assert (plan.outcomes["reason"] == "no permitted action reaches the target").all()
    # Nobody may leave where this person is: the ranges exclude everything else.
    there = {n: {"bounds": (float(no[n].min()), float(no[n].max()))} for n in "abcd"}
    narrow = Schema([Feature(n, **there[n]) for n in "abcd"])
    problem = RecourseProblem(model, schema=narrow, scale=dict.fromkeys("abcd", 1.0))
    plan = ExactRecourse().fit(problem).recommend(no, progress=False)
    assert set(plan.status) == {"infeasible"}
    plan = ask(budget=1e-6)
    assert set(plan.status) == {"infeasible"}
    assert plan.outcomes["reason"].str.contains("the budget is 1e-06").all()


def test_when_time_is_up_the_best_action_comes_with_its_bound():
    df, model, problem = forest()
    no = df[model.predict(df) == 0].iloc[:3]
    best = ExactRecourse().fit(problem).recommend(no, progress=False).outcomes
    hasty = ExactRecourse(time_limit=1e-9).fit(problem).recommend(no, progress=False).outcomes
    found = hasty["status"] == "found"
    assert (hasty["cost"][found] >= best["cost"][found] - 1e-9).all()
    assert (hasty["bound"] <= best["cost"] + 1e-9).all() and (hasty["bound"] >= 0).all()


def test_a_tree_split_at_a_number_is_passed_by_a_hair():
    df = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [0.0, 1.0, 0.0, 1.0]})
    tree = DecisionTreeClassifier().fit(df, [0, 0, 1, 1])
    problem = RecourseProblem(tree, data=df, scale={"a": 1, "b": 1})
    plan = ExactRecourse().fit(problem).recommend(df.iloc[:2], progress=False)
    assert tree.predict(plan.recommended).all()
    assert np.allclose(plan.outcomes["cost"], [1.5, 0.5], atol=1e-6)
    assert np.allclose(plan.outcomes["gap"], 0, atol=1e-6)


@pytest.mark.parametrize("more", [{}, {"constraints": ["a + b <= 100"]}])
def test_both_solvers_agree_on_a_forest(more):
    df, model, problem = forest(1, **more)
    no = df[model.predict(df) == 0].iloc[:1]
    plan = ExactRecourse().fit(problem).recommend(no, progress=False)
    search = ExactRecourse().fit(forest(1)[2]).recommend(no, progress=False)
    assert np.allclose(plan.outcomes["cost"], search.outcomes["cost"], atol=3e-6)
    assert np.allclose(plan.outcomes["bound"], search.outcomes["cost"], atol=3e-6)


def test_causes_carry_a_change_into_trees():
    rng = np.random.default_rng(0)
    a = rng.normal(size=200)
    df = pd.DataFrame({"a": a, "b": 2 * a + rng.normal(size=200)})
    tree = DecisionTreeClassifier(max_depth=3, random_state=0).fit(df, df.sum(axis=1) > 1)
    scm = StructuralCausalModel(CausalGraph(["a", "b"], [("a", "b")])).fit(df)
    problem = RecourseProblem(tree, data=df, graph_or_scm=scm)
    no = df[tree.predict(df) == 0].iloc[:3]
    exact = ExactRecourse().fit(problem).recommend(no, progress=False)
    x = problem.space.codes(no)
    grid = np.linspace(df.min().to_numpy(), df.max().to_numpy(), 80)
    for i, (status, cost) in enumerate(zip(exact.status, exact.outcomes["cost"], strict=True)):
        best = np.inf
        for acted in ([True, False], [False, True], [True, True]):
            pairs = np.array(list(itertools.product(grid[:, 0], grid[:, 1])))
            start, mask = np.repeat(x[[i]], len(pairs), axis=0), np.tile(acted, (len(pairs), 1))
            values = np.where(mask, pairs, start)
            state = problem.apply(start, mask, values)
            good = problem.permitted(start, mask, values, state)
            good &= problem.accepts(problem.view.score(problem.space.frame(state)))
            best = min(best, problem.cost(start, mask, values)[good].min(initial=np.inf))
        assert status == "found" and cost <= best + 1e-6
        assert exact.outcomes["bound"].iloc[i] == pytest.approx(cost, abs=1e-5)
