"""Pairs of units of different arms, and the loss on them."""

import numpy as np
import pytest
import torch

from workbench.core.errors import ParameterError
from workbench.effects.backbone import RepresentationNet
from workbench.effects.pair_loss import PairLoss, difference_chances, pair_losses
from workbench.effects.pairs import draw_pairs, joined
from workbench.nets.batches import Batch, Draw

RNG = np.random.default_rng(0)


def batch_of(x, y, arm, partner, weight=None, training=True):
    """All rows of one member as the batch that a loss sees."""
    n = len(y)
    rows = torch.arange(n)[None]
    weight = torch.ones(1, n, dtype=torch.float64) if weight is None else weight
    tensors = {
        "x": torch.from_numpy(x)[None],
        "y": torch.from_numpy(y)[None],
        "arm": torch.from_numpy(arm)[None],
        "partner": torch.from_numpy(partner)[None],
    }
    draw = Draw(rows, weight, False, torch.ones(1, 1), tensors)
    words, counter = torch.zeros(1, 2, dtype=torch.int32), torch.zeros(1, dtype=torch.int32)
    return Batch(draw, torch.arange(1), 1, words, counter, training)


@pytest.fixture
def problem():
    n = 60
    x, arm, y = RNG.normal(size=(n, 3)), RNG.integers(0, 2, n), RNG.normal(size=n)
    net = RepresentationNet(1, 3, 2, (5,), 2, (4,), dtype=torch.float64)
    return x, y, arm, net


def residuals(net, x, y, arm):
    with torch.no_grad():
        return y - net(torch.from_numpy(x))[0].numpy()[np.arange(len(y)), arm]


def loss_of(net, x, y, arm, partner, binary=False, whole=True, pair=1.0, factual=0.0):
    loss = PairLoss(x, y, arm, binary, pair, factual, whole)
    return loss(net, batch_of(x, y, arm, partner)).item()


@pytest.mark.parametrize("whole", [True, False])
def test_a_pair_costs_the_squared_difference_of_residuals(problem, whole):
    x, y, arm, net = problem
    partner = draw_pairs(x, arm, 2, num_pairs=1).partner
    r = residuals(net, x, y, arm)
    expanded = np.mean(r**2 + r[partner[:, 0]] ** 2 - 2 * r * r[partner[:, 0]])
    with torch.no_grad():
        mu = net(torch.from_numpy(x))[0].numpy()[np.arange(len(y)), arm]
    sign, j = 2 * arm - 1, partner[:, 0]
    published = np.mean((sign * (y - y[j]) - sign * (mu - mu[j])) ** 2)
    found = loss_of(net, x, y, arm, partner, whole=whole)
    assert found == pytest.approx(expanded, abs=1e-6)
    assert found == pytest.approx(published, abs=1e-6)


def test_all_random_pairs_are_the_factual_loss_with_arms_alike_and_a_free_intercept(problem):
    x, y, arm, net = problem
    # Every pair once: treated rows have all controls as partners, and only they count.
    treated, control = np.flatnonzero(arm == 1), np.flatnonzero(arm == 0)
    partner = np.full((len(y), len(control)), -1)
    partner[treated] = control
    r = residuals(net, x, y, arm)
    r1, r0 = r[treated], r[control]
    closed = r0.var() + r1.var() + (r1.mean() - r0.mean()) ** 2
    assert loss_of(net, x, y, arm, partner) == pytest.approx(closed, abs=1e-6)


def test_a_common_shift_of_both_heads_changes_nothing(problem):
    x, y, arm, net = problem
    partner = draw_pairs(x, arm, 2, num_pairs=4).partner
    before = loss_of(net, x, y, arm, partner)
    with torch.no_grad():
        effect = net(torch.from_numpy(x)).diff(dim=-1)
        for head in net.outcome.heads:
            head.linear[-1].offset += 7.0
        torch.testing.assert_close(net(torch.from_numpy(x)).diff(dim=-1), effect)
    assert loss_of(net, x, y, arm, partner) == pytest.approx(before, abs=1e-6)


def test_the_three_differences_of_binary_outcomes_have_probability_one():
    a, b = torch.randn(50, dtype=torch.float64) * 5, torch.randn(50, dtype=torch.float64) * 5
    chances = difference_chances(a, b)
    torch.testing.assert_close(chances.sum(-1), torch.ones(50, dtype=torch.float64))
    p, q = torch.sigmoid(a), torch.sigmoid(b)
    torch.testing.assert_close(chances[:, 2] - chances[:, 0], p - q)


def test_a_binary_pair_costs_its_surprise_and_never_more_than_the_clamp():
    one, zero = torch.tensor(1.0), torch.tensor(0.0)
    even = torch.tensor(0.0)
    assert pair_losses(even, one, even, zero, True).item() == pytest.approx(np.log(4))
    assert pair_losses(even, one, even, one, True).item() == pytest.approx(np.log(2))
    wrong = pair_losses(torch.tensor(-40.0), one, torch.tensor(40.0), zero, True)
    assert wrong.item() == pytest.approx(-np.log(1e-6), rel=1e-4)


@pytest.mark.parametrize("pairing", ["softmax", "knn", "random"])
@pytest.mark.parametrize("arms", [2, 4])
def test_partners_are_of_another_arm_and_distances_are_theirs(pairing, arms):
    psi, arm = RNG.normal(size=(90, 2)), np.arange(90) % arms
    pairs = draw_pairs(psi, arm, arms, pairing=pairing, num_pairs=6)
    assert (arm[pairs.partner] != arm[:, None]).all()
    gap = np.linalg.norm(psi[pairs.partner] - psi[:, None], axis=2)
    np.testing.assert_allclose(pairs.distance, gap, rtol=1e-9)
    spread = [np.bincount(arm[row], minlength=arms) for row in pairs.partner]
    assert (np.array(spread).max(axis=1) <= -(-6 // (arms - 1))).all()


def test_partners_are_drawn_without_replacement_while_there_are_any():
    psi, arm = RNG.normal(size=(40, 2)), np.r_[np.zeros(35, int), np.ones(5, int)]
    pairs = draw_pairs(psi, arm, 2, num_pairs=5, drop_frac=0)
    assert all(len(set(row)) == 5 for row in pairs.partner)


def test_the_unit_of_the_embedding_has_no_influence():
    psi, arm = RNG.normal(size=(120, 3)), RNG.integers(0, 2, 120)
    one, other = (draw_pairs(p, arm, 2, num_pairs=5) for p in (psi, psi * 1024))
    np.testing.assert_array_equal(one.partner, other.partner)
    assert other.temperature == pytest.approx(1024 * one.temperature)


def test_near_rows_are_drawn_more_often_and_the_farthest_never():
    psi, arm = RNG.normal(size=(400, 1)), RNG.integers(0, 2, 400)
    near = draw_pairs(psi, arm, 2, num_pairs=5, temperature=0.05)
    random = draw_pairs(psi, arm, 2, num_pairs=5, pairing="random")
    assert near.distance.mean() < 0.3 * random.distance.mean()
    assert near.candidates.mean() < 0.5 * random.candidates.mean()
    pruned = draw_pairs(psi, arm, 2, num_pairs=5, temperature=1e9, drop_frac=0.5)
    gaps = np.abs(psi[arm == 1] - psi[arm == 0].T)
    assert pruned.distance[~pruned.fallback].max() <= np.quantile(gaps, 0.5) + 1e-9
    assert pruned.pruned == pytest.approx(0.5, abs=0.01)


def test_a_row_far_from_all_gets_its_nearest():
    psi = np.r_[0.1 * np.arange(20), 0.1 * np.arange(20), 100.0][:, None]
    arm = np.r_[np.zeros(20, int), np.ones(20, int), 1]
    pairs = draw_pairs(psi, arm, 2, num_pairs=3, drop_frac=0.1)
    assert pairs.fallback[-1] and not pairs.fallback[:-1].any()
    np.testing.assert_allclose(pairs.distance[-1], 100 - 1.9)


def test_weights_are_the_law_of_random_partners():
    psi, arm = np.zeros((2000, 1)), np.arange(2000) % 2
    weight = np.where(np.arange(2000) < 1000, 3.0, 1.0)
    pairs = draw_pairs(psi, arm, 2, weight=weight, pairing="random", num_pairs=1)
    assert (pairs.partner < 1000).mean() == pytest.approx(0.75, abs=0.04)


def test_large_tables_are_drawn_in_parts():
    psi, arm = RNG.normal(size=(4500, 2)), (np.arange(4500) % 20 > 0).astype(int)
    pairs = draw_pairs(psi, arm, 2, num_pairs=2)
    assert (arm[pairs.partner] != arm[:, None]).all()


def test_parts_are_joined_and_renumbered():
    psi, arm = RNG.normal(size=(30, 2)), np.arange(30) % 2
    left, right = np.arange(0, 30, 3), np.setdiff1d(np.arange(30), np.arange(0, 30, 3))
    parts = [(at, draw_pairs(psi[at], arm[at], 2, num_pairs=2)) for at in (left, right)]
    pairs = joined(parts, 30)
    assert np.isin(pairs.partner[left], left).all() and np.isin(pairs.partner[right], right).all()
    names = RNG.permutation(30)
    renamed = pairs.renumbered(names)
    np.testing.assert_array_equal(renamed.partner[names], names[pairs.partner])
    np.testing.assert_array_equal(renamed.distance[names], pairs.distance)


def test_an_arm_without_rows_leaves_no_partner():
    pairs = draw_pairs(np.zeros((4, 1)), np.zeros(4, int), 2)
    assert (pairs.partner == -1).all()


def test_an_unknown_pairing_is_refused():
    with pytest.raises(ParameterError, match="pairing"):
        draw_pairs(np.zeros((4, 1)), np.arange(4) % 2, 2, pairing="near")
