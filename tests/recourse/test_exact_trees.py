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

from workbench import Feature, Schema
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
    found, _ = check(range(2), [kind], people=2)
    assert found


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
