"""TARNet, CFRNet, DragonNet and PairNet."""

import numpy as np
import pandas as pd
import pytest
import torch

from workbench.core.errors import CausalWarning, ParameterError
from workbench.effects import CFRNet, DragonNet, PairNet, TARNet
from workbench.effects.balance_distance import arm_distance

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")

SMALL = {"phi_dim": 2, "heads": (16,), "n_folds": 2, "epochs": 80, "progress": False}
CLASSES = [TARNet, CFRNet, DragonNet, PairNet]


def table(n=400, seed=0, arms=2):
    rng = np.random.default_rng(seed)
    x = pd.DataFrame(rng.normal(size=(n, 3)), columns=list("abc"))
    t = pd.Series(rng.integers(0, arms, n), name="t")
    y = (np.exp(x.a / 2) + t * x.b + 0.3 * rng.normal(size=n)).rename("y")
    return y, t, x


@pytest.mark.parametrize("cls", CLASSES)
def test_effects_that_differ_between_units_are_found(cls):
    y, t, x = table()
    effect = cls(**SMALL).fit(y, t, X=x).effect()
    assert np.mean((effect - x.b) ** 2) < 0.15


@pytest.mark.parametrize("cls", CLASSES)
def test_outcomes_are_probabilities_where_the_outcome_is_binary(cls):
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.normal(size=(400, 2)), columns=list("ab"))
    t = rng.integers(0, 2, 400)
    y = (rng.random(400) < 1 / (1 + np.exp(-x.a - t))).astype(int).rename("y")
    net = cls(**SMALL).fit(y, t, X=x)
    outcomes = net.predict_outcomes()
    assert ((outcomes >= 0) & (outcomes <= 1)).all()
    truth = 1 / (1 + np.exp(-x.a - 1)) - 1 / (1 + np.exp(-x.a))
    assert abs(net.effect().mean() - truth.mean()) < 0.12


@pytest.mark.parametrize("cls", CLASSES)
def test_batches_and_three_arms(cls):
    y, t, x = table(arms=3)
    net = cls(**{**SMALL, "batch_size": 50, "epochs": 15}).fit(y, t, X=x)
    assert net.const_marginal_effect(x).shape == (400, 2)
    assert np.corrcoef(net.effect(T0=0, T1=2), 2 * x.b)[0, 1] > 0.8


@pytest.mark.parametrize("cls", CLASSES)
def test_a_batch_may_lack_an_arm(cls):
    y, _, x = table(200)
    t = np.r_[np.ones(8, int), np.zeros(192, int)]
    effect = cls(**{**SMALL, "batch_size": 4, "epochs": 2}).fit(y, t, X=x).effect()
    assert np.isfinite(effect).all()


def test_the_width_is_chosen_from_several():
    y, t, x = table()
    net = TARNet(**{**SMALL, "phi_dim": (1, 2)}).fit(y, t, X=x)
    assert net.phi_dim_ == 2  # a and b enter in different directions
    assert net.models_.represent(net.encoder_.transform(x)).shape == (2, 400, 2)
    with pytest.raises(ParameterError, match="phi_dim"):
        TARNet(phi_dim=(0, 1)).fit(y, t, X=x)


def test_inputs_that_matter_stay_open():
    y, t, x = table()
    noise = pd.DataFrame(np.random.default_rng(1).normal(size=(400, 6))).add_prefix("n")
    net = TARNet(**{**SMALL, "gate_penalty": 0.05, "epochs": 200}).fit(y, t, X=x.join(noise))
    gate = dict(zip(net.encoder_.columns_, net.models_.net.gate.abs().mean(0), strict=True))
    assert min(gate["a"], gate["b"]) > 3 * max(gate[f"n{k}"] for k in range(6))


def test_arms_weigh_alike_with_arm_balance():
    y, _, x = table()
    t = (np.arange(400) % 10 == 0).astype(int)
    plain, balanced = (
        TARNet(**SMALL, arm_balance=b).fit(y, t, X=x).history_.training for b in (False, True)
    )
    assert not np.allclose(plain, balanced)


# ---- distance between arms


def test_linear_distance_is_that_of_means():
    phi, arm = torch.randn(1, 50, 3, dtype=torch.float64), torch.randint(0, 2, (1, 50))
    unit = (phi - phi.mean(1, keepdim=True)) / phi.std(1, keepdim=True, unbiased=False)
    gap = unit[0, arm[0] == 1].mean(0) - unit[0, arm[0] == 0].mean(0)
    found = arm_distance(phi, arm, torch.ones(1, 50, dtype=torch.float64), 2, "linear")
    torch.testing.assert_close(found[0], (gap**2).mean(), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_distance_has_no_unit_and_weights_are_repeated_rows(kernel):
    phi, arm = torch.randn(2, 60, 2, dtype=torch.float64), torch.randint(0, 3, (2, 60))
    weight = torch.ones(2, 60, dtype=torch.float64)
    base = arm_distance(phi, arm, weight, 3, kernel)
    assert (base > 0).all()
    torch.testing.assert_close(arm_distance(phi * 1000 + 5, arm, weight, 3, kernel), base)
    twice = arm_distance(phi.repeat(1, 2, 1), arm.repeat(1, 2), weight.repeat(1, 2), 3, kernel)
    torch.testing.assert_close(twice, base, rtol=0.05, atol=1e-3)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_an_absent_arm_is_no_distance(kernel):
    phi = torch.randn(1, 20, 2, requires_grad=True)
    found = arm_distance(phi, torch.zeros(1, 20), torch.ones(1, 20), 2, kernel)
    assert found.item() == 0
    found.sum().backward()
    assert torch.isfinite(phi.grad).all()


def test_balance_brings_the_arms_nearer():
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.normal(size=(400, 2)), columns=list("ab"))
    t = (x.a + 0.5 * rng.normal(size=400) > 0).astype(int).to_numpy()
    y = (x.b + 0.3 * x.a + t + 0.3 * rng.normal(size=400)).to_numpy()

    def distance(balance):
        net = CFRNet(balance, kernel="linear", **SMALL).fit(y, t, X=x)
        phi = torch.from_numpy(net.models_.represent(net.encoder_.transform(x)))
        arm = torch.tensor(t).expand(2, -1)
        return arm_distance(phi, arm, torch.ones_like(arm).double(), 2, "linear").mean()

    assert distance(5.0) < 0.5 * distance(0.0)


# ---- DragonNet


def test_the_representation_predicts_the_treatment():
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.normal(size=(500, 2)), columns=list("ab"))
    t = (x.a + 0.5 * rng.normal(size=500) > 0).astype(int).to_numpy()
    y = (x.b + 0.5 * t + 0.3 * rng.normal(size=500)).to_numpy()
    net = DragonNet(propensity_weight=1.0, **SMALL).fit(y, t, X=x).models_
    z = torch.from_numpy(x.to_numpy())
    with torch.no_grad():
        chance = torch.softmax(net.net.arm(net.net.represent(z)), -1)[..., 1].mean(0)
    assert np.corrcoef(chance, x.a)[0, 1] > 0.8


def test_targeted_regularisation_uses_its_coefficient():
    y, t, x = table()
    net = DragonNet(targeted_weight=1.0, **SMALL).fit(y, t, X=x)
    assert net.models_.net.tilt.abs().max() > 0
    assert DragonNet(**SMALL).fit(y, t, X=x).models_.net.tilt.abs().max() == 0


# ---- PairNet


def test_without_pairs_it_is_its_control():
    y, t, x = table()
    control = PairNet(pair_weight=0, **SMALL).fit(y, t, X=x)
    np.testing.assert_array_equal(control.effect(), TARNet(**SMALL).fit(y, t, X=x).effect())
    assert control.pairs_ == []


@pytest.mark.parametrize("psi", ["factual", "raw", "propensity"])
def test_pairs_never_cross_a_fold(psi):
    y, t, x = table()
    net = PairNet(psi=psi, **SMALL).fit(y, t, X=x)
    assert len(net.pairs_) == 2
    arm = t.to_numpy()
    for pairs in net.pairs_:
        assert (arm[pairs.partner] != arm[:, None]).all()
    # Of two folds each is held out once: what the networks may pair is the same parts.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = np.repeat(np.arange(400), 2 * 10)
    partner = np.concatenate([p.partner for p in net.pairs_], axis=1).ravel()
    graph = coo_array((np.ones(len(rows)), (rows, partner)), shape=(400, 400))
    count, part = connected_components(graph, directed=False)
    assert count >= 2
    sizes = np.bincount(part)
    assert any(sizes[list(s)].sum() == 200 for s in _subsets(count))


def _subsets(count):
    return ([k for k in range(count) if code >> k & 1] for code in range(2 ** min(count, 12)))


def test_an_embedding_of_one_s_own():
    y, t, x = table()
    net = PairNet(psi=x.b.to_numpy(), pairing="knn", num_pairs=2, **SMALL).fit(y, t, X=x)
    gap = np.abs(x.b.to_numpy()[net.pairs_[0].partner] - x.b.to_numpy()[:, None])
    np.testing.assert_allclose(net.pairs_[0].distance, gap)
    with pytest.raises(ParameterError, match="psi"):
        PairNet(psi=x.b.to_numpy()[:-1], **SMALL).fit(y, t, X=x)


def test_units_leave_pairs_and_effects_alone():
    y, t, x = table()
    one = PairNet(**SMALL).fit(y, t, X=x)
    other = PairNet(**SMALL).fit(y * 1024 + 3, t, X=x * 64 - 5)
    for a, b in zip(one.pairs_, other.pairs_, strict=True):
        assert (a.partner == b.partner).mean() > 0.999
    np.testing.assert_allclose(other.effect(), 1024 * one.effect(), rtol=1e-3, atol=1)


def test_pairs_alone_leave_levels_right():
    y, t, x = table()
    net = PairNet(pair_weight=1.0, factual_weight=0.0, **SMALL).fit(y + 100, t, X=x)
    received = net.predict_outcomes()[np.arange(len(y)), t]
    assert received.mean() == pytest.approx((y + 100).mean(), abs=0.3)
    assert np.mean((net.effect() - x.b) ** 2) < 0.3


def test_a_row_without_near_partners_is_told():
    y, t, x = table()
    x = x.assign(far=np.where(np.arange(400) == 5, 1e4, 0.0))
    with pytest.warns(CausalWarning, match="nearest one"):
        PairNet(psi="raw", **SMALL).fit(y, t, X=x)


def test_the_embedding_has_a_row_for_each_row():
    y, t, x = table()
    net = PairNet(**SMALL).fit(y, t, X=x)
    assert net.embedding(x.iloc[:7]).shape == (2, 7, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"pair_weight": -1},
        {"pair_weight": 0, "factual_weight": 0},
        {"num_pairs": 0},
        {"drop_frac": 1},
        {"temperature": 0},
        {"pairing": "near"},
        {"psi": "phi"},
    ],
)
def test_parameters_that_make_no_sense_are_refused(wrong):
    y, t, x = table(60)
    with pytest.raises(ParameterError, match=list(wrong)[-1]):
        PairNet(**SMALL, **wrong).fit(y, t, X=x)


@pytest.mark.slow
@pytest.mark.parametrize("factual_weight", [0.0, 1.0])
def test_a_large_trial_with_a_binary_outcome(factual_weight):
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.normal(size=(20_000, 3)), columns=list("abc"))
    t = rng.integers(0, 2, 20_000)
    y = (rng.random(20_000) < 0.4 + 0.1 * np.tanh(x.a) + 0.2 * t).astype(int)
    net = PairNet(pair_weight=1.0, factual_weight=factual_weight, progress=False).fit(y, t, X=x)
    assert net.effect().mean() == pytest.approx(0.2, abs=0.03)
    assert net.ate() == pytest.approx(0.2, abs=0.03)
