"""What a mechanism is given, and what the model asks of it.

A mechanism is a pair of functions that are each other's inverse: ``apply(parents, noise) -> x``
and ``abduct(parents, x) -> noise``. Counterfactuals are abduct, change, apply. All work on whole
columns; values of discrete nodes are positions in ``feature.levels``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Protocol, Self

import numpy as np

from ..core.errors import CausalWarning, QuestionError, did_you_mean
from ..core.seeding import Seed
from ..tables.encode import Encoder
from ..tables.schema import Feature

Uniforms = Callable[[int], np.ndarray]


class Parents:
    """The values of a node's parents for n rows.

    ``parents["age"]`` is the column in its unit (levels as levels), ``encoded`` is the matrix for
    models. ``encoder`` also knows the node itself.
    """

    def __init__(self, encoder: Encoder, columns: Mapping[str, np.ndarray], n: int):
        self.encoder, self.columns, self.n = encoder, dict(columns), n

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.columns)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.columns:
            raise QuestionError(
                "is not a parent of this node", column=name, advice=did_you_mean(name, self.names)
            )
        feature = self.encoder.schema_[name]
        return decode_levels(self.columns[name], feature)

    @cached_property
    def encoded(self) -> np.ndarray:
        """``(n, p)``: numbers scaled, levels as 0/1 columns."""
        blocks = [self.encoder.encode_values(name, x) for name, x in self.columns.items()]
        return np.concatenate([np.empty((self.n, 0)), *blocks], axis=1)

    def take(self, rows: np.ndarray) -> Parents:
        """The parents of some rows."""
        return Parents(self.encoder, {k: v[rows] for k, v in self.columns.items()}, len(rows))


def decode_levels(codes: np.ndarray, feature: Feature) -> np.ndarray:
    """Values as the user knows them: numbers unchanged, positions as levels."""
    if feature.is_numeric:
        return codes
    levels = np.empty(len(feature.levels), dtype=object)
    levels[:] = feature.levels
    return levels[codes.astype(int)]


class Mechanism(Protocol):
    """What the model asks of a mechanism; ``width_`` is the number of its noise columns."""

    width_: int

    @property
    def known(self) -> bool:
        """Whether it needs no data."""

    def fit(
        self,
        parents: Parents,
        x: np.ndarray,
        feature: Feature,
        *,
        random_state: Seed = 0,
        groups: np.ndarray | None = None,
    ) -> Self:
        """Learn from ``x`` ``(n,)`` and the parents of the same rows."""

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Fresh noise ``(n, width_)``."""

    def apply(self, parents: Parents, noise: np.ndarray) -> np.ndarray:
        """Values ``(n,)`` from noise ``(n, width_)``."""

    def abduct(self, parents: Parents, x: np.ndarray, uniforms: Uniforms) -> np.ndarray:
        """Noise ``(n, width_)`` that gives ``x``; where several do, drawn with ``uniforms``."""

    def log_prob(self, parents: Parents, x: np.ndarray) -> np.ndarray:
        """Log density (or probability) of ``x`` given the parents, ``(n,)``."""


# A node with its parents -> its mechanism, and what was noticed when it was fitted.
Fitted = dict[tuple[str, frozenset[str]], tuple[Mechanism, tuple[CausalWarning, ...]]]
