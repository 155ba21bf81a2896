"""Networks of dose-response surfaces trained by fold, of one table or of many at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.errors import ParameterError, recording
from ...core.saving import saveable
from ...core.seeding import spawn
from ...nets.batches import Batch
from ...nets.history import History
from ...nets.members import select
from ...nets.train import train
from ...tables.effect_data import effect_data
from ..folded import jackknife
from ..network_learner import one_cycle
from .base import DoseEstimator
from .networks import DoseNet
from .rows import DoseRows

Objective = Callable[[DoseNet, Batch], Tensor]

_WHOLE = 4000  # training rows up to which a step takes all of them
_BATCH = 1000
_STEPS = 500
_CELLS = 20_000_000  # numbers in the widest layer of a prediction


@saveable
@dataclass(frozen=True, eq=False)
class DoseNetworks:
    """One network per fold left out; the answer is their mean.

    Attributes:
        net: F members, float64.
        history: How the training went.
    """

    net: DoseNet
    history: History

    def by_fold(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """mu(z, t) of each network, (F, m, G)."""
        return self._over(z, t, self.net.predict)

    def levels(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """mu(z, t), (m, G)."""
        return self.by_fold(z, t).mean(axis=0)

    def slopes(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """d mu / d t, (m, G), in forward mode."""

        def slope(phi: Tensor, dose: Tensor) -> Tensor:
            wide = dose.expand(len(phi), phi.shape[1], -1).clone()
            return self.net.with_slope(phi, wide)[1]

        return self._over(z, t, slope).mean(axis=0)

    def errors(self, z: np.ndarray, t: np.ndarray, base: np.ndarray | None = None) -> np.ndarray:
        """Delete-a-group jackknife, (m, G): sampling and training noise, no bias."""
        found = self.by_fold(z, t)
        return jackknife(found if base is None else found - self.by_fold(z, base))

    def mean_errors(
        self, z: np.ndarray, weight: np.ndarray, t: np.ndarray, base: float | None = None
    ) -> np.ndarray:
        """The same of the weighted mean over rows, (G,)."""
        found = np.einsum("n,fng->fg", weight / weight.sum(), self.by_fold(z, t))
        if base is not None:
            start = self.by_fold(z, np.array([[base]]))
            found = found - np.einsum("n,fng->fg", weight / weight.sum(), start)
        return jackknife(found)

    def represent(self, z: np.ndarray) -> np.ndarray:
        """phi of each network, (F, m, d)."""
        with torch.no_grad():
            return self.net.represent(torch.from_numpy(z)[None]).numpy()

    def _over(
        self, z: np.ndarray, t: np.ndarray, answer: Callable[[Tensor, Tensor], Tensor]
    ) -> np.ndarray:
        members, wide = self.net.members, 64
        few = max(1, _CELLS // (members * wide * max(1, t.shape[1])))
        found = np.empty((members, len(z), t.shape[1]))
        with torch.no_grad():
            for part in np.array_split(np.arange(len(z)), max(1, -(-len(z) // few))):
                x = torch.from_numpy(np.ascontiguousarray(z[part]))
                dose = torch.from_numpy(np.ascontiguousarray(t if len(t) == 1 else t[part]))
                phi = self.net.represent(x.expand(members, *x.shape))
                found[:, part] = answer(phi, dose[None].to(phi)).numpy()
        return found


@dataclass(frozen=True)
class Task:
    """What one table's networks are trained on.

    Attributes:
        rows: The rows, sorted by content.
        start, order: Seeds of each fold's network and of its order of rows.
        extra: Further arrays by name, (F, n, ...): what fold f's network sees at each row.
    """

    rows: DoseRows
    start: Sequence[np.random.SeedSequence]
    order: Sequence[np.random.SeedSequence]
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)


class DoseNetworkLearner(DoseEstimator):
    """Base of learners that train one network per fold; the best held-out weights are kept.

    A method defines ``_network(members, n_in, seeds)`` and may define ``_plan(rows, seed)``, which
    gives the :class:`Task`, and ``_objective()``, the training loss without penalties; on
    held-out rows the loss is the squared error of the outcome.
    """

    epochs: int | None
    batch_size: int | None
    learning_rate: float
    weight_decay: float
    gate_penalty: float
    device: str
    progress: bool

    def _network(self, members: int, n_in: int, seeds: Sequence[np.random.SeedSequence]) -> DoseNet:
        raise TypeError(f"{type(self).__name__} must define _network")

    def _objective(self) -> Objective:
        return lambda net, batch: factual_loss(net, batch, net.represent(batch.x))

    def _plan(self, rows: DoseRows, seed: np.random.SeedSequence) -> Task:
        start, order = spawn(seed, 2)
        return Task(rows, spawn(start, rows.n_folds), spawn(order, rows.n_folds))

    def _fit_doses(self, rows: DoseRows, seed: np.random.SeedSequence) -> DoseNetworks:
        return train_tasks(self, [self._plan(rows, seed)])[0]

    def _freedom(self) -> float:
        return float(self.model_.net.members - 1)


def train_tasks(learner: DoseNetworkLearner, tasks: Sequence[Task]) -> list[DoseNetworks]:
    """Train the networks of all folds of all tasks as members of one batched network.

    Every member is trained exactly as if it were alone; tables only have to agree in the number
    of covariates.
    """
    data, rows, held, weight = _laid_out(tasks)
    sizes = [len(task.rows) for task in tasks]
    n_in = tasks[0].rows.z.shape[1]
    net = learner._network(len(rows), n_in, [s for task in tasks for s in task.start])
    with torch.no_grad():
        received = net.features(torch.from_numpy(data["t"]).float())
        far = net.features(torch.from_numpy(data["far"])) if "far" in data else None
    data["received"] = received.numpy()
    if far is not None:
        data["far_features"] = far.numpy()
    size = learner.batch_size or (None if max(sizes) <= _WHOLE else _BATCH)
    steps = 1 if size is None else math.ceil(max(sizes) / size)
    objective, strength = learner._objective(), learner.gate_penalty
    gates = getattr(net, "gate", None) is not None and strength

    def loss(net: DoseNet, batch: Batch) -> Tensor:
        if not batch.training:
            return factual_loss(net, batch, net.represent(batch.x))
        found = objective(net, batch)
        return found + strength * net.gate.abs().sum(1) if gates else found

    history = train(
        net,
        loss,
        data,
        rows=rows,
        validation=held,
        weight=weight,
        epochs=learner.epochs or max(20, _STEPS // steps),
        batch_size=size,
        learning_rate=learner.learning_rate,
        schedule=one_cycle,
        weight_decay=learner.weight_decay,
        device=learner.device,
        progress=learner.progress,
        random_state=[s for task in tasks for s in task.order],
    )
    net = net.cpu().double()
    found, at = [], 0
    for task in tasks:
        own = select(net, range(at, at + task.rows.n_folds))
        found.append(DoseNetworks(own, history))
        at += task.rows.n_folds
    return found


def _laid_out(
    tasks: Sequence[Task],
) -> tuple[dict[str, np.ndarray], list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Rows of every fold of every task one after the other, and where each member's own lie."""
    parts: dict[str, list[np.ndarray]] = {"x": [], "t": [], "y": []}
    rows, held, weight, offset = [], [], [], 0
    for task in tasks:
        n = len(task.rows)
        for f in range(task.rows.n_folds):
            parts["x"].append(task.rows.z)
            parts["t"].append(task.rows.t)
            parts["y"].append(task.rows.y)
            for name, values in task.extra.items():
                parts.setdefault(name, []).append(values[f])
            rows.append(offset + np.flatnonzero(task.rows.fold != f))
            held.append(offset + np.flatnonzero(task.rows.fold == f))
            weight.append(task.rows.weight)
            offset += n
    data = {name: np.concatenate(values) for name, values in parts.items()}
    return data, rows, held, np.concatenate(weight)


def fit_together(
    learner: DoseNetworkLearner, tables: Sequence[Mapping[str, Any]]
) -> list[DoseNetworkLearner]:
    """Copies of a network learner, one fitted to each table, all trained as one network.

    The answers are those of separate fits (up to rounding), in less time: many small networks
    cost hardly more than one.

    Args:
        learner: Unfitted; it is not changed.
        tables: Keyword arguments of ``fit`` for each table: ``{"Y": ..., "T": ..., "X": ...}``.

    Raises:
        ParameterError: Tables that differ in their number of covariates.

    Example:
        >>> from workbench.effects import GIKS
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(2, 60, 2)); t = rng.random((2, 60))
        >>> tables = [{"Y": x[i, :, 0] * t[i], "T": t[i], "X": x[i]} for i in range(2)]
        >>> small = GIKS(epochs=5, steps=2, progress=False)
        >>> [m.dose_response(x[0], [0.5]).shape for m in fit_together(small, tables)]
        [(60, 1), (60, 1)]
    """
    from ..base import fresh

    if not isinstance(learner, DoseNetworkLearner):
        raise ParameterError(
            "must be a network, e.g. GIKS", column="learner", value=type(learner).__name__
        )
    copies = [fresh(learner).set_params(progress=False) for _ in tables]
    begun, tasks = [], []
    for copy, table in zip(copies, tables, strict=True):
        table = dict(table)
        with recording() as notes:
            data = effect_data(table.pop("Y"), table.pop("T"), discrete_treatment=False, **table)
            data, seed = copy._begin(data)
            tasks.append(copy._plan(*copy._prepare(data, seed)))
        begun.append((data, notes))
    if len({task.rows.z.shape[1] for task in tasks}) > 1:
        raise ParameterError("differ in their number of covariates", column="tables")
    if len({task.rows.n_folds for task in tasks}) > 1 or not tasks:
        raise ParameterError("must be some, with equally many folds", column="tables")
    models = train_tasks(copies[0], tasks)
    for copy, model, (data, notes) in zip(copies, models, begun, strict=True):
        copy.model_ = model
        copy._end(data)
        copy.warnings_ = tuple(notes)
    return copies


def factual_loss(net: DoseNet, batch: Batch, phi: Tensor) -> Tensor:
    """Mean squared error of the outcome at the dose received, per member."""
    return batch.mean((net.outcome(phi, batch.received) - batch.y) ** 2)
