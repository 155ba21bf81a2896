"""Simulated incidents with known causes: random systems of the root-cause literature.

Every system holds distractors: metrics that are anomalous and harmless.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ..core.errors import ParameterError
from ..core.seeding import Seed, generator
from ..diagnosis.incident import Incident
from ..diagnosis.system import System
from ..graph.causal_graph import CausalGraph

_ATTEMPTS = 200
_FRESH = 1000  # rows that say what is usual when a fault is sized


@dataclass(frozen=True, eq=False)
class SimulatedIncident:
    """Fault-free rows, an incident, and the truth about it.

    Attributes:
        system: The graph and the fault-free rows.
        incident: The window and its target.
        causes: The metrics in which the fault was injected; empty for a fault-free window.
        distractors: Anomalous metrics that do no harm.
        notes: What else was done to the data.
    """

    system: System
    incident: Incident
    causes: tuple[str, ...]
    distractors: tuple[str, ...] = ()
    notes: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"SimulatedIncident({self.system!r}, causes {', '.join(self.causes) or 'none'})"


@dataclass
class Network:
    """Parents of every node in topological order, with the chains of distractors."""

    parents: list[list[int]]
    target: int
    chains: list[list[int]] = field(default_factory=list)

    def ancestors(self, node: int) -> set[int]:
        found, stack = set(), [node]
        while stack:
            for p in self.parents[stack.pop()]:
                if p not in found:
                    found.add(p)
                    stack.append(p)
        return found

    @property
    def distractors(self) -> list[int]:
        return [d for chain in self.chains for d in chain]


def random_network(rng: np.random.Generator, n_causes: int) -> tuple[Network, list[int]] | None:
    """A random DAG with causes none of which lies above another, and chains of distractors.

    20 to 29 nodes, 1 to 4 of them roots; each other node has 1 to 4 parents (probabilities .60,
    .25, .111, .039) among the earlier ones; the target has the most ancestors, at least 10.
    r to 2r - 1 chains of one to three new nodes lead from ancestors of the target that are not
    affected by a cause to the target. None if the draw does not allow that.
    """
    size, roots = int(rng.integers(20, 30)), int(rng.integers(1, 5))
    parents: list[list[int]] = [[] for _ in range(roots)]
    for j in range(roots, size):
        k = min(int(rng.choice([1, 2, 3, 4], p=[0.6, 0.25, 0.111, 0.039])), j)
        parents.append(sorted(rng.choice(j, size=k, replace=False).tolist()))
    plain = Network(parents, 0)
    above = [plain.ancestors(j) for j in range(size)]
    target = int(np.argmax([len(a) for a in above]))
    if len(above[target]) < 10:
        return None
    causes: list[int] = []
    for j in rng.permutation(sorted(above[target])).tolist():
        if len(causes) < n_causes and not any(c in above[j] or j in above[c] for c in causes):
            causes.append(j)
    anchors = [j for j in sorted(above[target]) if j not in causes and not above[j] & set(causes)]
    if len(causes) < n_causes or not anchors:
        return None
    # New nodes stand right before the target, so that the order stays topological.
    chains, start = [], target
    before, middle, after = parents[:target], [], parents[target:]
    for _ in range(int(rng.integers(n_causes, 2 * n_causes))):
        chain, last = [], int(rng.choice(anchors))
        for _ in range(int(rng.integers(1, 4))):
            middle.append([last])
            last = start + len(middle) - 1
            chain.append(last)
        chains.append(chain)
    shift = len(middle)
    moved = [[p + shift if p >= target else p for p in above_] for above_ in after]
    moved[0] = sorted([*moved[0], *(c[-1] for c in chains)])
    return Network(before + middle + moved, target + shift, chains), causes


def linear_incident(
    n_causes: int = 1, n_rows: int = 50, random_state: Seed = 0
) -> SimulatedIncident:
    """One fault in a random linear system with positive effects.

    x_j = sum of w_ij x_i + e_j with w ~ U[.5, 2] and e ~ U[0, 1]; into and out of distractors
    w ~ U[0, .05], and their noise and that of the target is U[0, .05]. In the incident all noise
    is at its mean; that of the causes is raised in steps of half its range until the target is 5
    sd from usual and each cause 3 sd; the first node of each chain of distractors until it is 5
    sd from usual.

    Args:
        n_causes: Root causes, none of them above another.
        n_rows: Fault-free rows.
        random_state: Seed.

    References:
        Nagalapatti et al., "Robust root cause diagnosis using in-distribution interventions",
        ICLR 2025, section 5 (there the distractors start from ten times their noise's range).

    Example:
        >>> case = linear_incident(random_state=1)
        >>> len(case.causes), len(case.system.normal()), len(case.incident)
        (1, 50, 1)
    """

    def mechanisms(network: Network, rng: np.random.Generator) -> Callable:
        weak = set(network.distractors)
        weights = []
        for j, above in enumerate(network.parents):
            w = rng.uniform(0.5, 2.0, len(above))
            small = np.array([j in weak or p in weak for p in above], dtype=bool)
            w[small] = rng.uniform(0, 0.05, int(small.sum()))
            weights.append(w)

        def simulate(noise: np.ndarray, _: np.ndarray) -> np.ndarray:
            x = np.empty_like(noise)
            for j, above in enumerate(network.parents):
                x[:, j] = x[:, above] @ weights[j] + noise[:, j]
            return x

        return simulate

    return _incident(mechanisms, n_causes, n_rows, random_state, inner=False)


def noninvertible_incident(
    n_causes: int = 1, n_rows: int = 50, random_state: Seed = 0
) -> SimulatedIncident:
    """One fault in a random system whose noise enters inside a network.

    x_j = MLP(parents, e_j) + u_j with two hidden layers of 4 units, an ELU after the second,
    weights ~ U[0, 1] without biases, e ~ U[0, 1] and u ~ U[0, .005]. Otherwise as
    :func:`linear_incident`. Since all inputs and weights are positive the ELU never bends: on
    these data the mechanisms are linear (:func:`nonlinear_incident` is not).

    Args:
        n_causes: Root causes, none of them above another.
        n_rows: Fault-free rows.
        random_state: Seed.

    References:
        Nagalapatti et al., ICLR 2025, section 5.

    Example:
        >>> noninvertible_incident(random_state=1).causes != ()
        True
    """

    def mechanisms(network: Network, rng: np.random.Generator) -> Callable:
        weak, layers = set(network.distractors), []
        for j, above in enumerate(network.parents):
            first = rng.uniform(0, 1, (len(above) + 1, 4))
            second, third = rng.uniform(0, 1, (4, 4)), rng.uniform(0, 1, 4)
            if j in weak:
                first, second, third = 0.05 * first, 0.05 * second, 0.05 * third
            first[[i for i, p in enumerate(above) if p in weak]] *= 0.05
            layers.append((first, second, third))

        def simulate(noise: np.ndarray, added: np.ndarray) -> np.ndarray:
            x = np.empty_like(noise)
            for j, above in enumerate(network.parents):
                first, second, third = layers[j]
                hidden = np.column_stack([x[:, above], noise[:, j]]) @ first @ second
                hidden = np.where(hidden > 0, hidden, np.expm1(np.minimum(hidden, 0)))
                x[:, j] = hidden @ third + added[:, j]
            return x

        return simulate

    return _incident(mechanisms, n_causes, n_rows, random_state, inner=True)


def _incident(
    mechanisms: Callable, n_causes: int, n_rows: int, random_state: Seed, *, inner: bool
) -> SimulatedIncident:
    """``inner``: the noise enters inside the mechanism and a little more is added outside."""
    check(n_causes, n_rows)
    rng = generator(random_state)
    for _ in range(_ATTEMPTS):
        drawn = random_network(rng, n_causes)
        if drawn is None:
            continue
        network, causes = drawn
        simulate = mechanisms(network, rng)
        width = np.ones(len(network.parents))
        width[network.distractors] = 0.05
        outer = np.full(len(width), 0.005 if inner else 0.0)
        (outer if inner else width)[network.target] = 0.05

        def rows(n, simulate=simulate, width=width, outer=outer):
            return simulate(
                rng.uniform(0, 1, (n, len(width))) * width,
                rng.uniform(0, 1, (n, len(width))) * outer,
            )

        normal, fresh = rows(n_rows), rows(_FRESH)
        mean, sd = fresh.mean(axis=0), fresh.std(axis=0)
        noise, added = width / 2, outer / 2

        def z(noise, added, simulate=simulate, mean=mean, sd=sd):
            return ((simulate(noise[None], added[None]) - mean) / sd)[0]

        pushed = [chain[0] for chain in network.chains]
        place = added if inner else noise
        for d in pushed:
            while z(noise, added)[d] < 5:
                place[d] += (outer if inner else width)[d] / 2
        while z(noise, added)[network.target] < 5:
            noise[causes] += width[causes] / 2
        for c in causes:
            while z(noise, added)[c] < 3:
                noise[c] += width[c] / 2
        healed = noise.copy()
        healed[causes] = width[causes] / 2
        if z(healed, added)[network.target] > 3:
            continue  # the distractors do harm: they would be causes too
        row = simulate(noise[None], added[None])
        return assemble(network, causes, pushed, normal, row)
    raise ParameterError("no system with so many causes was drawn", column="n_causes")


def check(n_causes: int, n_rows: int) -> None:
    for name, value, least in (("n_causes", n_causes, 1), ("n_rows", n_rows, 10)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ParameterError(f"must be a whole number from {least}", column=name, value=value)


def assemble(
    network: Network,
    causes: list[int],
    pushed: list[int],
    normal: np.ndarray,
    window: np.ndarray,
) -> SimulatedIncident:
    """Names for everything."""
    names = [f"x{j:02d}" for j in range(len(network.parents))]
    edges = [(names[p], names[j]) for j, above in enumerate(network.parents) for p in above]
    return SimulatedIncident(
        system=System(CausalGraph(names, edges), pd.DataFrame(normal, columns=names)),
        incident=Incident(pd.DataFrame(window, columns=names), names[network.target]),
        causes=tuple(names[c] for c in causes),
        distractors=tuple(names[d] for d in pushed),
    )
