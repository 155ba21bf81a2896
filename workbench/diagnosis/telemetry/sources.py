"""Files from elsewhere as text and JSON: bounded, and with the place of what is wrong."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...core.errors import FileFormatError

MOST_BYTES = 512 * 2**20


def read_text(path: str | Path, most: int = MOST_BYTES) -> str:
    """The text of a file (``.gz`` too).

    Raises:
        FileNotFoundError: There is no such file.
        FileFormatError: Larger than ``most`` bytes, broken, empty, or not UTF-8.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as file:
            data = file.read(most + 1)
    except (OSError, EOFError) as error:
        raise FileFormatError(f"can't be read: {error}", path=path) from None
    if len(data) > most:
        raise FileFormatError(
            f"holds more than {most >> 20} MB",
            path=path,
            advice="Ask for a shorter range or a longer step, or write the metrics as parquet.",
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise FileFormatError(
            "is not UTF-8 text", path=path, line=line, advice="Save the file as UTF-8."
        ) from None
    if not text.strip():
        raise FileFormatError("is empty", path=path, advice="Was the export cut off?")
    return text


def parse_json(text: str, path: str | Path, hook: Callable[[dict], Any] | None = None) -> Any:
    """JSON as Python objects; ``hook`` sees every object as soon as it is read.

    Raises:
        FileFormatError: Not JSON, with line and column; nested too deep.
    """
    try:
        return json.loads(text, object_hook=hook)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        raise FileFormatError(
            "the JSON ends too early" if cut else f"is not JSON: {error.msg}",
            path=path,
            line=error.lineno,
            char=error.colno,
            advice="The file was cut off; export it again." if cut else "",
        ) from None
    except RecursionError:
        raise FileFormatError("is nested too deep", path=path) from None
