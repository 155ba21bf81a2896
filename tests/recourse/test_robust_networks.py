"""ROAR and PROBE on networks: the worst shift found is one, plans survive it, rules hold."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from workbench import Feature, Schema
from workbench.core.errors import QuestionError
from workbench.recourse import PROBE, ROAR, RecourseProblem, invalidation_probability
from workbench.recourse.robust_network import ShiftedNetwork


def net(widths, seed):
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for n_in, n_out in zip(widths[:-1], widths[1:], strict=True):
        layer = nn.utils.skip_init(nn.Linear, n_in, n_out)
        with torch.no_grad():
            layer.weight.normal_(0, n_in**-0.5, generator=generator)
            layer.bias.normal_(0, 0.1, generator=generator)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def posed(seed, hidden=(8,), n=60, **more):
    rng = np.random.default_rng(seed)
    df = pd.DataFrame(rng.normal(size=(n, 4)), columns=list("abcd"))
    schema = Schema(
        [
            Feature("a", bounds=(-4, 4)),
            Feature("b", bounds=(-4, 4), actionable="increase"),
            Feature("c", bounds=(-4, 4), cost=0.5),
            Feature("d", actionable=False),
        ]
    )
    model = net((4, *hidden, 1), seed)
    return RecourseProblem(model, schema=schema, data=df, output="logit", **more), df


def drawn(network, inputs, count, seed):
    """Lowest decision over random corners of the boxes of all weights and biases."""
    generator = torch.Generator().manual_seed(seed)
    lowest = np.full(len(inputs), np.inf)
    for _ in range(count):
        hidden = inputs
        for k, (w, b) in enumerate(zip(network.weights, network.biases, strict=True)):
            w, b = (
                v
                + network.widths[k] * (2.0 * torch.randint(0, 2, v.shape, generator=generator) - 1)
                for v in (w, b)
            )
            hidden = hidden @ w.T + b
            hidden = hidden.relu() if k + 1 < len(network.weights) else hidden
        lowest = np.minimum(lowest, hidden[:, 0].numpy())
    return lowest


@pytest.mark.parametrize("hidden", [(8,), (8, 6), (6, 5, 4)])
def test_no_drawn_shift_is_worse_and_the_worst_is_a_shift(hidden):
    problem, df = posed(1, hidden)
    network = ShiftedNetwork.of(problem, 0.3)
    design = problem.space.design(problem.space.codes(df))
    worst = network.worst(design, 8, 8)
    inputs = torch.from_numpy(design) @ network.matrix + network.offset
    assert (worst <= drawn(network, inputs, 200, 0) + 1e-9).all()
    # The signs stand for weights: -h u sign(a) in row u, which give the same decision.
    signs, value = network.attack(inputs[:1], 8, 8)
    hidden = inputs[0]
    for k, (w, b) in enumerate(zip(network.weights, network.biases, strict=True)):
        last = k + 1 == len(network.weights)
        push = torch.tensor([-1.0]).double() if last else signs[k][0]
        w = w + network.widths[k] * push[:, None] * torch.where(hidden < 0, -1.0, 1.0)
        hidden = w @ hidden + b + network.widths[k] * push
        hidden = hidden if last else hidden.relu()
    assert float(hidden[0]) == pytest.approx(float(value[0]), abs=1e-9)


def test_one_hidden_layer_is_exact():
    problem, df = posed(2, (3,))
    network = ShiftedNetwork.of(problem, 0.3)
    design = problem.space.design(problem.space.codes(df))
    inputs = torch.from_numpy(design) @ network.matrix + network.offset
    every = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0]).double()] * 3)
    values = [network.forward(inputs, [s.expand(len(df), -1)])[0].numpy() for s in every]
    assert np.allclose(network.worst(design, 8, 8), np.min(values, axis=0))


def held(seed, method, n=12, **more):
    problem, df = posed(seed, (8, 6), max(n, 60), **more)
    df = df.iloc[:n]
    plan = method.fit(problem).recommend(df, progress=False)
    found = (plan.status == "found").to_numpy()
    new = plan.recommended[found]
    assert (new["d"] == df["d"][found]).all() and (new["b"] >= df["b"][found]).all()
    assert new[["a", "b", "c"]].abs().le(4).all(axis=None)
    if problem.couplings.items:
        assert (new["a"] <= new["c"] + 1e-8).all()
    assert problem.accepts(problem.view.score(new)).all()
    return problem, plan, found


@pytest.mark.slow
def test_plans_survive_the_worst_shift_and_keep_the_rules():
    method = ROAR(0.05, steps=40)
    _, plan, found = held(3, method, n=5)
    assert found.any() and (method.worst_case(plan.recommended)[found] >= -1e-9).all()
    again = method.recommend(plan.people, progress=False)
    pd.testing.assert_frame_equal(plan.to_frame(), again.to_frame())


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"constraints": ["a <= c"]}, {"max_changes": 1}], ids=str)
def test_no_rule_is_broken_for_many_people(more):
    for seed in range(5):
        held(seed, ROAR(0.05, steps=60), n=200, **more)
        held(seed, PROBE(0.2, 0.2, draws=1024, steps=60), n=40, **more)


@pytest.mark.slow
def test_probe_holds_its_rate_on_fresh_noise():
    problem, plan, found = held(3, PROBE(0.15, 0.1, draws=4096, steps=40), n=6)
    assert found.any()
    new = plan.recommended[found]
    chance = invalidation_probability(problem, new, sigma=0.1, draws=8192, random_state=9)
    assert chance.max() <= 0.155


def test_a_network_of_one_layer_is_solved_as_a_linear_model():
    problem, df = posed(4, ())
    method = ROAR(0.1).fit(problem)
    plan = method.recommend(df, progress=False)
    found = plan.status == "found"
    assert plan.outcomes["bound"][found].notna().all()


def test_what_networks_have_not_is_refused_by_name():
    problem, _ = posed(5)
    with pytest.raises(QuestionError, match="penalised"):
        ROAR(objective="penalised").fit(problem)
    with pytest.raises(QuestionError, match="norm"):
        ROAR(norm="l2").fit(problem)
    tanh = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))
    smooth = RecourseProblem(tanh, schema=problem.space.schema, data=posed(5)[1], output="logit")
    with pytest.raises(QuestionError, match="no weights that can be read"):
        ROAR().fit(smooth)


def test_a_unit_that_is_off_can_be_the_worst_that_happens():
    """Every corner of the signs of a small deep network, against the attack that checks results."""
    from workbench.recourse.structure import Inputs

    rng, sizes = np.random.default_rng(4), (3, 4, 3, 2, 1)
    gaps = []
    for _ in range(10):
        weights = [rng.normal(size=(b, a)) for a, b in itertools.pairwise(sizes)]
        biases = [rng.normal(size=b) for b in sizes[1:]]
        network = ShiftedNetwork(
            weights, biases, Inputs(np.eye(3), np.zeros(3)), 1.0, 0.0, "logit", 0.2
        )
        rows = torch.from_numpy(rng.normal(size=(50, 3)))
        corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=9))).double()
        with torch.no_grad():
            worst = torch.stack(
                [
                    network.forward(rows, [s.expand(50, -1) for s in c.split((4, 3, 2))])[0]
                    for c in corners
                ]
            ).amin(dim=0)
        gaps.append(network.worst(rows.numpy(), 8, 32, True) - worst.numpy())
    assert np.min(gaps) > -1e-9 and np.mean(np.array(gaps) > 1e-9) <= 0.01
