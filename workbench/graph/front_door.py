"""The front-door criterion: mediators that carry the whole effect and are not confounded."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from .question import Question


def mediators(question: Question) -> set[int] | None:
    """A small set that meets the front-door criterion, or None if there is none.

    Z meets it if (1) every directed path from t to y goes through Z, (2) no back-door path from
    t to Z is open, (3) every back-door path from Z to y is blocked by t. The sets that satisfy
    (2) and (3) are closed under union, so there is a greatest one, found in linear time; a
    front-door set exists if and only if that one satisfies (1). It is then thinned: the last
    nodes before y, with those that keep their back-door paths blocked, less each node that can
    be spared. No single node of the result can be spared.

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
    if not _intercepts(question, greatest):
        return None
    found = _thinned(question, greatest)
    for node in sorted(found):
        fewer = found - {node}
        if _intercepts(question, fewer) and _unconfounded(question, fewer) == fewer:
            found = fewer
    return found


def _intercepts(question: Question, chosen: Collection[int]) -> bool:
    stack, seen = [question.t], {question.t}
    while stack:
        for child in question.mixed.children[stack.pop()]:
            if child == question.y:
                return False
            if child not in seen and child not in chosen:
                seen.add(child)
                stack.append(child)
    return True


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


def _thinned(question: Question, greatest: set[int]) -> set[int]:
    """Last members on directed paths from t to y, and the members that their paths run into."""
    mixed, given = question.mixed, {question.t}
    opened = mixed.ancestors(given)
    stack, last, seen = [question.y], set(), {question.y}
    while stack:
        for parent in mixed.parents[stack.pop()]:
            if parent in seen:
                continue
            seen.add(parent)
            if parent not in greatest:
                stack.append(parent)
            elif parent in question.mediating:
                last.add(parent)
    found = set(last)
    queue = deque(up for node in sorted(last) for up in mixed.up[node])
    reached = set(queue)
    while queue:
        state = queue.popleft()
        node = state >> 1
        if node in greatest:
            # It blocks this path as a member, so its own back-door paths count as well.
            if node in found:
                continue
            found.add(node)
            following = mixed.up[node]
        else:
            following = mixed.steps(state, given, opened)
        for new in following:
            if new not in reached:
                reached.add(new)
                queue.append(new)
    return found
