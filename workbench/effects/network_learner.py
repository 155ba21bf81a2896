"""Representation networks trained by fold: widths chosen on held-out rows, best weights kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.errors import ParameterError
from ..core.saving import saveable
from ..core.seeding import Seed, spawn
from ..nets.batches import Batch
from ..nets.history import History
from ..nets.layers import MultiHead
from ..nets.members import member_seeds, select
from ..nets.train import train
from .backbone import RepresentationNet, gate_penalty, outcome_loss
from .folded import FoldedLearner, FoldedRows

Objective = Callable[[RepresentationNet, Batch], Tensor]

_WHOLE = 4000  # training rows up to which a step takes all of them
_BATCH = 1000
_STEPS, _MOST_STEPS_OF_BATCHES = 200, 500
_WARM_UP = 0.3
_TRIAL, _TRIAL_RATE = 0.2, 2.0  # length and step size of the training that chooses the width
_CLOSE = 1.05  # held-out error, relative to the least, up to which a narrower one is preferred


@saveable
@dataclass(frozen=True, eq=False)
class NetworkModels:
    """F networks and the scale of their inputs.

    Attributes:
        net: One member per fold left out, float64.
        center, scale: Inputs are ``(z - center) / scale``, (p,).
        binary: Whether outcomes are logits.
        level: What is added to every arm's outcome, (F,).
        history: How the training went.
    """

    net: RepresentationNet
    center: np.ndarray
    scale: np.ndarray
    binary: bool
    level: np.ndarray
    history: History

    def outcomes(self, z: np.ndarray) -> np.ndarray:
        """E[Y | z, arm] of each network, (F, m, K)."""
        levels = self._raw(z) + self.level[:, None, None]
        return np.clip(levels, 0, 1) if self.binary else levels

    def effects(self, z: np.ndarray) -> np.ndarray:
        """Effect of each arm against the first of each network, (F, m, K)."""
        raw = self._raw(z)
        return raw - raw[..., :1]

    def represent(self, z: np.ndarray) -> np.ndarray:
        """phi of each network, (F, m, d)."""
        with torch.no_grad():
            return self.net.represent(self._inputs(z)).numpy()

    def _raw(self, z: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            found = self.net(self._inputs(z))
            return (torch.sigmoid(found) if self.binary else found).numpy()

    def _inputs(self, z: np.ndarray) -> Tensor:
        return torch.from_numpy((z - self.center) / self.scale)


class NetworkLearner(FoldedLearner):
    """Base of :class:`TARNet`, :class:`CFRNet`, :class:`DragonNet` and :class:`PairNet`.

    For every fold a network is trained on the other folds, all of them as members of one batched
    network; a member keeps the weights with the least loss on its held-out fold. Of several
    widths of the representation a short training of all of them chooses the narrowest one whose
    held-out error of outcomes is near the least; no effect is looked at, since none is observed.

    A method defines ``_objective(rows) -> loss(net, batch)``, the training loss without the
    penalty of the gates; on held-out rows it is the error of the outcomes alone.
    """

    assumes = "outcomes under each arm are functions of a common representation of X"
    _propensity = False

    def __init__(
        self,
        hidden: Sequence[int] = (),
        phi_dim: int | Sequence[int] = (1, 2, 4),
        heads: Sequence[int] = (32, 32),
        gate_penalty: float = 0.01,
        weight_decay: float = 0.1,
        arm_balance: bool = False,
        n_folds: int = 5,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 0.02,
        patience: int | None = 40,
        device: str = "auto",
        progress: bool = True,
        random_state: Seed = 0,
    ):
        self.hidden = hidden
        self.phi_dim = phi_dim
        self.heads = heads
        self.gate_penalty = gate_penalty
        self.weight_decay = weight_decay
        self.arm_balance = arm_balance
        self.n_folds = n_folds
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.patience = patience
        self.device = device
        self.progress = progress
        self.random_state = random_state

    def _objective(self, rows: FoldedRows) -> Objective:
        return lambda net, batch: factual_loss(net(batch.x), batch, rows.binary)

    def _fit_folds(self, rows: FoldedRows, seed: np.random.SeedSequence) -> NetworkModels:
        rows, (trial, final) = rows.arranged(), spawn(seed, 2)
        widths = self._widths()
        self.phi_dim_ = widths[0]
        if len(widths) > 1:
            self.phi_dim_ = self._try_widths(rows, widths, trial)[0]
        return self._fit_width(rows, final, self._objective(rows))

    def _try_widths(
        self, rows: FoldedRows, widths: Sequence[int], seed: np.random.SeedSequence
    ) -> tuple[int, NetworkModels]:
        """The narrowest width that errs little on held-out rows after a short training.

        Wide ones gain from longer training in error of outcomes, seldom in error of effects.

        Returns:
            The width and its networks after the short training.
        """
        folds = rows.n_folds
        dims = [d for d in widths for _ in range(folds)]
        net, history = self._train(
            rows, dims, member_seeds(seed, len(dims)), self._objective(rows), short=True
        )
        sizes = np.bincount(rows.fold, weights=rows.weight, minlength=folds)
        losses = history.best_loss.reshape(-1, folds) @ sizes
        close = np.flatnonzero(losses <= _CLOSE * losses.min())
        best = min(close.tolist(), key=lambda k: widths[k])
        chosen = range(best * folds, (best + 1) * folds)
        return widths[best], self._models(rows, select(net, chosen), history)

    def fit_each_width(
        self, rows: FoldedRows, seed: np.random.SeedSequence
    ) -> dict[int, NetworkModels]:
        """The networks of every width, all trained as one; rows in the order of their content."""
        widths, folds = self._widths(), rows.n_folds
        dims = [d for d in widths for _ in range(folds)]
        net, history = self._train(rows, dims, member_seeds(seed, len(dims)), self._objective(rows))
        return {
            width: self._models(rows, select(net, range(i * folds, (i + 1) * folds)), history)
            for i, width in enumerate(widths)
        }

    def _fit_width(
        self,
        rows: FoldedRows,
        seed: np.random.SeedSequence,
        objective: Objective,
        member_data: dict[str, Any] | None = None,
    ) -> NetworkModels:
        """One network of the chosen width per fold."""
        seeds = member_seeds(seed, rows.n_folds)
        dims = [self.phi_dim_] * rows.n_folds
        net, self.history_ = self._train(rows, dims, seeds, objective, member_data)
        return self._models(rows, net, self.history_)

    def _widths(self) -> list[int]:
        widths = [self.phi_dim] if isinstance(self.phi_dim, int) else list(self.phi_dim)
        if not widths or any(not isinstance(d, int) or d < 1 for d in widths):
            raise ParameterError(
                "must be a positive integer or several to choose from",
                column="phi_dim",
                value=self.phi_dim,
            )
        return widths

    def _train(
        self,
        rows: FoldedRows,
        dims: Sequence[int],
        seeds: Sequence[np.random.SeedSequence],
        objective: Objective,
        member_data: dict[str, Any] | None = None,
        short: bool = False,
    ) -> tuple[RepresentationNet, History]:
        """Networks of the given widths; member m leaves out fold m modulo the number of folds."""
        n, folds = len(rows.y), [m % rows.n_folds for m in range(len(dims))]
        start, order = zip(*(spawn(s, 2) for s in seeds), strict=True)
        net = RepresentationNet(
            len(dims),
            rows.z.shape[1],
            rows.n_arms,
            self.hidden,
            max(dims),
            self.heads,
            propensity=self._propensity,
            random_state=list(start),
        )
        net.narrow(dims)
        size = self._batch_size(n)
        steps = 1 if size is None else math.ceil(n / size)
        epochs = self.epochs or max(10, min(_STEPS, _MOST_STEPS_OF_BATCHES // steps))
        if short:
            epochs = max(1, round(_TRIAL * epochs))
        strength = self.gate_penalty

        def penalised(net: RepresentationNet, batch: Batch) -> Tensor:
            return objective(net, batch) + gate_penalty(net, batch, strength)

        history = train(
            net,
            penalised,
            {"x": standardised(rows.z), "y": rows.y, "arm": rows.arm},
            member_data=member_data,
            rows=[rows.fold != f for f in folds],
            validation=[rows.fold == f for f in folds],
            weight=self._weights(rows)[folds],
            epochs=epochs,
            batch_size=size,
            learning_rate=self.learning_rate * (_TRIAL_RATE if short else 1),
            schedule=one_cycle,
            weight_decay=self.weight_decay,
            patience=self.patience,
            device=self.device,
            progress=self.progress,
            random_state=list(order),
        )
        return net, history

    def _batch_size(self, n: int) -> int | None:
        return self.batch_size or (None if n <= _WHOLE else _BATCH)

    def _weights(self, rows: FoldedRows) -> np.ndarray:
        """Row weights of each fold's network, (F, n); with ``arm_balance`` arms weigh alike."""
        weight = np.tile(rows.weight, (rows.n_folds, 1))
        for f in range(rows.n_folds):
            for learns, part in ((True, rows.fold != f), (False, rows.fold == f)):
                shares = np.bincount(rows.arm[part], rows.weight[part], rows.n_arms)
                if learns and not shares.all():
                    raise ParameterError(
                        "leaves a network without rows of one of the arms",
                        column="n_folds",
                        value=self.n_folds,
                        advice="An arm needs rows (or clusters) in at least two folds.",
                    )
                if self.arm_balance:
                    weight[f, part] /= np.maximum(shares, 1e-12)[rows.arm[part]]
        return weight

    def _models(self, rows: FoldedRows, net: RepresentationNet, history: History) -> NetworkModels:
        level = np.zeros(rows.n_folds)
        return NetworkModels(net.double(), *_center_scale(rows.z), rows.binary, level, history)


def factual_loss(outcomes: Tensor, batch: Batch, binary: bool) -> Tensor:
    """Mean loss of the outcome under the arm received, per member."""
    return batch.mean(outcome_loss(MultiHead.received(outcomes, batch.arm), batch.y, binary))


def one_cycle(done: float) -> float:
    """The factor of the step size: up over the first 30 % of the training, then down to 0.

    References:
        Smith and Topin, "Super-convergence: very fast training of neural networks using large
        learning rates", SPIE 11006, 2019.
    """
    if done < _WARM_UP:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * done / _WARM_UP)) / 2
    return 1e-4 + (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP))) / 2


def standardised(z: np.ndarray) -> np.ndarray:
    """The inputs of the networks: every column, 0/1 ones too, with mean 0 and sd 1."""
    center, scale = _center_scale(z)
    return (z - center) / scale


def _center_scale(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    spread = z.std(axis=0)
    return z.mean(axis=0), np.where(spread > 1e-9, spread, 1.0)
