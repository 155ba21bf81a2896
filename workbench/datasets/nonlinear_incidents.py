"""Simulated incidents in systems that really are non-linear."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..core.errors import ParameterError
from ..core.seeding import Seed, generator
from .incidents import Network, SimulatedIncident, assemble, check, random_network

_CURVES: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    np.tanh,
    np.sin,
    lambda x: x,
    lambda x: np.where(x > 0, x, 0.2 * x),
    lambda x: x + np.sin(2 * x),
    lambda x: 3 * np.sign(x) * x * x / (3 + x * x),  # x|x|, saturating
)
_LONG = 2000  # rows that set the scale of every node
_ATTEMPTS = 1000
_SIZES = np.arange(3.0, 12.5, 0.5)  # of a fault, in sd
_DRAWS = 30  # of the fault, per system


def nonlinear_incident(
    n_causes: int = 1, n_rows: int = 200, random_state: Seed = 0
) -> SimulatedIncident:
    """One fault in a random system with curved mechanisms, signs, products and uneven noise.

    x_j = f_j(parents) + s_j(parents) e_j, scaled to variance one: f_j a sum of w g(x) with
    w = ±U[.5, 2] and g among tanh, sin, identity, a leaky ramp, x + sin 2x and a saturating
    x|x|, in 30 % of the nodes plus a product of two parents; R² ~ U[.5, .94]; noise normal,
    uniform or Laplace, in 30 % of the nodes wider where the first parent is far out. The
    distractors act on the target with a weight of .005 to .02. In the incident all other noise
    is drawn as usual and distractors are 5 to 15 sd from usual; causes are moved from 3 sd
    outwards until the target is 4 sd from usual, of which each makes at least half a sd.

    Args:
        n_causes: Root causes, none of them above another.
        n_rows: Fault-free rows.
        random_state: Seed.

    Example:
        >>> len(nonlinear_incident(3, random_state=1).causes)
        3
    """
    check(n_causes, n_rows)
    rng = generator(random_state)
    for _ in range(_ATTEMPTS):
        drawn = random_network(rng, n_causes)
        if drawn is not None:
            case = _fault(rng, *drawn, n_rows)
            if case is not None:
                return case
    raise ParameterError("no system with so many causes was drawn", column="n_causes")


class _Mechanism:
    """x = (f(parents) + spread(parents) e) in units of its own standard deviation."""

    def __init__(self, rng: np.random.Generator, above: list[int], weak: set[int]):
        self.above = above
        strong = [i for i, p in enumerate(above) if p not in weak]
        self.weight = rng.uniform(0.5, 2, len(above)) * rng.choice([-1, 1], len(above))
        self.small = np.array([p in weak for p in above], dtype=bool)
        self.tiny = rng.uniform(0.005, 0.02, len(above)) * rng.choice([-1, 1], len(above))
        self.curve = [_CURVES[i] for i in rng.integers(0, len(_CURVES), len(above))]
        pair = len(strong) > 1 and rng.random() < 0.3
        self.product = tuple(rng.choice(strong, 2, replace=False)) if pair else None
        self.product_weight = rng.uniform(0.5, 1) * rng.choice([-1, 1])
        self.r2 = rng.uniform(0.5, 0.94)
        self.kind = rng.integers(0, 3)
        self.uneven = strong[0] if strong and rng.random() < 0.3 else None
        self.mean, self.signal_sd, self.noise_sd = 0.0, 1.0, 1.0

    def noise(self, rng: np.random.Generator, n: int) -> np.ndarray:
        if self.kind == 0:
            return rng.normal(size=n)
        if self.kind == 1:
            return rng.uniform(-(3**0.5), 3**0.5, n)
        return rng.laplace(size=n) / 2**0.5

    def signal(self, x: np.ndarray) -> np.ndarray:
        total = np.zeros(len(x))
        for i in np.flatnonzero(~self.small):
            total += self.weight[i] * self.curve[i](x[:, i])
        if self.product is not None:
            i, j = self.product
            total += self.product_weight * np.tanh(x[:, i]) * np.tanh(x[:, j])
        return total

    def value(self, x: np.ndarray, noise: np.ndarray) -> np.ndarray:
        if not self.above:
            return noise
        spread = self.noise_sd * self.width(x)
        total = (self.signal(x) - self.mean) / self.signal_sd + spread * noise
        return total + x[:, self.small] @ self.tiny[self.small]

    def width(self, x: np.ndarray) -> np.ndarray:
        if self.uneven is None:
            return np.ones(len(x))
        return 0.6 + 0.4 * np.minimum(np.abs(x[:, self.uneven]), 3.0)

    def calibrate(self, x: np.ndarray, noise: np.ndarray) -> None:
        if not self.above:
            return
        signal = self.signal(x)
        self.mean = signal.mean()
        self.signal_sd = signal.std() / self.r2**0.5 or 1.0
        size = (self.width(x) * noise).std()
        self.noise_sd = (1 - self.r2) ** 0.5 / size


def _fault(
    rng: np.random.Generator, network: Network, causes: list[int], n_rows: int
) -> SimulatedIncident | None:
    weak = set(network.distractors)
    nodes = [_Mechanism(rng, above, weak) for above in network.parents]
    x = np.empty((_LONG, len(nodes)))
    for j, node in enumerate(nodes):
        noise = node.noise(rng, _LONG)
        node.calibrate(x[:, node.above], noise)
        x[:, j] = node.value(x[:, node.above], noise)
    mean, sd = x.mean(axis=0), x.std(axis=0)

    def rows(noise: np.ndarray, held: dict[int, np.ndarray] | None = None) -> np.ndarray:
        out = np.empty_like(noise)
        for j, node in enumerate(nodes):
            if held and j in held:
                out[:, j] = mean[j] + sd[j] * held[j]
            else:
                out[:, j] = node.value(out[:, node.above], noise[:, j])
        return out

    def noise(n: int) -> np.ndarray:
        return np.column_stack([node.noise(rng, n) for node in nodes])

    def deviation(out: np.ndarray) -> np.ndarray:
        return np.abs(out[:, network.target] - mean[network.target]) / sd[network.target]

    normal = rows(noise(n_rows))
    pushed = [chain[0] for chain in network.chains]
    for _ in range(_DRAWS):
        own = noise(1)
        harmless = {d: rng.choice([-1, 1]) * rng.uniform(5, 15, 1) for d in pushed}
        side = {c: rng.choice([-1, 1]) for c in causes}
        moved = rows(
            np.repeat(own, len(_SIZES), axis=0),
            {**harmless, **{c: side[c] * _SIZES for c in causes}},
        )
        far = np.flatnonzero(deviation(moved) >= 4)
        if not len(far) or deviation(rows(own, harmless))[0] > 3:
            continue
        size, row = _SIZES[far[:1]], moved[far[:1]]
        without = [
            deviation(rows(own, {**harmless, **{o: side[o] * size for o in causes if o != c}}))
            for c in causes
        ]
        if np.max(without) <= deviation(row)[0] - 0.5:  # a "cause" that does nothing is none
            return assemble(network, causes, pushed, normal, row)
    return None
