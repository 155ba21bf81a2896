"""The separating set of each missing edge, looked up when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from ...core.saving import saveable


@saveable
class SeparatingSets(Mapping):
    """(u, v) -> the set that separates u and v with the largest p-value.

    A graph of d nodes has up to d (d - 1) / 2 of them, of which a user looks at a few: they are
    kept as two arrays. Pairs are in the order of ``names``; ``[v, u]`` is found as well.

    Args:
        names: All searched variables.
        pairs: ``(m, 2)`` positions of separated pairs.
        members: ``(m, l)`` positions of the members, -1 as padding.

    Example:
        >>> sets = SeparatingSets(["a", "b", "c"], np.array([[0, 2]]), np.array([[1]]))
        >>> sets["a", "c"], sets["c", "a"], len(sets)
        (('b',), ('b',), 1)
    """

    def __init__(self, names: tuple[str, ...], pairs: np.ndarray, members: np.ndarray):
        self.names, self.pairs, self.members = tuple(names), pairs, members

    @cached_property
    def _row(self) -> dict[tuple[str, str], int]:
        names = self.names
        return {(names[i], names[j]): row for row, (i, j) in enumerate(self.pairs.tolist())}

    def __getitem__(self, pair: tuple[str, str]) -> tuple[str, ...]:
        row = self._row.get(pair)
        if row is None:
            row = self._row[pair[::-1]]
        return tuple(self.names[k] for k in self.members[row].tolist() if k >= 0)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._row)

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        return f"SeparatingSets({len(self)} pairs)"

    def _state(self) -> dict[str, Any]:
        return {"names": list(self.names), "pairs": self.pairs, "members": self.members}

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> SeparatingSets:
        return cls(**state)
