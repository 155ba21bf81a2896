"""The Gaussian process against scikit-learn, its gradient, slopes, errors, inducing points."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from workbench.effects.doses import gaussian_process as gp
from workbench.effects.doses.dose_gp import fit_forms
from workbench.effects.doses.kernel import KernelForm
from workbench.effects.doses.rows import DoseRows

SHIFTED = KernelForm(shift=True)
FORMS = [
    KernelForm(waves=0, linear=False, main=False),
    KernelForm(linear=False),
    KernelForm(),
    KernelForm(shift=True, second=True),
]


def rows(n=60, p=3, seed=0, groups=None):
    rng = np.random.default_rng(seed)
    z, t = rng.normal(size=(n, p)), rng.random(n)
    y = np.sin(3 * t) * z[:, 0] + 0.3 * rng.normal(size=n)
    y = (y - y.mean()) / y.std()
    fold = np.arange(n) % 5
    return DoseRows(z, t, y, np.ones(n), groups, fold, 5, np.arange(n), np.full(n, 0.5))


def test_equals_scikit_learn():
    data, form = rows(), FORMS[0]
    p = form.start(3)
    p["level"] = np.array(-60.0)  # a product of two RBF is one RBF
    found = gp.condition(data, form, p, 0.0)
    length = np.exp([*p["length"].tolist(), float(p["dose_length"])])
    noise = float(np.exp(p["noise"])) + 1e-6
    peer = GaussianProcessRegressor(
        ConstantKernel(1.0, "fixed") * RBF(length, "fixed"), alpha=noise, optimizer=None
    ).fit(np.column_stack([data.z, data.t]), data.y)
    new = rows(20, seed=1)
    mean, sd = peer.predict(np.column_stack([new.z, new.t]), return_std=True)
    np.testing.assert_allclose(found.levels(new.z, new.t[:, None])[:, 0], mean, atol=1e-8)
    np.testing.assert_allclose(found.errors(new.z, new.t[:, None])[:, 0], sd, atol=1e-8)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("groups", [None, np.arange(60) // 3])
def test_the_gradient_of_the_evidence_is_right(form, groups, monkeypatch):
    data = rows(groups=groups)
    p, rng = form.start(3), np.random.default_rng(0)
    if groups is not None:
        p["cluster"] = np.array(-1.0)
    p = {name: value + 0.1 * rng.normal(size=value.shape) for name, value in p.items()}
    monkeypatch.setattr(gp, "_BLOCK", 1200)  # three blocks
    seen = gp.Evidence(data, form)
    _, gradient = seen(p)
    assert gradient.keys() == p.keys()
    for name, value in p.items():
        for at in np.ndindex(value.shape):
            step = np.zeros_like(value)
            step[at] = 1e-5
            up, down = (seen(p | {name: value + s * step})[0] for s in (1, -1))
            assert gradient[name][at] == pytest.approx((up - down) / 2e-5, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_slopes_are_central_differences(form):
    found = gp.condition(rows(), form, form.start(3), 0.0)
    z, t = rows(10, seed=2).z, np.linspace(0.1, 0.9, 10)[:, None]
    rise = (found.levels(z, t + 1e-5) - found.levels(z, t - 1e-5)) / 2e-5
    np.testing.assert_allclose(found.slopes(z, t), rise, rtol=1e-6, atol=1e-8)


def _explicit(found, z, t):
    """Posterior covariance of mu at points (z, t), from the full matrices."""
    p = found.parameters
    k = found.form.covariance(p, z, t, found.z, found.t) @ found.first.T
    return found.form.covariance(p, z, t, z, t) - k @ k.T


@pytest.mark.parametrize("form", FORMS)
def test_errors_of_levels_contrasts_and_means(form):
    found = gp.condition(rows(), form, form.start(3), 0.0)
    z = rows(8, seed=3).z
    t, base = np.full(8, 0.8), np.full(8, 0.1)
    cov = _explicit(found, np.vstack([z, z]), np.concatenate([t, base]))
    level = np.sqrt(np.diag(cov)[:8])
    np.testing.assert_allclose(found.errors(z, np.array([[0.8]]))[:, 0], level, rtol=1e-6)
    pick = np.hstack([np.eye(8), -np.eye(8)])
    contrast = np.sqrt(np.diag(pick @ cov @ pick.T))
    got = found.errors(z, np.array([[0.8]]), np.array([[0.1]]))[:, 0]
    np.testing.assert_allclose(got, contrast, rtol=1e-6)
    weight = np.arange(1.0, 9.0)
    share = weight / weight.sum()
    mean = np.sqrt(share @ pick @ cov @ pick.T @ share)
    got = found.mean_errors(z, weight, np.array([[0.8]]), 0.1)
    np.testing.assert_allclose(got, [mean], rtol=1e-6)


def test_learning_raises_the_evidence_and_finds_who_matters():
    data = rows(120)
    p, loss = gp.learn(data, KernelForm(linear=False, main=False), 40)
    start = gp.Evidence(data, KernelForm(linear=False, main=False))
    begun = KernelForm(linear=False, main=False).start(3)
    assert loss < start(begun)[0] / 120 + 0.5 * np.log(2 * np.pi)
    assert p["length"].argmin() == 0


def test_inducing_points_come_close_to_all_rows(monkeypatch):
    data, form = rows(400), KernelForm()
    exact = gp.condition(data, form, form.start(3), 0.0)
    monkeypatch.setattr(gp, "ROWS_EXACT", 100)
    monkeypatch.setattr(gp, "_INDUCING", 250)
    sparse = gp.condition(data, form, form.start(3), 0.0)
    new = rows(50, seed=5)
    gap = sparse.levels(new.z, new.t[:, None]) - exact.levels(new.z, new.t[:, None])
    assert np.sqrt((gap**2).mean()) < 0.03
    one, two = (m.errors(new.z, new.t[:, None]) for m in (sparse, exact))
    assert (one >= 0.9 * two).all()


def test_inducing_points_know_that_rows_of_a_cluster_are_alike(monkeypatch):
    data, form = rows(400, groups=np.arange(400) // 20), KernelForm()
    p = form.start(3) | {"cluster": np.array(0.0)}
    exact = gp.condition(data, form, p, 0.0)
    monkeypatch.setattr(gp, "ROWS_EXACT", 100)
    monkeypatch.setattr(gp, "_INDUCING", 390)
    sparse = gp.condition(data, form, p, 0.0)
    new, at = rows(50, seed=5), np.array([[0.2, 0.7]])
    np.testing.assert_allclose(sparse.levels(new.z, at), exact.levels(new.z, at), atol=0.05)
    np.testing.assert_allclose(sparse.errors(new.z, at), exact.errors(new.z, at), rtol=0.05)
    one, two = (m.mean_errors(new.z, np.ones(50), at) for m in (sparse, exact))
    np.testing.assert_allclose(one, two, rtol=0.05)


def test_rows_three_times_with_clusters_are_the_rows_once():
    data = rows(80)
    three = np.tile(np.arange(80), 3)
    repeated = DoseRows(
        data.z[three], data.t[three], data.y[three], np.ones(240), three,
        data.fold[three], 5, np.arange(240), np.full(240, 0.5),
    )  # fmt: skip
    form = KernelForm(linear=False)
    one = gp.condition(data, form, *gp.learn(data, form, 60))
    many = gp.condition(repeated, form, *gp.learn(repeated, form, 60))
    at = np.array([[0.3, 0.8]])
    np.testing.assert_allclose(many.errors(data.z[:5], at), one.errors(data.z[:5], at), rtol=0.3)


def test_copies_of_rows_do_not_break_the_factor():
    data = rows(60)
    same = np.zeros(60, dtype=int)
    copies = DoseRows(
        data.z[same], data.t[same], data.y, data.weight, None, data.fold, 5, data.order, data.center
    )
    found = gp.condition(copies, FORMS[2], FORMS[2].start(3), 0.0)
    assert np.isfinite(found.levels(data.z, data.t[:, None])).all()


def test_a_weight_of_two_is_the_row_twice():
    data, form = rows(50), KernelForm()
    p, twice = form.start(3), np.concatenate([np.arange(50), np.arange(25)])
    weight = np.where(np.arange(50) < 25, 2.0, 1.0)
    weighted = DoseRows(data.z, data.t, data.y, weight, None, data.fold, 5, data.order, data.center)
    one = gp.condition(weighted, form, p, 0.0)
    two = gp.condition(data.some(twice), form, p, 0.0)
    at = np.array([[0.2, 0.7]])
    np.testing.assert_allclose(one.levels(data.z, at), two.levels(data.z, at), atol=1e-4)
    np.testing.assert_allclose(one.errors(data.z, at), two.errors(data.z, at), atol=1e-4)


def test_shifts_are_learned_from_common_curves_and_never_less_likely():
    rng, data = np.random.default_rng(3), rows(150, p=4)
    peak = np.exp(-((data.t - 0.5 - 0.2 * np.tanh(data.z[:, 0])) ** 2) / 0.02)
    y = 3 * peak + 0.2 * rng.normal(size=150)
    moving = replace(data, y=(y - y.mean()) / y.std())
    for given, least in ((moving, 0.02), (data, 0.0)):
        (_, _, common), (_, p, shifted) = fit_forms(given, [FORMS[2], SHIFTED], 40, False)
        assert shifted <= common - least
    assert np.abs(p["shift"]).max() < 0.5
