"""Greedy moves between equivalence classes: insert, delete and turn, as compiled kernels.

A class is its CPDAG: ``arrows[i, j]`` is i → j, ``lines`` the symmetric undirected edges. With
Pa(y) the parents, Ne(y) the undirected neighbours of y, NA = the neighbours of y adjacent to x,
and Q a clique of neighbours of y that holds NA:

- insert x → y (Q oriented into y): gain s(y, Pa ∪ Q ∪ x) - s(y, Pa ∪ Q), valid if Q blocks every
  semi-directed path from y to x;
- delete the edge between x and y, keeping Q ⊆ NA: gain s(y, Pa ∪ Q \\ x) - s(y, Pa ∪ Q ∪ x);
- turn y → x into x → y: the gain of the insertion plus s(x, Pa(x) \\ y) - s(x, Pa(x)), valid if
  Q ∪ Ne(x) blocks every other semi-directed path from y to x.

The best move into each y from each x is kept and computed again only where a move has changed
what it rests on; whether paths are blocked is asked only of the move that is about to be made.

References:
    Chickering, "Optimal structure identification with greedy search", JMLR 3, 2002; Hauser and
    Buehlmann, "Characterization and greedy learning of interventional Markov equivalence classes
    of directed acyclic graphs", JMLR 13, 2012; Nazaret and Blei, "Extremely greedy equivalence
    search", UAI 2024.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from .class_shape import complete, extend
from .local_score import gains, local

TOLERANCE = 1e-6
DELETE, TURN, INSERT = 0, 1, 2
# Cliques among neighbours are listed up to this many per variable; beyond, the smallest count.
_MOST_CLIQUES = 256


class State(NamedTuple):
    """A class and the best moves from it.

    Attributes:
        arrows, lines: ``(d, d)`` the CPDAG.
        gain: ``(3, d, d)`` best gain of each kind of move, [kind, y, x].
        clique: ``(3, d, d)`` which Q it keeps, as bits over the neighbours of y in order.
        best: ``(3, d)`` largest of ``gain`` over x.
        after: ``(d, ⌈d / 64⌉)`` bits of the w with u → w or u - w.
        stale: ``(d,)`` y for which all moves must be computed again.
        turned: ``(d, d)`` y, x of which only the move from x must be.
        banned: ``(d, d)`` pairs that may not be joined.
    """

    arrows: np.ndarray
    lines: np.ndarray
    gain: np.ndarray
    clique: np.ndarray
    best: np.ndarray
    after: np.ndarray
    stale: np.ndarray
    turned: np.ndarray
    banned: np.ndarray


def begin(parents: np.ndarray) -> State:
    """The class of a DAG, all moves still to be computed."""
    d = len(parents)
    arrows, lines = np.zeros((d, d), np.bool_), np.zeros((d, d), np.bool_)
    complete(np.ascontiguousarray(parents), arrows, lines)
    after = np.zeros((d, (d + 63) // 64), np.uint64)
    _note_paths(arrows, lines, after)
    return State(
        arrows=arrows,
        lines=lines,
        gain=np.full((3, d, d), -np.inf),
        clique=np.zeros((3, d, d), np.int64),
        best=np.full((3, d), -np.inf),
        after=after,
        stale=np.ones(d, np.bool_),
        turned=np.zeros((d, d), np.bool_),
        banned=np.zeros((d, d), np.bool_),
    )


@njit(cache=True, nogil=True)
def _adjacent(state, i, j):
    return state.arrows[i, j] or state.arrows[j, i] or state.lines[i, j]


@njit(cache=True, nogil=True)
def _cliques(state, around):
    """Cliques among some variables, as bits; the empty one first."""
    out = np.zeros(_MOST_CLIQUES, np.int64)
    count, at = 1, 0
    size = min(len(around), 62)
    while at < count:
        base = out[at]
        top = 0
        while base >> top:
            top += 1
        for j in range(top, size):
            fits = True
            for i in range(top):
                if base >> i & 1 and not _adjacent(state, around[i], around[j]):
                    fits = False
                    break
            if fits and count < _MOST_CLIQUES:
                out[count] = base | 1 << j
                count += 1
        at += 1
    return out[:count]


@njit(cache=True, nogil=True)
def _members(base, bits, around):
    """``base`` and the variables that the bits stand for."""
    out = np.empty(len(base) + len(around), np.int64)
    out[: len(base)] = base
    size = len(base)
    for i in range(len(around)):
        if i < 62 and bits >> i & 1:
            out[size] = around[i]
            size += 1
    return out[:size]


@njit(cache=True, nogil=True)
def _without(members, x):
    out = np.empty(len(members), np.int64)
    size = 0
    for u in members:
        if u != x:
            out[size] = u
            size += 1
    return out[:size]


@njit(cache=True, nogil=True)
def _with(members, x):
    out = np.empty(len(members) + 1, np.int64)
    out[: len(members)] = members
    out[len(members)] = x
    return out


@njit(cache=True, nogil=True)
def _near(state, y, x, around):
    """NA: bits of the neighbours of y that are adjacent to x."""
    bits = 0
    for i in range(min(len(around), 62)):
        if around[i] != x and _adjacent(state, around[i], x):
            bits |= 1 << i
    return bits


@njit(cache=True, nogil=True)
def _offer(state, kind, y, x, gain, bits):
    if gain > state.gain[kind, y, x]:
        state.gain[kind, y, x] = gain
        state.clique[kind, y, x] = bits


@njit(cache=True, nogil=True)
def _consider(score, state, allowed, required, y, only, strict):
    """Best moves into y, from every x or from one; ``strict`` asks whether paths are blocked."""
    d = len(allowed)
    for kind in range(3):
        if only >= 0:
            state.gain[kind, y, only] = -np.inf
        else:
            state.gain[kind, y] = -np.inf
    into = np.flatnonzero(state.arrows[:, y])
    around = np.flatnonzero(state.lines[y])
    near = np.empty(d, np.int64)
    open_ = np.zeros(d, np.bool_)
    for x in range(d):
        if x == y or (only >= 0 and x != only):
            continue
        near[x] = _near(state, y, x, around)
        open_[x] = allowed[x, y] and not state.banned[x, y] and not _adjacent(state, x, y)
    out = np.empty(d)
    for bits in _cliques(state, around):
        base = _members(into, bits, around)
        if only < 0 or open_[only]:
            gains(score, y, base, open_, out)
        whole = np.nan
        for x in range(d):
            if x == y or (only >= 0 and x != only):
                continue
            if open_[x]:
                if out[x] > TOLERANCE and near[x] & ~bits == 0:
                    if not strict or _blocked(state, y, x, bits, around, False):
                        _offer(state, INSERT, y, x, out[x], bits)
            elif state.arrows[y, x]:
                if near[x] & ~bits == 0 and allowed[x, y] and not required[y, x]:
                    if np.isnan(whole):
                        whole = local(score, y, base)
                    theirs = np.flatnonzero(state.arrows[:, x])
                    change = (
                        local(score, y, _with(base, x))
                        - whole
                        + local(score, x, _without(theirs, y))
                        - local(score, x, theirs)
                    )
                    if change > TOLERANCE and (
                        not strict or _blocked(state, y, x, bits, around, True)
                    ):
                        _offer(state, TURN, y, x, change, bits)
            elif state.arrows[x, y] or state.lines[x, y]:
                if bits & ~near[x] == 0 and not (required[x, y] or required[y, x]):
                    rest = _without(base, x)
                    change = local(score, y, rest) - local(score, y, _with(rest, x))
                    _offer(state, DELETE, y, x, change, bits)
    for kind in range(3):
        state.best[kind, y] = state.gain[kind, y].max()


@njit(cache=True, nogil=True)
def _note_paths(arrows, lines, after):
    after[:] = 0
    for u in range(len(arrows)):
        for w in range(len(arrows)):
            if arrows[u, w] or lines[u, w]:
                after[u, w >> 6] |= np.uint64(1) << np.uint64(w & 63)


@njit(cache=True, nogil=True)
def _has(bits, u):
    return (bits[u >> 6] >> np.uint64(u & 63)) & np.uint64(1) != 0


@njit(cache=True, nogil=True)
def _reached(state, y, wall, x):
    """Bits of what semi-directed paths from y reach around a wall; the edge y, x is not one."""
    words = len(wall)
    out = np.zeros(words, np.uint64)
    todo = state.after[y] & ~wall
    if x >= 0:
        todo[x >> 6] &= ~(np.uint64(1) << np.uint64(x & 63))
    found = True
    while found:
        found = False
        for i in range(words):
            while todo[i]:
                low = todo[i] & (~todo[i] + np.uint64(1))
                u = (i << 6) + int(np.log2(float(low)))
                todo[i] ^= low
                out[i] |= low
                found = True
                for j in range(words):
                    todo[j] |= state.after[u, j] & ~wall[j] & ~out[j]
    return out


@njit(cache=True, nogil=True)
def _wall(state, y, x, bits, around, turning):
    """Q, y and, when turning, the neighbours of x: what paths from y to x may not cross."""
    out = np.zeros(state.after.shape[1], np.uint64)
    out[y >> 6] |= np.uint64(1) << np.uint64(y & 63)
    for i in range(len(around)):
        u = around[i]
        if i < 62 and bits >> i & 1:
            out[u >> 6] |= np.uint64(1) << np.uint64(u & 63)
    if turning:
        for u in range(len(state.stale)):
            if state.lines[x, u]:
                out[u >> 6] |= np.uint64(1) << np.uint64(u & 63)
    return out


@njit(cache=True, nogil=True)
def _blocked(state, y, x, bits, around, turning):
    """Whether Q (and the neighbours of x, when turning) stops all semi-directed paths y to x."""
    wall = _wall(state, y, x, bits, around, turning)
    return not _has(_reached(state, y, wall, x if turning else -1), x)


@njit(cache=True, nogil=True)
def apply(state, allowed, kind, y, x, bits):
    """Make a move; False, and nothing changed, if no DAG that knowledge allows has the result."""
    d = len(allowed)
    arrows, lines = state.arrows.copy(), state.lines.copy()
    around = np.flatnonzero(state.lines[y])
    if kind == DELETE:
        near = _near(state, y, x, around)
        arrows[x, y] = arrows[y, x] = lines[x, y] = lines[y, x] = False
        for i in range(min(len(around), 62)):
            if near >> i & 1 and not bits >> i & 1:
                h = around[i]
                lines[y, h] = lines[h, y] = False
                arrows[y, h] = True
                if lines[x, h]:
                    lines[x, h] = lines[h, x] = False
                    arrows[x, h] = True
    else:
        arrows[y, x] = False
        arrows[x, y] = True
        for i in range(min(len(around), 62)):
            if bits >> i & 1:
                lines[y, around[i]] = lines[around[i], y] = False
                arrows[around[i], y] = True
    dag = np.zeros((d, d), np.bool_)
    if not extend(arrows, lines, allowed, dag):
        return False
    become(state, dag)
    return True


@njit(cache=True, nogil=True)
def become(state, dag):
    """Go to the class of a DAG; only moves that this touches will be computed again."""
    arrows, lines = np.empty_like(state.arrows), np.empty_like(state.lines)
    complete(dag, arrows, lines)
    _mark_stale(state, arrows, lines)
    _note_paths(arrows, lines, state.after)
    state.arrows[:] = arrows
    state.lines[:] = lines


@njit(cache=True, nogil=True)
def _mark_stale(state, arrows, lines):
    d = len(state.stale)
    for i in range(d):
        for j in range(i):
            if (
                arrows[i, j] == state.arrows[i, j]
                and arrows[j, i] == state.arrows[j, i]
                and lines[i, j] == state.lines[i, j]
            ):
                continue
            joined = arrows[i, j] or arrows[j, i] or lines[i, j]
            for a, b in ((i, j), (j, i)):
                state.stale[a] = True
                for u in range(d):
                    # Turning u → a rests on the parents of a.
                    if arrows[u, a] and arrows[b, a] != state.arrows[b, a]:
                        state.turned[u, a] = True
                    # What neighbours of u are adjacent to counts in all moves into u.
                    if joined != _adjacent(state, i, j) and (state.lines[u, a] or lines[u, a]):
                        state.stale[u] = True


@njit(cache=True, nogil=True)
def _best_valid(score, state, allowed, required, kind):
    d = len(allowed)
    best = state.best[kind].copy()
    # Gains in this step: -inf once a move is known to be invalid.
    now = np.empty((d, d))
    looked = np.zeros(d, np.bool_)
    sure = np.zeros((d, d), np.bool_)
    cliques = state.clique[kind].copy()
    while True:
        y = best.argmax()
        if best[y] <= TOLERANCE:
            return 0.0
        around = np.flatnonzero(state.lines[y])
        everything = (1 << min(len(around), 62)) - 1
        if not looked[y]:
            looked[y] = True
            now[y] = state.gain[kind, y]
            if kind == INSERT:
                # Paths that avoid all neighbours of y are blocked by no Q.
                wall = _wall(state, y, 0, everything, around, False)
                far = _reached(state, y, wall, -1)
                for x in range(d):
                    if _has(far, x):
                        now[y, x] = -np.inf
                best[y] = now[y].max()
                continue
        x = now[y].argmax()
        gain, bits = now[y, x], cliques[y, x]
        turning = kind == TURN
        if kind == DELETE or sure[y, x] or _blocked(state, y, x, bits, around, turning):
            if apply(state, allowed, kind, y, x, bits):
                return gain
            now[y, x] = -np.inf
        elif turning and not _blocked(state, y, x, everything, around, True):
            now[y, x] = -np.inf
        else:
            # The best move of this kind from x whose paths are blocked, if there is any.
            kept_gain, kept_clique = state.gain[:, y, x].copy(), state.clique[:, y, x].copy()
            kept_best = state.best[:, y].copy()
            _consider(score, state, allowed, required, y, x, True)
            now[y, x], cliques[y, x] = state.gain[kind, y, x], state.clique[kind, y, x]
            state.gain[:, y, x], state.clique[:, y, x] = kept_gain, kept_clique
            state.best[:, y] = kept_best
            sure[y, x] = True
        best[y] = now[y].max()


@njit(cache=True, nogil=True)
def climb(score, state, allowed, required, kinds, steps):
    """Make up to ``steps`` moves: deletions while there are any, then turns, then insertions.

    Returns:
        Whether no move is left. The moves from the class are up to date.
    """
    while True:
        for y in range(len(allowed)):
            first, last = (-1, 0) if state.stale[y] else (0, len(allowed))
            for x in range(first, last):
                if x < 0 or state.turned[y, x]:
                    _consider(score, state, allowed, required, y, x, False)
            state.stale[y] = False
            state.turned[y] = False
        if steps == 0:
            return False
        gain = 0.0
        for kind in range(3):
            if gain == 0.0 and kinds[kind] and state.best[kind].max() > TOLERANCE:
                gain = _best_valid(score, state, allowed, required, kind)
        if gain == 0.0:
            return True
        steps -= 1


def copied(state: State) -> State:
    """A state of its own."""
    return State(*(a.copy() for a in state))


def deletions(state: State) -> list[tuple[int, int]]:
    """Ends y, x of every edge that may go, the least harmful first."""
    gain = state.gain[DELETE]
    ends = np.argwhere(gain > -np.inf)
    ranked = ends[np.argsort(-gain[tuple(ends.T)], kind="stable")].tolist()
    first = {frozenset(pair): tuple(pair) for pair in reversed(ranked)}
    return [(y, x) for y, x in ranked if first[frozenset((y, x))] == (y, x)]


def without(state: State, allowed: np.ndarray, y: int, x: int) -> State | None:
    """The state after deleting an edge for good; None if it can't be deleted."""
    out = copied(state)
    if not apply(out, allowed, DELETE, y, x, out.clique[DELETE, y, x]):
        return None
    out.banned[x, y] = out.banned[y, x] = True
    return out
