"""From a table to the columns that a search may look at: checked, complete, encoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.errors import DataError, warn
from ...tables.encode import Encoder
from ...tables.gate import Table, count, table, warn_of_repeats
from ...tables.schema import Schema
from ..knowledge import Knowledge
from .plain import plain_table

MIN_ROWS = 10
MAX_LEVELS = 20
_RARE = 10


@dataclass(frozen=True, eq=False)
class Encoded:
    """The complete rows of the columns that vary and have no structural role.

    A number, an ordinal code or a two-valued column is one encoded column; a category is a block
    of orthogonal ones.

    Attributes:
        variables: In canonical order.
        shown: All columns, in the order of the caller's table.
        values: ``(n, c)`` centred columns.
        blocks: Encoded columns of each variable.
        left_out: Column -> why it is not searched.
        position: Row of ``values`` for each row of the table, -1 where it has an empty cell; None
            where all are complete.
    """

    variables: list[str]
    shown: list[str]
    values: np.ndarray
    blocks: list[np.ndarray]
    left_out: dict[str, str]
    position: np.ndarray | None = None

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
        values = self.values[rows]
        # Bases of categories carry rounding of their own; numbers are compared exactly.
        fuzz = np.full(values.shape[1], 1e-12)
        fuzz[[b[0] for b in self.blocks if len(b) == 1]] = 4 * np.finfo(float).eps
        varies = np.ptp(values, axis=0) > fuzz * np.abs(self.values).max(axis=0)
        values -= values.mean(axis=0)
        left_out = dict(self.left_out)
        if varies.all() and len(self.blocks) == values.shape[1]:
            return Encoded(self.variables, self.shown, values, self.blocks, left_out)
        variables, parts = [], []
        for name, block in zip(self.variables, self.blocks, strict=True):
            if varies[block].any():
                variables.append(name)
                parts.append(_orthogonal(values[:, block]))
            else:
                left_out[name] = "constant"
        if not variables:
            raise DataError("no column varies", column=self.variables[0])
        return Encoded(variables, self.shown, np.hstack(parts), _blocks(parts), left_out)


def encode(data: Any, schema: Schema | None, knowledge: Knowledge) -> Encoded:
    """Check a table and encode what may be searched.

    Raises:
        DataError: What the gate refuses; fewer than 10 complete rows; nothing to search.
        QuestionError: The knowledge names columns that don't exist.
    """
    plain = plain_table(data, MIN_ROWS) if schema is None else None
    if plain is None:
        return _through_the_gate(data, schema, knowledge)
    knowledge.check(plain.names)
    names, values = plain.names, plain.values
    if plain.named:
        # Named columns in canonical order: the caller's order must have no influence.
        order = sorted(range(len(names)), key=names.__getitem__)
        names, values = [names[i] for i in order], values[:, order]
    return Encoded(names, plain.names, values, list(np.arange(len(names))[:, None]), {})


def _through_the_gate(data: Any, schema: Schema | None, knowledge: Knowledge) -> Encoded:
    given = table(data, schema=schema)
    checked = given.frame[sorted(given.names)] if given.named else given.frame
    knowledge.check(given.names)
    left_out = _structural(given)
    variables = [n for n in checked.columns if n not in left_out]
    if not variables:
        raise DataError("no column is left to search: all have a structural role")
    frame, position = _complete_rows(checked[variables])
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
    values, blocks = _encode(Table(frame, given.schema.select(variables), given.named))
    return Encoded(variables, given.names, values, blocks, left_out, position)


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
