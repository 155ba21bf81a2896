"""Tetrad's text format for background knowledge."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import FileFormatError

if TYPE_CHECKING:
    from .knowledge import Knowledge

_MAX_BYTES = 10 * 2**20
_SECTIONS = ("addtemporal", "forbiddirect", "requiredirect", "noparents", "nochildren")
_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s"]\S*)')


def text_of(path: str | Path) -> str:
    """The text of a file, or a refusal if it is too large or no text."""
    path = Path(path)
    if path.stat().st_size > _MAX_BYTES:
        raise FileFormatError(f"is larger than {_MAX_BYTES >> 20} MB", path=path)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileFormatError("is not UTF-8 text", path=path) from error


def read(text: str, path: str | Path | None = None) -> dict[str, Any]:
    """The arguments of :class:`Knowledge` in the text of a knowledge file."""
    edges: dict[str, list[tuple[str, str]]] = {"forbiddirect": [], "requiredirect": []}
    ends: dict[str, list[str]] = {"noparents": [], "nochildren": []}
    tiers: dict[int, list[str]] = {}
    closed: set[int] = set()
    section = None
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if not line or line.startswith("//"):
            continue
        if section is None:
            if line != "/knowledge":
                break
            section = ""
        elif line in _SECTIONS:
            section = line
        elif section == "addtemporal":
            position, star, names = _tier(line, path, number)
            tiers.setdefault(position, []).extend(names)
            closed |= {position} if star else set()
        elif section in edges:
            names = _tokens(line, path, number)
            if len(names) != 2:
                raise FileFormatError(
                    f"an edge is two names, not {len(names)}", path=path, line=number
                )
            edges[section].append((names[0], names[1]))
        elif section in ends:
            ends[section].extend(_tokens(line, path, number))
        else:
            raise FileFormatError(
                f"{line[:40]!r} is not a section that is understood",
                path=path,
                line=number,
                advice=f"Sections are {', '.join(_SECTIONS)}.",
            )
    if section is None:
        raise FileFormatError("a knowledge file starts with '/knowledge'", path=path, line=1)
    order = sorted(tiers)
    return {
        "tiers": tuple(tuple(tiers[i]) for i in order),
        "required": edges["requiredirect"],
        "forbidden": edges["forbiddirect"],
        "no_parents": ends["noparents"],
        "no_children": ends["nochildren"],
        "closed_tiers": frozenset(order.index(i) for i in closed),
    }


def write(knowledge: Knowledge, columns: Iterable[str] | None = None) -> str:
    """The text that :func:`read` reads; see :meth:`Knowledge.to_text`."""
    forbidden = set(knowledge.forbidden)
    forbidden.update(p for pair in knowledge.not_adjacent for p in (pair, pair[::-1]))
    ends = {"noparents": knowledge.no_parents, "nochildren": knowledge.no_children}
    if columns is not None:
        columns, ends = list(columns), {}
        forbidden.update((u, v) for v in knowledge.no_parents for u in columns if u != v)
        forbidden.update((u, v) for u in knowledge.no_children for v in columns if u != v)
    lines = ["/knowledge", "addtemporal", ""]
    for i, group in enumerate(knowledge.tiers):
        star = "*" if i in knowledge.closed_tiers else ""
        lines.append(" ".join([f"{i + 1}{star}", *map(_quoted, group)]))
    for section, pairs in (("forbiddirect", forbidden), ("requiredirect", knowledge.required)):
        lines += ["", section, "", *(f"{_quoted(u)} {_quoted(v)}" for u, v in sorted(pairs))]
    for section, names in ends.items():
        lines += ["", section, "", *map(_quoted, sorted(names))] if names else []
    return "\n".join(lines) + "\n"


def _tier(line: str, path: str | Path | None, number: int) -> tuple[int, bool, list[str]]:
    found = re.match(r"(\d{1,6})(\*?)(?:\s+|$)", line)
    if not found:
        raise FileFormatError(
            "a tier starts with its number (and '*' for no edges inside), "
            f"not with {line.split()[0]!r}",
            path=path,
            line=number,
        )
    return int(found[1]), bool(found[2]), _tokens(line[found.end() :], path, number)


def _tokens(line: str, path: str | Path | None, number: int) -> list[str]:
    """Names separated by blanks; a name in double quotes may hold blanks and escapes."""
    out, at = [], 0
    while at < len(line):
        found = _TOKEN.match(line, at)
        if not found:
            raise FileFormatError("a quoted name does not end", path=path, line=number)
        out.append(found[2] if found[1] is None else re.sub(r"\\(.)", _unescaped, found[1]))
        at = found.end()
        while at < len(line) and line[at].isspace():
            at += 1
    return out


def _unescaped(found: re.Match[str]) -> str:
    return "\n" if found[1] == "n" else found[1]


def _quoted(name: str) -> str:
    if re.fullmatch(r'[^\s"/]\S*', name) and name not in _SECTIONS:
        return name
    return '"' + re.sub(r'(["\\])', r"\\\1", name).replace("\n", "\\n") + '"'
