"""Exact recourse for ReLU networks: nothing permitted is cheaper, with and without causes."""

import itertools

import numpy as np
import pandas as pd
import pytest

from workbench import CausalGraph, Feature, Schema, StructuralCausalModel
from workbench.core.errors import ParameterError
from workbench.recourse import ExactRecourse, RecourseProblem, Wachter

LEVELS = ("a", "b", "c")


def network(seed, inputs, hidden, single=False):
    """A torch network with random weights, large enough to bend between people."""
    import torch
    from torch import nn

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sizes, layers = [inputs, *hidden, 1], []
        for a, b in itertools.pairwise(sizes):
            layers += [nn.Linear(a, b), nn.ReLU()]
        model = nn.Sequential(*layers[:-1])
        for layer in model[::2]:
            nn.init.normal_(layer.weight, std=1.5 / np.sqrt(layer.in_features))
            nn.init.normal_(layer.bias, std=0.5)
    return model if single else model.double()


def small_problem(seed, **more):
    """One number that may go anywhere, and features with few values."""
    from workbench.tables import Encoder

    rng = np.random.default_rng(seed)
    n = 60
    df = pd.DataFrame(
        {
            "money": rng.normal(0, 2, n).clip(-5, 5),
            "visits": rng.integers(0, 4, n),
            "member": rng.integers(0, 2, n),
            "kind": rng.choice(LEVELS, n),
        }
    )
    schema = Schema(
        [
            Feature("money", bounds=(-5, 5), actionable=[True, "increase"][rng.integers(2)]),
            Feature("visits", "count", bounds=(0, 4), actionable=bool(rng.integers(3))),
            Feature("member", "binary", levels=(0, 1), actionable=bool(rng.integers(2))),
            Feature("kind", "categorical", levels=LEVELS, cost=float(rng.uniform(0.5, 2))),
        ]
    )
    encoder = Encoder().fit(df, schema=schema)
    model = network(seed, encoder.transform(df).shape[1], [(4,), (3, 3)][seed % 2])
    more.setdefault("cost", ["l1", "l0", "linf"][rng.integers(3)])
    if rng.random() < 0.4:
        more.setdefault("max_changes", int(rng.integers(1, 3)))
    if rng.random() < 0.3:
        more.setdefault("constraints", ["visits + money <= 4"])
    problem = RecourseProblem(
        model,
        data=df,
        schema=schema,
        encoder=encoder,
        target={"above": 0.0},
        output="value",
        **more,
    )
    return problem, df


def brute_force(problem, x):
    """The cheapest of all levels and counts with a fine grid of the number, bisected."""
    space, money = problem.space, problem.space.place("money")
    low, high = (side[0] for side in problem.reach(x[None]))
    grid = np.r_[np.linspace(low[money], high[money], 401), x[money]]
    if len(problem.couplings):
        grid = np.r_[grid, 4.0 - np.arange(5)]
    grid = np.unique(grid[(grid >= low[money]) & (grid <= high[money])])
    others = [
        [x[j]] if j == money or not problem.movable[j] else np.arange(low[j], high[j] + 1)
        for j in range(len(space))
    ]
    best = np.inf
    for choice in itertools.product(*others):
        z = np.repeat(np.array(choice)[None], len(grid), axis=0)
        z[:, money] = grid
        best = min(best, cheapest(problem, x, z))
        margin = problem.target.margin(problem.score(z))
        for k in np.flatnonzero((margin[:-1] < 0) != (margin[1:] < 0)):
            ends = z[[k, k + 1]].copy()
            for _ in range(50):
                middle = ends.mean(axis=0)
                side = problem.target.margin(problem.score(middle[None]))[0] < 0
                ends[0 if side == (margin[k] < 0) else 1] = middle
            best = min(best, cheapest(problem, x, ends))
    return best


def cheapest(problem, x, z):
    start = np.repeat(x[None], len(z), axis=0)
    good = problem.permitted(start, z != start, z, z) & problem.accepts(problem.score(z))
    return problem.cost(start, z != start, z)[good].min(initial=np.inf)


def check(seeds, people):
    found = refused = 0
    for seed in seeds:
        problem, df = small_problem(seed)
        assert problem.view.structure == "relu"
        rows = df[~problem.accepts(problem.scores)].iloc[:people]
        plan = ExactRecourse().fit(problem).recommend(rows, progress=False)
        x = problem.space.codes(rows)
        for i, row in plan.outcomes.reset_index(drop=True).iterrows():
            best, told = brute_force(problem, x[i]), (seed, i, row["status"], row["reason"])
            if row["status"] == "infeasible":
                refused += 1
                assert np.isinf(best), (*told, best)
            else:
                found += 1
                assert row["status"] == "found", (*told, best)
                # The grid may overlook what lies between two of its points, never the solver.
                assert row["cost"] <= best + 3e-6, (*told, best)
                assert row["bound"] == pytest.approx(row["cost"], abs=3e-6), told
    return found, refused


def test_nothing_permitted_is_cheaper():
    found, _ = check(range(3), people=1)
    assert found


@pytest.mark.slow
def test_nothing_permitted_is_cheaper_in_60_problems():
    found, refused = check(range(100, 160), people=2)
    assert found > 40 and refused


def test_one_unit_by_hand():
    from torch import nn

    model = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 1)).double()
    for parameter, value in zip(
        model.parameters(), ([[1.0, 2.0]], [-1.0], [[3.0]], [0.0]), strict=True
    ):
        parameter.data = parameter.data.new_tensor(value)
    df = pd.DataFrame({"a": [0.0, 4.0, 1.0], "b": [0.0, 4.0, 2.0]})
    ask = {"data": df, "target": {"above": 6.0}, "output": "value", "scale": {"a": 1, "b": 1}}
    plan = ExactRecourse().fit(RecourseProblem(model, **ask)).recommend(df.iloc[:1])
    # 3 (a + 2b - 1) = 6 asks for 3 more of a + 2b: b pays, 1.5 of it.
    assert plan.recommended["b"].iloc[0] == pytest.approx(1.5, abs=1e-6)
    assert plan.outcomes["bound"].iloc[0] == pytest.approx(1.5, abs=1e-6)


def test_a_known_action_only_saves_work():
    problem, df = small_problem(3, cost="l1")
    method = ExactRecourse().fit(problem)
    x = problem.space.codes(df)[~problem.accepts(problem.scores)][:3]
    for person, start in zip(x, method._starts(x), strict=True):
        bounds = [method._by_program(person, s)[1].bound for s in (None, start)]
        assert bounds[0] == pytest.approx(bounds[1], abs=3e-6, nan_ok=True)


def test_causes_carry_a_change_into_a_network():
    rng = np.random.default_rng(0)
    a = rng.normal(size=200)
    df = pd.DataFrame({"a": a, "b": 2 * a + rng.normal(size=200)})
    scm = StructuralCausalModel(CausalGraph(["a", "b"], [("a", "b")])).fit(df)
    model = network(1, 2, (4,))
    ask = {"data": df, "output": "value", "graph_or_scm": scm}
    level = float(np.quantile(RecourseProblem(model, target={"above": 0}, **ask).scores, 0.8))
    problem = RecourseProblem(model, target={"above": level}, **ask)
    rows = df[~problem.accepts(problem.scores)].iloc[:2]
    exact = ExactRecourse().fit(problem).recommend(rows, progress=False)
    search = Wachter().fit(problem).recommend(rows, progress=False)
    assert (exact.status == "found").all()
    assert (exact.outcomes["cost"] <= search.outcomes["cost"].fillna(np.inf) + 1e-6).all()
    assert np.allclose(exact.outcomes["bound"], exact.outcomes["cost"], atol=3e-6)


def test_a_network_needs_ranges():
    df = pd.DataFrame({"a": [0.0, 1.0, 2.0], "b": [1.0, 0.0, 4.0]})
    ask = {"schema": Schema.infer(df), "output": "value", "scale": {"a": 1, "b": 1}}
    problem = RecourseProblem(network(0, 2, (3,)), target={"above": 1e6}, **ask)
    with pytest.raises(ParameterError, match="has no bounds"):
        ExactRecourse().fit(problem).recommend(df, progress=False)


@pytest.mark.parametrize("method", [ExactRecourse(), Wachter()])
def test_whoever_is_found_is_accepted_alone_too(method):
    """Single precision rounds a row alone otherwise than the same row in a table."""
    rng = np.random.default_rng(0)
    df = pd.DataFrame(rng.normal(size=(300, 6)), columns=list("abcdef"))
    problem = RecourseProblem(network(3, 6, [16], single=True), data=df, output="logit")
    people = df[~problem.accepts(problem.scores)].head(20)
    plan = method.fit(problem).recommend(people)
    found = plan.recommended[plan.status == "found"]
    alone = [problem.view.score(found.iloc[[i]])[0] for i in range(len(found))]
    assert len(found) == 20 and problem.accepts(np.array(alone)).all()
