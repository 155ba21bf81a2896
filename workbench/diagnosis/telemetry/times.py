"""Times as files write them: Unix numbers, ISO texts, with and without a zone; all become UTC."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from ...core.errors import DataError, FileFormatError, QuestionError

_ZONE = r"(?:Z|[+-]\d{2}:?\d{2}|[+-]\d{2}|UTC|GMT)\s*$"
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}(?!\d)")
_SIZES = ((1e11, 10**9), (1e14, 10**6), (1e17, 10**3), (np.inf, 1))  # s, ms, µs, ns


def utc_nanoseconds(column: pd.Series, path: str | Path, text_lines: bool = False) -> np.ndarray:
    """A column of times as nanoseconds since 1970 in UTC, shape (n,).

    Numbers count seconds, milliseconds, microseconds or nanoseconds (told by their size); texts
    are ISO 8601; what has no zone is UTC.

    Raises:
        FileFormatError: An empty cell, a text that is no time, or texts with and without a zone
            in one column; with the line for text files.
    """
    if column.isna().any():
        raise _bad(column, column.isna().to_numpy(), "has no time", path, text_lines)
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        index = pd.DatetimeIndex(column)
        index = index.tz_localize("UTC") if index.tz is None else index.tz_convert("UTC")
        return index.as_unit("ns").asi8
    if pd.api.types.is_numeric_dtype(column.dtype):
        values = column.to_numpy(dtype=float)
        if not np.isfinite(values).all() or np.abs(values).max() < 1e8:
            bad = ~np.isfinite(values) | (np.abs(values) < 1e8)
            raise _bad(column, bad, "is no Unix time", path, text_lines)
        size = next(unit for limit, unit in _SIZES if np.abs(values).max() < limit)
        if pd.api.types.is_integer_dtype(column.dtype):
            return column.to_numpy(dtype="int64") * size
        whole = np.floor(values)
        return whole.astype("int64") * size + np.rint((values - whole) * size).astype("int64")
    texts = column.astype(str)
    found = pd.to_datetime(texts, utc=True, format="ISO8601", errors="coerce")
    if found.isna().any():
        advice = "Write times as 2026-03-01T14:32:00Z, or as Unix seconds."
        raise _bad(
            column, found.isna().to_numpy(), "is not an ISO 8601 time", path, text_lines, advice
        )
    zoned = texts.str.contains(_ZONE, regex=True).to_numpy()
    if zoned.any() and not zoned.all():
        what = "has no zone, those above have one" if zoned[0] else "has a zone, those above none"
        advice = "Write all times with their zone."
        raise _bad(column, zoned != zoned[0], what, path, text_lines, advice)
    return pd.DatetimeIndex(found).as_unit("ns").asi8


def moment(at: str | pd.Timestamp | float, what: str = "at") -> pd.Timestamp:
    """One time as a UTC timestamp; without a zone it is UTC.

    Texts are ISO 8601 with the day written out, as in files, or Unix numbers: 01/02/2026 is
    another day on each side of the Atlantic, and 20:03 is of no day.

    Raises:
        QuestionError: Not a time, or a text that is not ISO 8601.

    Example:
        >>> moment("2026-03-01T15:32+01:00")
        Timestamp('2026-03-01 14:32:00+0000', tz='UTC')
    """
    try:
        if isinstance(at, int | float) or (isinstance(at, str) and at.strip().isdigit()):
            column = pd.Series([float(at)], name=what)
            return pd.Timestamp(int(utc_nanoseconds(column, what)[0]), tz="UTC")
        if isinstance(at, str):
            text = re.sub(r"\s*(?:UTC|GMT)$", "Z", at.strip())
            if not _DAY.match(text):
                raise ValueError("no day")
            stamp = pd.Timestamp(pd.to_datetime([text], format="ISO8601")[0])
        else:
            stamp = pd.Timestamp(at)
        if stamp is pd.NaT:
            raise ValueError("no time")
    except (ValueError, TypeError, FileFormatError, DataError):
        raise QuestionError(
            f"{what} is not a time in ISO 8601",
            value=at,
            advice="Write year, month and day: 2026-03-01T14:32 (UTC), or 2026-03-01T14:32+01:00.",
        ) from None
    return stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")


def _bad(
    column: pd.Series,
    bad: np.ndarray,
    what: str,
    path: str | Path,
    text_lines: bool,
    advice: str = "",
) -> FileFormatError:
    row = int(np.flatnonzero(bad)[0])
    value = column.iloc[row]
    shown = "" if pd.isna(value) else f" {str(value)[:40]!r}"
    place = "" if text_lines else f"row {row + 1}, "
    return FileFormatError(
        f"{place}column {column.name!r}:{shown} {what}",
        path=path,
        line=row + 2 if text_lines else None,
        advice=advice,
    )
