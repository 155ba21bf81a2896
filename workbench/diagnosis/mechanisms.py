"""What a metric does when its causes move: linear, or linear plus a network for the curvature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.saving import saveable
from ..core.seeding import Seed, generator, spawn
from .system import System

FOLDS = 5
_WIDTH = 16
_INSIDE = 4.0  # sd; the network sees inputs no further out than this


@saveable
@dataclass(frozen=True, eq=False)
class Network:
    """The curved part of one mechanism: the mean of networks trained on all folds but one.

    Attributes:
        weights: Per layer, shape (folds, k_in, k_out).
        biases: Per layer, shape (folds, k_out).
        noise: Held-out residuals in sd of the metric, sorted, shape (n,).
    """

    weights: list[np.ndarray]
    biases: list[np.ndarray]
    noise: np.ndarray

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Shape (..., k) -> (...)."""
        x = np.clip(inputs, -_INSIDE, _INSIDE).reshape(1, -1, inputs.shape[-1])
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ weight + bias[:, None, :]
            if i < len(self.weights) - 1:
                x = np.where(x > 0, x, np.expm1(np.minimum(x, 0.0)))
        return x.mean(axis=0)[:, 0].reshape(inputs.shape[:-1])


class Mechanisms:
    """Predictions and noise of all metrics of a system, in sd of each metric.

    Args:
        system: Gives the linear part.
        networks: Metric -> curved part, where there is one.
    """

    def __init__(self, system: System, networks: dict[str, Network] | None = None):
        self.system, self.networks = system, networks or {}

    def predict(self, metric: str, parents: Sequence[np.ndarray]) -> np.ndarray:
        """The metric's mean given its parents' deviations, arrays that broadcast."""
        slopes = self.system.mechanism(metric).slopes
        total = sum(b * x for b, x in zip(slopes, parents, strict=True))
        if metric not in self.networks:
            return np.asarray(total, dtype=float)
        return total + self.networks[metric](np.stack(np.broadcast_arrays(*parents), axis=-1))

    def noise(self, metric: str) -> np.ndarray:
        """Fault-free residuals, sorted so that the order of rows doesn't matter."""
        if metric in self.networks:
            return self.networks[metric].noise
        residuals = self.system.residuals(metric)
        known = np.sort(residuals[np.isfinite(residuals)])
        if not len(known):  # never recorded together with its parents
            return np.zeros(1)
        fit = self.system.mechanism(metric)
        return known * (len(known) / max(fit.dof, 1)) ** 0.5 if fit.dof < len(known) else known


def fit_networks(system: System, metrics: Sequence[str], random_state: Seed) -> dict[str, Network]:
    """Train the curved parts of several metrics at once, one member per metric and fold.

    Each network learns the residuals of the linear mechanism; a held-out fifth gives the noise.
    Metrics that are constant, or rarely recorded with their parents, get none.
    """
    data = {}
    for metric in metrics:
        parents = system.parents(metric)
        if not parents or system.constant[system.position[metric]]:
            continue
        z = system.standardised([*parents, metric])
        z = z[np.isfinite(z).all(axis=1)]
        if len(z) < 4 * FOLDS:
            continue
        z = z[np.lexsort(np.round(z, 9).T)]  # the order of rows must not matter
        data[metric] = z[:, :-1], z[:, -1] - z[:, :-1] @ system.mechanism(metric).slopes
    return _train(data, random_state) if data else {}


def _train(data: dict, random_state: Seed) -> dict[str, Network]:
    import torch

    from ..nets import BatchedMLP, train

    most = max(len(y) for _, y in data.values())
    width = max(x.shape[1] for x, _ in data.values())
    members = len(data) * FOLDS
    inputs, outputs = np.zeros((members, most, width)), np.zeros((members, most))
    seeds = spawn(random_state, 3)
    rng = generator(seeds[0])
    rows, held = [], []
    for i, (x, y) in enumerate(data.values()):
        fold = rng.permutation(len(y)) % FOLDS
        for k in range(FOLDS):
            m = i * FOLDS + k
            inputs[m, : len(y), : x.shape[1]] = np.clip(x, -_INSIDE, _INSIDE)
            outputs[m, : len(y)] = y
            rows.append(np.arange(len(y)))
            held.append(np.flatnonzero(fold == k))
    net = BatchedMLP(
        members, [width, _WIDTH, _WIDTH, 1], random_state=seeds[1], dtype=torch.float64
    )

    def squared_error(net, batch):
        return batch.mean((net(batch.x)[..., 0] - batch.y) ** 2)

    train(
        net,
        squared_error,
        {},
        member_data={"x": inputs, "y": outputs},
        rows=rows,
        validation=held,
        epochs=200,
        batch_size=64,
        learning_rate=5e-3,
        l2=1e-3,
        patience=20,
        progress=False,
        device="cpu",
        random_state=seeds[2],
    )
    layers = [(part.weight.detach().numpy(), part.offset.detach().numpy()) for part in net.linear]
    with torch.no_grad():
        guess = net(torch.as_tensor(inputs))[..., 0].numpy()
    out = {}
    for i, (metric, (x, y)) in enumerate(data.items()):
        mine = slice(i * FOLDS, (i + 1) * FOLDS)
        missed = np.empty(len(y))
        for k in range(FOLDS):
            m = i * FOLDS + k
            missed[held[m]] = y[held[m]] - guess[m, held[m]]
        if missed.var() >= y.var():
            continue  # nothing curved was learned: the line is better
        weights = [np.array(w[mine]) for w, _ in layers]
        weights[0] = weights[0][:, : x.shape[1]]
        out[metric] = Network(weights, [np.array(b[mine]) for _, b in layers], np.sort(missed))
    return out
