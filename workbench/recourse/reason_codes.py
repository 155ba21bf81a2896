"""A table of reason codes: which code and text stand for which features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError, did_you_mean
from ..tables.read import read_table

_COLUMNS = ("feature", "code", "text")


@dataclass(frozen=True)
class ReasonCodes:
    """Feature -> code and text; features with the same code are one reason.

    Attributes:
        codes: Code of each feature.
        texts: Text of each code.

    Example:
        >>> codes = ReasonCodes.read({"late30": ("R1", "Paid late"), "late60": ("R1", "Paid late")})
        >>> codes.codes["late60"], codes.texts["R1"]
        ('R1', 'Paid late')
    """

    codes: dict[str, str]
    texts: dict[str, str]

    @classmethod
    def read(cls, table: Any) -> ReasonCodes:
        """From ``{feature: code or (code, text)}``, or a file with columns feature, code, text.

        Raises:
            DataError: A column is missing, a feature is listed twice, a code has two texts, or a
                code is empty.
        """
        if isinstance(table, Mapping):
            rows = [(f, *((c, c) if isinstance(c, str) else tuple(c))) for f, c in table.items()]
        else:
            rows = _from_file(Path(table))
        codes: dict[str, str] = {}
        texts: dict[str, str] = {}
        for row in rows:
            if len(row) != 3 or not all(isinstance(v, str) and v for v in row):
                raise DataError(
                    "needs a code and a text in the code table", column=str(row[0]), value=row[1:]
                )
            feature, code, text = row
            if feature in codes:
                raise DataError("is listed twice in the code table", column=feature)
            if texts.setdefault(code, text) != text:
                raise DataError(
                    f"gives code {code!r} a second text in the code table",
                    column=feature,
                    value=text,
                    advice=f"The first is {texts[code]!r}.",
                )
            codes[feature] = code
        return cls(codes, texts)

    @classmethod
    def of(cls, names: Iterable[str]) -> ReasonCodes:
        """Every feature is its own code."""
        same = {str(name): str(name) for name in names}
        return cls(same, dict(same))

    def check(self, read: list[str], known: Iterable[str]) -> None:
        """Refuse a table that leaves out what the model reads, or names what nobody knows."""
        known = list(known)
        for feature in self.codes:
            if feature not in known:
                raise DataError(
                    "is in the code table and is no feature of the problem",
                    column=feature,
                    advice=did_you_mean(feature, known),
                )
        for feature in sorted(read):
            if feature not in self.codes:
                raise DataError(
                    "is read by the model and has no reason code",
                    column=feature,
                    advice="Add it to the code table: any feature can become the largest reason.",
                )

    def merge(self, names: list[str], values: np.ndarray) -> tuple[list[str], np.ndarray]:
        """Codes in order of their names, and contributions ``(n, C)`` added up by code."""
        codes = sorted({self.codes[n] for n in names})
        owner = np.array([[self.codes[n] == c for c in codes] for n in names], dtype=float)
        return codes, values @ owner.reshape(len(names), len(codes))

    def features(self, code: str) -> list[str]:
        """The features that a code stands for."""
        return sorted(f for f, c in self.codes.items() if c == code)


def _from_file(path: Path) -> list[tuple[str, ...]]:
    frame = read_table(path)
    for name in _COLUMNS:
        if name not in frame.columns:
            raise DataError(
                f"is not in the code table {path.name}",
                column=name,
                advice=f"It needs the columns {', '.join(_COLUMNS)}.",
            )
    cells = frame[list(_COLUMNS)].astype(object)
    cells = cells.where(cells.notna(), "")
    return [tuple(v if isinstance(v, str) else f"{v}" for v in row) for row in cells.to_numpy()]
