"""PairNet for doses: trained on the differences between people alike at different doses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from ...core.errors import ParameterError
from ...core.saving import saveable
from ...core.seeding import Seed, generator, spawn
from ...nets.batches import Batch
from .base import Monotone
from .giks import curve_net
from .networks import DoseNet
from .rows import DoseRows
from .training import DoseNetworkLearner, Objective, Task, train_tasks

_PARTNERS = 8
_LEAST = 3  # rows in a window
_CANDIDATES = 2000


@saveable
class DosePairNet(DoseNetworkLearner):
    """Curves trained on differences: y_i - y_j = f(x_i, t_i) - f(x_i, t_j) for people alike.

    A partner j of row i has a dose within ``width`` of one drawn at random, and is drawn with a
    probability that falls with the distance of the two in the frozen embedding of a factual
    network. Only rows that the fold's network learns from are partners. ``pair_weight=0`` is the
    factual backbone.

    Levels come from the factual part of the loss. Prefer :class:`GIKS`, whose inferred outcomes
    have less noise than one partner's.

    Args:
        pair_weight: Of the pairs, beside a factual weight of 1.
        width: Half the window of a partner's dose, as a share of the range.
        hidden, rank: Widths of the layers, units of the representation.
        gate_penalty: Weight of the sum of absolute gates.
        weight_decay, learning_rate, epochs, batch_size: Of the training; one-cycle schedule.
        n_folds: Networks, each trained without one fold, on which its weights are chosen.
        monotone: ``"increasing"`` or ``"decreasing"`` if curves are known to be.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        progress: Show a bar.
        random_state: Seed.

    References:
        Nagalapatti, Singhal, Ghosh and Sarawagi, "PairNet: training with observed pairs to
        estimate individual treatment effect", ICML 2024.
    """

    def __init__(
        self,
        pair_weight: float = 0.3,
        width: float = 0.1,
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
        self.pair_weight = pair_weight
        self.width = width
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
        if not isinstance(self.pair_weight, int | float) or not 0 <= self.pair_weight < np.inf:
            raise ParameterError(
                "must be a number from 0", column="pair_weight", value=self.pair_weight
            )
        if not isinstance(self.width, int | float) or not 0 < self.width <= 1:
            raise ParameterError("must lie between 0 and 1", column="width", value=self.width)
        first, final, draws = spawn(seed, 3)
        task = super()._plan(rows, final)
        if not self.pair_weight:
            return task
        factual = DosePairNet(**{**self.get_params(deep=False), "pair_weight": 0})
        model = train_tasks(factual, [factual._plan(rows, first)])[0]
        return Task(rows, task.start, task.order, self._pairs(rows, model.represent(rows.z), draws))

    def _pairs(self, rows: DoseRows, phi: np.ndarray, seed: Seed) -> dict[str, np.ndarray]:
        """Doses of the partners of every row, and by how much its outcome exceeds theirs."""
        rng, n = generator(seed), len(rows)
        dose = np.empty((rows.n_folds, n, _PARTNERS), dtype=np.float32)
        gap = np.empty_like(dose)
        for f in range(rows.n_folds):
            learning = np.flatnonzero(rows.fold != f)
            if len(learning) > _CANDIDATES:
                learning = np.sort(rng.choice(learning, _CANDIDATES, replace=False))
            size = (phi[f] ** 2).sum(1)
            square = size[:, None] + size[learning][None] - 2 * phi[f] @ phi[f][learning].T
            far = np.sqrt(np.maximum(square, 0))
            far = far / max(float(np.median(far)), 1e-9)
            for j in range(_PARTNERS):
                place = rng.random(n)
                apart = np.abs(rows.t[learning][None] - place[:, None])
                least = np.partition(apart, min(_LEAST, len(learning)) - 1, axis=1)
                reach = np.maximum(self.width, least[:, min(_LEAST, len(learning)) - 1])[:, None]
                chance = np.where(apart <= reach, -far, -np.inf) + rng.gumbel(size=far.shape)
                partner = learning[chance.argmax(axis=1)]
                dose[f, :, j], gap[f, :, j] = rows.t[partner], rows.y - rows.y[partner]
        return {"far": dose, "far_gap": gap}

    def _objective(self) -> Objective:
        def loss(net: DoseNet, batch: Batch) -> Tensor:
            phi = net.represent(batch.x)
            level = net.outcome(phi, batch.received)
            total = batch.mean((level - batch.y) ** 2)
            if not self.pair_weight:
                return total
            other = net.outcome(phi, batch.far_features)
            rest = batch.far_gap - (level[..., None] - other)
            return total + self.pair_weight * batch.mean(rest**2)

        return loss
