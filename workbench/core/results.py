"""How results look: a sentence, a small table, a verdict, and the conditions behind them."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

from .errors import CausalWarning

if TYPE_CHECKING:
    import pandas as pd


class Result:
    """Base of all results: small, frozen, shown as at most ten lines or as a small HTML card.

    A result defines ``summary()`` (one sentence with units and interval) and ``to_frame()``;
    it may define ``verdict()`` (one line) and ``how()`` (what it rests on, as a dictionary).
    Its ``warnings`` (tuple of :class:`CausalWarning`) are always shown.
    """

    warnings: tuple[CausalWarning, ...] = ()

    def summary(self) -> str:
        raise TypeError(f"{type(self).__name__} must define summary()")

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        raise TypeError(f"{type(self).__name__} must define to_frame()")

    def glance(self) -> pd.DataFrame:
        """The part of ``to_frame()`` that is shown in a notebook, a terminal and a memo."""
        return self.to_frame()

    def verdict(self) -> str:
        """One line that says how far to trust the answer; empty when there is nothing to add."""
        return ""

    def how(self) -> dict[str, Any]:
        """What the answer rests on: name -> short text or number."""
        return {}

    def __repr__(self) -> str:
        lines = [self.summary()]
        frame = self.glance()
        room = 7 - bool(self.verdict()) - min(len(self.warnings), 3)
        if len(frame) and frame.shape[0] + 1 <= room:
            lines += frame.to_string(max_cols=8, float_format=number).split("\n")
        if self.verdict():
            lines.append(self.verdict())
        lines += [f"! {_clip(w.message)}" for w in self.warnings[:2]]
        if len(self.warnings) > 2:
            lines.append(f"! ... and {len(self.warnings) - 2} more in .warnings")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        parts = [f"<p><b>{escape(self.summary())}</b></p>"]
        frame = self.glance()
        if len(frame):
            parts.append(
                frame.head(12).to_html(escape=True, float_format=number, border=0, na_rep="")
            )
            if len(frame) > 12:
                parts.append(f"<p>{len(frame) - 12} more rows in <code>.to_frame()</code></p>")
        if self.verdict():
            parts.append(f"<p>{escape(self.verdict())}</p>")
        parts += [
            f'<p style="color:#8a4b00">&#9888; <b>{escape(w.code)}</b>: {escape(w.message)}</p>'
            for w in self.warnings
        ]
        if self.how():
            rows = "".join(
                f"<tr><td>{escape(str(k))}</td><td>{escape(str(v))}</td></tr>"
                for k, v in self.how().items()
            )
            parts.append(f"<details><summary>how</summary><table>{rows}</table></details>")
        return "".join(parts)


def number(value: float, digits: int = 3) -> str:
    """A number as a person would write it: three significant digits, no needless exponent.

    Example:
        >>> number(1234.567), number(0.012345), number(2.0), number(1.5e-9)
        ('1,235', '0.0123', '2', '1.5e-09')
    """
    value = float(value)
    if value != value:
        return "not defined"
    if value in (float("inf"), float("-inf")):
        return "∞" if value > 0 else "-∞"
    size = abs(value)
    if 1 <= size < 1e9:
        decimals = max(digits - 1 - math.floor(math.log10(size)), 0)
        text = f"{value:,.{decimals}f}"
        return text.rstrip("0").rstrip(".") if decimals else text
    text = f"{value:.{digits}g}"
    return f"{value:,.4f}" if "e" in text and 1e-4 <= size < 1 else text


def interval(low: float, high: float) -> str:
    """An interval as text, ``low to high``."""
    return f"{number(low)} to {number(high)}"


def _clip(text: str, width: int = 160) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def count(n: int, noun: str) -> str:
    """A count as text, e.g. ``1 row``, ``1,200 rows``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
