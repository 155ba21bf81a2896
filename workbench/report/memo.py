"""From results to a decision memo in one self-contained HTML file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..core.errors import CausalWarning
from ..core.results import Result, number
from .figure import svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Draw = Callable[["Axes"], Any]


@dataclass(frozen=True)
class Card:
    """One answer: a sentence, a verdict, a table, a picture, its warnings and what it rests on.

    Attributes:
        heading: Short title.
        sentence: The answer.
        verdict: One line that says how far to trust it.
        table: Shown below, at most ``rows`` rows.
        draw: Draws the picture on the Axes it is given.
        size: Width and height of the picture in inches.
        warnings: Always shown.
        how: What the answer rests on; folded.
        rows: Most rows of the table to show.
    """

    heading: str
    sentence: str = ""
    verdict: str = ""
    table: pd.DataFrame | None = None
    draw: Draw | None = None
    size: tuple[float, float] = (6.4, 3.6)
    warnings: tuple[CausalWarning, ...] = ()
    how: Mapping[str, Any] = field(default_factory=dict)
    rows: int = 12

    @classmethod
    def of(cls, heading: str, result: Result, **more: Any) -> Card:
        """The card of a result, from what every result can say."""
        table = result.glance()
        if isinstance(table.index, pd.MultiIndex):
            table = table.reset_index()
        parts: dict[str, Any] = {
            "sentence": result.summary(),
            "verdict": result.verdict(),
            "table": table,
            "warnings": result.warnings,
            "how": result.how(),
        }
        return cls(heading, **{**parts, **more})


@dataclass(frozen=True)
class Section:
    """A part of the memo: heading, what to know before reading it, cards."""

    heading: str
    lead: str = ""
    cards: tuple[Card, ...] = ()


@dataclass(frozen=True)
class Memo:
    """A decision memo.

    Attributes:
        title: What was asked.
        answers: The answers, one sentence each, the most important first.
        sections: In reading order.
        reproduce: Name -> value: seed, versions, hash of the data, study file.
    """

    title: str
    answers: tuple[str, ...]
    sections: tuple[Section, ...]
    reproduce: Mapping[str, str] = field(default_factory=dict)

    def html(self) -> str:
        """The whole page; everything is escaped and nothing is loaded from elsewhere."""
        import jinja2
        from markupsafe import Markup

        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("workbench.report", "."),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        environment.filters["cell"] = _cell
        numbers = count()
        return environment.get_template("memo.html").render(
            memo=self,
            picture=lambda card: Markup(svg(card.draw, card.size, f"f{next(numbers)}")),
            is_number=lambda v: isinstance(v, int | float) and not isinstance(v, bool),
            is_numeric=lambda c: c.dtype.kind in "iuf",
        )


def write_memo(memo: Memo, path: str | Path, force: bool = False) -> Path:
    """Write the memo; a file that is there is only replaced with ``force``.

    Raises:
        FileExistsError: The file exists and ``force`` is not set.
    """
    path = Path(path)
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists; pass force=True to replace it")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(memo.html())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return path


def _cell(value: Any) -> str:
    """A table cell as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "" if value != value else number(value)
    if value is None or value is pd.NaT:
        return ""
    if isinstance(value, frozenset | set):
        value = sorted(value, key=str)
    if isinstance(value, tuple | list):
        return ", ".join(_cell(v) for v in value)
    return str(value)
