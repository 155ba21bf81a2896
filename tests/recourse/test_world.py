"""Change that travels: actions through a structural causal model."""

import itertools

import numpy as np
import pandas as pd
import pytest

from workbench import CausalGraph, Feature, Schema, StructuralCausalModel
from workbench.core.errors import GraphError, ParameterError, QuestionError
from workbench.recourse import (
    ExactRecourse,
    GrowingSpheres,
    NearestTarget,
    RecourseProblem,
    Wachter,
)


class Additive:
    """Additive-noise model with known functions of the parents; abduction is exact."""

    def __init__(self, graph, functions):
        self.graph, self.functions = graph, functions

    def _mean(self, node, frame):
        return self.functions[node](frame) if node in self.functions else 0.0

    def counterfactual(self, df, do):
        after = df.copy()
        for node in self.graph.topological_order():
            if node in self.functions:
                noise = df[node] - self._mean(node, df)
                after[node] = self._mean(node, after) + noise
            if node in do:
                value = do[node](after) if callable(do[node]) else do[node]
                after[node] = np.asarray(value, dtype=float)
        return after

    def sample(self, n, seed=0):
        rng = np.random.default_rng(seed)
        df = pd.DataFrame(index=range(n))
        for node in self.graph.topological_order():
            df[node] = self._mean(node, df) + rng.normal(size=n)
        return df[list(self.graph.nodes)]


NODES = ["age", "diet", "sport", "bmi", "serum", "risk"]
EDGES = [("age", "bmi"), ("diet", "bmi"), ("sport", "bmi"), ("diet", "serum"), ("bmi", "serum")]
EDGES += [("serum", "risk"), ("bmi", "risk"), ("age", "risk")]
GRAPH = CausalGraph(NODES, EDGES)
LINEAR = {
    "bmi": lambda d: 0.3 * d["age"] - 0.9 * d["diet"] - 0.7 * d["sport"],
    "serum": lambda d: 0.8 * d["bmi"] + 0.5 * d["diet"],
    "risk": lambda d: 1.2 * d["serum"] + 0.6 * d["bmi"] + 0.4 * d["age"],
}
CURVED = LINEAR | {
    "bmi": lambda d: 0.3 * d["age"] - np.tanh(d["diet"]) - 0.2 * d["sport"] ** 2,
    "risk": lambda d: 1.2 * d["serum"] + 0.6 * np.exp(0.4 * d["bmi"]),
}
SCHEMA = Schema(
    [
        Feature("age", actionable=False),
        Feature("diet", bounds=(-4, 4)),
        Feature("sport", bounds=(-4, 4), actionable="increase", cost=1.4),
        Feature("bmi", bounds=(-6, 6)),
        Feature("serum", actionable=False),
        Feature("risk", actionable=False, unit="points"),
    ]
)


def world(functions, below=-1.5, n=200, **more):
    scm = Additive(GRAPH, functions)
    df = scm.sample(n)
    problem = RecourseProblem.in_world(
        scm, "risk", below=below, schema=SCHEMA, data=df, scale=more.pop("scale", "sd"), **more
    )
    return problem, df, scm


def total_effects(problem, members):
    """Effect on the risk of each member along paths that no other member cuts, by hand."""
    b = {e: 0.0 for e in EDGES}
    b |= {("age", "bmi"): 0.3, ("diet", "bmi"): -0.9, ("sport", "bmi"): -0.7}
    b |= {("bmi", "serum"): 0.8, ("diet", "serum"): 0.5}
    b |= {("serum", "risk"): 1.2, ("bmi", "risk"): 0.6, ("age", "risk"): 0.4}

    def effect(node):
        if node == "risk":
            return 1.0
        return sum(w * effect(v) for (u, v), w in b.items() if u == node and (v not in members))

    return {m: effect(m) for m in members}


def by_hand(problem, x, below):
    """The cheapest hard intervention in a linear world: a knapsack for every set of nodes."""
    space, cost = problem.space, problem.cost
    low, high = (side[0] for side in problem.reach(x[None]))
    need = x[space.place("risk")] - below
    best = np.inf
    for size in (1, 2, 3):
        for members in itertools.combinations(["diet", "sport", "bmi"], size):
            gains = []
            for name, effect in total_effects(problem, members).items():
                j = space.place(name)
                room = high[j] - x[j] if effect < 0 else x[j] - low[j]
                per_unit = abs(effect) * cost.scale[j] / cost.weights[j]
                gains.append((per_unit, room * abs(effect)))
            # Holding the others at today's value changes the effects, which is why the set matters.
            left, spent = need, 0.0
            for per_unit, most in sorted(gains, reverse=True):
                take = min(left, most)
                spent += take / per_unit if take > 0 else 0.0
                left -= take
            if left <= 1e-9:
                best = min(best, spent)
    return best


def test_linear_worlds_are_solved_exactly():
    problem, df, _ = world(LINEAR)
    people = df.iloc[:40]
    plan = ExactRecourse().fit(problem).recommend(people, progress=False)
    x = problem.space.codes(people)
    for i, (status, cost) in enumerate(zip(plan.status, plan.outcomes["cost"], strict=True)):
        if status == "already accepted":
            continue
        best = by_hand(problem, x[i], -1.5)
        assert (status == "found") == np.isfinite(best)
        if status == "found":
            assert cost == pytest.approx(best, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("method", [GrowingSpheres(), Wachter(steps=60)])
def test_searches_come_close_to_the_exact_answer(method):
    problem, df, _ = world(LINEAR)
    people = df.iloc[:12]
    exact = ExactRecourse().fit(problem).recommend(people, progress=False)
    plan = method.fit(problem).recommend(people, progress=False)
    assert (plan.status == exact.status).mean() > 0.95
    both = ((plan.status == "found") & (exact.status == "found")).to_numpy()
    ratio = (plan.outcomes["cost"] / exact.outcomes["cost"])[both]
    assert ratio.min() > 1 - 1e-6 and ratio.max() < 1.02


@pytest.mark.parametrize("method", [GrowingSpheres(), Wachter(steps=60), NearestTarget()])
def test_recommendations_come_true_in_the_world(method):
    problem, df, scm = world(CURVED, below=0.5)
    people = df.iloc[:15]
    plan = method.fit(problem).recommend(people, progress=False)
    found = (plan.status == "found").to_numpy()
    assert found.sum() > 1
    for i in np.flatnonzero(found):
        row = people.iloc[[i]].reset_index(drop=True)
        acted = plan.acted.columns[plan.acted.iloc[i]]
        assert set(acted) <= {"diet", "sport", "bmi"}
        do = {name: plan.recommended[name].iloc[i] for name in acted}
        after = scm.counterfactual(row, do).iloc[0]
        assert after["risk"] <= 0.5 + 1e-9
        shown = plan.recommended.iloc[i][NODES].astype(float)
        assert np.allclose(shown, after[NODES].astype(float))
        assert after["age"] == row["age"].iloc[0]
        if "sport" in acted:
            assert after["sport"] >= row["sport"].iloc[0]


def test_holding_at_todays_value_is_an_action():
    # Raising a lowers the outcome, but it also raises m, which undoes most of it: hold m.
    graph = CausalGraph(["a", "m", "y"], [("a", "m"), ("a", "y"), ("m", "y")])
    scm = Additive(graph, {"m": lambda d: d["a"], "y": lambda d: -d["a"] + 0.9 * d["m"]})
    df = scm.sample(100)
    schema = Schema([Feature("a", bounds=(-9, 9)), Feature("m", bounds=(-9, 9)), Feature("y")])
    scale = {"a": 1.0, "m": 1e-3}  # moving m costs a fortune, holding it is free
    problem = RecourseProblem.in_world(scm, "y", below=-2, schema=schema, data=df, scale=scale)
    people = df[df["y"] > -1].iloc[:5]
    for method in (ExactRecourse(), GrowingSpheres(), Wachter()):
        plan = method.fit(problem).recommend(people, progress=False)
        assert (plan.status == "found").all()
        assert plan.acted["m"].all() and not plan.changed["m"].any(), method
        assert np.allclose(plan.outcomes["cost"], people["y"] + 2, rtol=1e-3)
        kinds = plan.changes().set_index(["person", "feature"])["kind"]
        assert (kinds.xs("m", level="feature") == "hold").all()
        assert (kinds.xs("y", level="feature") == "follows").all()
        assert "hold m at" in plan.explain(people.index[0])


def test_what_can_not_move_can_still_be_held():
    # m is at its upper bound and would be pushed beyond it: the only way is to hold it there.
    graph = CausalGraph(["a", "m", "y"], [("a", "m"), ("a", "y")])
    scm = Additive(graph, {"m": lambda d: d["a"], "y": lambda d: -d["a"]})
    schema = Schema(
        [
            Feature("a", bounds=(-9, 9)),
            Feature("m", bounds=(-9, 2), actionable="increase"),
            Feature("y", actionable=False),
        ]
    )
    person = pd.DataFrame({"a": [0.5], "m": [2.0], "y": [1.0]})
    scale = {"a": 1.0, "m": 1.0}
    problem = RecourseProblem.in_world(scm, "y", below=-2, schema=schema, scale=scale)
    for method in (ExactRecourse(), GrowingSpheres(), Wachter()):
        plan = method.fit(problem).recommend(person, progress=False)
        assert plan.status.tolist() == ["found"], method
        assert plan.changes()["kind"].tolist() == ["act", "hold", "follows"]
        assert plan.outcomes["cost"].iloc[0] == pytest.approx(3, rel=1e-6)


def test_a_models_decision_can_be_changed_through_causes():
    from sklearn.linear_model import LogisticRegression

    scm = Additive(GRAPH, LINEAR)
    df = scm.sample(300)
    features = ["age", "bmi", "serum"]
    model = LogisticRegression().fit(df[features], df["risk"] < -1)
    problem = RecourseProblem(model, schema=SCHEMA, data=df, graph_or_scm=scm)
    people = df[~model.predict(df[features])].iloc[:15]
    plan = ExactRecourse().fit(problem).recommend(people, progress=False)
    found = plan.recommended[(plan.status == "found").to_numpy()]
    assert len(found) > 10
    assert model.predict(found[features]).all()
    # Without causes only bmi could be acted on; serum would have to stay.
    alone = RecourseProblem(model, schema=SCHEMA, data=df)
    cost = ExactRecourse().fit(alone).recommend(people, progress=False).outcomes["cost"]
    both = plan.outcomes["cost"].notna() & cost.notna()
    assert (plan.outcomes["cost"][both] <= cost[both] + 1e-6).all()


def test_immutables_must_not_move_downstream_either():
    problem, df, _ = world(LINEAR, immutable=["serum"], below=0.0)
    people = df.iloc[:20]
    for method in (ExactRecourse(), GrowingSpheres(), Wachter(steps=80)):
        plan = method.fit(problem).recommend(people, progress=False)
        assert np.allclose(plan.recommended["serum"], people["serum"])


def test_curved_worlds_are_refused_by_the_exact_method():
    problem, _, _ = world(CURVED)
    with pytest.raises(QuestionError, match="linearly.*GrowingSpheres"):
        ExactRecourse().fit(problem)


def test_the_graph_must_know_the_features():
    scm = Additive(GRAPH, LINEAR)
    df = scm.sample(50).assign(extra=1.5)
    with pytest.raises(GraphError, match="'extra'"):
        RecourseProblem(
            lambda d: d["extra"], data=df[["extra", *NODES]], target={"above": 2}, graph_or_scm=scm
        )
    with pytest.raises(GraphError, match="Did you mean 'risk'"):
        RecourseProblem.in_world(scm, "risks", below=0, data=df)
    with pytest.raises(ParameterError, match="above= or below="):
        RecourseProblem.in_world(scm, "risk", data=df)
    with pytest.raises(QuestionError, match="how far changes travel"):
        RecourseProblem(lambda d: d["bmi"], schema=SCHEMA, target={"above": 2}, graph_or_scm=GRAPH)


@pytest.fixture(scope="module")
def diabetes():
    """The public diabetes table and the usual graph: habits and age first, then serum."""
    from sklearn.datasets import load_diabetes

    df = load_diabetes(as_frame=True, scaled=False).frame.rename(columns={"target": "progression"})
    serum = [f"s{i}" for i in range(1, 7)]
    first = ["age", "sex", "bmi", "bp"]
    edges = [(a, b) for a in first[:2] for b in first[2:]]
    edges += [(a, s) for a in first for s in serum]
    edges += [(v, "progression") for v in [*first, *serum]]
    fixed = {name: {"actionable": False} for name in ["age", "sex", *serum, "progression"]}
    schema = Schema.infer(df).correct(fixed, bmi={"unit": "kg/m²"}, bp={"unit": "mmHg"})
    return df, CausalGraph(list(df.columns), edges), schema


@pytest.fixture(scope="module")
def linear_diabetes(diabetes):
    df, graph, schema = diabetes
    linear = {n: "linear" for n in graph.nodes if graph.parents(n)}
    scm = StructuralCausalModel(graph, schema=schema, mechanisms=linear).fit(df, progress=False)
    return RecourseProblem.in_world(scm, "progression", below=150, schema=schema, data=df), scm


def test_progression_below_150(diabetes, linear_diabetes, tmp_path):
    df, graph, _ = diabetes
    problem, scm = linear_diabetes
    people = df[df["progression"] > 150].iloc[:8]
    plan = ExactRecourse().fit(problem).recommend(people, progress=False)
    found = (plan.status == "found").to_numpy()
    assert found.sum() >= 5
    new = plan.recommended[found]
    assert (new["progression"] <= 150 + 1e-6).all()
    assert (new[["age", "sex"]] == people[found][["age", "sex"]]).all(axis=None)
    assert (plan.outcomes["gap"][found] < 1e-6).all()
    acted = set(plan.acted.columns[plan.acted.any()])
    assert acted <= {"bmi", "bp"}
    changes = plan.changes()
    assert {"s3", "progression"} <= set(changes.loc[changes["kind"] == "follows", "feature"])
    text = plan.explain(people.index[found][0])
    assert "kg/m²" in text and "progression from" in text and "As a consequence" in text
    search = GrowingSpheres(samples=8, rounds=1).fit(problem).recommend(people, progress=False)
    assert (search.status == "found").tolist() == found.tolist()
    ratio = (search.outcomes["cost"] / plan.outcomes["cost"])[found]
    assert ratio.between(1 - 1e-6, 1.01).all()
    problem.save(tmp_path / "problem")
    back = RecourseProblem.load(tmp_path / "problem")
    again = ExactRecourse().fit(back).recommend(people, progress=False)
    assert np.allclose(again.outcomes["cost"][found], plan.outcomes["cost"][found])


@pytest.mark.slow
def test_two_actions_are_as_good_as_a_fine_grid(diabetes):
    df, graph, schema = diabetes
    scm = StructuralCausalModel(graph, schema=schema).fit(df, progress=False)
    problem = RecourseProblem.in_world(scm, "progression", below=150, schema=schema, data=df)
    people = df[df["progression"].between(170, 230)].iloc[:3]
    plan = GrowingSpheres(samples=24, rounds=3).fit(problem).recommend(people, progress=False)
    x = problem.space.codes(people)
    bmi, bp = problem.space.place("bmi"), problem.space.place("bp")
    for i in range(len(people)):
        best = np.inf
        for mask in problem.world.masks(problem.movable, None):
            sides = [
                np.linspace(problem.low[j], problem.high[j], 80) if mask[j] else x[i, [j]]
                for j in (bmi, bp)
            ]
            grid = np.array(list(itertools.product(*sides)))
            start = np.repeat(x[[i]], len(grid), axis=0)
            values = start.copy()
            values[:, [bmi, bp]] = grid
            acted = np.repeat(mask[None], len(grid), axis=0)
            state = problem.apply(start, acted, values)
            good = problem.accepts(problem.score(state))
            best = min(best, problem.cost(start, acted, values)[good].min(initial=np.inf))
        cost = plan.outcomes["cost"].iloc[i]
        assert np.isinf(best) or cost <= best * 1.01


def test_a_graph_with_data_is_fitted(diabetes):
    df, _, schema = diabetes
    graph = CausalGraph(["bmi", "bp", "s5"], [("bmi", "bp"), ("bmi", "s5"), ("bp", "s5")])
    schema = schema.select(graph.nodes)
    problem = RecourseProblem(
        lambda d: -d["s5"], schema=schema, data=df, graph_or_scm=graph, target={"above": -4.5}
    )
    people = df[df["s5"].between(4.5, 4.7)].iloc[:3]
    plan = GrowingSpheres(samples=8, rounds=0).fit(problem).recommend(people, progress=False)
    assert (plan.status == "found").any()
    assert set(plan.acted.columns[plan.acted.any()]) <= {"bmi", "bp"}
