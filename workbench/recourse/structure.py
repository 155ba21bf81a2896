"""What is known about a model's inside, written in raw units: linear, trees, ReLU network.

Everything here is a function of the design of :class:`~workbench.recourse.space.Space` (a number
in its own unit, one 0/1 column per level) and gives the *decision*: the score before the link.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from ..core.errors import QuestionError

Link = Literal["identity", "logit"]


def inverse_link(link: Link, score: float) -> float:
    """The decision at which the score is reached."""
    if link == "identity":
        return score
    with np.errstate(divide="ignore"):
        return float(np.log(score) - np.log1p(-score)) if 0 <= score <= 1 else np.inf


def apply_link(link: Link, decision: np.ndarray) -> np.ndarray:
    """Scores of decisions."""
    return decision if link == "identity" else 1.0 / (1.0 + np.exp(-np.clip(decision, -700, 700)))


@dataclass(frozen=True, eq=False)
class Inputs:
    """How raw design rows become what the innermost model reads: ``matrix @ design + offset``."""

    matrix: np.ndarray  # (M, D)
    offset: np.ndarray  # (M,)

    def __call__(self, design: np.ndarray) -> np.ndarray:
        return design @ self.matrix.T + self.offset


@dataclass(frozen=True, eq=False)
class Linear:
    """``decision = design @ weights + intercept``.

    Attributes:
        weights: ``(D,)``, per raw unit of a number or per level.
        intercept: The decision where the design is zero.
        link: How the decision becomes the score.
    """

    weights: np.ndarray
    intercept: float
    link: Link

    def decision(self, design: np.ndarray) -> np.ndarray:
        return design @ self.weights + self.intercept

    def score(self, design: np.ndarray) -> np.ndarray:
        return apply_link(self.link, self.decision(design))


@dataclass(frozen=True, eq=False)
class Relu:
    """A network of affine layers with ReLU between them; the first reads raw design rows.

    Attributes:
        weights, biases: Per layer ``(out, in)`` and ``(out,)``; the last has one output.
        link: How the decision becomes the score.
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    link: Link

    def decision(self, design: np.ndarray) -> np.ndarray:
        hidden = design
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = hidden @ weight.T + bias
            if k + 1 < len(self.weights):
                hidden = np.maximum(hidden, 0.0)
        return hidden[:, 0]

    def score(self, design: np.ndarray) -> np.ndarray:
        return apply_link(self.link, self.decision(design))


@dataclass(frozen=True, eq=False)
class Tree:
    """One tree; node k is a leaf where ``left[k] < 0``.

    A row goes left at node k when its number is at most ``threshold[k]``; for a discrete feature
    the "number" of level l is ``tables[k][l]``, already compared: True goes left.

    Attributes:
        feature: Position of the feature that each node asks about.
        threshold: Raw threshold of nodes that ask about a number.
        left, right: Children.
        value: Contribution of each leaf to the decision.
        tables: Node -> for each level whether it goes left.
        flipped: Nodes where numbers *above* the threshold go left.
        missing: Whether an empty cell goes left; None where that is not known.
    """

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    tables: dict[int, np.ndarray]
    flipped: frozenset[int] = frozenset()
    missing: np.ndarray | None = None

    def goes_left(self, node: int, codes: np.ndarray) -> np.ndarray:
        """Whether codes of the node's feature go left."""
        empty = np.isnan(codes)
        if empty.any():
            left = np.full(len(codes), self.missing is not None and bool(self.missing[node]))
            left[~empty] = self.goes_left(node, codes[~empty])
            return left
        if node in self.tables:
            return self.tables[node][codes.astype(int)]
        at_most = codes <= self.threshold[node]
        return ~at_most if node in self.flipped else at_most

    def decision(self, codes: np.ndarray) -> np.ndarray:
        """Contribution of this tree to the rows ``(n, F)``."""
        at = np.zeros(len(codes), dtype=int)
        while True:
            inner = np.unique(at[self.left[at] >= 0])
            if not len(inner):
                return self.value[at]
            step = at.copy()
            for node in inner:
                rows = np.flatnonzero(at == node)
                goes = self.goes_left(node, codes[rows, self.feature[node]])
                step[rows] = np.where(goes, self.left[node], self.right[node])
            at = step


@dataclass(frozen=True, eq=False)
class Trees:
    """``decision = offset + sum of the trees' leaves``; reads codes, not design rows."""

    trees: tuple[Tree, ...]
    offset: float
    link: Link

    def decision(self, codes: np.ndarray) -> np.ndarray:
        total = np.full(len(codes), self.offset)
        for tree in self.trees:
            total += tree.decision(codes)
        return total

    def score(self, codes: np.ndarray) -> np.ndarray:
        return apply_link(self.link, self.decision(codes))


class Unknown(QuestionError):
    """The model's structure is not one that can be written down exactly."""


class OutcomeNode:
    """The "model" of a question about the world: it reads the outcome's own column."""

    def __init__(self, name: str):
        self.name = name

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        return frame[self.name].to_numpy(dtype=float)
