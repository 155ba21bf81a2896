"""Branch and bound over cells of trees, compiled; importing this module loads numba.

A person's options are positions: along a number the cells between thresholds, of a feature with
levels the levels. A node of the search is a range of positions per feature. Leaves are bits, the
best of each tree first, so that the leaves of a node are an "and" of words and the best leaf of a
tree is its lowest bit.

What is used to cut nodes off, cheapest first: the cost of the node's nearest point; positions
that alone cost too much; the sum of the trees' best leaves that are affordable; and the dual
bound, in which every tree pays its own share of the costs (:func:`share_costs`).
"""

from __future__ import annotations

import numpy as np
from numba import njit

DONE, PAUSED, FULL = 0, 1, 2  # why the search came back

compiled = njit(cache=True, nogil=True, error_model="numpy")


@compiled
def lowest(word):
    """Position of the lowest bit of a word that is not zero."""
    count = 0
    if word & np.uint64(0xFFFFFFFF) == 0:
        count += 32
        word >>= np.uint64(32)
    if word & np.uint64(0xFFFF) == 0:
        count += 16
        word >>= np.uint64(16)
    if word & np.uint64(0xFF) == 0:
        count += 8
        word >>= np.uint64(8)
    if word & np.uint64(0xF) == 0:
        count += 4
        word >>= np.uint64(4)
    if word & np.uint64(0x3) == 0:
        count += 2
        word >>= np.uint64(2)
    if word & np.uint64(0x1) == 0:
        count += 1
    return count


@compiled
def _narrow(options, low, high, alive):
    """Leaves that a node can reach: ``alive`` becomes the "and" over its ranges."""
    for b in range(len(alive)):
        alive[b] = options.every[b]
    for j in range(len(low)):
        first, last = low[j], high[j]
        if first == 0 and last == options.size[j] - 1:
            continue
        if options.levels[j]:
            for b in range(len(alive)):
                union = np.uint64(0)
                for k in range(first, last + 1):
                    union |= options.upto[j, k, b]
                alive[b] &= union
        else:
            for b in range(len(alive)):
                alive[b] &= options.upto[j, last, b] & options.since[j, first, b]


@compiled
def _nearest(options, entry, leaf, low, high, table, row):
    """Least of a table's row over the positions of a leaf within a range, and where it is."""
    j = options.path_feature[entry]
    best, at = np.inf, -1
    if options.levels[j]:
        word, bit = leaf >> 6, np.uint64(leaf & 63)
        for k in range(low[j], high[j] + 1):
            if (options.upto[j, k, word] >> bit) & np.uint64(1) and table[row, k] < best:
                best, at = table[row, k], k
        return best, at
    first, last = max(low[j], options.path_low[entry]), min(high[j], options.path_high[entry])
    if first > last:
        return best, at
    at = min(max(options.today[j], first), last)
    return table[row, at], at


@compiled
def _leaf_cost(options, leaf, low, high, spent, moved, at_base):
    """Cost of the cheapest point of a node that ends in a leaf; infinite where none is."""
    cost = spent
    for entry in range(options.path_start[leaf], options.path_start[leaf + 1]):
        j = options.path_feature[entry]
        near, at = _nearest(options, entry, leaf, low, high, options.cost, j)
        if at < 0:
            return np.inf
        base = at_base[j]
        if options.largest:
            cost = max(cost, near)
        else:
            cost += near - options.cost[j, base]
        if base == options.today[j] and at != base:
            moved += 1
    return cost if moved <= options.most else np.inf


@compiled
def _dual_bound(options, shares, price, goal, low, high, alive, least):
    """Proven cost of a node for a price of score, and how far its solution misses the goal.

    Every tree t chooses its best leaf when it pays ``shares[q]`` for the features it asks about
    and earns ``price`` per unit of its value: the sum is a bound because the shares of all trees
    add up to the costs.
    """
    bound, missing = price * goal, goal
    for q in range(len(options.pair_feature)):
        j = options.pair_feature[q]
        least[q] = shares[q, low[j]]
        if options.levels[j]:
            for k in range(low[j] + 1, high[j] + 1):
                least[q] = min(least[q], shares[q, k])
        else:
            least[q] = shares[q, min(max(options.today[j], low[j]), high[j])]
        bound += least[q]
    for t in range(len(options.word_start) - 1):
        best, value = np.inf, 0.0
        for word in range(options.word_start[t], options.word_start[t + 1]):
            bits = alive[word]
            while bits:
                leaf = word * 64 + lowest(bits)
                bits &= bits - np.uint64(1)
                total = -price * options.value[leaf]
                if total >= best:  # the leaves that follow earn less
                    break
                for entry in range(options.path_start[leaf], options.path_start[leaf + 1]):
                    q = options.path_pair[entry]
                    near, _ = _nearest(options, entry, leaf, low, high, shares, q)
                    total += near - least[q]
                if total < best:
                    best, value = total, options.value[leaf]
        bound += best
        missing -= value
    return bound, missing


@compiled
def _chosen_leaf(options, shares, price, t, alive):
    """The leaf that a tree chooses at its price when nobody has moved."""
    best, chosen = np.inf, -1
    for word in range(options.word_start[t], options.word_start[t + 1]):
        bits = alive[word]
        while bits:
            leaf = word * 64 + lowest(bits)
            bits &= bits - np.uint64(1)
            total = -price * options.value[leaf]
            if total >= best:
                break
            for entry in range(options.path_start[leaf], options.path_start[leaf + 1]):
                q, j = options.path_pair[entry], options.path_feature[entry]
                near, at = np.inf, 0
                if options.levels[j]:
                    for k in range(options.size[j]):
                        if (options.upto[j, k, word] >> np.uint64(leaf & 63)) & np.uint64(1):
                            near = min(near, shares[q, k])
                else:
                    first, last = options.path_low[entry], options.path_high[entry]
                    at = min(max(options.today[j], first), last)
                    near = shares[q, at]
                total += near
            if total < best:
                best, chosen = total, leaf
    return chosen, best


@compiled
def share_costs(options, goal, price, steps, rounds, shares):
    """Divide the costs among the trees so that the dual bound at the start is large.

    ``steps[q, k]`` is the share of tree and feature q in the step to position k from its neighbour
    nearer to today (a level: from today), as a part of the step's cost. A tree whose leaf takes
    the step gets more of it, the others less; shares of a step add up to one.

    Returns:
        The best price and its bound; ``shares`` is filled with what belongs to them.
    """
    pairs, width = steps.shape
    alive = options.every
    best_bound, best_price = 0.0, price
    best_steps = steps.copy()
    used = np.zeros((pairs, width))
    pace = 0.5
    for step in range(rounds):
        _add_up(options, steps, shares)
        used[:] = 0.0
        bound, missing = price * goal, goal
        for t in range(len(options.word_start) - 1):
            leaf, total = _chosen_leaf(options, shares, price, t, alive)
            bound += total
            missing -= options.value[leaf]
            for entry in range(options.path_start[leaf], options.path_start[leaf + 1]):
                q, j = options.path_pair[entry], options.path_feature[entry]
                today = options.today[j]
                if options.levels[j]:
                    at = -1
                    for k in range(options.size[j]):
                        bit = (options.upto[j, k, leaf >> 6] >> np.uint64(leaf & 63)) & np.uint64(1)
                        if bit and (at < 0 or shares[q, k] < shares[q, at]):
                            at = k
                    used[q, at] = 1.0
                else:
                    first, last = options.path_low[entry], options.path_high[entry]
                    for k in range(today + 1, first + 1):
                        used[q, k] = 1.0
                    for k in range(last, today):
                        used[q, k] = 1.0
        if bound > best_bound:
            best_bound, best_price = bound, price
            best_steps[:] = steps
        # Prices follow what is missing, shares follow who uses a step.
        pace = 1.0 / (1.0 + 0.05 * step)
        price *= np.exp(min(max(pace * missing / options.spread, -0.5), 0.5))
        for q in range(pairs):
            for k in range(options.size[options.pair_feature[q]]):
                if used[q, k] > 0.0:
                    steps[q, k] *= np.exp(pace)
        _normalise(options, steps)
    steps[:] = best_steps
    _add_up(options, steps, shares)
    return best_price, best_bound


@compiled
def _normalise(options, steps):
    features, width = options.cost.shape
    total = np.zeros((features, width))
    for q in range(len(steps)):
        j = options.pair_feature[q]
        for k in range(options.size[j]):
            steps[q, k] = max(steps[q, k], 1e-9)
            total[j, k] += steps[q, k]
    for q in range(len(steps)):
        j = options.pair_feature[q]
        for k in range(options.size[j]):
            steps[q, k] /= total[j, k]


@compiled
def _add_up(options, steps, shares):
    """Shares of whole moves from shares of steps."""
    for q in range(len(steps)):
        j = options.pair_feature[q]
        today, cost = options.today[j], options.cost
        shares[q, today] = 0.0
        if options.levels[j]:
            for k in range(options.size[j]):
                shares[q, k] = steps[q, k] * cost[j, k]
            continue
        for k in range(today + 1, options.size[j]):
            shares[q, k] = shares[q, k - 1] + steps[q, k] * (cost[j, k] - cost[j, k - 1])
        for k in range(today - 1, -1, -1):
            shares[q, k] = shares[q, k + 1] + steps[q, k] * (cost[j, k] - cost[j, k + 1])


@compiled
def search(
    options, goal, slack, shares, price, stack, known, prices, state, best, asked, ask_cost, nodes
):
    """Depth-first search below the cheapest cost known, ``state[0]``.

    ``state``: cheapest cost, size of the stack, number of questions, nodes visited.
    A point whose score is within ``slack`` of the goal is written to ``asked`` and treated as
    refused: the caller asks the model itself.
    """
    features = len(options.size)
    low, high = np.empty(features, np.int64), np.empty(features, np.int64)
    base = np.empty(features, np.int64)
    weight, split = np.empty(features), np.empty(features, np.int64)
    alive = np.empty_like(options.every)
    here = np.empty_like(options.every)
    least = np.empty(len(options.pair_feature))
    trees = len(options.word_start) - 1
    limit = state[3] + nodes
    use_dual = not options.largest and price > 0.0
    while state[1] > 0:
        if state[3] >= limit:
            return PAUSED
        if state[2] >= len(asked):
            return FULL
        state[3] += 1
        state[1] -= 1
        top = int(state[1])
        cutoff = state[0]
        spent, moved = 0.0, 0
        for j in range(features):
            low[j], high[j] = stack[top, 0, j], stack[top, 1, j]
            base[j] = min(max(options.today[j], low[j]), high[j])
            part = options.cost[j, base[j]]
            spent = max(spent, part) if options.largest else spent + part
            if base[j] != options.today[j]:
                moved += 1
        if spent >= cutoff or moved > options.most:
            continue
        for j in range(features):
            rest = cutoff if options.largest else cutoff - spent + options.cost[j, base[j]]
            if moved == options.most and base[j] == options.today[j]:
                low[j] = high[j] = base[j]
            while high[j] > base[j] and options.cost[j, high[j]] >= rest:
                high[j] -= 1
            while low[j] < base[j] and options.cost[j, low[j]] >= rest:
                low[j] += 1
        _narrow(options, low, high, alive)
        _narrow(options, base, base, here)
        score, most, single = 0.0, 0.0, True
        weight[:] = -1.0
        for t in range(trees):
            first = -1
            mine = -1
            for word in range(options.word_start[t], options.word_start[t + 1]):
                if here[word]:
                    mine = word * 64 + lowest(here[word])
                bits = alive[word]
                while bits and first < 0:
                    leaf = word * 64 + lowest(bits)
                    bits &= bits - np.uint64(1)
                    if _leaf_cost(options, leaf, low, high, spent, moved, base) < cutoff:
                        first = leaf
            score += options.value[mine]
            if first < 0:
                most = -np.inf
                break
            most += options.value[first]
            if first != mine:
                single = False
                gain = options.value[first] - options.value[mine]
                _vote(options, first, gain, low, high, base, weight, split)
        if most < goal - slack:
            continue
        if score >= goal + slack:
            state[0] = spent
            best[:] = base
            continue
        if score >= goal - slack:
            if not known[top]:
                at = int(state[2])
                asked[at] = base
                ask_cost[at] = spent
                state[2] += 1
            if single:
                for t in range(trees):
                    for word in range(options.word_start[t], options.word_start[t + 1]):
                        bits = alive[word] & ~here[word]
                        while bits:
                            leaf = word * 64 + lowest(bits)
                            bits &= bits - np.uint64(1)
                            if _leaf_cost(options, leaf, low, high, spent, moved, base) < cutoff:
                                _vote(options, leaf, 0.0, low, high, base, weight, split)
                                bits = np.uint64(0)
        mine_price = prices[top]
        if use_dual:
            cut = False
            for _attempt in range(3):
                bound, missing = _dual_bound(
                    options, shares, mine_price, goal - slack, low, high, alive, least
                )
                if bound >= cutoff:
                    cut = True
                    break
                mine_price *= np.exp(min(max(0.5 * missing / options.spread, -0.3), 0.3))
            if cut:
                continue
        j = int(np.argmax(weight))
        if weight[j] < 0.0:
            continue  # nothing else is left in this node
        at = split[j]  # the far side starts here
        for side in range(2):  # the near side is taken first
            row = top + side
            stack[row, 0, :] = low
            stack[row, 1, :] = high
            prices[row] = mine_price
            near = side == 1
            known[row] = near and score >= goal - slack
            if at > base[j] or options.levels[j]:
                if near:
                    stack[row, 1, j] = at - 1
                else:
                    stack[row, 0, j] = at
            elif near:
                stack[row, 0, j] = at + 1
            else:
                stack[row, 1, j] = at
        state[1] += 2
    return DONE


@compiled
def _vote(options, leaf, gain, low, high, base, weight, split):
    """A leaf votes for the features that keep the nearest point out of it."""
    for entry in range(options.path_start[leaf], options.path_start[leaf + 1]):
        j = options.path_feature[entry]
        if options.levels[j]:
            if (options.upto[j, base[j], leaf >> 6] >> np.uint64(leaf & 63)) & np.uint64(1):
                continue
            at = base[j] + 1
        elif options.path_low[entry] > base[j]:
            at = options.path_low[entry]
        elif options.path_high[entry] < base[j]:
            at = options.path_high[entry]
        else:
            continue
        if weight[j] < 0.0:
            weight[j] = 0.0
            split[j] = -1
        if split[j] < 0:
            split[j] = at
        weight[j] += gain
