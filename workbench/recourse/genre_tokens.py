"""Features as tokens: "keep", one token per level, one token per bin of the values of a number."""

from __future__ import annotations

import numpy as np

from ..core.saving import saveable
from .problem import RecourseProblem

KEEP = 0  # the token of every feature that copies the person's own value
_DIGITS = 6  # rounding that makes the numbers a network sees the same in any unit


@saveable
class Vocabulary:
    """The tokens of every feature: token 0 keeps the value, token 1 + b stands for bin b.

    A level is a bin of its own. A number has one bin per distinct value where these are few, else
    bins between quantiles; a bin is read back as the value *seen in it* that is nearest to the
    person's (and within reach), so nothing is recommended that nobody has. The person's own value
    belongs to token 0 only, so every outcome has exactly one sequence of tokens.

    Args:
        problem: Gives the features.
        rows: Codes ``(m, F)`` of the rows that are to be produced.
        bins: Most bins of a number.

    Attributes:
        values: Per feature the distinct values, ascending.
        starts: Per feature the first position of each bin in ``values``, and the end.
        size: Number of tokens T of the largest feature.
    """

    def __init__(self, problem: RecourseProblem, rows: np.ndarray, bins: int):
        self.values: list[np.ndarray] = []
        self.starts: list[np.ndarray] = []
        for j, feature in enumerate(problem.space.features):
            if problem.space.discrete[j]:
                seen = np.arange(len(feature.levels), dtype=float)
                starts = np.arange(len(seen) + 1)
            else:
                seen, starts = _cut(rows[:, j], bins)
            self.values.append(seen)
            self.starts.append(starts)
        self.size = 1 + max(len(s) - 1 for s in self.starts)

    @classmethod
    def _from_state(cls, state: dict) -> Vocabulary:
        made = cls.__new__(cls)
        made.__dict__.update(state)
        return made

    def bins(self, codes: np.ndarray) -> np.ndarray:
        """The bin ``(n, F)`` of each value; values between two bins belong to the lower."""
        out = np.empty(codes.shape, dtype=np.int64)
        for j, (values, starts) in enumerate(zip(self.values, self.starts, strict=True)):
            place = np.searchsorted(values, codes[:, j], side="right") - 1
            out[:, j] = np.searchsorted(starts, np.maximum(place, 0), side="right") - 1
        return out

    def tokens(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """The tokens ``(n, F)`` that lead from ``x`` to ``z``."""
        return np.where(z == x, KEEP, 1 + self.bins(z))

    def inputs(self, codes: np.ndarray) -> np.ndarray:
        """Where each value lies among the seen ones, ``(n, F, 2)``: by size and by rank."""
        out = np.empty((*codes.shape, 2))
        for j, values in enumerate(self.values):
            span = max(values[-1] - values[0], 1e-300)
            out[:, j, 0] = np.clip((codes[:, j] - values[0]) / span, -1.0, 2.0)
            out[:, j, 1] = np.searchsorted(values, codes[:, j]) / len(values)
        return out.round(_DIGITS)

    def options(self, problem: RecourseProblem, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What each token means for each person.

        Returns:
            Values ``(n, F, T)`` and whether the person may take them, as far as one feature by
            itself can tell: what can't change, ranges, directions, levels.
        """
        n, width = x.shape
        values = np.repeat(x[:, :, None], self.size, axis=2)
        allowed = np.zeros(values.shape, dtype=bool)
        allowed[:, :, KEEP] = True
        low, high = problem.reach(x)
        for j in np.flatnonzero(problem.movable):
            seen, starts = self.values[j], self.starts[j]
            first = np.maximum(starts[:-1], np.searchsorted(seen, low[:, j, None], "left"))
            end = np.minimum(starts[1:], np.searchsorted(seen, high[:, j, None], "right"))
            below = np.minimum(np.searchsorted(seen, x[:, j, None], "left"), end) - 1
            above = np.maximum(np.searchsorted(seen, x[:, j, None], "right"), first)
            down = np.where(below >= first, x[:, j, None] - seen[np.maximum(below, 0)], np.inf)
            last = len(seen) - 1
            up = np.where(above < end, seen[np.minimum(above, last)] - x[:, j, None], np.inf)
            pick = np.where(down <= up, np.maximum(below, 0), np.minimum(above, last))
            part = slice(1, len(starts))
            allowed[:, j, part] = np.isfinite(np.minimum(down, up))
            values[:, j, part] = np.where(allowed[:, j, part], seen[pick], x[:, j, None])
        return values, allowed

    def moves(self, problem: RecourseProblem, x: np.ndarray, values: np.ndarray) -> np.ndarray:
        """What each option costs by itself, ``(n, F, T)``."""
        options = values.transpose(0, 2, 1)
        moves = problem.cost.moves(np.broadcast_to(x[:, None, :], options.shape), options)
        return moves.transpose(0, 2, 1).round(_DIGITS)


def kernel_weights(size: int, width: float) -> np.ndarray:
    """Soft targets between ordered bins, ``(B, B)``: rows sum to 1 and peak at their own bin.

    Row b is proportional to exp(-(k - b)² / (2 width²)) over bins k; a width of 0 is the identity.
    """
    if not width:
        return np.eye(size)
    step = np.arange(size)
    log = -0.5 * ((step[:, None] - step) / width) ** 2
    weight = np.exp(log)
    return weight / weight.sum(axis=1, keepdims=True)


def _cut(column: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct values of a column and where each bin starts among them."""
    seen, counts = np.unique(column, return_counts=True)
    if len(seen) <= bins:
        return seen, np.arange(len(seen) + 1)
    middle = (np.cumsum(counts) - 0.5 * counts) / counts.sum()
    bin_of = np.floor(middle * bins).astype(int)
    starts = np.flatnonzero(np.diff(bin_of, prepend=-1))
    return seen, np.append(starts, len(seen))
