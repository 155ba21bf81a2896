"""What answers about a table of people share: a status each, sentences, saving."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core import saving
from ..core.errors import ParameterError, QuestionError, did_you_mean
from ..core.results import Result, number


class PeopleResult(Result):
    """A result with one row per person, in the caller's order.

    Attributes:
        outcomes: By the caller's index, among others ``status``.
        target: What had to be reached.
    """

    outcomes: pd.DataFrame
    target: str

    def __len__(self) -> int:
        return len(self.outcomes)

    @property
    def status(self) -> pd.Series:
        """The status of each person."""
        return self.outcomes["status"]

    def _counted(self, order: Sequence[str]) -> str:
        """How many people have each status, as a sentence without its end."""
        counts = self.outcomes["status"].value_counts()
        parts = [f"{counts[w]} {w}" for w in order if w in counts]
        return f"{len(self)} people, {self.target}: {', '.join(parts) or 'nobody asked'}"

    def save(self, path: str | Path, force: bool = False) -> Path:
        """Write to a folder; :func:`workbench.load` reads it back."""
        return saving.save(self, path, force)


def position(table: pd.DataFrame, person: Any) -> int:
    """Where the one row with a label is."""
    matches = np.flatnonzero(np.asarray(table.index == person))
    if len(matches) == 1:
        return int(matches[0])
    if not len(matches):
        raise QuestionError(
            "is not among the people",
            value=person,
            advice=did_you_mean(person, table.index[:1000]),
        )
    raise ParameterError(
        f"names {len(matches)} people",
        column="person",
        value=person,
        advice="Give the table a unique index, e.g. with reset_index(drop=True).",
    )


def shown(value: Any) -> str:
    """Four digits, so that a small change remains visible."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        return str(value)
    return number(value) if abs(value) >= 1000 else f"{float(value):.4g}"


def empty_cells(names: list[str]) -> str:
    """Which cells of a person are empty, in words."""
    return f"{join([repr(n) for n in names])} {'is' if len(names) == 1 else 'are'} empty"


def join(parts: list[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
