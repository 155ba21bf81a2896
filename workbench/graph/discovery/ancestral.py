"""Maximal ancestral graphs and their classes as matrices of marks: members, legality, completion.

``marks[i, j]`` is the mark at j of the edge between i and j: 0 no edge, 1 circle, 2 arrow, 3 tail.

References:
    Richardson and Spirtes, "Ancestral graph Markov models", Annals of Statistics, 2002; Zhang, "On
    the completeness of orientation rules for causal discovery in the presence of latent
    confounders and selection bias", Artificial Intelligence, 2008.
"""

from __future__ import annotations

import numpy as np

from ..equivalence import PartialOrientation
from .mark_kernels import ARROW, CIRCLE, NONE, TAIL, close, inducing_pair

_NO_SETS = np.zeros((0, 0), dtype=np.int64)
_NO_TRUTH = np.zeros((0, 0), dtype=np.int8)


def is_maximal_ancestral(marks: np.ndarray) -> bool:
    """Whether a graph of → and ↔ is a MAG.

    No node is an ancestor of itself or of a node it is joined to by ↔, and any two nodes that are
    not adjacent can be separated (no inducing path joins them).
    """
    ancestor = _ancestors(marks)
    both = (marks == ARROW) & (marks.T == ARROW)
    if (ancestor & ancestor.T).any() or (both & ancestor).any():
        return False
    return inducing_pair(marks, ancestor | np.eye(len(marks), dtype=bool))[0] < 0


def _ancestors(marks: np.ndarray) -> np.ndarray:
    """Whether a directed path leads from i to j."""
    out = (marks == ARROW) & (marks.T == TAIL)
    while True:
        # As floats: products of booleans are slow.
        longer = out | (out.astype(np.float32) @ out.astype(np.float32) > 0)
        if (longer == out).all():
            return out
        out = longer


def member(marks: np.ndarray) -> np.ndarray | None:
    """A graph of the class: o→ becomes →, o-o an arrow, without cycles and new colliders.

    None where that can't be done. What comes back is a MAG if the class is legal; see
    :func:`is_maximal_ancestral`.
    """
    out = marks.copy()
    out[(marks == CIRCLE) & (marks.T == ARROW)] = TAIL
    partial = PartialOrientation(len(marks))
    for i, j in np.argwhere((marks == CIRCLE) & (marks.T == CIRCLE)).tolist():
        partial.neighbors[i].add(j)
    for i, j in np.argwhere((out == ARROW) & (out.T == TAIL)).tolist():
        partial.parents[j].add(i)
        partial.children[i].add(j)
    parents = partial.extension()
    if parents is None:
        return None
    for j, into in enumerate(parents):
        for i in into:
            out[i, j], out[j, i] = ARROW, TAIL
    return out


def completed(mag: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Marks that all MAGs equivalent to this one share, narrowed by what is known.

    Args:
        mag: A maximal ancestral graph.
        known: Marks that knowledge puts on some edges, circles elsewhere.
    """
    marks = np.where(mag != NONE, CIRCLE, NONE).astype(np.int8)
    arrows = mag == ARROW
    for b in range(len(mag)):
        into = np.flatnonzero(arrows[:, b])
        apart = (mag[np.ix_(into, into)] == NONE).sum(axis=1) > 1  # a node is apart from itself
        marks[into[apart], b] = ARROW
    settled = (known != CIRCLE) & (marks != NONE)
    marks[settled] = known[settled]
    close(marks, np.full(mag.shape, -1), _NO_SETS, mag)
    return marks


def agrees(marks: np.ndarray, mag: np.ndarray) -> bool:
    """Whether a MAG has every mark of a class that is not a circle."""
    return bool((((marks == mag) | (marks == CIRCLE)) & ((marks != NONE) == (mag != NONE))).all())


def close_by_sets(marks: np.ndarray, pairs: np.ndarray, members: np.ndarray) -> None:
    """Apply the orientation rules in place, with separating sets to decide discriminating paths."""
    set_of = np.full(marks.shape, -1)
    rows = np.arange(len(pairs))
    set_of[pairs[:, 0], pairs[:, 1]] = set_of[pairs[:, 1], pairs[:, 0]] = rows
    close(marks, set_of, members.astype(np.int64), _NO_TRUTH)
