"""Odd people and random rules, for every method: a new one joins in ``test_methods.METHODS``."""

import warnings
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from tests.recourse.test_methods import METHODS
from workbench import Feature, Schema
from workbench.core.errors import CausalWarning, DataError, QuestionError
from workbench.recourse import RecourseProblem, alternatives, audit, reasons

NAMES = [type(m).__name__ for m in METHODS]
TOWNS = ("A", "B", "C")


def line(weight):
    """A line in ``a`` and ``b``, and five more in town C."""
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    df = table()
    prepare = make_column_transformer((OneHotEncoder(), ["town"]), remainder="passthrough")
    score = df["a"] + df["b"] + 5.0 * (df["town"] == "C")
    return make_pipeline(prepare, LinearRegression()).fit(df, weight * score)


def table(n=30):
    rng = np.random.default_rng(0)
    parts = {name: rng.uniform(-1, 1, 30) for name in "ab"}
    return pd.DataFrame({**parts, "town": np.resize(TOWNS, 30)}).iloc[:n]


def pose(weight=1.0, above=1.0):
    schema = Schema(
        [
            *(Feature(n, bounds=(-1, 1), actionable="increase") for n in "ab"),
            Feature("town", "categorical", levels=TOWNS, actionable=False),
        ]
    )
    return RecourseProblem(line(weight), schema=schema, data=table(), target={"above": above})


class Odd:
    """Each case, and the outcome that it alone has."""

    @staticmethod
    def never_yes(method):
        with pytest.warns(CausalWarning, match="none of the 30 rows.*out of the model's reach"):
            plan = method.fit(pose(weight=0.0)).recommend(table(6), progress=False)
        assert set(plan.status) <= {"infeasible", "not found"}
        assert plan.outcomes["reason"].str.len().min() > 10
        return plan

    @staticmethod
    def out_of_range(method):
        people = table()[table()["town"] != "C"]  # a + b is at most 2, and only C has five more
        with warnings.catch_warnings():
            warnings.simplefilter("error", CausalWarning)
            warnings.filterwarnings("ignore", message=r"\[no-labels\]")
            plan = method.fit(pose(above=4.0)).recommend(people, progress=False)
        assert set(plan.status) <= {"infeasible", "not found"}
        assert plan.outcomes["reason"].str.len().min() > 10
        return plan

    @staticmethod
    def nothing_left(method):
        corner = table(4).assign(a=1.0, b=1.0, town="A")  # both at the end of their range
        plan = method.fit(pose(above=4.0)).recommend(corner, progress=False)
        assert set(plan.status) <= {"infeasible", "not found"}
        return plan

    @staticmethod
    def accepted(method):
        happy = table(6).assign(a=0.9, b=0.9)
        plan = method.fit(pose()).recommend(happy, progress=False)
        assert set(plan.status) == {"already accepted"} and (plan.outcomes["cost"] == 0).all()
        pd.testing.assert_frame_equal(plan.recommended, happy)
        return plan

    @staticmethod
    def unknown_level(method):
        with pytest.raises(DataError, match="'town'.*row 2.*'Z'"):
            method.fit(pose()).recommend(table(4).assign(town=["A", "B", "Z", "A"]))

    @staticmethod
    def empty_cell(method):
        people = table(6)
        people.loc[[1, 4], "a"] = np.nan
        plan = method.fit(pose()).recommend(people, progress=False)
        assert plan.status[[1, 4]].eq("incomplete").all()
        assert plan.status.drop([1, 4]).ne("incomplete").all()
        assert "'a' is empty" in plan.explain(4)
        everybody = method.recommend(people.assign(b=np.nan), progress=False)
        assert set(everybody.status) == {"incomplete"}
        return plan

    @staticmethod
    def nobody(method):
        plan = method.fit(pose()).recommend(table().iloc[:0], progress=False)
        assert len(plan.to_frame()) == 0 and "nobody asked" in plan.summary()
        assert list(plan.recommended.columns) == ["a", "b", "town"] and plan.changes().empty
        return plan


CASES = [
    "never_yes",
    "out_of_range",
    "nothing_left",
    "accepted",
    "unknown_level",
    "empty_cell",
    "nobody",
]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", METHODS, ids=NAMES)
def test_every_odd_case_has_its_own_outcome(method, case):
    before = table()
    getattr(Odd, case)(method)
    pd.testing.assert_frame_equal(table(), before)


@pytest.mark.parametrize("case", ["accepted", "empty_cell", "nobody"])
def test_what_stands_on_a_method_keeps_its_outcomes(case):
    method = METHODS[0]
    plan = getattr(Odd, case)(method)
    options = alternatives(method, plan.people, k=2, progress=False)
    assert (options.options[0].status == plan.status).all()
    why = reasons(method.problem_, plan.people, progress=False)
    assert ((why.status == "already accepted") == (plan.status == "already accepted")).all()
    assert ((why.status == "incomplete") == (plan.status == "incomplete")).all()
    if len(plan):
        with pytest.warns(CausalWarning, match="fewer than 30"):
            report = audit(plan, pd.Series(["x", "y"] * 3, name="group"))
        assert report.groups["people"].sum() == len(plan)


# -- random rules ------------------------------------------------------------------------------


def random_problem(seed, trees):
    """A random table, schema, model and rules; returns the problem, people and the rules.

    ``trees``: how often the model is a tree, which searches ask slowly, rather than logistic.
    """
    rng = np.random.default_rng(seed)
    n, features, parts = 60, [], {}
    directions = [True, True, "increase", "decrease", False]
    for j in range(int(rng.integers(2, 5))):
        name, low = f"number {j}", float(rng.normal())
        parts[name] = low + rng.gamma(2.0, 2.0, n) * 10.0 ** rng.integers(-2, 3)
        bounds = None
        if rng.random() < 0.7:
            bounds = float(parts[name].min()), float(np.quantile(parts[name], 0.9))
            parts[name] = np.clip(parts[name], *bounds)
        features.append(Feature(name, bounds=bounds, actionable=_pick(rng, directions)))
    for j in range(int(rng.integers(0, 3))):
        name = f"count {j}"
        parts[name] = rng.integers(0, 8, n)
        bounds = (0, int(rng.integers(7, 12)))
        features.append(Feature(name, "count", bounds=bounds, actionable=_pick(rng, directions)))
    for j in range(int(rng.integers(0, 3))):
        ordered, levels = bool(rng.random() < 0.5), tuple("pqrs"[: int(rng.integers(2, 5))])
        name, kind = f"level {j}", "ordinal" if ordered else "categorical"
        parts[name] = rng.choice(levels, n)
        action = _pick(rng, directions if ordered else [True, False])
        features.append(Feature(name, kind, levels=levels, actionable=action))
    if not any(f.actionable is not False for f in features):
        features[0] = Feature("number 0", bounds=features[0].bounds)
    df, schema = pd.DataFrame(parts), Schema(features)
    couplings = _random_couplings(rng, df)
    more = {"constraints": [text for text, *_ in couplings], "cost": _pick(rng, ["l1", "linf"])}
    if rng.random() < 0.3:
        more["max_changes"] = int(rng.integers(1, 4))
    if rng.random() < 0.3:
        more["budget"] = float(rng.uniform(0.5, 3))
    target = {_pick(rng, ["above", "below"]): float(rng.uniform(0.3, 0.7))}
    model = _random_model(rng, df, schema, trees)
    problem = RecourseProblem(model, schema=schema, data=df, target=target, **more)
    return problem, df, couplings


def _pick(rng, options):
    return options[int(rng.integers(len(options)))]


def _random_couplings(rng, df):
    """Conditions ``a - c*b >= low`` that everybody satisfies today, some of them barely."""
    numbers = [c for c in df if c.startswith(("number", "count"))]
    if len(numbers) < 2 or rng.random() < 0.5:
        return []
    a, b = rng.choice(numbers, 2, replace=False)
    factor = round(float(df[a].std() / df[b].std()), 3) * _pick(rng, [1, -1])
    low = float(np.floor(1000 * (df[a] - factor * df[b]).min()) / 1000)
    sign = "-" if factor > 0 else "+"
    return [
        (f"`{a}` {sign} {abs(factor)}*`{b}` >= {low}".replace(">= -", ">= 0 - "), a, b, factor, low)
    ]


def _random_model(rng, df, schema, trees):
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    names = [f.name for f in schema if f.is_discrete]
    numbers = [f.name for f in schema if f.is_numeric]
    prepare = make_column_transformer((StandardScaler(), numbers), (OneHotEncoder(), names))
    score = (df[numbers] / df[numbers].std()) @ rng.normal(size=len(numbers))
    for name in names:
        score = score + df[name].map(dict(zip("pqrs", rng.normal(size=4), strict=True)))
    model = LogisticRegression()
    if rng.random() < trees:
        model = DecisionTreeClassifier(max_depth=3, random_state=0)
    return make_pipeline(prepare, model).fit(df, score > score.median())


def violations(problem, df, people, plan, couplings):
    """Rules that recommendations break, read from the tables alone."""
    found, broken = (plan.status == "found").to_numpy(), Counter()
    today, new = people[found], plan.recommended[found]
    for feature in problem.space.schema:
        old, now, rank = today[feature.name], new[feature.name], None
        if feature.is_discrete:
            rank = {level: k for k, level in enumerate(feature.levels)}
            broken["level"] += int((~now.isin(feature.levels)).sum())
            old, now = old.map(rank), now.map(rank)
        moved = now != old
        if feature.actionable is False:
            broken["immutable"] += int(moved.sum())
        if feature.actionable == "increase":
            broken["direction"] += int((now < old).sum())
        if feature.actionable == "decrease":
            broken["direction"] += int((now > old).sum())
        if feature.kind == "count":
            broken["whole"] += int((now[moved] % 1 != 0).sum())
        if feature.is_numeric:
            low, high = feature.bounds or (df[feature.name].min(), df[feature.name].max())
            broken["range"] += int(((now[moved] < low) | (now[moved] > high)).sum())
    for _, a, b, factor, low in couplings:
        slack = 1e-6 * (df[a].std() + abs(factor) * df[b].std())
        broken["coupling"] += int((new[a] - factor * new[b] < low - slack).sum())
    changed = (new.astype(object) != today.astype(object)).sum(axis=1)
    broken["changes"] += int((changed > (problem.max_changes or np.inf)).sum())
    cost = plan.outcomes["cost"][found]
    broken["budget"] += int((cost > (problem.budget or np.inf) * (1 + 1e-6)).sum())
    if found.any():
        scores = problem.model.predict_proba(new[problem.columns])[:, 1]
        side = scores > problem.target.threshold
        broken["target"] += int((side != (problem.target.direction == "above")).sum())
    return +broken


def hold_to_the_rules(method, seeds, people, trees=0.0):
    """Draws that are answered; a method may refuse a model's structure by name."""
    answered = found = 0
    for seed in seeds:
        problem, df, couplings = random_problem(seed, trees)
        try:
            method.fit(problem)
        except QuestionError as refusal:
            assert refusal.advice, refusal
            continue
        asked = df.iloc[:people]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CausalWarning)
            plan = method.recommend(asked, progress=False)
        assert not violations(problem, df, asked, plan, couplings), (seed, problem)
        answered, found = answered + len(plan), found + int((plan.status == "found").sum())
    return answered, found, plan


@pytest.mark.parametrize("method", METHODS, ids=NAMES)
def test_no_random_rule_is_broken(method):
    answered, found, _ = hold_to_the_rules(method, range(5), people=60)
    assert answered >= 150 and found >= 5


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("method", METHODS, ids=NAMES)
def test_no_random_rule_is_broken_in_10000_draws(method):
    answered = found = 0
    seed = 1000
    while answered < 10_000:
        more, hits, _ = hold_to_the_rules(method, range(seed, seed + 20), 60, trees=0.2)
        answered, found, seed = answered + more, found + hits, seed + 20
    assert found > 200


@pytest.mark.parametrize("method", METHODS, ids=NAMES)
def test_the_same_seed_gives_the_same_bits_on_random_rules(method):
    first, second = (hold_to_the_rules(method, [3], people=10)[2] for _ in range(2))
    pd.testing.assert_frame_equal(first.to_frame(), second.to_frame(), check_exact=True)
