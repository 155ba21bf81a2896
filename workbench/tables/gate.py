"""The one check of inputs: what every front door calls once, so that methods need no checks.

Refusals name the column, the first bad row and what to do. What can be used in spite of a flaw
(empty cells, a constant column) is used, and a named warning says what was done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import DataError, did_you_mean, warn
from ..core.results import count
from .levels import as_levels, with_levels
from .schema import BY_USER, Feature, Schema, holds_numbers

_LONE = 0.5  # share of a column's variance from which one cell governs every fit
_FEWEST_FOR_LONE = 30


@dataclass(frozen=True, eq=False)
class Table:
    """A checked copy of the caller's columns.

    Attributes:
        frame: Numbers as float64 (empty cells as NaN), levels as pandas categories.
        schema: One feature per column of ``frame``, in the same order.
        named: Whether the caller gave names (a DataFrame) or positions (an array).
    """

    frame: pd.DataFrame
    schema: Schema
    named: bool

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def names(self) -> list[str]:
        return list(self.frame.columns)


def table(
    data: Any,
    *,
    schema: Schema | None = None,
    columns: Iterable[str] | None = None,
    what: str = "data",
    prefix: str = "x",
    canonical: bool = False,
    min_rows: int = 1,
    drop: bool = True,
) -> Table:
    """Check a table and return it in canonical types.

    Args:
        data: A DataFrame, a Series, or an array of one or two dimensions (columns become
            ``prefix0, prefix1, ...``).
        schema: What the columns mean; guessed when left out. Columns it doesn't mention are
            guessed.
        columns: The columns to use; all by default.
        what: How the table is called in messages.
        canonical: Put named columns in the order of their names, so that the caller's order has
            no influence.
        min_rows: Fewest rows that make sense.
        drop: Apply the missing-value policy ``"drop"`` of the schema. Without it such cells are
            refused (for tables that must keep their rows).

    Raises:
        DataError: Not a table, no rows, repeated or unknown columns, types that can't be used,
            infinite values, values outside the schema's levels or bounds, refused empty cells.
    """
    frame, named = as_frame(data, what, prefix)
    if schema is not None and not isinstance(schema, Schema):
        raise DataError("schema must be a Schema", value=type(schema).__name__)
    if columns is not None:
        wanted = [columns] if isinstance(columns, str) else [str(name) for name in columns]
        for name in wanted:
            if name not in frame.columns:
                raise DataError(
                    f"is not in the {what}",
                    column=name,
                    advice=_row_as_table(data, wanted) or did_you_mean(name, frame.columns),
                )
        if named and canonical:
            wanted = sorted(wanted)
        frame = frame[wanted]
    elif named and canonical:
        frame = frame[sorted(frame.columns)]
    if frame.shape[1] and len(frame) < min_rows:
        raise DataError(
            f"the {what} has {count(len(frame), 'row')}, at least {min_rows} are needed",
            column=frame.columns[0] if len(frame.columns) == 1 else None,
        )
    guessed = Schema.infer(frame)
    known = schema if schema is not None else Schema([])
    features = [known[n] if n in known else guessed[n] for n in frame.columns]
    # What was guessed once stays a guess, also when a fitted schema comes back with new rows.
    reasons = {
        n: why
        for n in frame.columns
        if (why := (known if n in known else guessed).reasons.get(n)) is not None
    }
    clean = {
        f.name: _clean(frame[f.name], f, reasons.get(f.name, BY_USER) == BY_USER) for f in features
    }
    out = pd.DataFrame(clean, index=frame.index, columns=list(frame.columns))
    features = [with_levels(f, out[f.name]) for f in features]
    out = _apply_missing(out, features, drop, min_rows)
    return Table(out, Schema(features, reasons), named)


def _row_as_table(data: Any, wanted: list[str]) -> str:
    """Advice where one row of a table was passed, which pandas turns on its side."""
    on_its_side = isinstance(data, pd.Series) and set(wanted) <= {str(n) for n in data.index}
    return "Pass one row as a table, e.g. X.iloc[[0]]." if on_its_side else ""


def as_frame(data: Any, what: str, prefix: str) -> tuple[pd.DataFrame, bool]:
    """The data as a DataFrame with text names, and whether the names are the caller's."""
    if isinstance(data, Table):
        return data.frame, data.named
    if isinstance(data, pd.Series):
        named = data.name is not None
        return data.to_frame(str(data.name) if named else f"{prefix}0"), named
    if isinstance(data, pd.DataFrame):
        frame = data
        if isinstance(frame.columns, pd.MultiIndex):
            raise DataError(
                f"the {what} has column names of several levels",
                value=frame.columns[0],
                advice="Flatten them: df.columns = ['_'.join(map(str, c)) for c in df.columns].",
            )
        names = [str(c) for c in frame.columns]
        if len(set(names)) < len(names):
            repeated = [n for i, n in enumerate(names) if n in names[:i]]
            raise DataError(
                f"appears {names.count(repeated[0])} times in the {what}",
                column=repeated[0],
                advice="Rename or drop one of them.",
            )
        if "" in names:
            raise DataError(f"a column of the {what} has no name", advice="Name it.")
        if names != list(frame.columns):
            frame = frame.set_axis(names, axis=1)
        if not names:
            raise DataError(f"the {what} has no columns")
        return frame, True
    try:
        array = np.asarray(_unmasked(data))
    except (ValueError, TypeError) as error:
        raise DataError(f"the {what} can't be read as a table: {error}") from error
    if array.ndim not in (1, 2) or array.dtype == object and array.ndim == 0:
        raise DataError(
            f"the {what} must be a DataFrame or an array of one or two dimensions",
            value=type(data).__name__,
            advice=f"Pass the column, e.g. df[{data!r}]." if isinstance(data, str) else "",
        )
    array = array[:, None] if array.ndim == 1 else array
    frame = pd.DataFrame(array, columns=[f"{prefix}{j}" for j in range(array.shape[1])])
    if not len(frame.columns):
        raise DataError(f"the {what} has no columns")
    return frame, False


def _unmasked(data: Any) -> Any:
    """Hidden cells of a masked array are empty cells; what lies under the mask is never used."""
    if not isinstance(data, np.ma.MaskedArray) or not np.ma.is_masked(data):
        return data
    plain = np.issubdtype(data.dtype, np.number) and not np.iscomplexobj(data)
    return data.astype(float).filled(np.nan) if plain else data.astype(object).filled(None)


def _clean(column: pd.Series, feature: Feature, declared: bool) -> pd.Series:
    """One column in canonical type, or the reason why that is impossible.

    Levels that look like numbers are believed only if ``declared`` (or a pandas category).
    """
    if feature.role in ("id", "time", "cluster"):
        return column.astype(object) if column.dtype == object else column
    if holds_numbers(column):
        column = column.astype(float)
    if feature.is_numeric:
        return numbers(column, feature)
    return as_levels(column, feature, declared)


def numbers(column: pd.Series, feature: Feature) -> pd.Series:
    """A column as float64, or a refusal that names the first value that is no finite number."""
    name, dtype = feature.name, column.dtype
    if pd.api.types.is_datetime64_any_dtype(dtype) or pd.api.types.is_timedelta64_dtype(dtype):
        raise DataError(
            "holds dates, not numbers",
            column=name,
            row=column.index[0],
            value=column.iloc[0],
            advice="Turn it into a number (e.g. days since a start) or give it role='time'.",
        )
    if pd.api.types.is_complex_dtype(dtype):
        raise DataError(
            "holds complex numbers",
            column=name,
            row=column.index[0],
            value=column.iloc[0],
            advice="Use the real part or the modulus.",
        )
    if not (pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype)):
        _refuse_text(column, name)
    values = column.to_numpy(dtype=float, na_value=np.nan)
    infinite = np.isinf(values)
    if infinite.any():
        i = int(infinite.argmax())
        raise DataError(
            f"has {count(int(infinite.sum()), 'infinite value')}",
            column=name,
            row=column.index[i],
            value=values[i],
            advice="Replace it or drop the row.",
        )
    for bad, side in _outside(values, feature.bounds):
        i = int(bad.argmax())
        raise DataError(
            f"has {count(int(bad.sum()), 'value')} {side} its bounds {feature.bounds}",
            column=name,
            row=column.index[i],
            value=values[i],
            advice="Correct the value or the schema.",
        )
    return pd.Series(values, index=column.index, name=name)


def _outside(values: np.ndarray, bounds: tuple | None) -> list[tuple[np.ndarray, str]]:
    low, high = bounds or (None, None)
    checks = []
    if low is not None:
        checks.append((values < low, "below"))
    if high is not None:
        checks.append((values > high, "above"))
    return [(bad, side) for bad, side in checks if bad.any()]


def _refuse_text(column: pd.Series, name: str) -> None:
    """A column said to be numeric holds something else: say what, and where it starts."""
    for label, value in column.items():
        empty = value is None or value is pd.NA or value is pd.NaT
        if isinstance(value, str | bytes | bool) or not (empty or np.isscalar(value)):
            raise DataError(
                f"holds {type(value).__name__} values, not numbers",
                column=name,
                row=label,
                value=value,
                advice="Convert it with pandas.to_numeric, or declare levels in the schema.",
            )


def _apply_missing(
    frame: pd.DataFrame, features: Sequence[Feature], drop: bool, min_rows: int
) -> pd.DataFrame:
    keep = np.ones(len(frame), dtype=bool)
    for feature in features:
        empty = frame[feature.name].isna().to_numpy()
        if not empty.any() or feature.role in ("id", "time"):
            continue
        if feature.missing == "drop" and drop:
            keep &= ~empty
        elif feature.missing != "indicate" or feature.role is not None:
            refuse_missing(frame[feature.name])
    if keep.all():
        return frame
    dropped = [f.name for f in features if f.missing == "drop" and frame[f.name].isna().any()]
    warn(
        "dropped-rows",
        f"{count(int((~keep).sum()), 'row')} of {len(keep)} dropped for empty cells in "
        f"{', '.join(map(repr, dropped))}: the answer is about the rows that remain",
        dropped,
    )
    if keep.sum() < min_rows:
        raise DataError(
            f"{count(int(keep.sum()), 'row')} left after dropping rows with empty cells",
            column=dropped[0],
        )
    return frame[keep]


def refuse_missing(column: pd.Series) -> None:
    """Raise a :class:`DataError` if the column has an empty cell."""
    empty = column.isna().to_numpy()
    if empty.any():
        raise DataError(
            f"has {count(int(empty.sum()), 'missing value')}",
            column=str(column.name),
            row=column.index[int(empty.argmax())],
            advice="Fill them, drop these rows, or set missing='drop' in the schema.",
        )


def warn_of_lone_values(columns: Mapping[str, Any]) -> None:
    """Warn of single cells that make up most of a column's variance: what is fitted is fitted to
    them, whatever the other rows say."""
    for name, column in columns.items():
        values = np.asarray(column, dtype=float)
        seen = np.flatnonzero(np.isfinite(values))
        if len(seen) < _FEWEST_FOR_LONE:
            continue
        part = values[seen]
        part = part / (np.abs(part).max() or 1.0)
        apart = (part - np.median(part)) ** 2
        worst = int(apart.argmax())
        if apart[worst] > _LONE * apart.sum() and len(np.unique(part)) > 2:
            row, value = column.index[seen[worst]], values[seen[worst]]
            warn(
                "outlier",
                f"one cell of {name!r} (row {as_plain(row)!r}: {value:g}) makes up "
                f"{apart[worst] / apart.sum():.0%} of its variance: the answer may rest on that "
                "row alone; correct the cell or leave the row out if it is wrong",
                [name],
            )


def refuse_scale(column: pd.Series) -> None:
    """Refuse numbers whose squares overflow or vanish: no variance could be computed."""
    values = column.to_numpy(dtype=float)
    values = values[np.isfinite(values)]
    with np.errstate(all="ignore"):
        spread = float(np.sqrt(np.square(values - values.mean()).mean())) if len(values) else 1.0
    if 1e-140 < spread < 1e140 or len(values) and values.min() == values.max():
        return
    worst = int(np.nanargmax(np.abs(column.to_numpy(dtype=float))))
    raise DataError(
        "has a scale that arithmetic can't square",
        column=str(column.name),
        row=column.index[worst],
        value=float(column.iloc[worst]),
        advice="Change its unit.",
    )


def as_plain(label: Any) -> Any:
    """A label of an index as Python writes it: ``0``, not ``np.int64(0)``."""
    return label.item() if isinstance(label, np.generic) else label


def align(first: pd.DataFrame, other: pd.DataFrame, name: str, against: str) -> pd.DataFrame:
    """``other`` in the row order of ``first``; unequal length or index is an error.

    The same labels in another order are matched by label when every label is unique.
    """
    if len(first) != len(other):
        raise DataError(
            f"{name} has {count(len(other), 'row')} and {against} {len(first)}",
            column=str(other.columns[0]),
            advice="Both must describe the same rows.",
        )
    if first.index.equals(other.index):
        return other
    if first.index.is_unique and other.index.is_unique:
        missing = first.index.difference(other.index, sort=False)
        if not len(missing):
            return other.loc[first.index]
        raise DataError(
            f"{name} and {against} have different index labels",
            column=str(other.columns[0]),
            row=missing[0],
            advice="Give both the same index, or pass arrays to match by position.",
        )
    raise DataError(
        f"{name} and {against} have different index labels, and some repeat",
        column=str(other.columns[0]),
        row=other.index[0],
        advice="Give both the same index, e.g. with reset_index(drop=True).",
    )
