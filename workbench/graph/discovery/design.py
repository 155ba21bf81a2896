"""From a table to what a search works on: correlations of encoded columns that can be searched.

Every method starts here, so that all of them leave out the same columns, use the same rows and
say so in the same words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.errors import CausalWarning, DataError, ParameterError, QuestionError, warn
from ...tables.encode import Encoder
from ...tables.gate import Table, count, table, warn_of_repeats
from ...tables.schema import Schema
from ..knowledge import Knowledge

MIN_ROWS = 10
MAX_LEVELS = 20
_RARE = 10
# Share of a column's variance below which it counts as a function of others.
DETERMINED = 1e-9


@dataclass(frozen=True, eq=False)
class Design:
    """Sufficient statistics of the searched columns, in the order of their names.

    A number, an ordinal code or a two-valued column is one encoded column; a category with k
    levels is a block of k - 1 columns with covariance I (the degenerate Gaussian model of
    Andrews, Ramsey and Cooper, 2019).

    Attributes:
        names: Searched variables, in canonical order.
        shown: The same names in the order of the caller's table.
        correlation: ``(c, c)`` correlations of the encoded columns.
        blocks: Encoded columns of each variable.
        rows: Number of rows used.
        left_out: Column -> why it is not searched.
        knowledge: What is known about the searched variables.
    """

    names: tuple[str, ...]
    shown: tuple[str, ...]
    correlation: np.ndarray
    blocks: tuple[np.ndarray, ...]
    rows: int
    left_out: dict[str, str]
    knowledge: Knowledge

    @property
    def wide(self) -> list[str]:
        """Variables that take more than one encoded column."""
        return [n for n, b in zip(self.names, self.blocks, strict=True) if len(b) > 1]


def prepare(data: Any, schema: Schema | None = None, knowledge: Knowledge | None = None) -> Design:
    """Check a table and reduce it to a :class:`Design`.

    Raises:
        DataError: What the gate refuses; fewer than 10 complete rows; nothing to search.
        QuestionError: The knowledge names columns that don't exist, or requires an edge at a
            column that can't be searched.
    """
    if knowledge is not None and not isinstance(knowledge, Knowledge):
        raise ParameterError(
            "must be a Knowledge", column="knowledge", value=type(knowledge).__name__
        )
    given = table(data, schema=schema)
    # Named columns in canonical order: the caller's order must have no influence.
    checked = given.frame[sorted(given.names)] if given.named else given.frame
    knowledge = knowledge or Knowledge()
    knowledge.check(given.names)
    left_out = _structural(given)
    variables = [n for n in checked.columns if n not in left_out]
    if not variables:
        raise DataError("no column is left to search: all have a structural role")
    frame = _complete_rows(checked[variables])
    for name in variables:
        if _is_constant(frame[name]):
            left_out[name] = "constant"
    constant = [n for n in variables if n in left_out]
    if constant:
        warn(
            "constant-column",
            f"{_listed(constant)} {_have(constant)} one value only and can't be searched: left out",
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
    correlation = values.T @ values
    np.fill_diagonal(correlation, 1.0)
    redundant = _redundant(variables, correlation, blocks, len(frame), knowledge)
    for name, others in redundant.items():
        left_out[name] = f"a function of {_listed(others)}"
        warn(
            "collinear-column",
            f"{name!r} is an exact linear function of {_listed(others)}: left out, so that the "
            "graph says nothing about it",
            [name, *others],
        )
    for u, v in sorted(knowledge.required):
        for name in (u, v):
            if name in left_out:
                raise QuestionError(
                    f"is part of the required edge {u} -> {v} but can't be searched: "
                    f"{left_out[name]}",
                    column=name,
                    advice="Drop the requirement or change the table.",
                )
    kept = [i for i, n in enumerate(variables) if n not in redundant]
    names = tuple(variables[i] for i in kept)
    columns = np.concatenate([blocks[i] for i in kept])
    starts = np.cumsum([0, *(len(blocks[i]) for i in kept)])
    if len(frame) < 5 * len(names):
        warn(
            "few-rows",
            f"{count(len(frame), 'row')} for {count(len(names), 'column')}: a missing edge may "
            "only mean that the data are too few to show it",
        )
    return Design(
        names=names,
        shown=tuple(n for n in given.names if n in names),
        correlation=correlation[np.ix_(columns, columns)],
        blocks=tuple(np.arange(a, b) for a, b in zip(starts, starts[1:], strict=False)),
        rows=len(frame),
        left_out=left_out,
        knowledge=knowledge.restrict(names),
    )


def as_records(notes: Iterable[CausalWarning]) -> list[dict[str, Any]]:
    """Warnings in the form in which a graph keeps them in ``info["warnings"]``."""
    return [{"code": w.code, "message": w.message, "columns": list(w.columns)} for w in notes]


def _structural(given: Table) -> dict[str, str]:
    out = {f.name: f"has role {f.role!r}" for f in given.schema if f.role is not None}
    dependent = [f.name for f in given.schema if f.role in ("time", "cluster")]
    dependent += [
        f.name for f in given.schema if f.role == "id" and given.frame[f.name].duplicated().any()
    ]
    if dependent:
        warn(
            "dependent-rows",
            f"rows that share or follow {_listed(dependent)} may depend on each other, the search "
            "takes them as independent: it may draw too many edges",
            dependent,
        )
    weights = [f.name for f in given.schema if f.role == "weight"]
    if weights:
        warn("weights-ignored", f"the weights {weights[0]!r} play no part in the search", weights)
    return out


def _complete_rows(frame: Any) -> Any:
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
    if gaps:
        warn(
            "missing-values",
            f"{count(int((~keep).sum()), 'row')} of {len(keep):,} with empty cells in "
            f"{_listed(gaps)} left out: the graph is right only if being empty is unrelated to "
            "the values",
            gaps,
        )
        frame = frame[keep]
    return frame


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
            f"{_listed(rare)} have levels in fewer than {_RARE} rows, for which the tests reject "
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
    parts, blocks, start = [], [], 0
    for name in checked.names:
        block = raw[:, encoder.block(name).columns]
        if not np.isfinite(block).all():
            raise DataError(
                "spans a range too large for arithmetic", column=name, advice="Change its unit."
            )
        block = block - block.mean(axis=0)
        if block.shape[1] > 1:
            # The basis does not matter to the tests; this one is free of unused levels.
            left, sizes, _ = np.linalg.svd(block, full_matrices=False)
            block = left[:, sizes > 1e-9 * sizes[0]]
        else:
            block = block / np.linalg.norm(block, axis=0)
        parts.append(block)
        blocks.append(np.arange(start, start + block.shape[1]))
        start += block.shape[1]
    return np.hstack(parts), blocks


def _redundant(
    names: list[str],
    correlation: np.ndarray,
    blocks: list[np.ndarray],
    rows: int,
    knowledge: Knowledge,
) -> dict[str, list[str]]:
    """Variables that are exact linear functions of the others that stay -> of which ones.

    Categories are kept rather than coarser columns made from them, then variables with required
    edges, then the first by name.
    """
    needed = {n for pair in knowledge.required for n in pair}
    order = sorted(
        range(len(names)), key=lambda i: (-len(blocks[i]), names[i] not in needed, names[i])
    )
    # With fewer rows than columns everything is a function of the rest: look at pairs only.
    pairs_only = rows <= len(correlation) + 1
    factor = np.zeros((0, len(correlation)))  # rows of a Cholesky factor over the kept columns
    kept: list[int] = []
    out: dict[str, list[str]] = {}
    for i in order:
        own = blocks[i]
        if pairs_only:
            twins = [
                j
                for j in kept
                if np.all(1 - (correlation[np.ix_(blocks[j], own)] ** 2).sum(axis=0) <= DETERMINED)
            ]
            if twins:
                out[names[i]] = [names[twins[0]]]
                continue
        else:
            left = 1 - (factor[:, own] ** 2).sum(axis=0)
            if np.all(left <= DETERMINED):
                out[names[i]] = _partners(i, kept, names, correlation, blocks)
                continue
            for column in own:
                row = correlation[column] - factor[:, column] @ factor
                if row[column] > DETERMINED:
                    factor = np.vstack([factor, row / np.sqrt(row[column])])
        kept.append(i)
    return out


def _partners(
    i: int, kept: list[int], names: list[str], correlation: np.ndarray, blocks: list[np.ndarray]
) -> list[str]:
    columns = np.concatenate([blocks[j] for j in kept])
    weights = np.linalg.lstsq(
        correlation[np.ix_(columns, columns)], correlation[np.ix_(columns, blocks[i])], rcond=1e-10
    )[0]
    size = np.abs(weights).max(axis=1)
    used = {int(c) for c in columns[size > 1e-4]}
    return sorted(names[j] for j in kept if used.intersection(blocks[j].tolist()))


def _listed(names: list[str], most: int = 8) -> str:
    shown = ", ".join(map(repr, names[:most]))
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def _have(names: list[str]) -> str:
    return "has" if len(names) == 1 else "have"
