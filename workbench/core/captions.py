"""Text on pictures: names as they were written, broken and shortened to fit."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import wrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CHARACTER = 0.076  # inches, of matplotlib's default font and size


def caption(text: Any, width: int = 34, lines: int = 2) -> str:
    """A name for a picture: dollar signs are no mathematics, long ones are broken, then cut.

    Example:
        >>> caption("cost in $")
        'cost in \\\\$'
        >>> caption("a name that goes on for too long", width=12)
        'a name that\\ngoes on ...'
    """
    parts = wrap(str(text), width) or [""]
    if len(parts) > lines:  # a long word is broken, where wrap's own max_lines would drop it whole
        parts = [*parts[: lines - 1], parts[lines - 1][: width - 4].rstrip() + " ..."]
    return "\n".join(parts).replace("$", r"\$")


def level_of(name: Any, level: Any, between: str = " ", after: str = "") -> str:
    """A column and one of its groups: on two lines where one is too long.

    Example:
        >>> level_of("team", "red", ": ", " (n = 12)")
        'team: red (n = 12)'
    """
    whole = f"{name}{between}{level}{after}"
    if len(whole) <= 34:
        return caption(whole)
    return f"{caption(name, lines=1)}\n{caption(level, 34 - len(after), 1)}{after}"


def name_axes(ax: Axes, x: Any = None, y: Any = None) -> None:
    """Write the axes' labels in as many lines as their lengths ask for, at most three.

    Call it after the ticks have their names, which narrow the picture.
    """
    width, height = ax.get_position().size * ax.figure.get_size_inches()
    beside = [line for tick in ax.get_yticklabels() for line in tick.get_text().split("\n")]
    width -= _CHARACTER * max(max(map(len, beside), default=0) - 8, 0)
    if x is not None:
        ax.set_xlabel(caption(x, max(int(width / _CHARACTER) - 4, 20), 3))
    if y is not None:
        ax.set_ylabel(caption(y, max(int(height / _CHARACTER) - 2, 20), 3))


def name_places(ax: Axes, places: Iterable[float], names: Iterable[Any]) -> None:
    """Write names beside places along the vertical axis; a long axis gets one line each."""
    places, names = list(places), list(names)
    lines = 2 if len(names) <= 12 else 1
    width = 30 if lines == 2 else 40
    ax.set_yticks(places, [caption(name, width, lines) for name in names])
