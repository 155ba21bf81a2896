"""From an alarm to an answer: cause, first failure, impact, and the changes that may be behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from ..core.errors import QuestionError, did_you_mean, recording
from .base import Diagnoser
from .counterfactual_attribution import CounterfactualAttribution
from .evidence import Evidence
from .incident import Incident
from .investigation import Investigation
from .metric_graph import FLOWS, Flow, metric_graph
from .onset import Onset, find_onset
from .system import System
from .telemetry.changes import as_changes, read_changes
from .telemetry.kinds import Kind
from .telemetry.metrics import read_metrics
from .telemetry.series import Telemetry
from .telemetry.service_graph import ServiceGraph, read_service_graph
from .telemetry.times import moment

DEFAULT_METHOD = CounterfactualAttribution
_ALARMING: tuple[Kind, ...] = ("errors", "availability", "latency")


class OnCall:
    """A set of services under watch: asked why, as often as there are alarms.

    Builds the causal graph over the metrics from who calls whom, picks the fault-free rows and
    the onset for each alarm, and lets a diagnosis method rank the causes. What was learned for
    one alarm serves the next ones, as long as the fault-free rows still lie before them.

    Args:
        telemetry: Metrics over time.
        graph: Who calls whom.
        changes: Deploys and the like: columns time, service, what.
        method: A diagnosis method; counterfactual attribution by default.
        flows: How trouble moves between metrics; see :data:`workbench.diagnosis.FLOWS`.

    Raises:
        GraphError: No service of the graph has a metric.

    Example:
        >>> r = np.random.default_rng(0)
        >>> times = pd.date_range("2026-03-01 10:00", periods=300, freq="min", tz="UTC")
        >>> db, own = r.normal(20, 1, 300), r.normal(0, 1, 300)
        >>> db[290:] += 30
        >>> frame = pd.DataFrame({"db latency_ms": db, "web latency_ms": 2 * db + own}, index=times)
        >>> calls = ServiceGraph.from_calls([("web", "db")])
        >>> shop = OnCall(Telemetry.from_frame(frame), calls)
        >>> answer = shop.investigate("web", at="2026-03-01T14:52")
        >>> answer.status, answer.cause
        ('found', 'db latency_ms')
    """

    def __init__(
        self,
        telemetry: Telemetry,
        graph: ServiceGraph,
        *,
        changes: pd.DataFrame | None = None,
        method: Diagnoser | None = None,
        flows: Sequence[Flow] = FLOWS,
    ):
        self.telemetry, self.graph = telemetry, graph
        self.changes = None if changes is None else as_changes(changes)
        self.method = method if method is not None else DEFAULT_METHOD()
        with recording() as notes:
            self.metric_graph = metric_graph(graph, telemetry, flows)
        self._notes = (*telemetry.warnings, *graph.warnings, *notes)
        self._known: tuple[Onset, Diagnoser] | None = None

    @classmethod
    def from_files(
        cls,
        *,
        graph: str | Path,
        metrics: str | Path | Sequence[str | Path],
        changes: str | Path | None = None,
        method: Diagnoser | None = None,
        kinds: Mapping[str, Kind] | None = None,
        service_label: str | None = None,
        edges: str = "calls",
    ) -> OnCall:
        """From files, in any of the formats of :func:`read_service_graph`,
        :func:`read_metrics` and :func:`read_changes`.

        Args:
            graph: Who calls whom.
            metrics: One file or several.
            changes: Deploys and the like.
            method: A diagnosis method.
            kinds: Metric or pattern -> kind, where a name misleads.
            service_label: The label of Prometheus that names the service.
            edges: ``"calls"`` or ``"causes"``: what an edge of a plain graph file means.
        """
        calls = read_service_graph(graph, edges=edges)
        found = read_metrics(
            metrics, services=calls.services, kinds=kinds, service_label=service_label
        )
        said = None if changes is None else read_changes(changes)
        return cls(found, calls, changes=said, method=method)

    def investigate(
        self,
        target: str,
        at: str | pd.Timestamp,
        *,
        baseline: tuple[str | pd.Timestamp, str | pd.Timestamp] | None = None,
    ) -> Investigation:
        """Why was ``target`` unusual around ``at``?

        Args:
            target: A service (its most anomalous latency, errors or availability is explained),
                or one metric, ``"service metric"``.
            at: The time of the alarm, UTC where it has no zone; it may be a minute or a step off.
            baseline: Start and end of fault-free rows; all before the incident by default.

        Raises:
            QuestionError: Unknown target, or an alarm outside the data.
            DataError: Fewer than 20 fault-free rows before the alarm.
        """
        columns = self._columns(target)
        alarm = moment(at)
        span = None if baseline is None else (moment(baseline[0]), moment(baseline[1]))
        with recording() as notes:
            known = self._known[0] if self._known is not None and span is None else None
            onset = find_onset(self.telemetry, columns, alarm, baseline=span, known=known)
            if onset.onset is None:
                evidence = Evidence(self, onset, None, None)
            else:
                method = self._fitted(onset)
                incident = Incident(self.telemetry.frame.loc[onset.window], onset.target)
                evidence = Evidence(self, onset, method, method.rank(incident))
            found = evidence.investigation()
        return found.with_warnings((*self._notes, *notes))

    def _columns(self, target: str) -> list[str]:
        """The columns that a target may mean."""
        series = self.telemetry.series
        target = str(target).strip()
        if target in series.index:
            column = [target]
        else:
            plain = target
            for separator in ("|", "/", ":"):
                plain = plain.replace(separator, " ")
            sources = series.index[series["source"].str.endswith(f": {target}")]
            column = [plain] if plain in series.index else list(sources[:1])
        if column:
            return self._connected(column, target)
        mine = self.telemetry.columns_of(target, _ALARMING)
        mine = mine or self.telemetry.columns_of(target, ("requests",))
        if mine:
            return self._connected(mine, target)
        if target in self.graph.services:
            held = self.telemetry.columns_of(target)
            what = f"only {', '.join(held[:4])}" if held else "no metric at all"
            raise QuestionError(
                f"service {target!r} has no latency, errors, availability or requests in the "
                f"metrics, {what}",
                advice="Name one metric as the target, or one of its callers.",
            )
        names = [*self.telemetry.services, *series.index]
        raise QuestionError(
            "is neither a service nor a metric", column=target, advice=did_you_mean(target, names)
        )

    def _connected(self, columns: list[str], target: str) -> list[str]:
        inside = {n for edge in self.metric_graph.edges for n in edge}
        kept = [c for c in columns if c in inside]
        if not kept:
            service = self.telemetry.series.loc[columns[0], "service"]
            raise QuestionError(
                "nothing in the service graph leads to it",
                column=target,
                advice=did_you_mean(service, self.graph.services),
            )
        return kept

    def _fitted(self, onset: Onset) -> Diagnoser:
        """The method fitted to the fault-free rows; the last one where the rows are the same."""
        if self._known is not None and self._known[0].usual is onset.usual:
            return self._known[1]
        inside = {n for edge in self.metric_graph.edges for n in edge}
        columns = [c for c in self.telemetry.frame.columns if c in inside]
        normal = self.telemetry.frame.loc[onset.usual, columns]
        system = System.from_edges(self.metric_graph.edges, normal, schema=self._schema(columns))
        fresh = type(self.method)(**self.method.get_params(deep=False))
        method = fresh.fit(system)
        self._known = onset, method
        return method

    def _schema(self, columns: Sequence[str]):
        from ..tables.schema import Feature, Schema

        units = self.telemetry.series["unit"]
        return Schema([Feature(c, unit=units[c] or None) for c in columns])


def investigate(
    graph: str | Path | ServiceGraph,
    metrics: str | Path | Sequence[str | Path] | Telemetry | pd.DataFrame,
    target: str,
    at: str | pd.Timestamp,
    *,
    changes: str | Path | pd.DataFrame | None = None,
    method: Diagnoser | None = None,
    kinds: Mapping[str, Kind] | None = None,
) -> Investigation:
    """One alarm, one answer: :class:`OnCall` for a single question.

    Args:
        graph: A file, or a :class:`ServiceGraph`.
        metrics: Files, a wide table, or a :class:`Telemetry`.
        target: A service or ``"service metric"``.
        at: The time of the alarm, UTC where it has no zone.
        changes: A file or a table of changes.
        method: A diagnosis method.
        kinds: Metric or pattern -> kind, where a name misleads.
    """
    calls = graph if isinstance(graph, ServiceGraph) else read_service_graph(graph)
    if isinstance(metrics, pd.DataFrame):
        metrics = Telemetry.from_frame(metrics, services=calls.services, kinds=kinds)
    elif not isinstance(metrics, Telemetry):
        metrics = read_metrics(metrics, services=calls.services, kinds=kinds)
    said = read_changes(changes) if isinstance(changes, str | Path) else changes
    return OnCall(metrics, calls, changes=said, method=method).investigate(target, at)
