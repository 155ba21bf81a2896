"""GIKS: gradient interpolation near the dose received, kernel smoothing far from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...core.errors import ParameterError
from ...core.saving import saveable
from ...core.seeding import Seed, generator, spawn
from ...nets.batches import Batch
from .base import Monotone
from .dose_gp import FORMS, Learned, check_steps, fit_forms
from .gaussian_process import GaussianProcess, condition
from .networks import CurveNet, DoseNet
from .rows import DoseRows
from .smoothing import far_doses, window_posterior
from .training import DoseNetworkLearner, Objective, Task, factual_loss

_KNOTS = 9
_FAR, _FEWEST_FAR = 8, 2  # far doses of each row
_ROWS_FOR_ALL_FAR = 2000
_POINTS = 500  # inducing ones of a teacher of over twice as many rows
_LEAST = 5  # rows in a window
TEACHERS = (FORMS["main"], FORMS["moved"])


@saveable
class GIKS(DoseNetworkLearner):
    """Networks trained on the doses received and on inferred outcomes at all others.

    loss = mean (y - f(x, t))^2
         + gi_weight * mean (y - [f(x, t') + (t - t') f_t(x, t')])^2,   t' within ``width`` of t
         + ks_weight * weighted mean (f(x, t'') - m(x, t''))^2,         t'' farther than ``width``

    The second term (gradient interpolation) asks that the first-order expansion from a near dose
    hit the observed outcome; f_t comes in forward mode. In the third (kernel smoothing) m is the
    posterior mean of a Gaussian process, and doubtful ones weigh less: noise / (noise +
    variance). With ``smoother="product"`` the process lives on covariates and dose together, its
    parameters by marginal likelihood, its rows those that the fold's network learns from; with
    ``"window"`` it is the published one, linear in the network's own embedding, given the rows
    within ``width`` of the dose.

    Which covariates matter is learned by gates. Prefer :class:`DoseStack` for the best answer,
    :class:`DoseGP` for few rows.

    Args:
        gi_weight: Of gradient interpolation; helps where curves peak sharply at different doses,
            harms under strong confounding.
        ks_weight: Of kernel smoothing; 0 (with ``gi_weight=0``) is the factual backbone alone.
        width: Half the window around a dose, as a share of the range.
        smoother: ``"product"`` or ``"window"``.
        steps: Steps of the marginal likelihood.
        refresh: Steps between updates of the window smoother's targets.
        hidden, rank: Widths of the layers, units of the representation.
        gate_penalty: Weight of the sum of absolute gates.
        weight_decay, learning_rate, epochs, batch_size: Of the training; one-cycle schedule.
        n_folds: Networks, each trained without one fold, on which its weights are chosen.
        monotone: ``"increasing"`` or ``"decreasing"`` if curves are known to be.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        progress: Show a bar.
        random_state: Seed.

    Attributes:
        model_: The :class:`~workbench.effects.doses.training.DoseNetworks`.

    References:
        Nagalapatti, Iyer, De and Sarawagi, "Continuous treatment effect estimation using gradient
        interpolation and kernel smoothing", AAAI 2024.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(200, 2))
        >>> dose = 1 / (1 + np.exp(-x[:, 0] - rng.normal(size=200)))
        >>> y = x[:, 0] - (dose - 0.3) ** 2 + 0.1 * rng.normal(size=200)
        >>> fitted = GIKS(epochs=100, steps=20, progress=False).fit(y, dose, X=x)
        >>> fitted.dose_response(x[:5], [0.2, 0.8]).shape
        (5, 2)
    """

    def __init__(
        self,
        gi_weight: float = 0.0,
        ks_weight: float = 1.0,
        width: float = 0.05,
        smoother: Literal["product", "window"] = "product",
        steps: int = 60,
        refresh: int = 10,
        hidden: Sequence[int] = (48, 48),
        rank: int = 8,
        gate_penalty: float = 0.02,
        weight_decay: float = 0.3,
        n_folds: int = 5,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 0.005,
        monotone: Monotone = None,
        device: str = "auto",
        progress: bool = True,
        random_state: Seed = 0,
    ):
        self.gi_weight = gi_weight
        self.ks_weight = ks_weight
        self.width = width
        self.smoother = smoother
        self.steps = steps
        self.refresh = refresh
        self.hidden = hidden
        self.rank = rank
        self.gate_penalty = gate_penalty
        self.weight_decay = weight_decay
        self.n_folds = n_folds
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.monotone = monotone
        self.device = device
        self.progress = progress
        self.random_state = random_state

    def _network(self, members: int, n_in: int, seeds: Sequence[np.random.SeedSequence]) -> DoseNet:
        return curve_net(members, n_in, self.hidden, self.rank, seeds)

    def _plan(self, rows: DoseRows, seed: np.random.SeedSequence) -> Task:
        self._check_weights()
        if not self.ks_weight or self.smoother != "product":
            return super()._plan(rows, seed)
        check_steps(self.steps)
        learned = fit_forms(rows, TEACHERS, self.steps, self.progress)
        return self.plan_with(rows, learned, seed)

    def plan_with(
        self, rows: DoseRows, learned: Sequence[Learned], seed: np.random.SeedSequence
    ) -> Task:
        """The task of networks that are taught by processes of given forms and parameters."""
        plain, draws = spawn(seed, 2)
        task = super()._plan(rows, plain)
        return Task(rows, task.start, task.order, self._far_targets(rows, learned, draws))

    def _far_targets(
        self, rows: DoseRows, learned: Sequence[Learned], seed: Seed
    ) -> dict[str, np.ndarray]:
        """Far doses of every row, and the smoothed outcome and its weight for every fold.

        The process that teaches fold f's network is given that network's own rows alone.
        """
        n, few = len(rows), _FAR
        if n > _ROWS_FOR_ALL_FAR:
            few = max(_FEWEST_FAR, _FAR * _ROWS_FOR_ALL_FAR // n)
        rng = generator(seed)
        # One draw in each of `few` equal parts, so that all doses are visited.
        uniform = (
            rng.permuted(np.tile(np.arange(few), (n, 1)), axis=1) + rng.random((n, few))
        ) / few
        dose = far_doses(rows.t[:, None], self.width, uniform)
        mean = np.empty((rows.n_folds, n, few), dtype=np.float32)
        weight = np.empty_like(mean)
        for f in range(rows.n_folds):
            part = rows.some(np.flatnonzero(rows.fold != f))
            teachers = [condition(part, *one, points=_POINTS) for one in learned]
            mean[f], weight[f] = taught(teachers, rows.z, dose)
        return {
            "far": np.broadcast_to(dose.astype(np.float32), mean.shape),
            "far_mean": mean,
            "far_weight": weight,
        }

    def _objective(self) -> Objective:
        kept: dict[str, Tensor] = {}

        def loss(net: DoseNet, batch: Batch) -> Tensor:
            phi = net.represent(batch.x)
            total = factual_loss(net, batch, phi)
            if self.gi_weight:
                total = total + self.gi_weight * interpolation_loss(net, batch, phi, self.width)
            if self.ks_weight and self.smoother == "product":
                found = net.outcome(phi, batch.far_features)
                gap = batch.far_weight * (found - batch.far_mean) ** 2
                total = total + self.ks_weight * batch.mean(gap) / batch.mean(batch.far_weight)
            elif self.ks_weight:
                total = total + self.ks_weight * self._window_loss(net, batch, phi, kept)
            return total

        return loss

    def _window_loss(
        self, net: DoseNet, batch: Batch, phi: Tensor, kept: dict[str, Tensor]
    ) -> Tensor:
        """Kernel smoothing with the network's own embedding, from the rows of the batch."""
        stale = (batch.epoch - 1) % self.refresh == 0 or kept.get("n") != phi.shape[:2]
        if stale:
            with torch.no_grad():
                uniform = torch.special.ndtr(batch.normal()).double()
                t = batch.t.double()
                dose = torch.from_numpy(
                    far_doses(
                        t.cpu().numpy(), self.width, uniform.clamp(max=1 - 1e-9).cpu().numpy()
                    )
                ).to(t.device)
                z = phi.double()
                center, spread = z.mean(1, keepdim=True), z.std(1, keepdim=True).clamp(min=1e-6)
                z = (z - center) / spread
                noise = float(((net.outcome(phi, batch.received) - batch.y) ** 2).mean())
                found = window_posterior(
                    z,
                    t,
                    batch.y.double(),
                    z,
                    dose,
                    self.width,
                    1.0 / z.shape[-1],
                    max(noise, 1e-3),
                    min(_LEAST, t.shape[-1]),
                    batch.weight,
                )
                kept["n"] = phi.shape[:2]
                kept["features"] = net.features(dose.to(phi.dtype))
                kept["mean"] = found.mean.to(phi.dtype)
                kept["weight"] = (noise / (noise + found.variance)).to(phi.dtype)
        found = net.outcome(phi, kept["features"])
        gap = kept["weight"] * (found - kept["mean"]) ** 2
        return batch.mean(gap) / batch.mean(kept["weight"])

    def _check_weights(self) -> None:
        for name in ("gi_weight", "ks_weight"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < np.inf:
                raise ParameterError("must be a number from 0", column=name, value=value)
        if not isinstance(self.width, int | float) or not 0 < self.width < 0.5:
            raise ParameterError("must lie between 0 and 0.5", column="width", value=self.width)
        if self.smoother not in ("product", "window"):
            raise ParameterError(
                "must be 'product' or 'window'", column="smoother", value=self.smoother
            )


def curve_net(
    members: int,
    n_in: int,
    hidden: Sequence[int],
    rank: int,
    seeds: Sequence[np.random.SeedSequence],
) -> CurveNet:
    """The backbone of GIKS: gates, few common curves, equally spaced knots."""
    knots = np.linspace(0, 1, _KNOTS + 2)[1:-1]
    return CurveNet(members, n_in, hidden, rank, knots, list(seeds))


def interpolation_loss(net: DoseNet, batch: Batch, phi: Tensor, width: float) -> Tensor:
    """mean (y - [f(x, t') + (t - t') f_t(x, t')])^2 with t' uniform within ``width`` of t.

    Doses that would leave [0, 1] are replaced by the dose received. The average bias at a curve of
    second derivative c is c * width^2 / 6.
    """
    near = batch.t + width * (2 * torch.special.ndtr(batch.normal()) - 1)
    near = torch.where((near < 0) | (near > 1), batch.t, near)
    level, slope = net.with_slope(phi, near)
    return batch.mean((batch.y - (level + (batch.t - near) * slope)) ** 2)


def taught(
    teachers: Sequence[GaussianProcess], z: np.ndarray, dose: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the teachers' posteriors at doses (n, J), and weights that fall with variance."""
    means, errors = np.stack([one.moments(z, dose) for one in teachers], axis=1)
    mean = means.mean(axis=0)
    variance = (errors**2).mean(axis=0) + means.var(axis=0)
    noise = float(np.mean([one.noise for one in teachers]))
    return mean, noise / (noise + variance)
