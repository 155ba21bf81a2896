"""VCNet, DRNet and TARNet for doses: published backbones, trained by fold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...core.errors import ParameterError
from ...core.saving import saveable
from ...core.seeding import Seed
from ...nets.batches import Batch
from .base import Monotone
from .independence import hsic
from .networks import DoseNet, StrataNet, VaryingNet
from .rows import DoseRows
from .training import DoseNetworkLearner, Objective, Task

_ROWS_OF_HSIC, _EACH = 128, 7  # pairs of rows are dear: each step looks at some of the rows


@saveable
class VCNet(DoseNetworkLearner):
    """A network whose head varies smoothly with the dose, with a density of the dose beside it.

    loss = mean (y - Q(x, t))^2 - density_weight * mean log g(t | x)
         + targeted * mean (y - Q - tilt(t) / g(t | x))^2 + hsic * HSIC(phi(x), t)

    The third term is functional targeted regularisation: its correction tilt(t) / g(t | x) is part
    of every answer. The last asks for a representation that says little about the dose.

    The knots of the published network, 1/3 and 2/3, suit curves of three half waves; with
    ``knots="quantiles"`` they follow the doses. Prefer :class:`GIKS` or :class:`DoseStack`.

    Args:
        density_weight: Of the density of the dose; 0 with ``targeted=0`` leaves it out.
        targeted: Of targeted regularisation.
        hsic: Of the Hilbert-Schmidt independence criterion, bandwidths by the median.
        knots: Inner knots of the splines in (0, 1), or ``"quantiles"`` of the doses observed.
        hidden, head: Widths of the trunk and of the head.
        weight_decay, learning_rate, epochs, batch_size: Of the training.
        n_folds: Networks, each trained without one fold, on which its weights are chosen.
        monotone: ``"increasing"`` or ``"decreasing"`` if curves are known to be.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        progress: Show a bar.
        random_state: Seed.

    References:
        Nie, Ye, Liu and Nicolae, "VCNet and functional targeted regularization for learning
        causal effects of continuous treatments", ICLR 2021. Gretton, Bousquet, Smola and
        Schölkopf, "Measuring statistical dependence with Hilbert-Schmidt norms", ALT 2005.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(200, 2))
        >>> dose = 1 / (1 + np.exp(-x[:, 0] - rng.normal(size=200)))
        >>> fitted = VCNet(epochs=50, progress=False).fit(x[:, 0] + dose, dose, X=x)
        >>> fitted.average_dose_response([0.2, 0.8]).shape
        (2,)
    """

    gate_penalty = 0.0

    def __init__(
        self,
        density_weight: float = 0.5,
        targeted: float = 1.0,
        hsic: float = 0.0,
        knots: Sequence[float] | str = (1 / 3, 2 / 3),
        hidden: Sequence[int] = (50, 50),
        head: int = 50,
        weight_decay: float = 0.1,
        n_folds: int = 5,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 0.005,
        monotone: Monotone = None,
        device: str = "auto",
        progress: bool = True,
        random_state: Seed = 0,
    ):
        self.density_weight = density_weight
        self.targeted = targeted
        self.hsic = hsic
        self.knots = knots
        self.hidden = hidden
        self.head = head
        self.weight_decay = weight_decay
        self.n_folds = n_folds
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.monotone = monotone
        self.device = device
        self.progress = progress
        self.random_state = random_state

    def _plan(self, rows: DoseRows, seed: np.random.SeedSequence) -> Task:
        for name in ("density_weight", "targeted", "hsic"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < np.inf:
                raise ParameterError("must be a number from 0", column=name, value=value)
        self.knots_ = self.knots
        if isinstance(self.knots, str):
            if self.knots != "quantiles":
                raise ParameterError(
                    "must be numbers or 'quantiles'", column="knots", value=self.knots
                )
            inner = np.unique(np.quantile(rows.t, [1 / 3, 2 / 3]))
            self.knots_ = tuple(float(k) for k in inner if 0.01 < k < 0.99)
        return super()._plan(rows, seed)

    def _network(self, members: int, n_in: int, seeds: Sequence[np.random.SeedSequence]) -> DoseNet:
        return VaryingNet(
            members,
            n_in,
            self.hidden,
            self.head,
            self.knots_,
            targeted=bool(self.targeted),
            random_state=list(seeds),
        )

    def _objective(self) -> Objective:
        def loss(net: VaryingNet, batch: Batch) -> Tensor:
            phi = net.represent(batch.x)
            level = net.outcome(phi, batch.received)
            total = batch.mean((level - batch.y) ** 2)
            if self.density_weight:
                dense = torch.log(net.propensity(phi, batch.t) + 1e-6)
                total = total - self.density_weight * batch.mean(dense)
            if self.targeted:
                rest = batch.y - level - net.correction(phi, batch.t)
                total = total + self.targeted * batch.mean(rest**2)
            if self.hsic:
                some = slice(batch.epoch % _EACH, None, max(1, phi.shape[1] // _ROWS_OF_HSIC))
                dose = batch.t[:, some, None]
                total = total + self.hsic * hsic(phi[:, some], dose, batch.weight[:, some])
            return total

        return loss


class _StrataLearner(DoseNetworkLearner):
    """Networks with a head per stratum of the dose."""

    gate_penalty = 0.0
    _every_layer = True

    def __init__(
        self,
        strata: int = 5,
        hidden: Sequence[int] = (50, 50),
        head: int = 50,
        weight_decay: float = 0.1,
        n_folds: int = 5,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 0.01,
        monotone: Monotone = None,
        device: str = "auto",
        progress: bool = True,
        random_state: Seed = 0,
    ):
        self.strata = strata
        self.hidden = hidden
        self.head = head
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
        if not isinstance(self.strata, int) or isinstance(self.strata, bool) or self.strata < 1:
            raise ParameterError("must be a positive integer", column="strata", value=self.strata)
        return StrataNet(
            members,
            n_in,
            self.hidden,
            self.head,
            self.strata,
            self._every_layer,
            random_state=list(seeds),
        )

    def _slopes(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        # Where strata meet the curve jumps: what it does within one is not how it goes on.
        if self.strata == 1:
            return super()._slopes(z, t)
        (low, high), width = self.dose_range_, self.scales_.dose_width / self.strata
        start = np.clip(t - width / 2, low, high - width)
        return ((self._levels(z, start + width) - self._levels(z, start)) / width)[:, 0]


@saveable
class DRNet(_StrataLearner):
    """A trunk with one head per stratum of the dose; the dose enters every layer of a head.

    Curves jump where strata meet, so that slopes are taken over the width of one. Kept for
    comparison: prefer :class:`VCNet` for a smooth curve, :class:`DoseStack` for the best answer.

    Args:
        strata: Equal parts of the observed range.
        hidden, head: Widths of the trunk and of each head.
        weight_decay, learning_rate, epochs, batch_size: Of the training.
        n_folds: Networks, each trained without one fold, on which its weights are chosen.
        monotone: ``"increasing"`` or ``"decreasing"`` if curves are known to be.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        progress: Show a bar.
        random_state: Seed.

    References:
        Schwab, Linhardt, Bauer, Buhmann and Karlen, "Learning counterfactual representations for
        estimating individual dose-response curves", AAAI 2020.
    """


@saveable
class DoseTARNet(_StrataLearner):
    """TARNet for doses: as :class:`DRNet`, but the dose enters only the first layer of a head.

    Args:
        strata: Equal parts of the observed range.
        hidden, head: Widths of the trunk and of each head.
        weight_decay, learning_rate, epochs, batch_size: Of the training.
        n_folds: Networks, each trained without one fold, on which its weights are chosen.
        monotone: ``"increasing"`` or ``"decreasing"`` if curves are known to be.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        progress: Show a bar.
        random_state: Seed.

    References:
        Shalit, Johansson and Sontag, "Estimating individual treatment effect: generalization
        bounds and algorithms", ICML 2017; for doses Schwab and others, AAAI 2020.
    """

    _every_layer = False
