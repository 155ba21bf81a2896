"""Who calls whom: service graphs from tracing systems, plain lists and graph files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import CausalWarning, FileFormatError, GraphError, recording, warn
from ...graph.files import read_draft
from ...tables.gate import count
from ...tables.read import read_table
from .exposition import read_exposition
from .jaeger import dependencies, is_dependencies
from .prometheus import Stream, answer_of, is_answer
from .sources import parse_json, read_text

OTEL = "traces_service_graph_request_total"
_ENDS = (
    ("caller", "callee"),
    ("client", "server"),
    ("parent", "child"),
    ("source", "target"),
    ("from", "to"),
    ("source_service", "target_service"),
    ("source_workload", "destination_workload"),
)
_CAUSAL = ("cause", "effect")
_TABLES = (".csv", ".tsv", ".parquet", ".pq")


@dataclass(frozen=True, eq=False, repr=False)
class ServiceGraph:
    """Which service calls which.

    Attributes:
        calls: Pairs (caller, callee), sorted, without repeats and self-calls.
        services: All services, also those without a call.
        source: Where it comes from.
        warnings: What was left out.

    Example:
        >>> ServiceGraph.from_calls([("web", "cart"), ("cart", "db"), ("cart", "cart")])
        ServiceGraph(3 services, 2 calls)
    """

    calls: tuple[tuple[str, str], ...]
    services: tuple[str, ...]
    source: str = ""
    warnings: tuple[CausalWarning, ...] = ()

    @classmethod
    def from_calls(
        cls,
        calls: Iterable[tuple[str, str]],
        services: Iterable[str] = (),
        source: str = "calls",
        notes: Iterable[CausalWarning] = (),
    ) -> ServiceGraph:
        """From pairs (caller, callee).

        Raises:
            GraphError: No calls, or an entry that is no pair.
        """
        pairs, names = set(), {str(s) for s in services}
        for call in calls:
            if isinstance(call, str) or len(call) != 2:
                raise GraphError("a call is a pair (caller, callee)", value=call)
            caller, callee = (str(end).strip() for end in call)
            names |= {caller, callee}
            if caller != callee:
                pairs.add((caller, callee))
        names.discard("")
        pairs = {p for p in pairs if all(p)}
        if not pairs:
            raise GraphError(
                f"{source} holds no call from one service to another",
                advice="Check the time range of the export.",
            )
        return cls(tuple(sorted(pairs)), tuple(sorted(names)), source, tuple(notes))

    def callers(self, service: str) -> tuple[str, ...]:
        """Who calls a service."""
        return tuple(u for u, v in self.calls if v == service)

    def callees(self, service: str) -> tuple[str, ...]:
        """Whom a service calls."""
        return tuple(v for u, v in self.calls if u == service)

    @property
    def loops(self) -> tuple[tuple[str, ...], ...]:
        """Groups of services that call each other in a circle."""
        from ..structure import unroll

        return tuple(unroll(self.services, self.calls)[1])

    def __repr__(self) -> str:
        parts = [count(len(self.services), "service"), count(len(self.calls), "call")]
        parts += [count(len(self.loops), "loop")] if self.loops else []
        return f"ServiceGraph({', '.join(parts)})"


def read_service_graph(path: str | Path, *, edges: str = "calls") -> ServiceGraph:
    """Read who calls whom.

    Formats: Jaeger's ``/api/dependencies`` (JSON); OpenTelemetry's service-graph metric
    ``traces_service_graph_request_total{client, server}`` as an answer of Prometheus (JSON) or as
    text exposition; lists of pairs (csv with columns caller and callee, client and server,
    parent and child, source and target, or from and to; JSON pairs, objects with such keys, or
    ``{"web": ["cart", ...]}``); and every graph file of :func:`workbench.read_graph`. Loops are
    fine.

    Args:
        path: The file.
        edges: What an edge u → v of a plain list or graph file says: ``"calls"``, u calls v, or
            ``"causes"``, trouble of u becomes trouble of v (columns named cause and effect say
            so themselves).

    Raises:
        FileNotFoundError: There is no such file.
        FileFormatError: The content is none of these; says where.
        GraphError: There is no call in it.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "deps.json"
        >>> _ = file.write_text('{"data": [{"parent": "web", "child": "cart", "callCount": 7}]}')
        >>> read_service_graph(file).calls
        (('web', 'cart'),)
    """
    if edges not in ("calls", "causes"):
        raise GraphError("edges must be 'calls' or 'causes'", value=edges)
    path = Path(path)
    with recording() as notes:
        pairs, services, flips = _content(path)
        if flips and edges == "causes" or flips is None:
            pairs = [(v, u) for u, v in pairs]
    return ServiceGraph.from_calls(pairs, services, path.name, notes)


def _content(path: Path) -> tuple[list[tuple[str, str]], list[str], bool | None]:
    """Pairs, further services, and whether ``edges`` applies (None: the pairs are causes)."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix == ".json":
        return _json(path)
    if suffix in (".prom", ".txt", ".metrics", ".om"):
        return _otel(read_exposition(path), path), [], False
    if suffix in _TABLES:
        ends = _ends(header := _header(path, suffix))
        if ends is not None and "type" not in header:
            return _pairs_of_table(path, ends)
    draft = read_draft(path)
    pairs = []
    for u, v, mark_u, mark_v in draft.edges:
        if (mark_u, mark_v) not in (("tail", "arrow"), ("arrow", "tail")):
            raise FileFormatError(
                f"the edge between {u!r} and {v!r} has no direction",
                path=path,
                advice="A call goes from one service to another.",
            )
        pairs.append((u, v) if mark_v == "arrow" else (v, u))
    return pairs, list(draft.nodes), True


def _json(path: Path) -> tuple[list[tuple[str, str]], list[str], bool | None]:
    text = read_text(path)
    data = parse_json(text, path)
    if is_answer(data) and isinstance(data.get("data"), dict) or _failed(data):
        return _otel(answer_of(data, path, ("matrix", "vector")), path), [], False
    if is_dependencies(data):
        return dependencies(data, path), [], False
    services: list[str] = []
    if isinstance(data, dict) and isinstance(data.get("edges"), list):
        listed = data["edges"]
        if all(isinstance(e, list) and len(e) == 2 for e in listed):
            services = [str(n) for n in data.get("nodes", []) if isinstance(n, str | int)]
            return [tuple(map(str, e)) for e in listed], services, True
    if isinstance(data, dict) and "nodes" in data or _is_graph(data):
        draft = read_draft(path)
        return [(u, v) for u, v, _, _ in draft.edges], list(draft.nodes), True
    if isinstance(data, dict):
        data = data.get("calls", data.get("edges", data.get("links", data)))
    if isinstance(data, dict) and data and all(isinstance(v, list) for v in data.values()):
        return [(str(u), str(v)) for u, above in data.items() for v in above], list(data), True
    if not isinstance(data, list):
        raise _unknown(path)
    if not data:
        raise FileFormatError(
            "the list of calls is empty", path=path, advice="Check the export's time range."
        )
    if all(isinstance(e, list) and len(e) == 2 for e in data):
        return [tuple(map(str, e)) for e in data], services, True
    keys = data[0] if isinstance(data[0], dict) else {}
    ends = _ends(keys)
    if ends is None:
        raise _unknown(path)
    pairs = []
    for i, entry in enumerate(data):
        if not isinstance(entry, dict) or not all(isinstance(entry.get(e), str) for e in ends):
            raise FileFormatError(f"entry {i + 1} has no {ends[0]!r} or no {ends[1]!r}", path=path)
        pairs.append((entry[ends[0]], entry[ends[1]]))
    return pairs, services, None if ends == _CAUSAL else True


def _failed(data: Any) -> bool:
    return isinstance(data, dict) and data.get("status") == "error"


def _is_graph(data: Any) -> bool:
    return isinstance(data, dict) and str(data.get("format", "")).startswith("workbench")


def _unknown(path: Path) -> FileFormatError:
    return FileFormatError(
        "is JSON, but no service graph",
        path=path,
        advice="Use Jaeger's /api/dependencies, or a list of pairs [caller, callee].",
    )


def _ends(names: Iterable[str]) -> tuple[str, str] | None:
    names = {str(n).strip().lower() for n in names}
    return next((pair for pair in (*_ENDS, _CAUSAL) if set(pair) <= names), None)


def _header(path: Path, suffix: str) -> list[str]:
    if suffix in (".parquet", ".pq"):
        return [str(c) for c in read_table(path).columns]
    return [c.strip().strip('"') for c in read_text(path).split("\n", 1)[0].strip().split(",")]


def _pairs_of_table(
    path: Path, ends: tuple[str, str]
) -> tuple[list[tuple[str, str]], list[str], bool | None]:
    frame = read_table(path)
    frame.columns = [str(c).strip().lower() for c in frame.columns]
    for end in ends:
        empty = frame[end].isna()
        if empty.any():
            row = int(empty.to_numpy().argmax())
            raise FileFormatError(f"column {end!r} is empty", path=path, line=row + 2)
    pairs = list(zip(frame[ends[0]].astype(str), frame[ends[1]].astype(str), strict=True))
    return pairs, [], None if ends == _CAUSAL else True


def _otel(streams: list[Stream], path: Path) -> list[tuple[str, str]]:
    """Calls counted by OpenTelemetry's service-graph connector (or Grafana Tempo)."""
    named = [s for s in streams if s.labels.get("__name__", OTEL) == OTEL]
    pairs, silent = [], []
    for stream in named:
        if "client" not in stream.labels or "server" not in stream.labels:
            raise FileFormatError(
                f"a series has no label 'client' or 'server': {dict(stream.labels)}"[:200],
                path=path,
                advice=f"Query sum by (client, server) ({OTEL}).",
            )
        pair = stream.labels["client"], stream.labels["server"]
        if (stream.values > 0).any() and all(pair):
            pairs.append(pair)
        else:
            silent.append(pair)
    if not named:
        raise FileFormatError(
            f"has no metric {OTEL}", path=path, advice="Scrape the service-graph connector."
        )
    silent = sorted(set(silent).difference(pairs))
    if silent:
        shown = ", ".join(f"{u or '?'} → {v or '?'}" for u, v in silent[:4])
        warn(
            "unused-calls",
            f"{count(len(silent), 'edge')} without a call, or without a name at one end, left "
            f"out: {shown}",
        )
    return pairs
