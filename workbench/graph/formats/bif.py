"""Structure of a Bayesian network from BIF or XMLBIF: which variable has which parents.

The tables themselves are not read; that each variable has exactly one is checked, so that a file
that was cut off is noticed.

References:
    Cozman, "The Interchange Format for Bayesian Networks", 1998.
"""

from __future__ import annotations

import re

from ...core.errors import FileFormatError
from .source import Draft, Source, shown
from .xml import Element, parse

_SPACE = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/)+", re.DOTALL)
_WORD = re.compile(r'"[^"]*"|[^\s{}()|,;"]+')
_BODY = re.compile(r'[{}]|"[^"]*"|//[^\n]*|/\*.*?\*/|"|/\*', re.DOTALL)
_STATES = re.compile(r"type\s+discrete\s*\[\s*(\d{1,6})\s*\]\s*\{([^{}]*)\}\s*;?")


class _Cursor:
    def __init__(self, source: Source):
        self.source, self.at = source, 0
        self.space()

    def space(self) -> None:
        match = _SPACE.match(self.source.text, self.at)
        self.at = match.end() if match else self.at

    @property
    def done(self) -> bool:
        return self.at >= len(self.source.text)

    def accept(self, sign: str) -> bool:
        found = self.source.text.startswith(sign, self.at)
        if found:
            self.at += len(sign)
            self.space()
        return found

    def expect(self, sign: str) -> None:
        if not self.accept(sign):
            raise self.source.error(f"{sign!r} was expected", self.at)

    def word(self) -> tuple[str, int]:
        match = _WORD.match(self.source.text, self.at)
        if match is None:
            raise self.source.error("a name was expected", self.at)
        at, self.at = self.at, match.end()
        self.space()
        return match.group().strip('"'), at

    def body(self) -> str:
        """The text of ``{...}``, braces inside included."""
        self.expect("{")
        start, depth = self.at, 1
        for match in _BODY.finditer(self.source.text, start):
            if match.group() in ('"', "/*"):
                raise self.source.error("a text or comment has no end", match.start())
            depth += {"{": 1, "}": -1}.get(match.group(), 0)
            if depth > 2:
                raise self.source.error("unexpected '{'", match.start())
            if not depth:
                self.at = match.end()
                self.space()
                return self.source.text[start : match.start()]
        raise self.source.error("'{' has no closing '}'", start, "The file may be cut off.")


def read(source: Source) -> Draft:
    cursor, draft = _Cursor(source), Draft(source, kind="dag")
    tables: list[tuple[str, list[tuple[str, int]], int]] = []
    while not cursor.done:
        word, at = cursor.word()
        if word == "network":
            if not source.text.startswith("{", cursor.at):
                cursor.word()
            cursor.body()
        elif word == "variable":
            name, place = cursor.word()
            draft.node(name, place, new=True)
            _check_states(source, name, cursor.body(), place)
        elif word == "probability":
            tables.append((*_family(cursor), at))
        else:
            raise source.error(
                f"unexpected {word[:40]!r}", at, "BIF holds network, variable and probability."
            )
    families: dict[str, int] = {}
    for child, parents, at in tables:
        draft.known(child, at)
        if child in families:
            raise source.error(f"{shown(child)} has two probability blocks", at)
        families[child] = at
        for parent, place in parents:
            draft.edge(draft.known(parent, place), child, at=place)
    _check_complete(draft, families)
    return draft


def _family(cursor: _Cursor) -> tuple[str, list[tuple[str, int]]]:
    cursor.expect("(")
    child, _ = cursor.word()
    parents: list[tuple[str, int]] = []
    if cursor.accept("|"):
        parents.append(cursor.word())
        while cursor.accept(","):
            parents.append(cursor.word())
    cursor.expect(")")
    cursor.body()
    return child, parents


def _check_states(source: Source, name: str, body: str, at: int) -> None:
    match = _STATES.search(body)
    if match is None:
        raise source.error(f"the variable {shown(name)} has no 'type discrete [n] {{...}}'", at)
    states = [s for s in match[2].split(",") if s.strip()]
    if len(states) != int(match[1]):
        raise source.error(f"{shown(name)} announces {match[1]} states and lists {len(states)}", at)


def _check_complete(draft: Draft, families: dict[str, int]) -> None:
    missing = [name for name in draft.nodes if name not in families]
    if missing or not draft.nodes:
        what = f"{shown(missing[0])} has no probability block" if missing else "no variables"
        raise draft.error(what, len(draft.source.text), "The file may have been cut off.")


def read_xml(source: Source) -> Draft:
    """XMLBIF: the same in XML."""
    root = parse(source, doctype=True)
    networks = [e for e in root.children if e.tag == "NETWORK"]
    if root.tag != "BIF" or len(networks) != 1:
        raise _xml_error(source, "expected one <NETWORK> in <BIF>", root)
    draft = Draft(source, kind="dag")
    for variable in networks[0].all("VARIABLE"):
        if variable.attributes.get("TYPE", "nature") != "nature":
            raise _xml_error(source, "decisions and utilities are not supported", variable)
        draft.node(_only(source, variable, "NAME"), variable.at, new=True)
    families: dict[str, int] = {}
    for definition in networks[0].all("DEFINITION"):
        child = draft.known(_only(source, definition, "FOR"), definition.at)
        if child in families:
            raise _xml_error(source, f"{shown(child)} has two definitions", definition)
        families[child] = 0
        for given in definition.all("GIVEN"):
            draft.edge(draft.known(given.text.strip(), given.at), child, at=given.at)
    _check_complete(draft, families)
    return draft


def _only(source: Source, element: Element, tag: str) -> str:
    found = [e.text.strip() for e in element.all(tag)]
    if len(found) != 1:
        raise _xml_error(source, f"<{element.tag}> must have one <{tag}>", element)
    return found[0]


def _xml_error(source: Source, problem: str, element: Element) -> FileFormatError:
    return source.error(problem, line=element.at.line, char=element.at.char)
