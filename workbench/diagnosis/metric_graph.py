"""From "who calls whom" to "what makes what worse": the causal graph over metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from ..core.errors import GraphError, did_you_mean, warn
from ..tables.gate import count
from .telemetry.kinds import Kind
from .telemetry.series import Telemetry
from .telemetry.service_graph import ServiceGraph


class Flow(NamedTuple):
    """One way in which trouble moves: from metrics of one kind to metrics of another.

    Attributes:
        cause: Kind of the metric it comes from.
        effect: Kind of the metric it moves.
        along: ``"callee -> caller"``, ``"caller -> callee"`` or ``"inside"`` one service.
        why: In words.
    """

    cause: Kind
    effect: Kind
    along: str
    why: str


UP, DOWN, INSIDE = "callee -> caller", "caller -> callee", "inside"
_FAILURES: tuple[Kind, ...] = ("errors", "availability")
FLOWS: tuple[Flow, ...] = (
    Flow("latency", "latency", UP, "a slow callee makes its caller wait"),
    *(Flow("latency", bad, UP, "a caller that waits too long fails") for bad in _FAILURES),
    *(Flow(b, "latency", UP, "a failing callee is tried again") for b in _FAILURES),
    *(Flow(a, b, UP, "a failing callee fails its caller") for a in _FAILURES for b in _FAILURES),
    Flow("requests", "requests", DOWN, "who is called more calls more"),
    Flow("requests", "saturation", INSIDE, "load uses resources"),
    Flow("requests", "latency", INSIDE, "load makes slow"),
    *(Flow("requests", bad, INSIDE, "load makes fail") for bad in _FAILURES),
    Flow("saturation", "latency", INSIDE, "a saturated service is slow"),
    *(Flow("saturation", bad, INSIDE, "a saturated service fails") for bad in _FAILURES),
)


@dataclass(frozen=True, eq=False)
class MetricGraph:
    """Causal edges between metrics, and what of graph and data didn't fit together.

    Attributes:
        edges: Pairs (cause, effect) of column names; names without a column stand for what was
            not recorded.
        services: One row per service: in_graph, in_metrics, metrics, note.
    """

    edges: tuple[tuple[str, str], ...]
    services: pd.DataFrame


def metric_graph(
    calls: ServiceGraph, telemetry: Telemetry, flows: Sequence[Flow] = FLOWS
) -> MetricGraph:
    """The causal graph over the metrics of services that call each other.

    Each :class:`Flow` gives edges from all metrics of one kind to all of another; between metrics
    of the same name (p99 and p99) where both sides have it. A service that trouble can pass
    through unseen (its latency was not recorded, its callee's was) gets a node without data, so
    that :class:`System` connects callee and caller.

    Raises:
        GraphError: No service of the graph has a metric.

    Example:
        >>> times = pd.date_range("2026-03-01", periods=2, freq="min", tz="UTC")
        >>> metrics = pd.DataFrame({"web latency": [1.0, 2], "db latency": [1.0, 2]}, index=times)
        >>> calls = ServiceGraph.from_calls([("web", "cart"), ("cart", "db")])
        >>> metric_graph(calls, Telemetry.from_frame(metrics)).edges
        (('cart latency', 'web latency'), ('db latency', 'cart latency'))
    """
    recorded = set(telemetry.services)
    both = recorded.intersection(calls.services)
    if not both:
        first = calls.services[0]
        raise GraphError(
            "no service of the graph has a metric",
            column=first,
            advice=f"{did_you_mean(first, sorted(recorded))} Names must agree in both files.",
        )
    nodes = _nodes(calls, telemetry, flows)
    edges = set()
    for flow in flows:
        if flow.along == INSIDE:
            pairs = [(s, s) for s in calls.services]
        else:
            pairs = [(v, u) if flow.along == UP else (u, v) for u, v in calls.calls]
        for cause, effect in pairs:
            edges.update(
                _between(nodes.get((cause, flow.cause), {}), nodes.get((effect, flow.effect), {}))
            )
    return MetricGraph(_useful(edges, set(telemetry.series.index)), _fit(calls, telemetry, both))


def _nodes(
    calls: ServiceGraph, telemetry: Telemetry, flows: Sequence[Flow]
) -> dict[tuple[str, Kind], dict[str, str]]:
    """(service, kind) -> metric -> column; a stand-in where a kind was not recorded."""
    nodes: dict[tuple[str, Kind], dict[str, str]] = {}
    table = telemetry.series
    for column, service, metric, kind in zip(
        table.index, table["service"], table["metric"], table["kind"], strict=True
    ):
        nodes.setdefault((service, kind), {})[metric] = column
    passed_on = {f.cause for f in flows if f.cause == f.effect and f.along != INSIDE}
    for kind in passed_on.intersection(table["kind"]):
        for service in calls.services:
            if (service, kind) not in nodes:
                nodes[service, kind] = {"": f"{service} {kind}"}
    return nodes


def _between(causes: dict[str, str], effects: dict[str, str]) -> list[tuple[str, str]]:
    same = set(causes).intersection(effects)
    return [
        (u, v)
        for a, u in causes.items()
        for b, v in effects.items()
        if u != v and (a == b or not (a in same or b in same))
    ]


def _useful(edges: set[tuple[str, str]], recorded: set[str]) -> tuple[tuple[str, str], ...]:
    """Without stand-ins that nothing recorded flows into: they connect nothing."""
    below: dict[str, list[str]] = {}
    for u, v in edges:
        below.setdefault(u, []).append(v)
    reached = set()
    stack = [n for n in recorded if n in below]
    reached.update(stack)
    while stack:
        for child in below.get(stack.pop(), ()):
            if child not in reached:
                reached.add(child)
                stack.append(child)
    reached |= recorded
    return tuple(sorted((u, v) for u, v in edges if u in reached and v in reached))


def _fit(calls: ServiceGraph, telemetry: Telemetry, both: set[str]) -> pd.DataFrame:
    """What became of every service; disagreements are warnings."""
    silent = [s for s in calls.services if s not in both]
    strangers = [s for s in telemetry.services if s not in both]
    if silent:
        warn(
            "services-without-metrics",
            f"{count(len(silent), 'service')} of the graph without a metric: {_names(silent)}; a "
            "fault there is blamed on a caller",
            silent,
        )
    if strangers:
        near = did_you_mean(strangers[0], silent) if silent else ""
        near = f" ({strangers[0]!r}: {near})" if near.startswith("Did") else ""
        warn(
            "services-not-in-graph",
            f"{count(len(strangers), 'service')} with metrics but not in the graph: "
            f"{_names(strangers)}; never blamed{near}",
            strangers,
        )
    other = telemetry.series.index[telemetry.series["kind"] == "other"]
    if len(other):
        warn(
            "unknown-kind",
            f"can't tell what {_names(list(other))} measure{'s' if len(other) == 1 else ''}: left "
            "out; name a kind (kinds=, --kind METRIC=KIND)",
            other,
        )
    rows = {}
    for service in sorted({*calls.services, *telemetry.services}):
        mine = telemetry.series["service"] == service
        kinds = telemetry.series.loc[mine, "kind"].value_counts(sort=False)
        rows[service] = {
            "in_graph": service in calls.services,
            "in_metrics": bool(mine.any()),
            "metrics": ", ".join(f"{n} {kind}" if n > 1 else kind for kind, n in kinds.items()),
            "calls": ", ".join(calls.callees(service)),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("service")


def _names(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(repr(n) for n in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
