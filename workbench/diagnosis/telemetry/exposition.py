"""Prometheus' text exposition format: ``name{label="value"} number [timestamp]`` per line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ...core.errors import FileFormatError
from .prometheus import Stream
from .sources import read_text

_SAMPLE = re.compile(r"([a-zA-Z_:][\w:]*)(\{.*\})?\s+(\S+)(?:\s+-?\d+(?:\.\d+)?)?(?:\s+#.*)?\s*$")
_LABEL = re.compile(r'\s*([a-zA-Z_][\w.]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


def read_exposition(path: str | Path) -> list[Stream]:
    """All samples of a scrape, each a stream with one value.

    Raises:
        FileFormatError: A line that is no sample; says which.
    """
    out = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        found = _SAMPLE.match(line)
        if not found:
            raise _bad(path, number, line)
        name, inside, value = found.groups()
        try:
            amount = float(value)
        except ValueError:
            raise _bad(path, number, line) from None
        labels = {"__name__": name, **_labels(inside, path, number)}
        out.append(Stream(labels, np.zeros(1, dtype="int64"), np.array([amount])))
    if not out:
        raise FileFormatError("holds no samples", path=path, advice="Was the scrape empty?")
    return out


def _labels(inside: str | None, path: str | Path, line: int) -> dict[str, str]:
    text, at, out = (inside or "{}")[1:-1].strip(), 0, {}
    while at < len(text):
        found = _LABEL.match(text, at)
        if not found:
            raise _bad(path, line, text[at:])
        out[found[1]] = re.sub(r"\\.", lambda m: _ESCAPES.get(m[0], m[0]), found[2])
        at = found.end()
    return out


def _bad(path: str | Path, line: int, text: str) -> FileFormatError:
    return FileFormatError(
        f"{text[:60]!r} is not a sample",
        path=path,
        line=line,
        advice='A sample reads: name{client="web",server="cart"} 12. A plain list of calls is a '
        "csv with the columns caller,callee.",
    )
