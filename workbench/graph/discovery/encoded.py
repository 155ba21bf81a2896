"""From a table to the columns that a search may look at: checked, complete, encoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ...core.errors import DataError, warn
from ...tables.encode import Encoder
from ...tables.gate import Table, count, table
from ...tables.repeats import warn_of_repeats
from ...tables.schema import Schema
from ..knowledge import Knowledge
from .gaps import pair_counts
from .plain import plain_table

Missing = Literal["auto", "complete", "pairwise"]

MIN_ROWS = 10
MAX_LEVELS = 20
_MORE = 2  # times as many rows for every pair of columns as complete ones: compare pair by pair
_RARE = 10


@dataclass(frozen=True, eq=False)
class Encoded:
    """The rows used of the columns that vary and have no structural role.

    A number, an ordinal code or a two-valued column is one encoded column; a category is a block
    of orthogonal ones.

    Attributes:
        variables: In canonical order.
        shown: All columns, in the order of the caller's table.
        values: ``(n, c)`` centred columns.
        blocks: Encoded columns of each variable.
        left_out: Column -> why it is not searched.
        position: Row of ``values`` for each row of the table, -1 where it has an empty cell; None
            where all are used.
        present: ``(n, d)`` which cells are not empty, where rows with empty cells are used
            (``values`` are 0 there), else None.
        codes: ``(n, d)`` levels 0, 1, ... where no column is a number and all cells are there.
    """

    variables: list[str]
    shown: list[str]
    values: np.ndarray
    blocks: list[np.ndarray]
    left_out: dict[str, str]
    position: np.ndarray | None = None
    present: np.ndarray | None = None
    codes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values if self.position is None else self.position)

    def take(self, rows: np.ndarray) -> Encoded:
        """The same columns on other rows of the table, which may repeat.

        Centred and orthogonal within blocks anew. Columns and levels that don't vary on these
        rows are left out without a word: this is for resamples of a table that has been checked.

        Raises:
            DataError: Fewer than 10 complete rows.
        """
        if self.position is not None:
            rows = self.position[rows]
            rows = rows[rows >= 0]
        if len(rows) < MIN_ROWS:
            raise DataError(f"{count(len(rows), 'complete row')}, at least {MIN_ROWS} are needed")
        if self.present is not None:
            return self._take_gappy(rows)
        values = self.values[rows]
        codes = None if self.codes is None else self.codes[rows]
        # Bases of categories carry rounding of their own; numbers are compared exactly.
        fuzz = np.full(values.shape[1], 1e-12)
        fuzz[[b[0] for b in self.blocks if len(b) == 1]] = 4 * np.finfo(float).eps
        varies = np.ptp(values, axis=0) > fuzz * np.abs(self.values).max(axis=0)
        values -= values.mean(axis=0)
        left_out = dict(self.left_out)
        if varies.all() and len(self.blocks) == values.shape[1]:
            return Encoded(self.variables, self.shown, values, self.blocks, left_out, codes=codes)
        variables, parts = [], []
        for name, block in zip(self.variables, self.blocks, strict=True):
            if varies[block].any():
                variables.append(name)
                parts.append(_orthogonal(values[:, block]))
            else:
                left_out[name] = "constant"
        if not variables:
            raise DataError("no column varies", column=self.variables[0])
        if codes is not None:
            codes = codes[:, [n in variables for n in self.variables]]
        return Encoded(
            variables, self.shown, np.hstack(parts), _blocks(parts), left_out, codes=codes
        )

    def _take_gappy(self, rows: np.ndarray) -> Encoded:
        variables, parts, left_out = [], [], dict(self.left_out)
        for i, (name, block) in enumerate(zip(self.variables, self.blocks, strict=True)):
            there = self.present[rows, i]
            part = self.values[np.ix_(rows[there], block)]
            if len(part) and (np.ptp(part, axis=0) > 1e-12 * np.abs(part).max(axis=0)).any():
                variables.append(name)
                parts.append(_spread(_orthogonal(part - part.mean(axis=0)), there))
            else:
                left_out[name] = "constant"
        if not variables:
            raise DataError("no column varies", column=self.variables[0])
        present = self.present[np.ix_(rows, [n in variables for n in self.variables])]
        return Encoded(
            variables, self.shown, np.hstack(parts), _blocks(parts), left_out, present=present
        )


def encode(
    data: Any, schema: Schema | None, knowledge: Knowledge, missing: Missing = "complete"
) -> Encoded:
    """Check a table and encode what may be searched.

    Args:
        data, schema, knowledge: As for a search.
        missing: What happens to rows with empty cells. ``"complete"`` leaves them out,
            ``"pairwise"`` uses each pair of columns on the rows that have both, ``"auto"`` does
            the first unless it loses more than half of the rows and the second has at least
            twice as many for every pair.

    Raises:
        DataError: What the gate refuses; fewer than 10 complete rows; nothing to search.
        QuestionError: The knowledge names columns that don't exist.
    """
    plain = plain_table(data, MIN_ROWS) if schema is None else None
    if plain is None:
        return _through_the_gate(data, schema, knowledge, missing)
    knowledge.check(plain.names)
    names, values = plain.names, plain.values
    if plain.named:
        # Named columns in canonical order: the caller's order must have no influence.
        order = sorted(range(len(names)), key=names.__getitem__)
        names, values = [names[i] for i in order], values[:, order]
    return Encoded(names, plain.names, values, list(np.arange(len(names))[:, None]), {})


def _through_the_gate(
    data: Any, schema: Schema | None, knowledge: Knowledge, missing: Missing
) -> Encoded:
    given = table(data, schema=schema)
    checked = given.frame[sorted(given.names)] if given.named else given.frame
    knowledge.check(given.names)
    left_out = _structural(given)
    variables = [n for n in checked.columns if n not in left_out]
    if not variables:
        raise DataError("no column is left to search: all have a structural role")
    frame, position, present = checked[variables], None, None
    if _pairwise(frame, missing):
        present = _shared_rows(frame)
    else:
        frame, position = _complete_rows(frame)
    for name in variables:
        if _is_constant(frame[name]):
            left_out[name] = "constant"
    constant = [n for n in variables if n in left_out]
    if constant:
        warn(
            "constant-column",
            f"{listed(constant)} {_have(constant)} one value only and can't be searched: left out",
            constant,
        )
    variables = [n for n in variables if n not in left_out]
    if not variables:
        raise DataError("no column varies", column=constant[0])
    _tell_rare_levels(frame, variables)
    frame = frame[variables]
    if not any(f.role == "cluster" for f in given.schema):
        warn_of_repeats(frame)
    searched = Table(frame, given.schema.select(variables), given.named)
    if present is not None:
        present = ~frame.isna().to_numpy()
        values, blocks = _encode_gappy(searched, present)
        return Encoded(variables, given.names, values, blocks, left_out, present=present)
    values, blocks = _encode(searched)
    return Encoded(
        variables, given.names, values, blocks, left_out, position, codes=_codes(searched)
    )


def _pairwise(frame: Any, missing: Missing) -> bool:
    if missing == "complete" or not frame.isna().any(axis=None):
        return False
    if missing == "pairwise":
        return True
    present = ~frame.isna().to_numpy()
    complete = int(present.all(axis=1).sum())
    # Correlations of different rows fit together less well: that must buy rows, for every pair.
    return complete < 0.5 * len(frame) and (
        complete < MIN_ROWS or pair_counts(present).min() >= _MORE * complete
    )


def _shared_rows(frame: Any) -> np.ndarray:
    """Which cells are there; refuses two columns that are hardly ever there together."""
    present = ~frame.isna().to_numpy()
    counts = pair_counts(present)
    if counts.min() < MIN_ROWS:
        i, j = np.unravel_index(counts.argmin(), counts.shape)
        i, j = max((i, j), (j, i), key=lambda pair: (~present[:, pair[0]]).sum())
        both = "" if i == j else f" together with {frame.columns[j]!r}"
        raise DataError(
            f"has a value{both} in {count(int(counts[i, j]), 'row')} only, at least {MIN_ROWS} are "
            "needed",
            column=frame.columns[i],
            row=frame.index[int((~present[:, i]).argmax())],
            advice="Leave the column out or fill its gaps.",
        )
    gaps = [n for n, full in zip(frame.columns, present.all(axis=0), strict=True) if not full]
    off = counts[np.triu_indices(len(counts), 1)] if len(counts) > 1 else counts[0]
    thinnest = np.unique(np.unravel_index(counts.argmin(), counts.shape))
    warn(
        "missing-values",
        f"{count(int(present.all(axis=1).sum()), 'row')} of {len(frame):,} "
        f"have no empty cell: each pair of columns is compared on the rows that have both "
        f"({off.mean():,.0f} on average), and what is found must hold as if each had only the "
        f"{counts.min():,.0f} rows of {listed([frame.columns[i] for i in thinnest])}; empty cells "
        f"are in {listed(gaps)}; the graph is right only if being empty is unrelated to the values",
        gaps,
    )
    return present


def _encode_gappy(checked: Table, present: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """As :func:`_encode`, each variable over the rows that have it, 0 elsewhere."""
    parts = []
    for i, name in enumerate(checked.names):
        there = present[:, i]
        alone = Table(checked.frame.loc[there, [name]], checked.schema.select([name]), True)
        parts.append(_spread(_encode(alone)[0], there))
    return np.hstack(parts), _blocks(parts)


def _spread(values: np.ndarray, there: np.ndarray) -> np.ndarray:
    out = np.zeros((len(there), values.shape[1]))
    out[there] = values
    return out


def _codes(checked: Table) -> np.ndarray | None:
    """Levels as 0, 1, ... (rare ones of long lists pooled), or None if there is a number."""
    if any(f.is_numeric for f in checked.schema):
        return None
    out = np.empty((len(checked), len(checked.names)), np.int32)
    for i, name in enumerate(checked.names):
        codes = np.unique(checked.frame[name].cat.codes.to_numpy(), return_inverse=True)[1]
        often = np.bincount(codes)
        if len(often) > MAX_LEVELS:
            rank = np.empty(len(often), np.int64)
            rank[np.argsort(-often, kind="stable")] = np.arange(len(often))
            codes = np.minimum(rank[codes], MAX_LEVELS - 1)
        out[:, i] = codes
    return out


def _structural(given: Table) -> dict[str, str]:
    out = {f.name: f"has role {f.role!r}" for f in given.schema if f.role is not None}
    dependent = [f.name for f in given.schema if f.role in ("time", "cluster")]
    dependent += [
        f.name for f in given.schema if f.role == "id" and given.frame[f.name].duplicated().any()
    ]
    if dependent:
        warn(
            "dependent-rows",
            f"rows that share or follow {listed(dependent)} may depend on each other, the search "
            "takes them as independent: it may draw too many edges",
            dependent,
        )
    weights = [f.name for f in given.schema if f.role == "weight"]
    if weights:
        warn("weights-ignored", f"the weights {weights[0]!r} play no part in the search", weights)
    return out


def _complete_rows(frame: Any) -> tuple[Any, np.ndarray | None]:
    """Rows without empty cells, and where each row has gone (None: all stay)."""
    empty = frame.isna()
    keep = ~empty.any(axis=1).to_numpy()
    gaps = [n for n in frame.columns if empty[n].any()]
    if keep.sum() < MIN_ROWS:
        if gaps:
            worst = max(gaps, key=lambda n: empty[n].sum())
            raise DataError(
                f"is empty in {empty[worst].sum():,} of {count(len(frame), 'row')}; "
                f"{keep.sum():,} are complete, at least {MIN_ROWS} are needed",
                column=worst,
                row=frame.index[int(empty[worst].to_numpy().argmax())],
                advice="Leave the column out or fill its gaps.",
            )
        raise DataError(
            f"a graph can't be learned from {count(len(frame), 'row')}, at least {MIN_ROWS} "
            "are needed",
            column=frame.columns[0],
        )
    position = None
    if gaps:
        position = np.where(keep, np.cumsum(keep) - 1, -1)
        warn(
            "missing-values",
            f"{count(int((~keep).sum()), 'row')} of {len(keep):,} with empty cells in "
            f"{listed(gaps)} left out: the graph is right only if being empty is unrelated to "
            "the values",
            gaps,
        )
        frame = frame[keep]
    return frame, position


def _tell_rare_levels(frame: Any, variables: list[str]) -> None:
    rare = []
    for name in variables:
        if frame[name].dtype.kind not in "iuf":
            counts = frame[name].value_counts()
            counts = counts[counts > 0]
            if len(counts) <= MAX_LEVELS and counts.min() < _RARE:
                rare.append(name)
    if rare:
        warn(
            "rare-levels",
            f"{listed(rare)} have levels in fewer than {_RARE} rows, for which the tests reject "
            "too often: group such levels, or trust their edges less",
            rare,
        )


def _is_constant(column: Any) -> bool:
    if column.nunique() < 2:
        return True
    if column.dtype.kind != "f":
        return False
    values = column.to_numpy()
    with np.errstate(over="ignore"):
        return bool(np.ptp(values) <= 4 * np.finfo(float).eps * np.abs(values).max())


def _encode(checked: Table) -> tuple[np.ndarray, list[np.ndarray]]:
    """Centred columns of unit length, orthogonal within a variable, and where they are."""
    most = int(np.clip(len(checked) // 20, 2, MAX_LEVELS))
    # To the range 0 to 1 first: squares of very large or small numbers would not be finite.
    encoder = Encoder(scale="minmax", drop_first=True, max_levels=most)
    with np.errstate(over="ignore", invalid="ignore"):
        raw = encoder.fit_transform(checked)
    parts = []
    for name in checked.names:
        block = raw[:, encoder.block(name).columns]
        if not np.isfinite(block).all():
            raise DataError(
                "spans a range too large for arithmetic", column=name, advice="Change its unit."
            )
        parts.append(_orthogonal(block - block.mean(axis=0)))
    return np.hstack(parts), _blocks(parts)


def _orthogonal(block: np.ndarray) -> np.ndarray:
    """Columns of unit length that span the same space; the basis does not matter to the tests."""
    if block.shape[1] == 1:
        return block / np.linalg.norm(block, axis=0)
    left, sizes, _ = np.linalg.svd(block, full_matrices=False)
    return left[:, sizes > 1e-9 * sizes[0]]  # free of unused levels


def _blocks(parts: list[np.ndarray]) -> list[np.ndarray]:
    ends = np.cumsum([0, *(p.shape[1] for p in parts)])
    return [np.arange(a, b) for a, b in zip(ends, ends[1:], strict=False)]


def listed(names: list[str], most: int = 8) -> str:
    shown = ", ".join(map(repr, names[:most]))
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def _have(names: list[str]) -> str:
    return "has" if len(names) == 1 else "have"
