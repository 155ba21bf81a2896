"""Grow-shrink trees and the search over orders that they make fast: compiled kernels.

A tree belongs to one variable v. Its root stands for the parents that v must have; the children
of a node are the variables whose addition raises the score there, best first. To find the parents
of v among the variables before it, walk down: at each node to the first child that is among them,
until there is none, then drop parents as long as that raises the score. Variables that were passed
over on the way are not offered deeper, so that a node's children are the same for every walk that
gets there, and are computed once.

What makes the search fast is knowing which walks a move cannot change. ``touched[w, u]`` says for
the current walk of w whether u is on it (2), was passed over (1) or was never met (0): only where
u was met can adding or removing u change anything.

References:
    Andrews, Ramsey, Sanchez-Romero, Camchong, Kummerfeld, "Fast scalable and accurate discovery of
    DAGs using the best order score search and grow-shrink trees", NeurIPS 2023.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from .local_score import LocalScore, gains, local

TOLERANCE = 1e-6
_UNSEEN = -2


class Trees(NamedTuple):
    """The trees of all variables in one pool; entry v < d is the root of v.

    Attributes:
        variable: What a node adds.
        grown: Score at a node.
        shrunk: Score after dropping parents, NaN until it is needed.
        first, count: Where the children are; ``first`` is -2 until they are needed.
        used: ``(1,)`` entries in use.
        allowed: ``(d, d)`` candidates u → v that are neither forbidden nor required.
        required: ``(d, d)`` required edges u → v.
    """

    variable: np.ndarray
    grown: np.ndarray
    shrunk: np.ndarray
    first: np.ndarray
    count: np.ndarray
    used: np.ndarray
    allowed: np.ndarray
    required: np.ndarray


class Order(NamedTuple):
    """A permutation, and what each variable's walk in it is like.

    Attributes:
        sequence: ``(d,)`` variables in order.
        position: Its inverse.
        touched: ``(d, d)`` see above.
        score: ``(d,)`` score of each variable given its parents in this order; NaN at first.
    """

    sequence: np.ndarray
    position: np.ndarray
    touched: np.ndarray
    score: np.ndarray


def plant(score: LocalScore, allowed: np.ndarray, required: np.ndarray, entries: int) -> Trees:
    """Trees without branches, with room for a number of entries."""
    d = len(allowed)
    entries = max(entries, 4 * d * (min(score.most, d) + 2))
    trees = Trees(
        variable=np.empty(entries, np.int32),
        grown=np.empty(entries),
        shrunk=np.empty(entries),
        first=np.empty(entries, np.int32),
        count=np.empty(entries, np.int32),
        used=np.zeros(1, np.int64),
        allowed=np.ascontiguousarray((allowed & ~required).T),  # row: the child
        required=np.ascontiguousarray(required.T),
    )
    _clear(score, trees)
    return trees


@njit(cache=True, nogil=True)
def _clear(score, trees):
    d = len(trees.allowed)
    for v in range(d):
        trees.variable[v] = v
        trees.grown[v] = local(score, v, np.flatnonzero(trees.required[v]))
        trees.shrunk[v] = np.nan
        trees.first[v] = _UNSEEN
        trees.count[v] = 0
    trees.used[0] = d


@njit(cache=True, nogil=True)
def _expand(score, trees, v, node, path, length, touched):
    d = len(touched)
    available = np.empty(d, np.bool_)
    for u in range(d):
        available[u] = trees.allowed[v, u] and touched[u] == 0
    out = np.empty(d)
    gains(score, v, path[:length], available, out)
    start = trees.used[0]
    end = start
    for u in np.argsort(-out):
        if out[u] > TOLERANCE:
            trees.variable[end] = u
            trees.grown[end] = trees.grown[node] + out[u]
            trees.shrunk[end] = np.nan
            trees.first[end] = _UNSEEN
            trees.count[end] = 0
            end += 1
    trees.first[node] = start
    trees.count[node] = end - start
    trees.used[0] = end


@njit(cache=True, nogil=True)
def _shrink(score, v, path, length, fixed, start):
    """Drop the parent whose loss raises the score most, again and again; ``path`` is changed."""
    best = start
    while True:
        worst, found = -1, best + TOLERANCE
        rest = np.empty(max(length - 1, 0), np.int64)
        for i in range(fixed, length):
            rest[:i] = path[:i]
            rest[i:] = path[i + 1 : length]
            now = local(score, v, rest)
            if now > found:
                worst, found = i, now
        if worst < 0:
            return best, length
        path[worst : length - 1] = path[worst + 1 : length].copy()
        length -= 1
        best = found


@njit(cache=True, nogil=True)
def trace(score, trees, v, before, touched):
    """The score of v when the variables in ``before`` precede it; fills ``touched``."""
    d = len(before)
    path = np.empty(d, np.int64)
    while True:
        touched[:] = 0
        length = 0
        for u in range(d):
            if trees.required[v, u]:
                path[length] = u
                touched[u] = 2
                length += 1
        fixed, node, full = length, v, False
        while True:
            if trees.first[node] == _UNSEEN:
                if trees.used[0] + d > len(trees.variable):
                    full = True
                    break
                _expand(score, trees, v, node, path, length, touched)
            chosen = -1
            for child in range(trees.first[node], trees.first[node] + trees.count[node]):
                u = trees.variable[child]
                if before[u]:
                    chosen = child
                    path[length] = u
                    touched[u] = 2
                    length += 1
                    break
                touched[u] = 1
            if chosen < 0:
                break
            node = chosen
        if not full:
            break
        _clear(score, trees)
    if np.isnan(trees.shrunk[node]):
        trees.shrunk[node] = _shrink(score, v, path, length, fixed, trees.grown[node])[0]
    return trees.shrunk[node]


@njit(cache=True, nogil=True)
def rewalk(score, trees, order, low, high, parents):
    """Walk again for slots low to high, and write their parents into ``parents[u, v]``."""
    d = len(order.sequence)
    before = np.zeros(d, np.bool_)
    for slot in range(high + 1):
        v = order.sequence[slot]
        order.position[v] = slot
        if slot >= low:
            order.score[v] = trace(score, trees, v, before, order.touched[v])
            fixed = np.flatnonzero(trees.required[v])
            grown = np.flatnonzero((order.touched[v] == 2) & ~trees.required[v])
            path = np.concatenate((fixed, grown))
            start = local(score, v, path)
            length = _shrink(score, v, path, len(path), len(fixed), start)[1]
            parents[:, v] = False
            for u in path[:length]:
                parents[u, v] = True
        before[v] = True


@njit(cache=True, nogil=True)
def _best_place(score, trees, order, v, here, before, walk, at, lost):
    """Where the total score is best for v.

    ``at[j]`` collects the score of v in slot j and what its presence costs or gives the others;
    ``lost[j]`` is what the variable in slot j of the others has less when v precedes it.
    """
    d = len(order.sequence)
    other = np.empty(d, np.int8)
    before[:] = False
    lost[:] = 0.0
    low, high = 0, d - 1
    own = trace(score, trees, v, before, walk)
    slot = 0
    for w in order.sequence:
        if w == v:
            continue
        at[slot] = own
        now = order.score[w]
        if slot < here:
            if order.touched[w, v] == 1:
                before[v] = True
                lost[slot] = now - trace(score, trees, w, before, other)
                before[v] = False
        elif order.touched[w, v] == 2 and not trees.required[w, v]:
            lost[slot] = trace(score, trees, w, before, other) - now
        if trees.required[v, w]:
            low = slot + 1
        if trees.required[w, v] and high > slot:
            high = slot
        before[w] = True
        slot += 1
        if walk[w] == 1:
            own = trace(score, trees, v, before, walk)
    at[slot] = own
    total = 0.0
    for j in range(d):
        at[j] += total
        total += lost[j]
    best = here
    for j in range(low, high + 1):
        if at[j] > at[best] + TOLERANCE:
            best = j
    return best


@njit(cache=True, nogil=True)
def sweep(score, trees, order, variables):
    """Move each of these variables to its best place; how many moved.

    Of the walks of all, only those are taken again that met the variable (see ``touched``). An
    order that is new is walked through first.
    """
    d = len(order.sequence)
    before = np.empty(d, np.bool_)
    walk = np.empty(d, np.int8)
    at = np.empty(d)
    lost = np.empty(d)
    moved = 0
    for turn in range(-1, len(variables)):
        v, here, best = -1, 0, d - 1
        if turn >= 0:
            v = variables[turn]
            here = order.position[v]
            best = _best_place(score, trees, order, v, here, before, walk, at, lost)
            if best == here:
                continue
            moved += 1
            step = 1 if best > here else -1
            for j in range(here, best, step):
                order.sequence[j] = order.sequence[j + step]
            order.sequence[best] = v
            for j in range(min(here, best), max(here, best) + 1):
                order.position[order.sequence[j]] = j
        elif not np.isnan(order.score[0]):
            continue
        before[:] = False
        for j in range(max(here, best) + 1):
            w = order.sequence[j]
            if v < 0 or j >= min(here, best) and (w == v or order.touched[w, v] > 0):
                order.score[w] = trace(score, trees, w, before, order.touched[w])
            before[w] = True
    return moved
