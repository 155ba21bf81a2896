"""Kernel smoothing against scikit-learn, its speed, its windows, and doses that are really far."""

import timeit

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct

from workbench.core.errors import ParameterError
from workbench.effects.doses.smoothing import far_doses, window_posterior


def rows(n=200, d=20, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, d))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    return z, rng.random(n), rng.normal(size=n) * 3


def one_by_one(z, t, y, query, dose, width, prior, noise):
    """The posterior of each query by scikit-learn, a loop over queries."""
    kernel = ConstantKernel(prior, "fixed") * DotProduct(0, "fixed")
    mean, variance = [], []
    for q, s in zip(query, dose, strict=True):
        inside = np.abs(t - s) < width
        center = y[inside].mean()
        gp = GaussianProcessRegressor(kernel, alpha=noise, optimizer=None)
        gp.fit(z[inside], y[inside] - center)
        m, sd = gp.predict(q[None], return_std=True)
        mean.append(center + m[0])
        variance.append(sd[0] ** 2)
    return np.array(mean), np.array(variance)


@pytest.mark.parametrize("d", [4, 60])  # fewer and more than a window has rows
@pytest.mark.parametrize(("prior", "noise"), [(1.0, 1.0), (0.5, 2.0), (4.0, 0.1)])
def test_equals_the_explicit_posterior(prior, noise, d):
    z, t, y = rows(d=d)
    dose = np.random.default_rng(1).random(40)
    found = window_posterior(*map(torch.from_numpy, (z, t, y, z[:40], dose)), 0.1, prior, noise)
    mean, variance = one_by_one(z, t, y, z[:40], dose, 0.1, prior, noise)
    np.testing.assert_allclose(found.mean, mean, atol=1e-8)
    np.testing.assert_allclose(found.variance, variance, atol=1e-8)


@pytest.mark.parametrize(("d", "least"), [(8, 10), (50, 3)])  # 28 and 4 times, idle
def test_is_faster_than_a_loop_over_rows(d, least):
    z, t, y = rows(330, d)
    width, dose = 0.05, np.random.default_rng(1).random(128)
    tensors = tuple(map(torch.from_numpy, (z, t, y, z[:128], dose)))

    z_, t_, y_, q_, dose_ = tensors

    def loop():  # one factorisation per row
        for i in range(128):
            inside = (t_ - dose_[i]).abs() < width
            own, rest = z_[inside], y_[inside] - y_[inside].mean()
            factor = torch.linalg.cholesky(own.T @ own + torch.eye(d, dtype=own.dtype))
            right = torch.stack([own.T @ rest, q_[i]], 1)
            _ = q_[i] @ torch.cholesky_solve(right, factor)

    def seconds(call, times):
        call()
        return min(timeit.repeat(call, number=1, repeat=times))

    batched = seconds(lambda: window_posterior(*tensors, width), 20)
    explicit = seconds(lambda: one_by_one(z, t, y, z[:128], dose, width, 1.0, 1.0), 1)
    assert explicit > 10 * batched
    assert seconds(loop, 5) > least * batched


def test_members_are_answered_on_their_own():
    z, t, y = rows()
    first = window_posterior(*map(torch.from_numpy, (z, t, y, z[:9], t[:9])), 0.1)
    both = window_posterior(
        *(torch.from_numpy(np.stack([a, a[::-1]])) for a in (z, t, y)),
        torch.from_numpy(np.stack([z[:9]] * 2)),
        torch.from_numpy(np.stack([t[:9]] * 2)),
        0.1,
    )
    for member in (0, 1):
        np.testing.assert_allclose(both.mean[member], first.mean, atol=1e-10)


def test_an_empty_window_is_widened():
    z, t, y = (torch.from_numpy(a) for a in rows(30))
    t = t * 0.3
    found = window_posterior(z, t, y, z[:1], torch.tensor([1.0]), 0.05)
    nearest = int(t.argmax())
    only = window_posterior(
        z[[nearest]], t[[nearest]], y[[nearest]], z[:1], torch.tensor([1.0]), 1.0
    )
    assert torch.isfinite(found.mean).all()
    torch.testing.assert_close(found.mean, only.mean)
    ten = window_posterior(z, t, y, z[:1], torch.tensor([1.0]), 0.05, least=10)
    kept = t.argsort()[-10:]
    torch.testing.assert_close(
        ten.mean, window_posterior(z[kept], t[kept], y[kept], z[:1], torch.ones(1), 2.0).mean
    )


def test_rows_without_weight_stay_out():
    z, t, y = (torch.from_numpy(a) for a in rows(60))
    weight = (torch.arange(60) < 40).double()
    some = window_posterior(z, t, y, z[:5], t[:5], 0.2, weight=weight)
    alone = window_posterior(z[:40], t[:40], y[:40], z[:5], t[:5], 0.2)
    torch.testing.assert_close(some.mean, alone.mean)


@pytest.mark.parametrize("wrong", [{"width": 0}, {"noise_variance": -1}, {"least": 0}])
def test_what_makes_no_sense_is_refused(wrong):
    z, t, y = (torch.from_numpy(a) for a in rows(20))
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        window_posterior(z, t, y, z, t, **{"width": 0.1, **wrong})


def test_a_million_far_doses_are_far():
    rng = np.random.default_rng(0)
    t, width = rng.random(10**6), 0.05
    dose = far_doses(t, width, rng.random(10**6))
    assert not (np.abs(dose - t) < width * (1 - 1e-12)).any()
    assert dose.min() >= 0 and dose.max() <= 1


@pytest.mark.parametrize("t", [0.0, 0.02, 0.5, 0.97])
def test_far_doses_are_uniform_outside_the_window(t):
    width = 0.1
    dose = far_doses(np.array(t), width, np.random.default_rng(1).random(20_000))
    low, high = max(t - width, 0), min(t + width, 1)
    squeezed = np.where(dose < low + 1e-12, dose, dose - (high - low)) / (1 - high + low)
    assert kstest(squeezed, "uniform").pvalue > 0.01


def test_a_window_over_the_whole_range_leaves_nothing():
    with pytest.raises(ParameterError, match="width"):
        far_doses(np.array([0.5]), 0.5, np.array([0.1]))
