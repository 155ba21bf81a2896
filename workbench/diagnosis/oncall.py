"""From an alarm to an answer: cause, first failure, impact, and the changes that may be behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from ..core.errors import QuestionError, did_you_mean, recording
from .base import Diagnoser
from .evidence import Evidence
from .flow import BlameFlow
from .incident import Incident
from .investigation import Investigation
from .metric_graph import FLOWS, Flow, metric_graph
from .onset import Onset, Usual, find_onset, learn_usual
from .system import System
from .telemetry.changes import as_changes, read_changes
from .telemetry.kinds import Kind
from .telemetry.metrics import read_metrics
from .telemetry.series import Telemetry
from .telemetry.service_graph import ServiceGraph, read_service_graph
from .telemetry.times import moment

DEFAULT_METHOD = BlameFlow
_ALARMING: tuple[Kind, ...] = ("errors", "availability", "latency")


class OnCall:
    """A set of services under watch: asked why, as often as there are alarms.

    Builds the causal graph over the metrics from who calls whom, picks the fault-free rows and
    the onset for each alarm, and lets a diagnosis method rank the causes. Every alarm is judged
    by the rows before it, whatever was asked before; :meth:`learn` fixes those rows once, so
    that answers take less than a second.

    Args:
        telemetry: Metrics over time.
        graph: Who calls whom.
        changes: Deploys and the like: columns time, service, what.
        method: A diagnosis method or its name; :class:`BlameFlow` by default.
        flows: How trouble moves between metrics; see :data:`workbench.diagnosis.FLOWS`.

    Raises:
        GraphError: No service of the graph has a metric.

    Example:
        >>> import numpy as np
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
        method: Diagnoser | str | None = None,
        flows: Sequence[Flow] = FLOWS,
    ):
        for given, kind in ((telemetry, Telemetry), (graph, ServiceGraph)):
            if not isinstance(given, kind):
                raise QuestionError(
                    f"must be a {kind.__name__}, not a {type(given).__name__}",
                    column=kind.__name__.lower(),
                    advice="See OnCall.from_files, Telemetry.from_frame, ServiceGraph.from_calls.",
                )
        self.telemetry, self.graph = telemetry, graph
        self.changes = None if changes is None else as_changes(changes)
        self.method = method if isinstance(method, Diagnoser) else named(method)
        with recording() as notes:
            self.metric_graph = metric_graph(graph, telemetry, flows)
        self._notes = (*telemetry.warnings, *graph.warnings, *notes)
        self._inside = {n for edge in self.metric_graph.edges for n in edge}
        self._learned: Usual | None = None
        self._last: tuple[np.ndarray, Diagnoser] | None = None

    @classmethod
    def from_files(
        cls,
        *,
        graph: str | Path,
        metrics: str | Path | Sequence[str | Path],
        changes: str | Path | None = None,
        method: Diagnoser | str | None = None,
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

    def learn(self, until: str | pd.Timestamp) -> Self:
        """Take the fault-free rows before ``until`` as usual for all alarms that follow.

        Reading, fitting and most of the work of a first answer are then done.

        Args:
            until: A time, UTC where it has no zone; alarms before it are refused.

        Raises:
            DataError: Fewer than 20 fault-free rows.
        """
        self._learned = learn_usual(self.telemetry, moment(until, "until"))
        self._fitted(self._learned)
        return self

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
            QuestionError: Unknown target, an alarm outside the data, or
                a baseline that is reversed or not before the alarm.
            DataError: Fewer than 20 fault-free rows before the alarm.
        """
        columns = self._columns(target)
        alarm = moment(at)
        span = None if baseline is None else _span(baseline)
        with recording() as notes:
            learned = self._usual_for(alarm) if span is None else None
            onset = find_onset(self.telemetry, columns, alarm, baseline=span, usual=learned)
            if onset.onset is None:
                evidence = Evidence(self, onset, None, None)
            else:
                method = self._fitted(onset.usual)
                incident = Incident(_heard(self.telemetry.frame, onset), onset.target)
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
        kept = [c for c in columns if c in self._inside]
        if not kept:
            service = self.telemetry.series.loc[columns[0], "service"]
            raise QuestionError(
                "nothing in the service graph leads to it",
                column=target,
                advice=did_you_mean(service, self.graph.services),
            )
        return kept

    def _usual_for(self, alarm: pd.Timestamp) -> Usual | None:
        if self._learned is None:
            return None
        last = self.telemetry.frame.index[self._learned.rows][-1]
        if alarm <= last:
            raise QuestionError(
                f"the alarm at {alarm:%Y-%m-%d %H:%M} UTC lies inside the rows that were learned "
                f"as usual, which end at {last:%Y-%m-%d %H:%M} UTC",
                advice="Pass baseline=(start, end), or make a new OnCall without learn().",
            )
        return self._learned

    def _fitted(self, usual: Usual) -> Diagnoser:
        """The method fitted to the fault-free rows; the last one where the rows are the same."""
        if self._last is not None and np.array_equal(self._last[0], usual.rows):
            return self._last[1]
        columns = [c for c in self.telemetry.frame.columns if c in self._inside]
        normal = self.telemetry.frame.loc[usual.rows, columns]
        system = System.from_edges(self.metric_graph.edges, normal, schema=self._schema(columns))
        method = type(self.method)(**self.method.get_params(deep=False)).fit(system)
        self._last = usual.rows, method
        return method

    def _schema(self, columns: Sequence[str]):
        from ..tables.schema import Feature, Schema

        units = self.telemetry.series["unit"]
        return Schema([Feature(c, unit=units[c] or None) for c in columns])


def _heard(frame: pd.DataFrame, onset: Onset) -> pd.DataFrame:
    """The incident's rows, without the quiet values of metrics that went silent in it: a median
    of quiet rows in the place of what is not known would declare them innocent."""
    heard = np.isfinite(frame.to_numpy()[onset.during]).any(axis=0)
    window = frame.loc[onset.window].copy()
    window.loc[:, ~heard] = np.nan
    return window


def _span(baseline: Sequence[str | pd.Timestamp]) -> tuple[pd.Timestamp, pd.Timestamp]:
    start, end = (moment(time, "baseline") for time in baseline)
    if start >= end:
        raise QuestionError(
            f"the baseline is reversed: it starts at {start:%Y-%m-%d %H:%M} and ends at "
            f"{end:%Y-%m-%d %H:%M} UTC",
            advice="Pass baseline=(start, end), the earlier time first.",
        )
    return start, end


def named(method: str | None, random_state: int = 0) -> Diagnoser:
    """A diagnosis method by its name in ``workbench.diagnosis``; the default one for None.

    Raises:
        QuestionError: There is no such method.
    """
    kind = DEFAULT_METHOD
    if isinstance(method, type) and issubclass(method, Diagnoser):
        kind = method
    elif method is not None:
        import workbench.diagnosis as room

        known = {n: getattr(room, n) for n in room.__all__}
        known = {n: k for n, k in known.items() if isinstance(k, type) and issubclass(k, Diagnoser)}
        known.pop("Diagnoser", None)
        if method not in known:
            raise QuestionError(
                "there is no diagnosis method of this name",
                value=method,
                advice=did_you_mean(method, known),
            )
        kind = known[method]
    seeded = "random_state" in kind().get_params()
    return kind(random_state=random_state) if seeded else kind()


def investigate(
    graph: str | Path | ServiceGraph,
    metrics: str | Path | Sequence[str | Path] | Telemetry | pd.DataFrame,
    target: str,
    at: str | pd.Timestamp,
    *,
    changes: str | Path | pd.DataFrame | None = None,
    method: Diagnoser | str | None = None,
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
