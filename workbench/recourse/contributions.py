"""How much each feature moves a person's decision away from that of reference rows.

The game: v(S) is the mean decision over the reference rows with the features in S replaced by the
person's. Its Shapley value is what each feature contributes; the values of a person add up to
the person's decision minus the mean decision of the reference rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import factorial

import numpy as np
from tqdm import tqdm

from ..core.seeding import generator
from .model_view import ModelView
from .problem import RecourseProblem
from .structure import Linear, Link, Tree, Trees, apply_link

_FEW = 10  # features up to which every subset is asked
_ROWS = 16  # fewest reference rows that a model with an unknown inside is asked about
_ASKED = 1 << 16  # rows that such a model is asked about per person, if these are enough
_PAIRS = 32  # orders of features, each also in reverse, where subsets are too many
_CELLS = 4_000_000


@dataclass(frozen=True, eq=False)
class Contributions:
    """What features add to decisions.

    Attributes:
        values: ``(n, F)``; a row adds up to ``decision - base``.
        decision: ``(n,)``, of each person.
        base: Mean decision of the reference rows.
        link: How a decision becomes the score.
        reference: The reference rows that were used, codes ``(R, F)``.
        error: ``(n, F)`` standard errors where orders were drawn, else zero.
        kind: ``"linear"``, ``"trees"``, ``"relu"`` or ``"score only"``.
    """

    values: np.ndarray
    decision: np.ndarray
    base: float
    link: Link
    reference: np.ndarray
    error: np.ndarray
    kind: str


def contributions(
    problem: RecourseProblem, x: np.ndarray, reference: np.ndarray, progress: bool = False
) -> Contributions:
    """Shapley values of people ``x`` ``(n, F)`` against ``reference`` ``(R, F)``, as codes.

    Exact for linear models, for trees (a sum over leaves; empty cells go where the trees send
    them) and, up to ten features that differ, for anything else. Beyond that means over orders of
    the features, each also in reverse, with standard errors; these too add up. Models of neither
    kind are asked about at most 65,536 rows per person, which limits the reference rows. Only trees
    know what to do with empty cells (NaN).
    """
    view = problem.view
    for kind, exact in (("linear", _of_linear), ("trees", _of_trees)):
        model = view.inside.find(kind)
        if model is not None:
            values = exact(model, view, x, reference)
            rows = (view.space.design(r) if kind == "linear" else r for r in (x, reference))
            own, base = (model.decision(r) for r in rows)
            parts = float(base.mean()), model.link, reference, np.zeros(values.shape), kind
            return Contributions(values, own, *parts)
    return _of_scores(problem, x, reference, progress)


def reproduces(view: ModelView, found: Contributions, scores: np.ndarray) -> np.ndarray:
    """Whether base and contributions lead to the model's own score of each person, ``(n,)``."""
    guess = apply_link(found.link, found.base + found.values.sum(axis=1))
    single = view.is_torch
    return np.abs(guess - scores) <= (1e-4 if single else 1e-7) * (1.0 + np.abs(scores))


def _of_linear(model: Linear, view: ModelView, x: np.ndarray, reference: np.ndarray) -> np.ndarray:
    parts = (view.space.design(x) - view.space.design(reference).mean(axis=0)) * model.weights
    return np.stack([parts[:, slot].sum(axis=1) for slot in view.space.slots], axis=1)


# -- trees -------------------------------------------------------------------------------------


def _of_trees(model: Trees, view: ModelView, x: np.ndarray, reference: np.ndarray) -> np.ndarray:
    out = np.zeros(x.shape)
    for tree in model.trees:
        mine, theirs = _turns(tree, x), _turns(tree, reference)
        for leaf, path in _leaves(tree):
            if path and tree.value[leaf]:
                features = list(path)
                own, other = (_follows(turns, path) for turns in (mine, theirs))
                out[:, features] += tree.value[leaf] * _leaf_values(own, other)
    return out


def _turns(tree: Tree, codes: np.ndarray) -> dict[int, np.ndarray]:
    """Inner node -> whether each row would go left there."""
    inner = np.flatnonzero(tree.left >= 0)
    return {int(k): tree.goes_left(k, codes[:, tree.feature[k]]) for k in inner}


def _leaves(tree: Tree) -> list[tuple[int, dict[int, list[tuple[int, bool]]]]]:
    """Each leaf and, per feature on its path, the nodes passed and whether to the left."""
    found, stack = [], [(0, {})]
    while stack:
        node, path = stack.pop()
        if tree.left[node] < 0:
            found.append((node, path))
            continue
        feature = int(tree.feature[node])
        for child, left in ((tree.left[node], True), (tree.right[node], False)):
            step = [*path.get(feature, []), (int(node), left)]
            stack.append((int(child), {**path, feature: step}))
    return found


def _follows(turns: dict[int, np.ndarray], path: dict[int, list[tuple[int, bool]]]) -> np.ndarray:
    """Whether each row's value of each feature keeps it on the path, ``(n, k)``."""
    return np.stack(
        [np.all([turns[node] == left for node, left in steps], axis=0) for steps in path.values()],
        axis=1,
    )


def _leaf_values(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Shapley values ``(n, k)`` of reaching a leaf worth 1, in the mean over reference rows.

    A mix of person and reference row reaches the leaf if it takes from the person all a features
    that only the person satisfies, and none of the b that only the reference row does: a feature
    of the first kind has value (a-1)! b! / (a+b)!, of the second -a! (b-1)! / (a+b)!.
    Rows count only through what they satisfy, so that equal ones are asked once.
    """
    mine, which = _distinct(own)
    theirs, at = _distinct(other)
    share = np.bincount(at, minlength=len(theirs)) / len(at)
    plus, minus = _weights(own.shape[1])
    values = np.empty(mine.shape)
    step = max(_CELLS // theirs.size, 1)
    for start in range(0, len(mine), step):
        part = slice(start, start + step)
        person, row = mine[part, None, :], theirs[None]
        first, second = person & ~row, row & ~person
        a, b = first.sum(axis=-1), second.sum(axis=-1)
        reached = share * (person | row).all(axis=-1)
        values[part] = ((reached * plus[a, b])[..., None] * first).sum(axis=1)
        values[part] -= ((reached * minus[a, b])[..., None] * second).sum(axis=1)
    return values[which]


def _distinct(satisfied: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows of a table of truth values, and which one each row is."""
    packed = np.packbits(satisfied, axis=1)
    keys = packed.view(f"V{packed.shape[1]}").ravel() if packed.shape[1] > 1 else packed[:, 0]
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    return satisfied[first], which.ravel()


def _weights(k: int) -> tuple[np.ndarray, np.ndarray]:
    """The two weights of :func:`_leaf_values` for all a and b up to k."""
    plus, minus = np.zeros((k + 1, k + 1)), np.zeros((k + 1, k + 1))
    for a in range(k + 1):
        for b in range(k + 1 - a):
            if a:
                plus[a, b] = factorial(a - 1) * factorial(b) / factorial(a + b)
            if b:
                minus[a, b] = factorial(a) * factorial(b - 1) / factorial(a + b)
    return plus, minus


# -- anything else -----------------------------------------------------------------------------


def _of_scores(
    problem: RecourseProblem, x: np.ndarray, reference: np.ndarray, progress: bool
) -> Contributions:
    view = problem.view
    network = view.inside.find("relu")

    def decide(codes: np.ndarray) -> np.ndarray:
        if network is not None:
            return network.decision(view.space.design(codes))
        return view.score(problem.space.frame(codes))

    read = np.array([view.space.place(name) for name in view.columns], dtype=int)
    games = 2 ** len(read) if len(read) <= _FEW else 2 * _PAIRS * (len(read) + 1)
    most = max(_ASKED // games, _ROWS)
    order = np.argsort(decide(reference), kind="stable")
    if len(order) > most:  # spread evenly over their decisions
        order = order[((np.arange(most) + 0.5) * len(order) / most).astype(int)]
    reference = reference[order]
    values, error = np.zeros(x.shape), np.zeros(x.shape)
    bar = {"desc": "reasons", "delay": 2, "disable": not progress, "leave": False}
    for i in tqdm(range(len(x)), **bar):
        differs = read[(reference[:, read] != x[i, read]).any(axis=0)]
        ask = _every_subset if len(differs) <= _FEW else _some_orders
        values[i, differs], error[i, differs] = ask(decide, x[i], reference, differs)
    own, base = decide(x) if len(x) else np.empty(0), float(decide(reference).mean())
    kind = "score only" if network is None else "relu"
    link = "identity" if network is None else network.link
    return Contributions(values, own, base, link, reference, error, kind)


def _asked(decide, x: np.ndarray, reference: np.ndarray, taken: np.ndarray, players: np.ndarray):
    """The game's value of each row of ``taken`` ``(m, k)``: which players are the person's."""
    mixed = np.tile(reference, (len(taken), 1))
    many = np.repeat(taken, len(reference), axis=0)
    mixed[:, players] = np.where(many, x[players], mixed[:, players])
    return decide(mixed).reshape(len(taken), len(reference)).mean(axis=1)


def _every_subset(decide, x: np.ndarray, reference: np.ndarray, players: np.ndarray):
    k = len(players)
    taken = (np.arange(2**k)[:, None] >> np.arange(k)) & 1 == 1
    worth, size = _asked(decide, x, reference, taken, players), taken.sum(axis=1)
    values = np.zeros(k)
    for j in range(k):
        without = np.flatnonzero(~taken[:, j])
        weight = np.array([factorial(s) * factorial(k - s - 1) / factorial(k) for s in range(k)])
        values[j] = weight[size[without]] @ (worth[without + 2**j] - worth[without])
    return values, np.zeros(k)


def _some_orders(decide, x: np.ndarray, reference: np.ndarray, players: np.ndarray):
    """Means over pairs of opposite orders; the draws are the same for everybody."""
    k, rng = len(players), generator(0)
    pairs = np.empty((_PAIRS, k))
    for p in range(_PAIRS):
        order = rng.permutation(k)
        both = []
        for turn in (order, order[::-1]):
            taken = np.zeros((k + 1, k), dtype=bool)
            for step, j in enumerate(turn):
                taken[step + 1 :, j] = True
            gains = np.diff(_asked(decide, x, reference, taken, players))
            both.append(gains[np.argsort(turn)])
        pairs[p] = np.mean(both, axis=0)
    return pairs.mean(axis=0), pairs.std(axis=0, ddof=1) / _PAIRS**0.5
