"""Refusals one can act on, and warnings that stay attached to the result.

Every error names the place (column, row, value, line) and what to do about it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from pathlib import Path
from typing import Any


class WorkbenchError(Exception):
    """Base of all refusals: what is wrong, where, and what to do.

    Args:
        problem: One sentence that states the problem.
        column: The column, node or parameter concerned.
        row: Index label of the first bad row.
        value: The first bad value.
        advice: What the user can do.

    Example:
        >>> print(DataError("is not a number", column="age", row=3, value="old", advice="Fix it."))
        column 'age': is not a number (first at row 3: 'old'). Fix it.
    """

    place = "column"

    def __init__(
        self,
        problem: str,
        *,
        column: str | None = None,
        row: Any = None,
        value: Any = None,
        advice: str = "",
    ):
        self.problem, self.column, self.row, self.value = problem, column, row, value
        self.advice = advice
        super().__init__(problem)

    def __str__(self) -> str:
        text = f"{self.place} {self.column!r}: " if self.column is not None else ""
        text += self.problem
        if self.row is not None:
            shown = "" if self.value is None else f": {_short(self.value)}"
            text += f" (first at row {_short(self.row)}{shown})"
        elif self.value is not None:
            text += f" (value {_short(self.value)})"
        return f"{text}. {self.advice}" if self.advice else text

    def __reduce__(self):  # keyword arguments would be lost by the default
        return _rebuild, (type(self), self.__dict__.copy())


class DataError(WorkbenchError, ValueError):
    """The table can't be used as it is."""


class GraphError(WorkbenchError, ValueError):
    """The graph is not what it claims to be: a cycle, an unknown node, an illegal mark."""

    place = "node"


class QuestionError(WorkbenchError, ValueError):
    """The question can't be asked of this table: unknown names, a contrast without data."""


class IdentificationError(WorkbenchError, ValueError):
    """The effect is not identified by the graph; ``problem`` names the open path."""


class ParameterError(WorkbenchError, ValueError):
    """A parameter has a value that makes no sense."""

    place = "parameter"


class NotFittedError(WorkbenchError, ValueError, AttributeError):
    """An answer was asked of something that has not been fitted."""


class SavedStateError(WorkbenchError, ValueError):
    """A saved folder is missing, truncated, newer than this version, or of another thing."""


class FileFormatError(WorkbenchError, ValueError):
    """A file can't be read; ``line`` and ``char`` (both from 1) say where.

    Example:
        >>> print(FileFormatError("unexpected '}'", path="g.dot", line=3, char=7))
        g.dot, line 3, column 7: unexpected '}'
    """

    def __init__(
        self,
        problem: str,
        *,
        path: str | Path | None = None,
        line: int | None = None,
        char: int | None = None,
        advice: str = "",
    ):
        super().__init__(problem, advice=advice)
        self.path, self.line, self.char = path, line, char

    def __str__(self) -> str:
        where = [] if self.path is None else [str(self.path)]
        where += [] if self.line is None else [f"line {self.line}"]
        where += [] if self.char is None else [f"column {self.char}"]
        text = f"{', '.join(where)}: " if where else ""
        text += self.problem
        return f"{text}. {self.advice}" if self.advice else text


class CausalWarning(UserWarning):
    """A condition under which a number must not be read without care.

    Attributes:
        code: Short stable name, e.g. ``"overlap"``, ``"missing-values"``.
        message: One sentence.
        columns: The columns concerned.
    """

    def __init__(self, code: str, message: str, columns: Iterable[str] = ()):
        self.code, self.message, self.columns = code, message, tuple(columns)
        super().__init__(f"[{code}] {message}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CausalWarning) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __reduce__(self):
        return type(self), self._key()

    def _state(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "columns": self.columns}

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> CausalWarning:
        return cls(**state)

    def _key(self) -> tuple:
        return self.code, self.message, self.columns


_recorders: ContextVar[tuple[list[CausalWarning], ...]] = ContextVar("recorders", default=())


def warn(code: str, message: str, columns: Iterable[str] = ()) -> None:
    """Issue a :class:`CausalWarning` and attach it to every answer being computed.

    Inside :func:`recording` the warning is shown once, by the outermost front door; the same
    warning raised twice in one answer is kept once.
    """
    warning = CausalWarning(code, message, columns)
    recorders = _recorders.get()
    for notes in recorders:
        if warning not in notes:
            notes.append(warning)
    if not recorders:
        _show(warning)


@contextmanager
def recording() -> Iterator[list[CausalWarning]]:
    """Collect the warnings of everything computed inside; show them when the outermost ends.

    Example:
        >>> with recording() as notes, warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")
        ...     warn("overlap", "few treated rows above age 60", ["age"])
        >>> [note.code for note in notes]
        ['overlap']
    """
    outer = _recorders.get()
    notes: list[CausalWarning] = []
    token = _recorders.set((*outer, notes))
    try:
        yield notes
    finally:
        _recorders.reset(token)
        if not outer:
            for note in notes:
                _show(note)


@contextmanager
def unrecorded() -> Iterator[None]:
    """Drop the warnings of what is only tried and answers nobody's question.

    For searches that ask a model about thousands of actions of which one is recommended.

    Example:
        >>> with recording() as notes, unrecorded():
        ...     warn("overlap", "an action that nobody will take")
        >>> notes
        []
    """
    token = _recorders.set(([],))
    try:
        yield
    finally:
        _recorders.reset(token)


def merged(notes: Iterable[CausalWarning]) -> tuple[CausalWarning, ...]:
    """The notes without repeats; those that say the same of different columns become one.

    Example:
        >>> notes = [CausalWarning("few-rows", f"{c!r} has few rows", [c]) for c in "ab"]
        >>> [note.message for note in merged(notes)]
        ["'a', 'b' has few rows"]
    """
    groups: dict[tuple[str, str], list[CausalWarning]] = {}
    for note in dict.fromkeys(notes):
        names = [repr(c) for c in note.columns]
        alike = len(names) == 1 and note.message.count(names[0]) == 1
        said = note.message.replace(names[0], "\0") if alike else note.message
        groups.setdefault((note.code, said), []).append(note)
    out = []
    for (code, said), alike in groups.items():
        columns = list(dict.fromkeys(c for note in alike for c in note.columns))
        text = said.replace("\0", ", ".join(map(repr, columns)))
        out.append(CausalWarning(code, text, columns))
    return tuple(out)


def _show(warning: CausalWarning) -> None:
    # Point at the caller's line, not at ours.
    package = str(Path(__file__).parent.parent)
    depth, frame = 2, sys._getframe(1)
    while frame is not None and (
        frame.f_code.co_filename.startswith(package) or "contextlib" in frame.f_code.co_filename
    ):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(warning, stacklevel=depth)


def did_you_mean(name: Any, known: Iterable[Any]) -> str:
    """Advice for an unknown name: the closest known ones, else the first few.

    Example:
        >>> did_you_mean("agee", ["age", "sex"])
        "Did you mean 'age'?"
    """
    known = [str(k) for k in known]
    folded = {k.casefold(): k for k in reversed(known)}
    close = get_close_matches(str(name), known, n=2, cutoff=0.6)
    if not close:  # capitals apart, it may be close
        found = get_close_matches(str(name).casefold(), folded, n=2, cutoff=0.6)
        close = [folded[k] for k in found]
    if close:
        return f"Did you mean {' or '.join(repr(c) for c in close)}?"
    if not known:
        return ""
    listed = ", ".join(repr(k) for k in known[:8]) + (", ..." if len(known) > 8 else "")
    return f"Known: {listed}."


def _short(value: Any, width: int = 60) -> str:
    value = value.item() if hasattr(value, "item") and getattr(value, "size", 2) == 1 else value
    text = repr(value)
    return text if len(text) <= width else text[: width - 3] + "..."


def _rebuild(kind: type[WorkbenchError], state: dict[str, Any]) -> WorkbenchError:
    error = kind.__new__(kind)
    error.__dict__.update(state)
    error.args = (state["problem"],)
    return error
