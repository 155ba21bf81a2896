"""Answers of Prometheus' HTTP API as JSON: ``query_range`` (a matrix) and ``query`` (a vector)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...core.errors import FileFormatError, did_you_mean, warn
from .series import Series
from .sources import parse_json, read_text

# Labels that name the service, the most telling first.
SERVICE_LABELS = (
    "service",
    "service_name",
    "app",
    "application",
    "destination_service_name",
    "destination_workload",
    "deployment",
    "workload",
    "container",
    "component",
    "job",
)


class Stream(NamedTuple):
    """One series of an answer: its labels, times in nanoseconds, and values."""

    labels: dict[str, str]
    times: np.ndarray
    values: np.ndarray


def read_answer(path: str | Path, kinds: Sequence[str] = ("matrix",)) -> list[Stream]:
    """The series of one answer.

    Args:
        path: A file with ``{"status": "success", "data": {"resultType": "matrix", ...}}``.
        kinds: Result types that make sense here.

    Raises:
        FileFormatError: Truncated, an error message of Prometheus, another type of result, no
            series, a value that is no number; says which series.
    """
    # Every series becomes an array as soon as it is read: lists of lists would take 20 times
    # the memory.
    data = parse_json(read_text(path), path, lambda found: _packed(found, path))
    return answer_of(data, path, kinds)


def is_answer(data: Any) -> bool:
    """Whether JSON looks like an answer of Prometheus."""
    return isinstance(data, dict) and "status" in data and ("data" in data or "error" in data)


def answer_of(data: Any, path: str | Path, kinds: Sequence[str]) -> list[Stream]:
    """The series of an answer that has been read with or without packing."""
    if not is_answer(data):
        keys = ", ".join(map(repr, list(data)[:6])) if isinstance(data, dict) else "no object"
        raise FileFormatError(
            f"is not an answer of Prometheus: it needs 'status' and 'data', found {keys}",
            path=path,
            advice="Save what /api/v1/query_range returned, as it is.",
        )
    if data["status"] != "success":
        said = f"{data.get('errorType', 'error')}: {data.get('error', 'no message')}"
        raise FileFormatError(
            f"Prometheus answered with an error, {said[:300]}",
            path=path,
            advice="Mend the query and save its answer again.",
        )
    inner = data["data"] if isinstance(data["data"], dict) else {}
    kind = inner.get("resultType")
    if kind not in kinds:
        advice = "Query /api/v1/query_range with start, end and step."
        raise FileFormatError(
            f"resultType is {kind!r}, expected {' or '.join(map(repr, kinds))}",
            path=path,
            advice=advice if "matrix" in kinds else "",
        )
    result = inner.get("result")
    if not isinstance(result, list):
        raise FileFormatError("'result' is not a list", path=path)
    if not result:
        raise FileFormatError(
            "the query returned no series",
            path=path,
            advice="Check the metric's name, its labels and the time range of the query.",
        )
    streams = []
    for i, entry in enumerate(result):
        entry = _packed(entry, path) if isinstance(entry, dict) else entry
        if not isinstance(entry, Stream):
            raise FileFormatError(
                f"series {i + 1} has no 'metric' or no values",
                path=path,
                advice="Native histograms can't be read; query histogram_quantile(...).",
            )
        streams.append(entry)
    infinite = [shown_labels(s.labels) for s in streams if np.isinf(s.values).any()]
    if infinite:
        warn(
            "infinite-values",
            f"{Path(path).name}: infinite values in {infinite[0]}"
            f"{f' and {len(infinite) - 1} more series' if len(infinite) > 1 else ''} count as not "
            "recorded (a division by zero in the query?)",
            infinite,
        )
        streams = [
            s._replace(values=np.where(np.isinf(s.values), np.nan, s.values)) for s in streams
        ]
    return streams


def read_prometheus(path: str | Path, service_label: str | None = None) -> list[Series]:
    """Metrics from an answer of ``query_range``.

    The service is the label ``service_label``, or the first of the usual ones that is there; the
    metric is ``__name__``, and where a query has removed it (``rate(...)`` does) the file's name.

    Raises:
        FileFormatError: See :func:`read_answer`; no label names the service.
    """
    streams = read_answer(path)
    label = service_label or _service_label(streams, path)
    out = []
    for stream in streams:
        service = stream.labels.get(label)
        if not service:
            raise FileFormatError(
                f"{shown_labels(stream.labels)} has no label {label!r}",
                path=path,
                advice=did_you_mean(label, stream.labels) or "Sum by that label in the query.",
            )
        rest = {k: v for k, v in stream.labels.items() if k not in (label, "__name__")}
        metric = stream.labels.get("__name__") or _stem(path)
        if "quantile" in rest:
            metric = f"{metric}_p{_percent(rest.pop('quantile'))}"
        source = f"{Path(path).name}: {shown_labels(stream.labels)}"
        out.append(Series(service, metric, stream.times, stream.values, source, rest))
    return out


def shown_labels(labels: Mapping[str, str], most: int = 120) -> str:
    """Labels as Prometheus writes them: ``up{job="cart"}``."""
    inside = ", ".join(f'{k}="{v}"' for k, v in labels.items() if k != "__name__")
    text = f"{labels.get('__name__', '')}{{{inside}}}"
    return text if len(text) <= most else text[: most - 3] + "..."


def _packed(found: dict[str, Any], path: str | Path) -> Any:
    if not isinstance(found.get("metric"), dict):
        return found
    pairs = found.get("values", [found["value"]] if "value" in found else None)
    if not isinstance(pairs, list):
        return found
    labels = {str(k): str(v) for k, v in found["metric"].items()}
    times, values = np.empty(len(pairs), dtype="int64"), np.empty(len(pairs))
    for i, pair in enumerate(pairs):
        try:
            at, value = pair
            times[i] = round(float(at) * 1000) * 1_000_000  # Prometheus counts milliseconds
            values[i] = float(value)  # "NaN", "+Inf" and "-Inf" are texts here
        except (TypeError, ValueError, OverflowError):
            raise FileFormatError(
                f"{shown_labels(labels)}: value {i + 1}, {str(pair)[:60]}, is not a pair of a "
                "time and a number",
                path=path,
                advice="Save what /api/v1/query_range returned, as it is.",
            ) from None
    return Stream(labels, times, values)


def _service_label(streams: Sequence[Stream], path: str | Path) -> str:
    names = dict.fromkeys(k for s in streams for k in s.labels)
    for label in SERVICE_LABELS:
        if all(s.labels.get(label) for s in streams):
            return label
    known = [k for k in names if k != "__name__"]
    listed = f"its labels are {', '.join(map(repr, known[:8]))}" if known else "it has no labels"
    raise FileFormatError(
        f"no label names the service; {listed}",
        path=path,
        advice="Say which with service_label (--service-label), or sum by (service) in the query.",
    )


def _stem(path: str | Path) -> str:
    return Path(path).name.removesuffix(".gz").removesuffix(".json")


def _percent(quantile: str) -> str:
    if not re.fullmatch(r"0?\.\d{1,4}|1|0", quantile):
        return quantile
    return f"{float(quantile) * 100:g}".replace(".", "_")
