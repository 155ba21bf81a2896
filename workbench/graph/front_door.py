"""The front-door criterion: mediators that carry the whole effect and are not confounded."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from .question import Question


def mediators(question: Question) -> set[int] | None:
    """A minimal set that meets the front-door criterion, or None if there is none.

    Z meets it if (1) every directed path from t to y goes through Z, (2) no back-door path from
    t to Z is open, (3) every back-door path from Z to y is blocked by t. The sets that satisfy
    (2) and (3) are closed under union, so there is a greatest one; a front-door set exists if and
    only if that one satisfies (1). The result is the minimal set within it that is nearest to y.
    Everything takes linear time.

    References:
        Pearl, "Causal diagrams for empirical research", Biometrika, 1995; Jeong, Tian and
        Bareinboim, "Finding and listing front-door adjustment sets", NeurIPS 2022; Wienöbst,
        van der Zander and Liskiewicz, "Linear-time algorithms for front-door adjustment in
        causal graphs", AAAI 2024.
    """
    mixed, t, y = question.mixed, question.t, question.y
    if question.undecided or not question.mediating or y in mixed.children[t]:
        return None
    confounded = mixed.without_arrows(t, mixed.children[t]).reach([t])
    greatest = _unconfounded(question, question.observed - confounded)
    if y in _first_hits(mixed.children, t, greatest | {y}):
        return None
    return _minimal(question, greatest)


def _unconfounded(question: Question, candidates: Collection[int]) -> set[int]:
    """The greatest subset whose back-door paths to y (past no other member) t blocks.

    Open walks are followed from y. A member entered through an arrowhead has an open back-door
    path: it leaves the set and becomes a node that others' paths may cross. One entered through
    a tail stops the walk, until it leaves.
    """
    mixed, given = question.mixed, {question.t}
    opened = mixed.ancestors(given)
    kept, stopped = set(candidates), set()
    queue = deque([2 * question.y])
    seen = set(queue)
    while queue:
        state = queue.popleft()
        node = state >> 1
        if node in kept:
            if not state & 1:
                stopped.add(state)
                continue
            kept.discard(node)
            if state - 1 in stopped:
                queue.append(state - 1)
        for new in mixed.steps(state, given, opened):
            if new not in seen:
                seen.add(new)
                queue.append(new)
    return kept


def _minimal(question: Question, greatest: set[int]) -> set[int]:
    """The minimal front-door set nearest to y within the greatest one.

    Of the members that reach y past no other member, take those that t reaches first: each
    carries a directed path of its own. Then add, again and again, the ones that an open back-door
    path of a member runs into first: each is all that blocks that path on its way to y.
    """
    mixed, given = question.mixed, {question.t}
    opened = mixed.ancestors(given)
    beside_y = _first_hits(mixed.parents, question.y, greatest)
    found = _first_hits(mixed.children, question.t, beside_y)
    queue = deque(up for node in sorted(found) for up in mixed.up[node])
    seen = set(queue)
    while queue:
        state = queue.popleft()
        node = state >> 1
        following = mixed.steps(state, given, opened)
        if node in beside_y:
            # It ends this path, and as a member its own back-door paths count.
            following = iter(() if node in found else mixed.up[node])
            found.add(node)
        for new in following:
            if new not in seen:
                seen.add(new)
                queue.append(new)
    return found


def _first_hits(step: list[list[int]], start: int, targets: Collection[int]) -> set[int]:
    """The targets on walks from ``start`` that cross no other target."""
    stack, seen = [start], {start}
    while stack:
        for other in step[stack.pop()]:
            if other not in seen:
                seen.add(other)
                if other not in targets:
                    stack.append(other)
    return seen.intersection(targets)
