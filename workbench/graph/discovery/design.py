"""From a table to what a search works on: correlations of encoded columns that can be searched.

Every method starts here, so that all of them leave out the same columns, use the same rows and
say so in the same words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.errors import CausalWarning, ParameterError, QuestionError, warn
from ...tables.gate import count
from ...tables.schema import Schema
from ..knowledge import Knowledge
from .encoded import Encoded, Missing, encode, listed
from .gaps import available_correlation, pair_counts

# Share of a column's variance below which it counts as a function of others.
DETERMINED = 1e-9
_ROUNDING = 1e-13  # and below which nothing but rounding is left


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
        rows: Number of rows used; of the pair of columns that shares fewest, where each pair is
            compared on rows of its own.
        left_out: Column -> why it is not searched.
        knowledge: What is known about the searched variables.
        codes: ``(n, d)`` levels where no column is a number and no cell empty, else None.
        values: ``(n, c)`` the encoded columns where no cell is empty, else None.
    """

    names: tuple[str, ...]
    shown: tuple[str, ...]
    correlation: np.ndarray
    blocks: tuple[np.ndarray, ...]
    rows: int
    left_out: dict[str, str]
    knowledge: Knowledge
    codes: np.ndarray | None = None
    values: np.ndarray | None = None

    @property
    def wide(self) -> list[str]:
        """Variables that take more than one encoded column."""
        return [n for n, b in zip(self.names, self.blocks, strict=True) if len(b) > 1]


def prepare(
    data: Any,
    schema: Schema | None = None,
    knowledge: Knowledge | None = None,
    missing: Missing = "complete",
) -> Design:
    """Check a table and reduce it to a :class:`Design`; for ``missing`` see :func:`encode`.

    Raises:
        DataError: What the gate refuses; fewer than 10 complete rows; nothing to search.
        QuestionError: The knowledge names columns that don't exist, or requires an edge at a
            column that can't be searched.
    """
    knowledge = checked_knowledge(knowledge)
    return reduce(encode(data, schema, knowledge, missing), knowledge)


def checked_knowledge(knowledge: Knowledge | None) -> Knowledge:
    """The knowledge, or an empty one; anything else is refused."""
    if knowledge is not None and not isinstance(knowledge, Knowledge):
        raise ParameterError(
            "must be a Knowledge", column="knowledge", value=type(knowledge).__name__
        )
    return knowledge or Knowledge()


def reduce(encoded: Encoded, knowledge: Knowledge) -> Design:
    """Correlations of encoded columns, without those that are functions of others.

    Raises:
        QuestionError: The knowledge requires an edge at a column that can't be searched.
    """
    variables, blocks = encoded.variables, encoded.blocks
    left_out, rows = dict(encoded.left_out), len(encoded.values)
    if encoded.present is None:
        correlation = _correlation(encoded.values)
    else:
        counts = pair_counts(encoded.present)
        owner = np.repeat(np.arange(len(blocks)), [len(b) for b in blocks])
        correlation = available_correlation(encoded.values, counts, owner)
        # The smallest: partial correlations carry the error of the thinnest pair to all others.
        rows = int(counts.min())
    redundant = _redundant(variables, correlation, blocks, rows, knowledge)
    for name, (others, share) in redundant.items():
        left_out[name] = f"a function of {listed(others)}"
        exactly = (
            "is a linear function"
            if share <= _ROUNDING
            else f"is, but for {share:.1g} of its variance, a linear function"
        )
        warn(
            "collinear-column",
            f"{name!r} {exactly} of {listed(others)}: left out, so that the graph says nothing "
            "about it",
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
    kept_names = set(names)
    columns = np.concatenate([blocks[i] for i in kept])
    starts = np.cumsum([0, *(len(blocks[i]) for i in kept)])
    if rows < 5 * len(names):
        warn(
            "few-rows",
            f"{count(rows, 'row')} for {count(len(names), 'column')}: a missing edge may "
            "only mean that the data are too few to show it, and an edge may be there by chance",
        )
    values = encoded.values if encoded.present is None else None
    if values is not None and redundant:
        values = values[:, columns]
    return Design(
        names=names,
        shown=tuple(n for n in encoded.shown if n in kept_names),
        correlation=correlation[np.ix_(columns, columns)] if redundant else correlation,
        blocks=tuple(np.arange(a, b) for a, b in zip(starts, starts[1:], strict=False)),
        rows=rows,
        left_out=left_out,
        knowledge=knowledge.restrict(names) if knowledge else knowledge,
        codes=None if encoded.codes is None else encoded.codes[:, kept],
        values=values,
    )


def _correlation(values: np.ndarray) -> np.ndarray:
    """Correlations of centred columns."""
    out = values.T @ values
    scale = 1 / np.sqrt(out.diagonal())
    out *= scale
    out *= scale[:, None]
    np.fill_diagonal(out, 1.0)
    return out


def as_records(notes: Iterable[CausalWarning]) -> list[dict[str, Any]]:
    """Warnings in the form in which a graph keeps them in ``info["warnings"]``."""
    return [{"code": w.code, "message": w.message, "columns": list(w.columns)} for w in notes]


def _redundant(
    names: list[str],
    correlation: np.ndarray,
    blocks: list[np.ndarray],
    rows: int,
    knowledge: Knowledge,
) -> dict[str, tuple[list[str], float]]:
    """Variables that are linear functions of the others that stay -> of which, what share is left.

    Categories are kept rather than coarser columns made from them, then variables with required
    edges, then the first by name.
    """
    needed = {n for pair in knowledge.required for n in pair}
    order = sorted(
        range(len(names)), key=lambda i: (-len(blocks[i]), names[i] not in needed, names[i])
    )
    # With fewer rows than columns everything is a function of the rest: look at pairs only.
    pairs_only = rows <= len(correlation) + 1
    if not pairs_only and _is_regular(correlation, np.concatenate([blocks[i] for i in order])):
        return {}
    factor = np.zeros((0, len(correlation)))  # rows of a Cholesky factor over the kept columns
    kept: list[int] = []
    out: dict[str, tuple[list[str], float]] = {}
    for i in order:
        own = blocks[i]
        if pairs_only:
            left = {
                j: (1 - (correlation[np.ix_(blocks[j], own)] ** 2).sum(axis=0)).max() for j in kept
            }
            twin = next((j for j in kept if left[j] <= DETERMINED), None)
            if twin is not None:
                out[names[i]] = [names[twin]], float(left[twin])
                continue
        else:
            left = 1 - (factor[:, own] ** 2).sum(axis=0)
            if np.all(left <= DETERMINED):
                partners = _partners(i, kept, names, correlation, blocks)
                out[names[i]] = partners, float(left.max())
                continue
            for column in own:
                row = correlation[column] - factor[:, column] @ factor
                if row[column] > DETERMINED:
                    factor = np.vstack([factor, row / np.sqrt(row[column])])
        kept.append(i)
    return out


def _is_regular(correlation: np.ndarray, order: np.ndarray) -> bool:
    """Whether, taken in this order, no column is close to a function of the ones before it."""
    try:
        factor = np.linalg.cholesky(correlation[np.ix_(order, order)])
    except np.linalg.LinAlgError:
        return False
    return bool((factor.diagonal() ** 2 > 10 * DETERMINED).all())


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
