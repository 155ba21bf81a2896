"""A good action on trees by simple moves, compiled: where the exact search starts."""

from __future__ import annotations

import numpy as np

from .tree_kernels import compiled, lowest


@compiled
def descend(options, goal, cutoff, point):
    """A good action by simple moves, the start of the search; ``point`` is filled.

    Take the step that earns most per cost until the goal is reached, or the cheapest that reaches
    it; then go back with every feature as far as the goal allows.

    Returns:
        The cost, infinite where no way was found below ``cutoff``.
    """
    features, words = len(options.size), len(options.every)
    point[:] = options.today
    others = np.empty(words, np.uint64)
    score, spent = -np.inf, 0.0
    for _ in range(4 * features):
        moved = 0
        for j in range(features):
            moved += point[j] != options.today[j]
        if score == -np.inf:
            _besides(options, point, -1, others)
            score = _total(options, others, -1, 0)
        best, pick, place, reached = 0.0, -1, 0, False
        for j in range(features):
            if point[j] == options.today[j] and moved >= options.most:
                continue
            _besides(options, point, j, others)
            for k in range(options.size[j]):
                cost = _with(options, point, j, k)
                extra = max(cost - spent, 1e-9)
                if k == point[j] or cost >= cutoff:
                    continue
                there = _total(options, others, j, k)
                hit = there >= goal
                worth = -cost if hit else (there - score) / extra
                if (hit and not reached) or (hit == reached and (worth > best or pick < 0)):
                    if hit or there > score:
                        best, pick, place, reached = worth, j, k, hit
        if pick < 0:
            return np.inf
        point[pick] = place
        spent = _with(options, point, pick, place)
        _besides(options, point, -1, others)
        score = _total(options, others, -1, 0)
        if reached:
            break
    if score < goal:
        return np.inf
    for _ in range(2):
        for j in range(features):
            _besides(options, point, j, others)
            best_k = point[j]
            for k in range(options.size[j]):
                cheaper = options.cost[j, k] < options.cost[j, best_k]
                if cheaper and _total(options, others, j, k) >= goal:
                    best_k = k
            point[j] = best_k
    return _with(options, point, 0, point[0])


@compiled
def _besides(options, point, left_out, words):
    """Leaves that agree with a point in every feature but one."""
    for b in range(len(words)):
        words[b] = options.every[b]
    for j in range(len(point)):
        k = point[j]
        if j == left_out:
            continue
        for b in range(len(words)):
            words[b] &= options.upto[j, k, b]
        if not options.levels[j]:
            for b in range(len(words)):
                words[b] &= options.since[j, k, b]


@compiled
def _total(options, words, j, k):
    """Score of a point whose feature j is at k, given the leaves that agree with the others."""
    total = 0.0
    for t in range(len(options.word_start) - 1):
        for b in range(options.word_start[t], options.word_start[t + 1]):
            word = words[b]
            if j >= 0:
                word &= options.upto[j, k, b]
                if not options.levels[j]:
                    word &= options.since[j, k, b]
            if word:
                total += options.value[b * 64 + lowest(word)]
                break
    return total


@compiled
def _with(options, point, j, k):
    """Cost of a point whose feature j is at k."""
    cost = 0.0
    for i in range(len(point)):
        part = options.cost[i, k if i == j else point[i]]
        cost = max(cost, part) if options.largest else cost + part
    return cost
