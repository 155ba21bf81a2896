"""The stable skeleton and the evidence on its triples: what constraint-based searches start from.

Two ways lead to the same answer: any :class:`IndependenceTest` is asked in batches of sets; where
all variables are single columns of a correlation matrix the compiled loops of :mod:`.kernels`
walk the same sets.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, combinations, islice
from math import comb

import numpy as np

from ...core.errors import warn
from .independence import GaussianTest, IndependenceTest, fisher_z, log_p_of_z

_CHUNK = 20_000
_FAR = 1e9  # stands for log p = -inf, so that evidence stays a number
# Tests between two looks at the clock, a fraction of a second's work.
_BREATH = 10_000_000
_SOME_SETS = "not all conditioning sets were tried, so that some edges may be there only for that"
_SOME_TRIPLES = "not all tests for colliders were made, so that some marks rest on fewer of them"


@dataclass
class Limits:
    """How far a search may go, and how far it went; ``cut`` says what the clock left undone."""

    depth: int | None = None
    max_tests: int = 20_000_000
    seconds: float | None = None
    tests: int = 0
    reached: int = 0
    started: float = field(default_factory=time.monotonic)
    cut: list[str] = field(default_factory=list)

    def out_of_time(self, unfinished: str) -> bool:
        """Whether time is up; if so, what is unfinished by that goes into the warning."""
        over = self.seconds is not None and time.monotonic() - self.started > self.seconds
        if over and unfinished not in self.cut:
            self.cut.append(unfinished)
        return over

    def tell(self) -> None:
        """One warning on all that the clock cut; every search ends with it."""
        if self.cut:
            warn("time-limit", f"stopped after {self.seconds:g} s: {'; '.join(self.cut)}")


@dataclass
class Skeleton:
    """What is left after the tests.

    Attributes:
        adjacent: ``(d, d)`` pairs that no set separates.
        log_p: ``(d, d)`` largest log p-value over all sets that were tested, for the pairs that
            are left; -inf elsewhere.
        pairs: ``(m, 2)`` separated pairs i < j, in order.
        members: ``(m, l)`` their separating sets with the largest p-value, -1 as padding.
        pair_log_p: ``(m,)`` that p-value.
        tried: For each size of sets the pairs i < j, in order, the largest log p-value, its set.
        marginal: ``(d, d)`` log p-value of i < j given nothing, -inf where that was not asked.
    """

    adjacent: np.ndarray
    log_p: np.ndarray
    pairs: np.ndarray
    members: np.ndarray
    pair_log_p: np.ndarray
    marginal: np.ndarray
    tried: list[tuple[np.ndarray, np.ndarray, np.ndarray]]

    def weakest_sets(self, pairs: np.ndarray) -> list[list[int]]:
        """For ``(k, 2)`` pairs i < j that were tested, the set of the largest p-value."""
        size = len(self.adjacent)
        wanted = pairs @ [size, 1]
        out: list[list[int]] = [[] for _ in pairs]
        top = np.full(len(pairs), -np.inf)
        for tested, best, sets in self.tried:
            codes = tested @ [size, 1]  # ascending
            for k, at in enumerate(np.searchsorted(codes, wanted).tolist()):
                if at < len(codes) and codes[at] == wanted[k] and best[at] > top[k]:
                    top[k], out[k] = best[at], sets[at].tolist()
        return out

    def join(self, later: Skeleton) -> Skeleton:
        """With the pairs that a later search removed."""
        parts = [(s.pairs, s.members, s.pair_log_p) for s in (self, later)]
        return Skeleton(
            later.adjacent,
            np.where(later.adjacent, np.maximum(self.log_p, later.log_p), -np.inf),
            *_joined(parts),
            self.marginal,
            self.tried + later.tried,
        )


def skeleton(
    test: IndependenceTest,
    allowed: np.ndarray,
    required: np.ndarray,
    log_alpha: float,
    limits: Limits,
    start: np.ndarray | None = None,
    pools: np.ndarray | None = None,
) -> Skeleton:
    """Remove pairs that some set of possible parents of one end separates, by growing sets.

    Within a size of sets all nodes see the same neighbours, so that no order of columns plays a
    part (Colombo and Maathuis, JMLR 15, 2014).

    Args:
        test: What is asked.
        allowed: ``(d, d)`` which arrows i → j knowledge allows.
        required: ``(d, d)`` which it requires; such pairs are tested but stay.
        log_alpha: Pairs are removed at a log p-value above this.
        limits: How far to go; counts the tests.
        start: ``(d, d)`` pairs to look at; all that knowledge allows by default.
        pools: ``(d, d)`` which j may stand in the sets tried from i's side; by default its
            neighbours, as they become fewer, that may be its parents.
    """
    adjacent = (allowed | allowed.T) if start is None else start.copy()
    fixed = required | required.T
    log_p = np.full(adjacent.shape, -np.inf)
    marginal = log_p
    tried = []
    removed: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    level_of = _compiled_level if _is_simple(test) else _batched_level
    level = 0
    while limits.depth is None or level <= limits.depth:
        neighbours = _Neighbours(adjacent, adjacent & allowed.T if pools is None else pools)
        if neighbours.room() < level:
            break
        work = neighbours.work(level)
        if work.sum() > limits.max_tests:
            warn(
                "depth-limited",
                f"conditioning sets of {level} and more columns were not tried: they need "
                f"{_large(work.sum())} tests; some edges may be there only for that reason",
            )
            break
        if limits.out_of_time(_SOME_SETS):
            break
        pairs, best, sets = level_of(test, neighbours, level, work, limits)
        tried.append((pairs, best, sets))
        first, second = pairs.T
        log_p[first, second] = np.maximum(log_p[first, second], best)
        if not level:
            marginal = log_p.copy()
        apart = (best > log_alpha) & ~fixed[first, second]
        removed.append((pairs[apart], sets[apart], best[apart]))
        adjacent[first[apart], second[apart]] = adjacent[second[apart], first[apart]] = False
        if limits.cut:
            break
        limits.reached = level
        level += 1
    log_p = np.maximum(log_p, log_p.T)
    log_p[~(adjacent | fixed)] = -np.inf
    return Skeleton(adjacent, log_p, *_joined(removed), marginal, tried)


def evidence(
    test: IndependenceTest,
    adjacent: np.ndarray,
    allowed: np.ndarray,
    limits: Limits,
    decided: Decided | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unshielded triples a - b - c, and how well a and c are separated without and with b.

    The difference, e, speaks for the collider a → b ← c. Ends that knowledge keeps apart are not
    tested where it also decides about the collider: both values are then those of no answer.

    Returns:
        ``(m, 3)`` triples with a < c in lexicographic order; ``(m,)`` the largest log p-value of
        a and c given a set without b; the same given a set with it.
    """
    from .kernels import unshielded_triples

    triples = unshielded_triples(adjacent)
    open_ = np.ones(len(triples), dtype=bool) if decided is None else ~decided.holds(triples)
    without, within = np.full((2, len(triples)), -_FAR)
    found = _compiled_evidence if _is_simple(test) else _batched_evidence
    near = _Neighbours(adjacent, adjacent & allowed.T)
    for out, best in zip((without, within), found(test, near, triples[open_], limits), strict=True):
        out[open_] = np.maximum(best, -_FAR)
    return triples, without, within


@dataclass
class Decided:
    """What knowledge alone says about colliders.

    Attributes:
        apart: ``(d, d)`` pairs that it keeps from being adjacent.
        arrow, tail: ``(d, d)`` whether it puts such a mark at j on an edge between i and j.
    """

    apart: np.ndarray
    arrow: np.ndarray
    tail: np.ndarray

    def holds(self, triples: np.ndarray) -> np.ndarray:
        """``(m,)`` whether the ends are kept apart and it is settled if they collide."""
        a, b, c = triples.T
        collide = self.arrow[a, b] & self.arrow[c, b]
        return self.apart[a, c] & (collide | self.tail[a, b] | self.tail[c, b])


class _Neighbours:
    """Frozen adjacency, and which nodes may stand in conditioning sets.

    The parents of one end separate two nodes if any set does: neighbours that knowledge rules out
    as parents are no candidates.
    """

    def __init__(self, adjacent: np.ndarray, possible: np.ndarray):
        self.adjacent = adjacent.copy()
        self.possible = possible  # row x: the candidates of x
        self.degree = self.adjacent.sum(axis=1)
        self.candidates = np.where(self.degree > 0, possible.sum(axis=1), 0)

    def room(self) -> int:
        """The largest set that could separate some pair."""
        # Where all neighbours are candidates, one of them is the other end of the pair.
        taken = ~(self.adjacent & ~self.possible).any(axis=1)
        return int((self.candidates - taken).max(initial=-1))

    def work(self, level: int) -> np.ndarray:
        """Number of tests with sets of this size, for each x."""
        return _subset_counts(self.candidates, level) * self.degree

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Candidates of x, then its other neighbours: ``columns[starts[x]:starts[x + 1]]``."""
        searched = self.possible & (self.degree > 0)[:, None]
        listed = searched | self.adjacent
        x, y = np.nonzero(listed)
        if (self.adjacent & ~self.possible).any():
            y = y[np.lexsort((y, ~searched[x, y], x))]
        return np.concatenate([[0], np.cumsum(listed.sum(axis=1))]), y


def _large(count: float) -> str:
    return f"{count:,.0f}" if count < 1e12 else f"{count:.1e}"


def _subset_counts(candidates: np.ndarray, level: int) -> np.ndarray:
    """Number of subsets of ``level`` candidates; floats, as it may exceed any integer."""
    counts = [float(min(comb(c, level), 10**280)) for c in range(candidates.max(initial=0) + 1)]
    return np.array(counts)[candidates]


def _is_simple(test: IndependenceTest) -> bool:
    return isinstance(test, GaussianTest) and test.simple


def _joined(
    removed: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Removed pairs of all levels, sorted, with their sets padded to one width."""
    removed = [part for part in removed if len(part[0])]
    if not removed:
        return np.zeros((0, 2), dtype=int), np.zeros((0, 0), dtype=int), np.zeros(0)
    width = max(sets.shape[1] for _, sets, _ in removed)
    pairs = np.concatenate([p for p, _, _ in removed])
    members = np.full((len(pairs), width), -1)
    first = 0
    for _, sets, _ in removed:
        members[first : first + len(sets), : sets.shape[1]] = sets
        first += len(sets)
    order = np.argsort(pairs[:, 0] * (pairs.max() + 1) + pairs[:, 1])  # no pair comes twice
    return pairs[order], members[order], np.concatenate([p for _, _, p in removed])[order]


# -- any test, in batches --------------------------------------------------------------------


def _batched_level(
    test: IndependenceTest, near: _Neighbours, level: int, work: np.ndarray, limits: Limits
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    best: dict[tuple[int, int], tuple[float, tuple[int, ...]]] = {}
    for x, possible in enumerate(near.possible):
        targets = np.flatnonzero(near.adjacent[x])
        if not len(targets):
            continue
        for subsets in _subsets(np.flatnonzero(possible), level, _batch(test)):
            if limits.out_of_time(_SOME_SETS):
                break
            log_p = test.log_p(x, targets, subsets)
            limits.tests += log_p.size
            rows = log_p.argmax(axis=0)
            for column, (y, row) in enumerate(zip(targets.tolist(), rows, strict=True)):
                pair, p = (min(x, y), max(x, y)), log_p[row, column]
                if p > best.get(pair, (-np.inf,))[0]:
                    best[pair] = p, tuple(sorted(subsets[row].tolist()))
    ordered = sorted(best)
    return (
        np.array(ordered, dtype=int).reshape(-1, 2),
        np.array([best[p][0] for p in ordered]),
        np.array([best[p][1] for p in ordered], dtype=int).reshape(len(ordered), level),
    )


def _batched_evidence(
    test: IndependenceTest, near: _Neighbours, triples: np.ndarray, limits: Limits
) -> tuple[np.ndarray, np.ndarray]:
    best = np.full((2, len(triples)), -np.inf)  # without and with the middle
    for x, possible in enumerate(near.possible):
        # Each triple is looked at from both ends.
        own = np.flatnonzero((triples[:, 0] == x) | (triples[:, 2] == x))
        if not len(own):
            continue
        middle = triples[own, 1]
        ends, at = np.unique(triples[own][:, [0, 2]].sum(axis=1) - x, return_inverse=True)
        names = np.flatnonzero(possible)
        for size in range(min(limits.reached, len(names)) + 1):
            if comb(len(names), size) * len(ends) > limits.max_tests:
                break
            for subsets in _subsets(names, size, _batch(test)):
                if limits.out_of_time(_SOME_TRIPLES):
                    return best[0], best[1]
                log_p = test.log_p(x, ends, subsets)
                limits.tests += log_p.size
                for b in np.unique(middle):
                    mine, has = middle == b, (subsets == b).any(axis=1)
                    for k, rows in ((0, ~has), (1, has)):
                        part = log_p[np.ix_(rows, at[mine])].max(axis=0, initial=-np.inf)
                        best[k, own[mine]] = np.maximum(best[k, own[mine]], part)
    return best[0], best[1]


def _batch(test: IndependenceTest) -> int:
    """How many sets a test is asked about at a time; a slow one lets us look at the clock."""
    return getattr(test, "batch", _CHUNK)


def _subsets(members: np.ndarray, size: int, most: int) -> Iterator[np.ndarray]:
    """All subsets of one size in lexicographic order, ``(m, size)`` at a time, m up to ``most``."""
    total = comb(len(members), size)
    if total <= most:
        if total:
            yield members[_combinations(len(members), size)]
        return
    walk = combinations(members.tolist(), size)
    while len(part := list(islice(walk, most))):
        yield np.fromiter(chain.from_iterable(part), int, len(part) * size).reshape(-1, size)


@lru_cache(maxsize=512)
def _combinations(n: int, size: int) -> np.ndarray:
    return np.array(list(combinations(range(n), size)), dtype=int).reshape(comb(n, size), size)


# -- single columns, compiled ----------------------------------------------------------------


def _compiled_level(
    test: GaussianTest, near: _Neighbours, level: int, work: np.ndarray, limits: Limits
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from .kernels import merge_ends, weakest_links

    starts, columns = near.rows()
    best = np.full(len(columns), np.inf)
    sets = np.full((len(columns), level), -1)
    for first, last in _portions(work):
        if limits.out_of_time(_SOME_SETS):
            break
        weakest_links(
            test.correlation, starts, columns, near.candidates, level, first, last, best, sets
        )
        limits.tests += int(work[first:last].sum())
    # Both ends of a pair have tried their sets.
    pairs, ratio, sets = merge_ends(near.adjacent, starts, columns, best, sets)
    return pairs, log_p_of_z(fisher_z(ratio, test.rows - level - 3)), sets


def _compiled_evidence(
    test: GaussianTest, near: _Neighbours, triples: np.ndarray, limits: Limits
) -> tuple[np.ndarray, np.ndarray]:
    from .kernels import triple_links

    size, count = len(near.adjacent), len(triples)
    # Each triple is looked at from both ends: x is the end whose candidates form the sets.
    x = np.concatenate([triples[:, 0], triples[:, 2]])
    z = np.concatenate([triples[:, 2], triples[:, 0]])
    middle = np.concatenate([triples[:, 1], triples[:, 1]])
    order = np.lexsort((z, x))
    new = np.ones(2 * count, dtype=bool)
    new[1:] = (np.diff(x[order]) != 0) | (np.diff(z[order]) != 0)
    ends_x, ends_z = x[order][new], z[order][new]
    ends = np.bincount(ends_x, minlength=size)
    # Columns of x: its candidates, without triples of their own, then the other ends.
    own_x, own_y = np.nonzero(near.possible)
    columns_x = np.concatenate([own_x, ends_x])
    arranged = np.argsort(columns_x, kind="stable")
    columns = np.concatenate([own_y, ends_z])[arranged]
    held = np.diff(np.append(np.flatnonzero(new), 2 * count))
    held = np.concatenate([np.zeros(len(own_x), dtype=int), held])[arranged]
    starts = np.concatenate([[0], np.cumsum(near.candidates + ends)])
    begins = np.concatenate([[0], np.cumsum(held)])
    least = np.full((2, 2 * count), np.inf)
    active = ends > 0
    for level in range(limits.reached + 1):
        work = _subset_counts(near.candidates, level) * ends
        active &= (work > 0) & (work <= limits.max_tests)
        if not active.any():
            break
        work = np.where(active, work, 0)
        ratio = np.full((2, 2 * count), np.inf)
        for first, last in _portions(work):
            if limits.out_of_time(_SOME_TRIPLES):
                break
            triple_links(
                test.correlation,
                starts,
                columns,
                near.candidates,
                begins,
                middle[order],
                level,
                first,
                last,
                active,
                *ratio,
            )
            limits.tests += int(work[first:last].sum())
        least = np.minimum(least, fisher_z(ratio, test.rows - level - 3))
    both = np.empty_like(least)
    both[:, order] = least
    without, within = log_p_of_z(np.minimum(both[:, :count], both[:, count:]))
    return without, within


def _portions(work: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges of x with about ``_BREATH`` tests each."""
    if work.sum() <= _BREATH:
        yield 0, len(work)
        return
    first, total = 0, 0
    for x, tests in enumerate(work.tolist()):
        total += tests
        if total > _BREATH:
            yield first, x + 1
            first, total = x + 1, 0
    if first < len(work):
        yield first, len(work)
