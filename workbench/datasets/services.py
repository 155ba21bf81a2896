"""A simulated microservice shop: latency adds up along calls, availability multiplies."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from ..core.errors import ParameterError
from ..core.seeding import Seed, generator
from ..diagnosis.incident import Incident
from ..diagnosis.system import System
from ..tables.schema import Feature, Schema
from .incidents import SimulatedIncident

_STEPS = 5  # rows of an incident
_MEMORY = 0.9  # autocorrelation of the traffic, on top of the day


def services_incident(
    metric: Literal["latency", "availability"] = "latency",
    n_services: int = 24,
    n_rows: int = 500,
    fault: bool = True,
    random_state: Seed = 0,
) -> SimulatedIncident:
    """One fault in a shop whose front end ``web`` calls services that call others.

    * Requests flow down: a day and its noise set the traffic of the front end, each call has its
      rate, and own latency grows with traffic.
    * Latency (ms): own + sum of rate x latency of the callees. A callee's millisecond is at most
      a millisecond of its caller.
    * Availability (%): own x product of (1 - rate x errors of the callees), seen through a
      finite number of requests; many are always 100.
    * A load balancer in front of some services reports what its service does, but the call
      graph holds no call between them: only that the same service calls both.
    * Some metrics have a lasting offset during the whole incident that explains nothing.
    * A slow service may hold its database's connections: that becomes a little slower too.
    * The alarm comes from outside: the mean of the front end may hardly move. The fault starts
      after one to three of the five rows, or before all of them.

    Args:
        metric: Which one is recorded.
        n_services: Services without load balancers, at least 5.
        n_rows: Fault-free rows.
        fault: False gives a fault-free window.
        random_state: Seed.

    Example:
        >>> case = services_incident(random_state=3)
        >>> case.incident.target, len(case.incident), len(case.causes)
        ('web', 5, 1)
    """
    if metric not in ("latency", "availability"):
        raise ParameterError("must be 'latency' or 'availability'", column="metric", value=metric)
    for name, value, least in (("n_services", n_services, 5), ("n_rows", n_rows, 10)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ParameterError(f"must be a whole number from {least}", column=name, value=value)
    rng = generator(random_state)
    shop = _Shop(rng, n_services)
    traffic = _traffic(rng, n_rows + _STEPS)
    values, cause = shop.rows(rng, metric, traffic, fault)
    offsets = shop.offsets(rng, metric, cause)
    normal, window = values[:n_rows], values[n_rows:].copy()
    for j, size in offsets.items():
        window[:, j] = 0.0 if metric == "availability" else window[:, j] + size
    names = shop.names
    frame = pd.DataFrame(normal, columns=names)
    unit = "ms" if metric == "latency" else "%"
    schema = Schema([Feature(n, unit=unit) for n in names])
    calls = [(names[u], names[v]) for u, v in shop.calls]
    notes = {names[j]: "lasting offset" for j in offsets}
    return SimulatedIncident(
        system=System.from_edges(calls, frame, reverse=True, schema=schema),
        incident=Incident(pd.DataFrame(window, columns=names), "web"),
        causes=(names[cause],) if fault else (),
        distractors=tuple(notes),
        notes=notes,
    )


def _traffic(rng: np.random.Generator, n: int) -> np.ndarray:
    """Requests relative to their mean: a day of 288 rows with autocorrelated noise."""
    noise = np.empty(n)
    noise[0] = rng.normal()
    for t, step in enumerate(rng.normal(size=n - 1) * (1 - _MEMORY**2) ** 0.5):
        noise[t + 1] = _MEMORY * noise[t] + step
    day = np.sin(2 * np.pi * (np.arange(n) / 288 + rng.random()))
    return np.exp(0.25 * day + 0.1 * noise)


class _Shop:
    """Who calls whom, how often, and what is usual."""

    def __init__(self, rng: np.random.Generator, n: int):
        # Services in the order callee after caller; 0 is the front end.
        callers: list[list[int]] = [[]]
        for j in range(1, n):
            k = 1 + int(rng.random() < 0.3 and j > 2)
            near = rng.choice(np.arange(max(0, j - 8), j), size=min(k, j), replace=False)
            callers.append(sorted(near.tolist()))
        self.callers, self.n = callers, n
        self.callees: list[list[int]] = [[] for _ in range(n)]
        for j, above in enumerate(callers):
            for i in above:
                self.callees[i].append(j)
        self.rate = {
            (i, j): float(rng.choice([1.0, rng.uniform(0.2, 1.0)]))
            for j, above in enumerate(callers)
            for i in above
        }
        inner = [j for j in range(1, n) if self.callees[j]]
        behind = [j for j in inner if rng.random() < 0.4]
        self.balancers = {n + i: j for i, j in enumerate(behind)}
        self.names = ["web"] + [f"{'svc' if self.callees[j] else 'db'}{j:02d}" for j in range(1, n)]
        self.names += [f"lb-{self.names[j]}" for j in behind]
        self.calls = [(i, j) for j, above in enumerate(callers) for i in above]
        self.calls += [(i, lb) for lb, j in self.balancers.items() for i in callers[j]]
        self.own = np.exp(rng.uniform(np.log(2), np.log(60), n))
        self.noise = rng.uniform(0.02, 0.12, n)
        self.load = rng.uniform(0.0, 0.3, n)
        self.hurry = rng.choice([0.0, 3e-4, 2e-3], n, p=[0.6, 0.25, 0.15])  # usual error rates

    def rows(
        self, rng: np.random.Generator, metric: str, traffic: np.ndarray, fault: bool
    ) -> tuple[np.ndarray, int]:
        cause = int(rng.integers(1, self.n))
        start = len(traffic) - _STEPS + int(rng.choice([0, 1, 2, 3]))
        when = (np.arange(len(traffic)) >= start) * fault
        level = rng.uniform(0.8, 1.2, len(traffic))
        if metric == "latency":
            return self._latency(rng, traffic, cause, when * level), cause
        return self._availability(rng, traffic, cause, when * level), cause

    def _latency(self, rng, traffic, cause, when) -> np.ndarray:
        t = len(traffic)
        own = self.own * (1 + self.load * (traffic[:, None] - 1))
        own = own * np.exp(self.noise * rng.normal(size=(t, self.n)))
        usual = self._add_up(own)
        delay = usual[:, cause].std() * rng.uniform(8, 40)
        own[:, cause] += delay * when
        if self.callees[cause] and rng.random() < 0.4:  # waiting callers hold its connections
            held = int(rng.choice(self.callees[cause]))
            own[:, held] += delay * rng.uniform(0.01, 0.08) * when
        total = self._add_up(own)
        extra = [
            total[:, j] * (1 + 0.01 * rng.normal(size=t)) + rng.uniform(0.5, 2)
            for j in self.balancers.values()
        ]
        return np.column_stack([total, *extra])

    def _add_up(self, own: np.ndarray) -> np.ndarray:
        total = own.copy()
        for i in reversed(range(self.n)):
            for j in self.callees[i]:
                total[:, i] += self.rate[i, j] * total[:, j]
        return total

    def _availability(self, rng, traffic, cause, when) -> np.ndarray:
        t = len(traffic)
        rare = rng.random((t, self.n)) < 0.1  # errors come in bursts
        own = np.where(rare, self.hurry * rng.exponential(5, (t, self.n)), 0.0)
        own[:, cause] += rng.uniform(0.03, 0.6) * when
        works = 1 - np.minimum(own, 0.95)
        calls = np.zeros((t, self.n))
        calls[:, 0] = 600 * traffic
        for j in range(1, self.n):
            for i in self.callers[j]:
                calls[:, j] += calls[:, i] * self.rate[i, j]
        for i in reversed(range(self.n)):
            for j in self.callees[i]:
                works[:, i] *= 1 - self.rate[i, j] * (1 - works[:, j])
        tries = np.maximum(np.round(calls), 1).astype(int)
        seen = 100 * rng.binomial(tries, np.clip(works, 0, 1)) / tries
        extra = [seen[:, j] for j in self.balancers.values()]
        return np.column_stack([seen, *extra])

    def offsets(self, rng, metric, cause) -> dict[int, float]:
        """Metrics with a lasting offset: not the cause, nothing that it reaches."""
        reached, stack = {cause}, [cause]
        while stack:
            for i in self.callers[stack.pop()]:
                if i not in reached:
                    reached.add(i)
                    stack.append(i)
        free = [j for j in range(1, self.n) if j not in reached]
        free += [lb for lb, j in self.balancers.items() if j not in reached]
        count = min(len(free), int(rng.integers(0, 3)))
        chosen = rng.choice(free, count, replace=False) if count else []
        size = self.own.mean()
        return {int(j): float(size * rng.uniform(0.5, 3)) for j in chosen}
