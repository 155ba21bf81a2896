"""Changes that people made: deploys, configuration, flags, with time and service."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ...core.errors import FileFormatError
from ...tables.read import read_table
from .sources import parse_json, read_text
from .tables import SERVICE, TIME, is_text, role_of
from .times import utc_nanoseconds

_WHAT = ("what", "change", "description", "message", "title", "version", "summary", "event")


def read_changes(path: str | Path) -> pd.DataFrame:
    """Changes from a table (csv, tsv, parquet) or a JSON list, in the order of time.

    Needs a time and a service; a description is taken from ``what``, ``change``,
    ``description``, ``version``, ... Times without a zone are UTC.

    Returns:
        One row per change: time (UTC), service, what.

    Raises:
        FileFormatError: A column is missing, a time that is none.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "c.csv"
        >>> _ = file.write_text("time,service,what\\n2026-03-01T14:20Z,cart,deploy 1.9\\n")
        >>> read_changes(file)[["service", "what"]].values.tolist()
        [['cart', 'deploy 1.9']]
    """
    if str(path).lower().removesuffix(".gz").endswith(".json"):
        records = parse_json(read_text(path), path)
        if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
            raise FileFormatError(
                "is not a list of changes",
                path=path,
                advice='Write [{"time": ..., "service": ..., "what": ...}].',
            )
        frame = pd.DataFrame(records)
    else:
        frame = read_table(path)
    return as_changes(frame, path)


def as_changes(frame: pd.DataFrame, path: str | Path = "changes") -> pd.DataFrame:
    """A table of changes in the form that :func:`read_changes` returns.

    Raises:
        FileFormatError: See there.
    """
    if not len(frame):
        empty = {"time": pd.DatetimeIndex([], tz="UTC"), "service": [], "what": []}
        return pd.DataFrame(empty)
    columns = {"time": role_of(frame.columns, TIME), "service": role_of(frame.columns, SERVICE)}
    for role, name in columns.items():
        if name is None:
            listed = ", ".join(map(repr, list(frame.columns)[:6]))
            raise FileFormatError(
                f"changes need a column {role!r}, found {listed}",
                path=path,
                advice="Columns are time, service, what.",
            )
    times = utc_nanoseconds(frame[columns["time"]], path, is_text(path))
    what = role_of(frame.columns, _WHAT)
    texts = frame[what].fillna("").astype(str) if what is not None else [""] * len(frame)
    out = pd.DataFrame(
        {
            "time": pd.DatetimeIndex(times, tz="UTC"),
            "service": frame[columns["service"]].fillna("").astype(str).str.strip().to_numpy(),
            "what": list(texts),
        }
    )
    return out.sort_values("time", kind="stable", ignore_index=True)
