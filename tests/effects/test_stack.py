"""Causal stacking: weights by hand and by search, what it answers, what it refuses."""

import os

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from workbench.core.errors import CausalWarning, ParameterError, QuestionError, WorkbenchError
from workbench.core.seeding import generator, spawn
from workbench.effects import CausalStack
from workbench.effects.folded import folded_rows
from workbench.effects.second_stage import SECOND_STAGE
from workbench.effects.stack_weights import (
    EffectLoss,
    factual_weights,
    judge,
    simplex,
    stack_weights,
)
from workbench.tables.effect_data import effect_data

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")
QUICK = {"families": ["trees", "spline"], "n_folds": 3, "progress": False}
LEAN = {"families": ["spline"], "n_folds": 2, "progress": False}


def law(n=400, seed=0, effect=lambda x: 1 + x[:, 0], noise=0.5):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    t = (rng.random(n) < 1 / (1 + np.exp(-0.7 * x[:, 1]))).astype(int)
    return x, t, effect(x) * t + x[:, 1] + noise * rng.normal(size=n)


@pytest.fixture(scope="module")
def fitted():
    x, t, y = law(600)
    return CausalStack(**QUICK).fit(y, t, X=x), x, t, y


# -- weights ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_simplex_least_squares_is_the_best_of_all_mixes(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 9))
    design = (
        rng.normal(size=(30, size)) @ rng.normal(size=(size, size)) * 10.0 ** rng.integers(-6, 6)
    )
    goal = design @ rng.dirichlet(np.ones(size)) + rng.normal(size=30) * design.std()
    gram, right = design.T @ design, design.T @ goal
    found = simplex(gram, right)
    assert (found >= 0).all() and found.sum() == pytest.approx(1)

    unit = np.trace(gram) / size

    def loss(v):
        return (v @ gram @ v - 2 * v @ right) / unit

    searched = minimize(
        loss,
        np.full(size, 1 / size),
        jac=lambda v: 2 * (gram @ v - right) / unit,
        method="SLSQP",
        bounds=[(0, 1)] * size,
        constraints={"type": "eq", "fun": lambda v: v.sum() - 1},
        options={"maxiter": 500, "ftol": 1e-14},
    )
    assert loss(found) <= searched.fun + 1e-5 * (1 + abs(searched.fun))
    assert (loss(rng.dirichlet(np.ones(size), 2000).T[:, 0]) >= loss(found) - 1e-5).all()


def test_simplex_of_equal_candidates_and_of_nothing_to_tell_apart():
    for gram in (np.ones((3, 3)), np.zeros((3, 3))):
        found = simplex(gram, gram[0])
        assert np.isfinite(found).all() and found.sum() == pytest.approx(1)


def test_the_loss_of_a_mix_is_that_of_the_normal_equations():
    rng = np.random.default_rng(0)
    n, size = 50, 4
    residual, push, target, effects = (rng.normal(size=shape) for shape in (n, n, n, (size, n)))
    weight = rng.random(n)
    r_weight = weight * (rng.random(n) < 0.7)
    loss = EffectLoss(residual, push, target, r_weight, weight)
    counts = rng.integers(0, 3, n).astype(float)
    gram, right, alone = loss.normal_equations(effects, counts)

    level = (r_weight * residual * push).sum() / (r_weight * push**2).sum()
    base_r = (r_weight * (residual - level * push) ** 2).sum()
    base = (weight * (target - (weight * target).sum() / weight.sum()) ** 2).sum()

    def by_hand(tau):
        first = (counts * r_weight * (residual - tau * push) ** 2).sum() / base_r
        return first + (counts * weight * (target - tau) ** 2).sum() / base

    v = rng.dirichlet(np.ones(size))
    constant = by_hand(np.zeros(n))
    assert constant + v @ gram @ v - 2 * v @ right == pytest.approx(by_hand(v @ effects))
    np.testing.assert_allclose(alone, [by_hand(e) for e in effects])
    gain = [1 - (r_weight * (residual - e * push) ** 2).sum() / base_r for e in effects]
    np.testing.assert_allclose(loss.gain(effects), gain)


def test_weights_are_half_the_best_mix_and_half_the_best_candidate():
    rng = np.random.default_rng(1)
    n = 80
    effects = rng.normal(size=(3, n))
    push = rng.choice([-0.5, 0.5], n)
    loss = EffectLoss(effects[1] * push + rng.normal(size=n), push, effects[1] + rng.normal(size=n),
                      np.ones(n), np.ones(n))  # fmt: skip
    for groups in (None, np.arange(n) // 4):
        found = stack_weights(effects, loss, groups, spawn(7, 1)[0])
        draw, units = generator(spawn(7, 1)[0]), n if groups is None else n // 4
        expected = np.zeros(3)
        for _ in range(20):
            counts = np.zeros(units)
            np.add.at(counts, draw.integers(0, units, units), 1.0)
            each = counts if groups is None else counts[groups]
            gram, right, alone = loss.normal_equations(effects, each)
            expected += simplex(gram, right) / 40
            expected[alone.argmin()] += 1 / 40
        np.testing.assert_allclose(found, expected)
        assert found.argmax() == 1


def test_gains_and_weights_of_a_fit_follow_from_held_out_predictions(fitted):
    stack, x, t, y = fitted
    data = effect_data(y, t, X=x)
    seeds = spawn(spawn(0, 2)[1], 4)
    rows, *_ = folded_rows(data, 3, stack.overlap_.score, seeds[0])
    rows = rows.arranged()
    # Whatever is judged is predicted by the fit that never saw the row.
    held_out = np.stack([rows.own(m.models.outcomes(rows.z)) for m in stack.models_.outcomes_by])
    np.testing.assert_allclose(factual_weights(held_out, rows), stack.models_.shares, atol=1e-6)
    own = stack.models_.candidates(rows.z)[0][:, rows.fold, np.arange(len(y))]
    outcome = np.einsum("jnk,kj->nk", held_out, stack.models_.shares)
    chance = np.maximum(rows.chance, 0.02)
    share = chance[:, 1] / chance.sum(axis=1)
    mean = (1 - share) * outcome[:, 0] + share * outcome[:, 1]
    rest, push = rows.y - mean, rows.arm - share
    level = (rest * push).sum() / (push**2).sum()
    base = ((rest - level * push) ** 2).sum()
    gain = [1 - ((rest - e * push) ** 2).sum() / base for e in own]
    np.testing.assert_allclose(stack.gain_["1"], gain, atol=1e-9)
    score = (stack.scores_.score - stack.shift_) / stack.unit_
    target = (score[:, 1] - score[:, 0])[np.argsort(rows_order(data))]
    target = np.clip(target, *np.quantile(target, [0.005, 0.995]))
    loss = judge(rows, 1, target, outcome, 0.02)
    weights = stack_weights(own, loss, None, spawn(seeds[3], 1)[0])
    np.testing.assert_allclose(stack.weights_["1"], weights, atol=1e-6)


def rows_order(data):
    return folded_rows(data, 3, np.ones((len(data), 2)) / 2, spawn(0, 1)[0])[0].order


# -- answers ---------------------------------------------------------------------------------------


def test_weights_are_shares(fitted):
    stack, *_ = fitted
    assert (stack.weights_ >= 0).all(axis=None)
    np.testing.assert_allclose(stack.weights_.sum(), 1)
    assert set(SECOND_STAGE) < set(stack.weights_.index)
    np.testing.assert_allclose(stack.models_.shares.sum(axis=1), 1)


def test_effects_that_differ_are_found(fitted):
    stack, x, _, _ = fitted
    at = np.random.default_rng(5).normal(size=(300, 3))
    assert np.sqrt(np.mean((stack.effect(at) - 1 - at[:, 0]) ** 2)) < 0.25
    assert np.corrcoef(stack.effect(), 1 + x[:, 0])[0, 1] > 0.95


def test_it_says_what_the_answer_is_made_of(fitted):
    stack, *_ = fitted
    told = stack.explain()
    for name, share in stack.weights_["1"].items():
        assert (f"{share:.0%} {name}" in told) == (share >= 0.05)
    mixed = float(stack.gain_["1"] @ stack.weights_["1"])
    assert mixed > 0 and f"{mixed:.1%} below" in told


def test_one_effect_for_all_stays_one_effect():
    x, t, y = law(800, effect=lambda x: np.ones(len(x)))
    stack = CausalStack(**QUICK).fit(y, t, X=x)
    assert stack.effect().std() < 0.1
    assert stack.weights_["1"][["constant", "lasso on scores", "ridge"]].sum() > 0.5
    assert abs(stack.ate() - 1) < 0.12


@pytest.mark.parametrize("arms", [3, 5])
def test_every_arm_has_an_effect_and_weights_of_its_own(arms):
    rng = np.random.default_rng(0)
    n = 200 * arms
    x, a = rng.normal(size=(n, 2)), rng.integers(0, arms, n)
    y = a * (1 + (a == 2) * x[:, 0]) + x[:, 1] + 0.5 * rng.normal(size=n)
    stack = CausalStack(**LEAN).fit(y, a, X=x)
    assert list(stack.weights_) == [str(k) for k in range(1, arms)]
    at = rng.normal(size=(100, 2))
    found = stack.const_marginal_effect(at)
    truth = np.column_stack([k * (1 + (k == 2) * at[:, 0]) for k in range(1, arms)])
    assert found.shape == (100, arms - 1) and abs(found - truth).mean() < 0.25
    np.testing.assert_allclose(stack.effect(at, T0=1, T1=2), found[:, 1] - found[:, 0])
    low, high = stack.effect_interval(at, T0=2, T1=1)
    assert ((low < high) & np.isfinite(low)).all()
    assert stack.predict_outcomes(at).shape == (100, arms)
    assert stack.explain().count("against 0") == arms - 1


def test_columns_that_only_need_adjustment():
    x, t, y = law(600)
    confounders = pd.DataFrame(x[:, 1:], columns=["b", "c"])
    wide = pd.DataFrame(np.random.default_rng(1).normal(size=(600, 30))).add_prefix("w")
    stack = CausalStack(**LEAN | {"n_folds": 3}).fit(
        y, t, X=x[:, :1], W=pd.concat([confounders, wide], axis=1)
    )
    at = np.array([[-1.0], [0.0], [1.0]])
    assert abs(stack.effect(at) - 1 - at[:, 0]).max() < 0.5
    assert abs(stack.ate() - 1 - x[:, 0].mean()) < 0.15
    assert tuple(stack.weights_.index) == SECOND_STAGE
    with pytest.raises(QuestionError, match="'W'.*Fit with all covariates in X"):
        stack.predict_outcomes(at)


def test_binary_outcomes_stay_between_0_and_1():
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(800, 2)), rng.integers(0, 2, 800)
    y = (rng.random(800) < 0.2 + 0.3 * t * (x[:, 0] > 0)).astype(int)
    stack = CausalStack(**QUICK).fit(y, t, X=x)
    levels = stack.predict_outcomes(5 * x)
    assert (levels >= 0).all() and (levels <= 1).all()
    assert abs(stack.ate() - 0.15) < 0.08
    assert stack.effect([[1.0, 0.0]]) > stack.effect([[-1.0, 0.0]])


def test_clusters_stay_together_and_widen_the_average():
    x, t, y = law(300)
    group = np.arange(300) // 6
    y = y + np.random.default_rng(1).normal(size=50)[group]
    once = CausalStack(**LEAN).fit(y, t, X=x, groups=group)
    three = {"X": np.repeat(x, 3, axis=0), "groups": np.repeat(group, 3)}
    thrice = CausalStack(**LEAN).fit(np.repeat(y, 3), np.repeat(t, 3), **three)
    assert thrice.average_effect().se == pytest.approx(once.average_effect().se, rel=0.35)
    assert once.average_effect().df < 50


def test_intervals_know_of_what_the_candidates_disagree_on(fitted):
    stack, x, *_ = fitted
    low, high = stack.effect_interval(alpha=0.1)
    assert ((low < 1 + x[:, 0]) & (1 + x[:, 0] < high)).mean() > 0.8
    far_low, far_high = stack.effect_interval([[4.0, 4.0, 4.0]])
    assert far_high - far_low > np.median(high - low)


# -- what is odd -----------------------------------------------------------------------------------


def codes(stack):
    return {w.code for w in stack.warnings_}


def test_no_overlap_is_told():
    x, _, _ = law(300)
    t = (abs(x[:, 1]) > 0.7).astype(int)
    y = t + x[:, 1] ** 2 + np.random.default_rng(0).normal(size=300)
    with pytest.warns(CausalWarning, match="no overlap"):
        CausalStack(**LEAN).fit(y, t, X=x)


def test_one_arm_is_refused():
    x, t, y = law(100)
    with pytest.raises(WorkbenchError, match="nothing to compare"):
        CausalStack(**LEAN).fit(y, 0 * t, X=x)


@pytest.mark.parametrize("treated", [2, 5])
def test_a_tiny_arm_is_told(treated):
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(300, 2)), np.zeros(300, int)
    t[:treated] = 1
    stack = CausalStack(**LEAN).fit(2 * t + x[:, 0] + rng.normal(size=300), t, X=x)
    assert "sample-size" in codes(stack)
    assert np.isfinite(stack.effect()).all() and np.isfinite(stack.effect_interval()).all()


def test_an_arm_of_two_clusters_is_told():
    rng = np.random.default_rng(0)
    x, group = rng.normal(size=(300, 2)), np.arange(300) // 10
    t = np.isin(group, [3, 9]).astype(int)
    stack = CausalStack(**LEAN).fit(t + x[:, 0] + rng.normal(size=300), t, X=x, groups=group)
    assert "few-clusters" in codes(stack) and stack.average_effect().df == 1
    assert np.isfinite(stack.effect()).all()


def test_records_of_one_unit_in_several_rows_are_told():
    x, t, y = law(150)
    again = y + 0.1 * np.random.default_rng(1).normal(size=150)
    doubled = np.vstack([x, x]), np.append(t, t)
    both = CausalStack(**LEAN).fit(np.append(y, again), doubled[1], X=doubled[0])
    assert "repeated-units" in codes(both)
    same = CausalStack(**LEAN).fit(np.append(y, y), doubled[1], X=doubled[0])
    assert "duplicate-rows" in codes(same)
    known = CausalStack(**LEAN).fit(
        np.append(y, again), doubled[1], X=doubled[0], groups=np.tile(np.arange(150), 2)
    )
    assert not codes(known) & {"repeated-units", "duplicate-rows"}


def test_weights_that_leave_few_rows_are_told_and_their_scale_is_none():
    x, t, y = law(300)
    lone = np.ones(300)
    lone[7] = 1e6
    assert "weights" in codes(CausalStack(**LEAN).fit(y, t, X=x, sample_weight=lone))
    one, million = (
        CausalStack(**LEAN).fit(y, t, X=x, sample_weight=np.full(300, w)) for w in (1.0, 1e6)
    )
    np.testing.assert_allclose(one.effect(), million.effect(), rtol=1e-6)
    assert "weights" not in codes(million)


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_the_unit_of_the_outcome_is_none_of_its_business(unit, fitted):
    stack, x, t, y = fitted
    other = CausalStack(**QUICK).fit(y * unit, t, X=x)
    np.testing.assert_allclose(other.effect() / unit, stack.effect(), rtol=1e-5)


def test_constant_columns_are_told():
    x, t, y = law(200)
    frame = pd.DataFrame(x, columns=list("abc")).assign(d=1.0, e="k")
    assert "rank" in codes(CausalStack(**LEAN).fit(y, t, X=frame))


@pytest.mark.parametrize("folds", [2, 3])
def test_few_folds_will_do(folds):
    x, t, y = law(300)
    stack = CausalStack(["spline"], n_folds=folds, progress=False).fit(y, t, X=x)
    assert abs(stack.effect() - 1 - x[:, 0]).mean() < 0.35


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"widths": [0]}, "widths"),
        ({"families": "net"}, "families"),
        ({"families": []}, "families"),
        ({"families": ["nets"]}, "'net'"),
        ({"n_folds": 1}, "n_folds"),
    ],
)
def test_parameters_are_checked(wrong, place):
    x, t, y = law(100)
    with pytest.raises(ParameterError, match=place):
        CausalStack(**{"progress": False, **wrong}).fit(y, t, X=x)


# -- with the networks: slow -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_large_trial_with_a_binary_outcome():
    rng = np.random.default_rng(0)
    n = 20_000
    x, t = rng.normal(size=(n, 5)), rng.integers(0, 2, n)
    y = (rng.random(n) < 0.3 + 0.2 * t).astype(int)
    stack = CausalStack(progress=False).fit(y, t, X=x)
    assert abs(stack.ate() - 0.2) < 0.03
    assert abs(stack.effect().mean() - 0.2) < 0.03 and stack.effect().std() < 0.03


def exponential_index(x):
    """Effects exp(index) - index of the same covariates: the arms bend differently."""
    index = x @ [0.4, 0.3, 0.2, 0.3, 0.0, 0.2]
    return np.exp(0.5 + 0.8 * index), 2 + index


def additive_interaction(x):
    """Effects of single covariates and one product."""
    level = x[:, 0] + 0.5 * x[:, 1] ** 2 + x[:, 4]
    return level, 1 + x[:, 0] + x[:, 3] - x[:, 1] * x[:, 4]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("surface", [exponential_index, additive_interaction])
def test_intervals_of_individual_effects_cover(surface, capsys):
    shares = []
    for seed in range(int(os.environ.get("TABLES", 6))):
        rng = np.random.default_rng(seed)
        x = np.hstack([rng.normal(size=(700, 3)), rng.integers(0, 2, (700, 3))])
        control, treated = surface(x)
        tau = treated - control if surface is exponential_index else treated
        t = (rng.random(700) < 1 / (1 + np.exp(-0.6 * x[:, 0] + 0.4 * x[:, 3]))).astype(int)
        y = control + t * tau + rng.normal(size=700)
        low, high = CausalStack(progress=False).fit(y, t, X=x).effect_interval(alpha=0.1)
        shares.append(float(((low < tau) & (tau < high)).mean()))
    with capsys.disabled():
        print(f"\n{surface.__name__}: {np.mean(shares):.3f} {np.round(shares, 2)}")  # noqa: T201
    assert np.mean(shares) >= 0.85
