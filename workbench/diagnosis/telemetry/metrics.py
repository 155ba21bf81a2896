"""The front door for metrics: which format a file has, and several files as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from ...core.errors import DataError, FileFormatError, recording
from ...tables import gate
from ...tables.read import read_table
from .assemble import assemble
from .kinds import Kind, checked_kinds
from .prometheus import read_prometheus
from .series import Series, Telemetry
from .tables import from_wide, is_long, read_long


def read_metrics(
    paths: str | Path | Sequence[str | Path],
    *,
    services: Iterable[str] | None = None,
    kinds: Mapping[str, Kind] | None = None,
    service_label: str | None = None,
) -> Telemetry:
    """Read metrics of services from one file or several.

    Formats: answers of Prometheus' ``query_range`` (JSON); csv, tsv, parquet and arrow tables,
    either long (columns time, service, metric, value) or wide (a time, and columns named
    ``service|metric``). Times without a zone are UTC. Counters (``..._total``) become rates per
    second.

    Args:
        paths: One file or several.
        services: Names of services, e.g. ``graph.services``, to tell service from metric in
            column names.
        kinds: Metric or pattern -> kind, where a name misleads (see :func:`kind_of`).
        service_label: The label of Prometheus that names the service.

    Raises:
        FileNotFoundError: There is no such file.
        FileFormatError: What a file holds can't be read; says where.
        DataError: Two files hold the same metric of the same service.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "m.csv"
        >>> _ = file.write_text(
        ...     "time,service,metric,value\\n"
        ...     "2026-03-01T10:00Z,cart,latency_ms,9\\n2026-03-01T10:01Z,cart,latency_ms,11\\n")
        >>> read_metrics(file).frame["cart latency_ms"].tolist()
        [9.0, 11.0]
    """
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    if not paths:
        raise DataError("no file with metrics was given", advice="Pass at least one.")
    kinds = checked_kinds(kinds)
    services = None if services is None else list(services)
    with recording() as notes:
        found: list[Series] = []
        unused: dict[str, str] = {}
        for path in map(Path, paths):
            if _suffix(path) == ".json":
                found += read_prometheus(path, service_label)
                continue
            series, rest = _table(path, services)
            found += series
            unused |= rest
        together = assemble(found, kinds, unused)
    return replace(together, warnings=tuple(notes))


def from_frame(
    frame: pd.DataFrame,
    services: Iterable[str] | None = None,
    kinds: Mapping[str, Kind] | None = None,
) -> Telemetry:
    """What :meth:`Telemetry.from_frame` promises."""
    frame, _ = gate.as_frame(frame, "table", "x")
    with recording() as notes:
        series, unused = from_wide(frame, "table", services)
        together = assemble(series, checked_kinds(kinds), unused)
    return replace(together, warnings=tuple(notes))


def _suffix(path: Path) -> str:
    return Path(path.name.lower().removesuffix(".gz")).suffix


def _table(path: Path, services: list[str] | None) -> tuple[list[Series], dict[str, str]]:
    known = (".csv", ".tsv", ".txt", ".parquet", ".pq", ".arrow", ".feather")
    if _suffix(path) not in known:
        raise FileFormatError(
            "can't tell from the name which format this is",
            path=path,
            advice="Metrics are read from .json (Prometheus), .csv, .tsv, .parquet and .arrow.",
        )
    if is_long(_header(path)):
        return read_long(path), {}
    return from_wide(read_table(path), path, services)


def _header(path: Path) -> list[str]:
    """Column names, without reading what is below them."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    suffix = _suffix(path)
    if suffix in (".parquet", ".pq"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return list(pq.read_schema(path).names)
        except (pa.ArrowInvalid, OSError) as error:
            raise FileFormatError(f"is not a readable parquet file: {error}", path=path) from None
    if suffix in (".arrow", ".feather"):
        return []
    import csv
    import gzip

    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            separator = "\t" if suffix == ".tsv" else ","
            return next(csv.reader(file, delimiter=separator), [])
    except (UnicodeDecodeError, csv.Error, OSError, EOFError):
        return []  # the reader of tables says what is wrong, and where
