"""Gaussian-process regression of outcomes on covariates and dose: learning and prediction."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...core.errors import DataError
from ...core.saving import saveable
from .kernel import KernelForm, Parameters
from .rows import DoseRows

_ROWS_TO_LEARN = 800  # that decide the parameters of the covariance
_FEWEST_TO_LEARN, _EARLY = 200, 0.6  # rows that the first steps see, and their share
ROWS_EXACT = 2500  # up to which every row is conditioned on
_INDUCING, _INDUCING_OF_MANY, _MANY = 1000, 500, 20_000
_RATE = 0.15
_JITTER = 1e-6
_CELLS = 4_000_000  # of a matrix of covariances held at once
_ROWS_OF_MEANS = 600  # that stand for all in the covariance of an average


@saveable
@dataclass(frozen=True, eq=False)
class GaussianProcess:
    """The posterior of mu(x, t), exact or on inducing points.

    The mean is k . alpha, the covariance k(a, b) - (L1 k_a)(L1 k_b) [+ (L2 k_a)(L2 k_b)] with L1
    and L2 the inverse factors kept here; the second term only with inducing points.

    Attributes:
        form: Shape of the covariance.
        parameters: Its parameters, arrays by name.
        z, t: The points conditioned on, (n, p) and (n,).
        alpha: (n,).
        first: Inverse factor L1, (n, n).
        second: Inverse factor L2, or None.
        loss: Minus the log marginal likelihood per row, priors included.

    References:
        Rasmussen and Williams, "Gaussian Processes for Machine Learning", MIT Press, 2006.
        Seeger, Williams and Lawrence, "Fast forward selection to speed up sparse Gaussian
        process regression", AISTATS 2003 (inducing points).
    """

    form: KernelForm
    parameters: dict[str, np.ndarray]
    z: np.ndarray
    t: np.ndarray
    alpha: np.ndarray
    first: np.ndarray
    second: np.ndarray | None
    loss: float

    @property
    def noise(self) -> float:
        """Variance of outcomes around mu."""
        return float(np.exp(self.parameters["noise"]))

    def levels(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """mu(z, t), (m, G)."""
        alpha = torch.from_numpy(self.alpha)
        return self._by_parts(z, t, lambda x, u, k: k @ alpha)

    def slopes(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """d mu / d t, (m, G), by automatic differentiation."""
        p, alpha = self._tensors(), torch.from_numpy(self.alpha)
        points = torch.from_numpy(self.z), torch.from_numpy(self.t)
        slope = np.empty((len(z), t.shape[1]))
        for rows in self._parts(len(z)):
            x = torch.from_numpy(z[rows])
            for g in range(t.shape[1]):
                u = torch.from_numpy(_column(t, rows, g, len(x))).requires_grad_()
                level = (self.form.covariance(p, x, u, *points) @ alpha).sum()
                slope[rows, g] = torch.autograd.grad(level, u)[0].numpy()
        return slope

    def errors(self, z: np.ndarray, t: np.ndarray, base: np.ndarray | None = None) -> np.ndarray:
        """Posterior sd of mu(z, t), or of mu(z, t) - mu(z, base), (m, G)."""
        p = self._tensors()
        points = torch.from_numpy(self.z), torch.from_numpy(self.t)
        variance = np.empty((len(z), t.shape[1]))
        with torch.no_grad():
            for rows in self._parts(len(z)):
                x = torch.from_numpy(z[rows])
                start = None
                if base is not None:
                    start = torch.from_numpy(_column(base, rows, 0, len(x)))
                    k_start = self.form.covariance(p, x, start, *points)
                for g in range(t.shape[1]):
                    u = torch.from_numpy(_column(t, rows, g, len(x)))
                    k = self.form.covariance(p, x, u, *points)
                    prior = self.form.within(p, x, torch.zeros_like(u))
                    if start is not None:
                        k = k - k_start
                        prior = 2 * (prior - self.form.within(p, x, u - start))
                    variance[rows, g] = (prior - self._explained(k)).numpy()
        return np.sqrt(np.maximum(variance, 0))

    def mean_errors(
        self, z: np.ndarray, weight: np.ndarray, t: np.ndarray, base: float | None = None
    ) -> np.ndarray:
        """Posterior sd of the weighted mean over rows of levels, or of contrasts, (G,)."""
        p = self._tensors()
        points = torch.from_numpy(self.z), torch.from_numpy(self.t)
        few = np.linspace(0, len(z) - 1, min(len(z), _ROWS_OF_MEANS)).astype(int)
        x, share = torch.from_numpy(z[few]), weight[few] / weight[few].sum()
        w = torch.from_numpy(share)
        found = np.empty(t.shape[1])
        with torch.no_grad():
            for g, dose in enumerate(t[0]):
                u = torch.full((len(few),), float(dose), dtype=torch.float64)
                k = w @ self.form.covariance(p, x, u, *points)
                prior = w @ self.form.covariance(p, x, u, x, u) @ w
                if base is not None:
                    v = torch.full_like(u, float(base))
                    k = k - w @ self.form.covariance(p, x, v, *points)
                    prior = prior + w @ self.form.covariance(p, x, v, x, v) @ w
                    prior = prior - 2 * (w @ self.form.covariance(p, x, u, x, v) @ w)
                found[g] = float(prior - self._explained(k[None])[0])
        return np.sqrt(np.maximum(found, 0))

    def _explained(self, k: Tensor) -> Tensor:
        """What the data take off the prior variance of rows with covariances k, (m,)."""
        gone = ((k @ torch.from_numpy(self.first).T) ** 2).sum(1)
        if self.second is not None:
            gone = gone - ((k @ torch.from_numpy(self.second).T) ** 2).sum(1)
        return gone

    def _by_parts(
        self, z: np.ndarray, t: np.ndarray, answer: Callable[[Tensor, Tensor, Tensor], Tensor]
    ) -> np.ndarray:
        p = self._tensors()
        points = torch.from_numpy(self.z), torch.from_numpy(self.t)
        found = np.empty((len(z), t.shape[1]))
        with torch.no_grad():
            for rows in self._parts(len(z)):
                x = torch.from_numpy(z[rows])
                for g in range(t.shape[1]):
                    u = torch.from_numpy(_column(t, rows, g, len(x)))
                    k = self.form.covariance(p, x, u, *points)
                    found[rows, g] = answer(x, u, k).numpy()
        return found

    def _parts(self, m: int) -> list[np.ndarray]:
        return np.array_split(np.arange(m), max(1, -(-m * len(self.t) // _CELLS)))

    def _tensors(self) -> Parameters:
        return {k: torch.as_tensor(v, dtype=torch.float64) for k, v in self.parameters.items()}


def _column(t: np.ndarray, rows: np.ndarray, g: int, m: int) -> np.ndarray:
    own = t[rows, g] if len(t) > 1 or m == 0 else np.full(m, t[0, g])
    return np.ascontiguousarray(own, dtype=float)


def learn(rows: DoseRows, form: KernelForm, steps: int) -> tuple[Parameters, float]:
    """Parameters of the covariance by marginal likelihood with sparse priors.

    The likelihood's gradient in the covariance matrix has a closed form,
    (K^-1 - alpha alpha') / 2; automatic differentiation carries it on to the parameters. The
    first steps see half of the rows: they find the region, an eighth of the work each.

    Returns:
        The parameters, and minus the log posterior density per row.
    """
    rows = some_rows(rows, _ROWS_TO_LEARN)
    start = form.start(rows.z.shape[1])
    if rows.groups is not None:
        start["cluster"] = torch.tensor(math.log(0.1), dtype=torch.float64)
    sizes = [value.numel() for value in start.values()]
    theta = torch.cat([value.reshape(-1) for value in start.values()]).requires_grad_()

    def named(vector: Tensor) -> Parameters:
        parts = vector.split(sizes)
        return {
            name: part.reshape(value.shape)
            for (name, value), part in zip(start.items(), parts, strict=True)
        }

    first, second = torch.zeros_like(theta), torch.zeros_like(theta)
    best, least = None, math.inf
    half = max(_FEWEST_TO_LEARN, len(rows) // 2)
    early = round(_EARLY * steps) if half < len(rows) else 0
    seen = _Evidence(some_rows(rows, half) if early else rows, form)
    for step in range(steps + 1):
        if step == early:
            seen = _Evidence(rows, form)
        loss, gradient = seen(named, theta)
        if not math.isfinite(loss):
            break
        if loss < least and step >= early:
            best, least = theta.detach().clone(), loss
        if step == steps:
            break
        with torch.no_grad():  # Adam
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            along = (first / (1 - 0.9 ** (step + 1))) / (
                (second / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8
            )
            theta -= _RATE * along
            named(theta)["noise"].clamp_(min=math.log(1e-4))
    if best is None:
        raise DataError("has a covariance that can't be inverted", column="outcome")
    return named(best), least / len(rows) + 0.5 * math.log(2 * math.pi)


class _Evidence:
    """Minus the log marginal likelihood and priors of some rows, and its gradient."""

    def __init__(self, rows: DoseRows, form: KernelForm):
        self.form, self.same = form, _same_cluster(rows)
        self.z, self.t, self.y, self.weight = (
            torch.from_numpy(np.ascontiguousarray(a)) for a in (rows.z, rows.t, rows.y, rows.weight)
        )

    def __call__(
        self, named: Callable[[Tensor], Parameters], theta: Tensor
    ) -> tuple[float, Tensor]:
        theta.grad = None
        p = named(theta)
        k = self.form.covariance(p, self.z, self.t, self.z, self.t)
        if self.same is not None:
            k = k + p["cluster"].exp() * self.same
        penalty = self.form.penalty(p)
        with torch.no_grad():
            noise = p["noise"].exp() / self.weight
            factor, half_log = _factor(k.detach(), noise)
            alpha = torch.cholesky_solve(self.y[:, None], factor)[:, 0]
            loss = float(0.5 * self.y @ alpha + half_log + penalty)
            pull = 0.5 * (torch.cholesky_inverse(factor) - alpha[:, None] * alpha[None])
        through_noise = (pull.diagonal() @ noise) * p["noise"]
        gradient = torch.autograd.grad((k * pull).sum() + penalty + through_noise, theta)[0]
        return loss, gradient


def condition(rows: DoseRows, form: KernelForm, p: Parameters, loss: float) -> GaussianProcess:
    """The posterior given all rows: exact for few, on inducing points for many."""
    few = _INDUCING if len(rows) <= _MANY else _INDUCING_OF_MANY
    inducing = None if len(rows) <= ROWS_EXACT else some_rows(rows, few)
    kept = rows if inducing is None else inducing
    z, t = torch.from_numpy(np.ascontiguousarray(kept.z)), torch.from_numpy(kept.t)
    with torch.no_grad():
        k = form.covariance(p, z, t, z, t)
        if inducing is None:
            same = _same_cluster(rows)
            if same is not None:
                k = k + p["cluster"].exp() * same
            first = _inverse_factor(k, p["noise"].exp() / torch.from_numpy(rows.weight))
            alpha, second = first.T @ (first @ torch.from_numpy(rows.y)), None
        else:
            noise = p["noise"].exp() + (p["cluster"].exp() if "cluster" in p else 0.0)
            gram, right = torch.zeros_like(k), torch.zeros(len(k), dtype=k.dtype)
            for part in np.array_split(np.arange(len(rows)), -(-len(rows) * len(k) // _CELLS)):
                x = torch.from_numpy(np.ascontiguousarray(rows.z[part]))
                own = form.covariance(p, x, torch.from_numpy(rows.t[part]), z, t)
                heavy = torch.from_numpy(rows.weight[part]) / noise
                gram += own.T @ (own * heavy[:, None])
                right += own.T @ (heavy * torch.from_numpy(rows.y[part]))
            none = torch.full((len(k),), 0.0, dtype=k.dtype)
            first, second = _inverse_factor(k, none), _inverse_factor(k + gram, none)
            alpha = second.T @ (second @ right)
    return GaussianProcess(
        form=form,
        parameters={name: v.detach().numpy().copy() for name, v in p.items()},
        # One layout in memory, so that what is loaded again answers to the last bit.
        z=np.ascontiguousarray(kept.z),
        t=np.ascontiguousarray(kept.t),
        alpha=alpha.numpy(),
        first=np.ascontiguousarray(first.numpy()),
        second=None if second is None else np.ascontiguousarray(second.numpy()),
        loss=loss,
    )


def _factor(k: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Cholesky factor of k + diag(noise), and half its log determinant; more jitter if needed."""
    jitter = _JITTER * float(k.diagonal().mean().clamp(min=1e-12))
    for _ in range(8):
        factor, failed = torch.linalg.cholesky_ex(k + torch.diag(noise + jitter))
        if not int(failed):
            return factor, factor.diagonal().log().sum()
        jitter *= 10
    return torch.eye(len(k), dtype=k.dtype), torch.tensor(math.nan)


def _inverse_factor(k: Tensor, noise: Tensor) -> Tensor:
    factor, log_size = _factor(k, noise)
    if not torch.isfinite(log_size):
        raise DataError("has a covariance that can't be inverted", column="outcome")
    return torch.linalg.solve_triangular(factor, torch.eye(len(k), dtype=k.dtype), upper=False)


def some_rows(rows: DoseRows, most: int) -> DoseRows:
    """At most so many rows, spread evenly over whatever their content is."""
    if len(rows) <= most:
        return rows
    mixed = np.random.default_rng(0).permutation(len(rows))[:most]
    return rows.some(np.sort(np.argsort(rows.order, kind="stable")[mixed]))


def _same_cluster(rows: DoseRows) -> Tensor | None:
    """Whether two rows share a cluster, (n, n), or None where there are no clusters."""
    if rows.groups is None:
        return None
    return torch.from_numpy((rows.groups[:, None] == rows.groups[None]).astype(float))
