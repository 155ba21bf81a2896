"""Conditions on rows as text, e.g. ``"progression < 150 and sex == 'f'"``; nothing is executed."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import QuestionError, did_you_mean
from ..core.saving import saveable

_OPERATORS = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
_ADVICE = "Write e.g. 'age >= 60' or \"sex == 'f' and age < 40\"."


@saveable
@dataclass(frozen=True)
class Condition:
    """``column operator value``.

    Example:
        >>> parse("age >= 60", ["age", "sex"])
        (Condition(column='age', operator='>=', value=60),)
    """

    column: str
    operator: str
    value: Any

    def mask(self, df: pd.DataFrame) -> np.ndarray:
        """Where the condition holds; an empty cell never fulfils one."""
        column = df[self.column]
        numeric = pd.api.types.is_numeric_dtype(column.dtype)
        if isinstance(column.dtype, pd.CategoricalDtype):
            column, numeric = column.astype(object), False
        if numeric and isinstance(self.value, str):
            raise QuestionError(
                f"is a number and can't be compared with {self.value!r}", column=self.column
            )
        if not numeric and self.operator not in ("==", "=", "!="):
            raise QuestionError(
                f"has levels, which {self.operator!r} does not order",
                column=self.column,
                advice="Use == or !=.",
            )
        if not numeric:
            known = column.dropna().unique().tolist()
            if self.value not in known:
                raise QuestionError(
                    "has no such level",
                    column=self.column,
                    value=self.value,
                    advice=did_you_mean(self.value, known),
                )
        held = _OPERATORS[self.operator](column, self.value)
        return held.fillna(False).to_numpy(dtype=bool) & column.notna().to_numpy()

    def __str__(self) -> str:
        return f"{self.column} {self.operator} {self.value!r}"


def parse(text: str, columns: Iterable[str]) -> tuple[Condition, ...]:
    """Conditions joined by ``and``.

    Raises:
        QuestionError: Not of that form, or an unknown column.
    """
    columns = list(columns)
    if text.strip()[:1] in ("`", "'", '"') and not text.strip().startswith(tuple(columns)):
        raise QuestionError(
            "is not a condition", value=text, advice="Write the column's name without quotes."
        )
    return tuple(_one(part, columns) for part in re.split(r"\s+and\s+", text.strip()))


def rows(df: pd.DataFrame, text: str) -> np.ndarray:
    """The rows that fulfil a condition given as text: a boolean mask.

    Example:
        >>> rows(pd.DataFrame({"age": [50, 70]}), "age >= 60").tolist()
        [False, True]
    """
    keep = np.ones(len(df), dtype=bool)
    for condition in parse(text, df.columns):
        keep &= condition.mask(df)
    return keep


def _one(text: str, columns: list[str]) -> Condition:
    # A column's name may itself hold operators or blanks: try the longest that fits.
    for name in sorted(columns, key=len, reverse=True):
        if text.startswith(name):
            rest = text[len(name) :].strip()
            symbol = next((s for s in _OPERATORS if rest.startswith(s)), None)
            if symbol:
                return Condition(name, symbol, _value(rest[len(symbol) :].strip(), text))
    found = re.match(r"\s*(.+?)\s*(<=|>=|==|!=|<|>|=)", text)
    if not found:
        raise QuestionError("is not a condition", value=text, advice=_ADVICE)
    raise QuestionError(
        "is not in the data", column=found[1], advice=did_you_mean(found[1], columns)
    )


def _value(text: str, whole: str) -> Any:
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    if text in ("True", "true", "False", "false"):
        return text in ("True", "true")
    try:
        number = float(text)
    except ValueError:
        if re.fullmatch(r"[\w\- ]+", text):
            return text
        raise QuestionError("is not a condition", value=whole, advice=_ADVICE) from None
    return int(number) if number.is_integer() and re.fullmatch(r"-?\d+", text) else number
