"""Jaeger's ``/api/dependencies``: who called whom, counted from traces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...core.errors import FileFormatError, warn


def is_dependencies(data: Any) -> bool:
    """Whether JSON looks like Jaeger's answer, or like the list inside it."""
    inner = data.get("data") if isinstance(data, dict) else data
    if isinstance(data, dict) and "data" in data:
        return inner is None or isinstance(inner, list)
    return isinstance(inner, list) and bool(inner) and _keys(inner[0]) >= {"parent", "child"}


def dependencies(data: Any, path: str | Path) -> list[tuple[str, str]]:
    """Pairs (caller, callee).

    Raises:
        FileFormatError: An error of Jaeger, an empty answer, an entry without parent or child.
    """
    inner = data
    if isinstance(data, dict):
        if data.get("errors"):
            raise FileFormatError(
                f"Jaeger answered with an error: {str(data['errors'])[:200]}",
                path=path,
                advice="Ask /api/dependencies again.",
            )
        inner = data["data"]
    if not inner:
        raise FileFormatError(
            "the answer holds no dependencies",
            path=path,
            advice="Ask with a longer lookback, e.g. /api/dependencies?lookback=86400000.",
        )
    pairs, silent = [], []
    for i, entry in enumerate(inner):
        if not _keys(entry) >= {"parent", "child"}:
            traces = "spans" in _keys(entry)
            raise FileFormatError(
                "holds traces, not dependencies"
                if traces
                else f"dependency {i + 1} has no 'parent' or no 'child'",
                path=path,
                advice="Ask Jaeger for /api/dependencies." if traces else "",
            )
        pair = str(entry["parent"]), str(entry["child"])
        calls = entry.get("callCount", 1)
        if isinstance(calls, bool) or not isinstance(calls, int | float):
            raise FileFormatError(
                f"dependency {i + 1}: callCount {str(calls)[:40]!r} is not a number", path=path
            )
        (pairs if calls > 0 else silent).append(pair)
    if silent:
        shown = ", ".join(f"{u} → {v}" for u, v in silent[:4])
        warn("unused-calls", f"dependencies without a single call are left out: {shown}")
    return pairs


def _keys(entry: Any) -> set[str]:
    return set(entry) if isinstance(entry, dict) else set()
