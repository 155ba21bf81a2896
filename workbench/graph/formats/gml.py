"""GML: ``graph [ directed 1 node [ id 0 label "a" ] edge [ source 0 target 1 ] ]``.

A node's name is its label if every node has one, else its id. Without ``directed 1`` the edges
have no direction: that is what the format says.

References:
    Himsolt, "GML: A portable graph file format", University of Passau, 1997.
"""

from __future__ import annotations

import re
from html.entities import html5
from typing import Any

from .attributed import Listing
from .source import MAX_DEPTH, MAX_TOKENS, Draft, Source, shown

_TOKEN = re.compile(
    r"(?P<space>(?:[ \t\r\n\f\v]+|^\#[^\n]*)+)"
    r"|(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![A-Za-z0-9_.]))"
    r"|(?P<key>[A-Za-z][A-Za-z0-9_]*)"
    r'|(?P<text>"[^"]*")|(?P<open>\[)|(?P<close>\])',
    re.MULTILINE,
)
_ENTITY = re.compile(r"&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([A-Za-z][A-Za-z0-9]*));")

Items = list[tuple[str, Any, int]]  # key, value or inner items, offset


def read(source: Source) -> Draft:
    graphs = [(items, at) for key, items, at in _items(source) if key == "graph"]
    if len(graphs) != 1:
        raise source.error(
            f"{len(graphs)} graphs in one file", graphs[1][1] if graphs else 0, "One is expected."
        )
    items = _list(source, "graph", *graphs[0])
    draft = Draft(source)
    listing = Listing(draft)
    directed = _flag(source, items)
    plain = {key: value for key, value, _ in items if key not in ("node", "edge")}
    listing.graph(plain, graphs[0][1])
    nodes = [(_fields(source, "node", v, at), at) for k, v, at in items if k == "node"]
    labelled = sum("label" in fields for fields, _ in nodes)
    for fields, at in nodes:
        if "id" not in fields:
            raise source.error("a node has no id", at)
        if labelled and "label" not in fields:
            raise source.error(f"the node {fields['id']!r} has no label, others have one", at)
        listing.node(fields["id"], fields, at, name=fields.get("label"))
    for key, value, at in items:
        if key == "edge":
            fields = _fields(source, "edge", value, at)
            if "source" not in fields or "target" not in fields:
                raise source.error("an edge lacks its source or its target", at)
            listing.edge(fields["source"], fields["target"], fields, directed, at)
    return draft


def _flag(source: Source, items: Items) -> bool:
    for key, value, at in items:
        if key == "directed":
            if value not in (0, 1):
                raise source.error(f"directed is {shown(value)}", at, "It is 0 or 1.")
            return value == 1
    return False


def _list(source: Source, key: str, value: Any, at: int) -> Items:
    if not isinstance(value, list):
        raise source.error(f"{key} is not a list in [ ]", at)
    return value


def _fields(source: Source, key: str, value: Any, at: int) -> dict[str, Any]:
    """A node or edge as a dictionary; a field that counts may not stand there twice."""
    found: dict[str, Any] = {}
    for name, inner, place in _list(source, key, value, at):
        if name in found and name in ("id", "label", "source", "target", "mark_u", "mark_v"):
            raise source.error(f"{shown(name)} stands twice in one {key}", place)
        found[name] = inner
    return found


def _items(source: Source) -> Items:
    """The whole file as nested lists; iterative, so depth costs no stack."""
    text, at, count = source.text, 0, 0
    top: Items = []
    stack: list[tuple[Items, int]] = [(top, 0)]
    key: tuple[str, int] | None = None
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            if text[at] == '"':
                raise source.error('a text has no closing "', at)
            raise source.error(f"unexpected {text[at]!r}", at, "GML holds keys and values.")
        type_, found, start = match.lastgroup, match.group(), at
        at = match.end()
        if type_ == "space":
            continue
        count += 1
        if count > MAX_TOKENS:
            raise source.too_long(start)
        if type_ in ("key", "close"):
            if key is not None:
                raise source.error(f"{key[0]!r} has no value", key[1])
            if type_ == "key":
                key = (found, start)
            elif len(stack) == 1:
                raise source.error("']' without '['", start)
            else:
                stack.pop()
            continue
        if key is None:
            raise source.error(f"the value {found[:40]!r} has no key", start)
        items = stack[-1][0]
        if type_ == "open":
            inner: Items = []
            items.append((key[0], inner, key[1]))
            stack.append((inner, start))
            if len(stack) > MAX_DEPTH:
                raise source.too_deep(start)
        else:
            items.append((key[0], _value(source, type_, found, start), key[1]))
        key = None
    if key is not None:
        raise source.error(f"{key[0]!r} has no value", key[1])
    if len(stack) > 1:
        raise source.error("'[' has no closing ']'", stack[-1][1], "The file may be cut off.")
    return top


def _value(source: Source, type_: str, found: str, at: int) -> Any:
    if type_ == "text":
        return _ENTITY.sub(_entity, found[1:-1])
    if len(found) > 300:
        raise source.error("a number has more than 300 digits", at)
    return float(found) if any(c in found for c in ".eE") else int(found)


def _entity(match: re.Match[str]) -> str:
    """The character that ``&name;`` stands for; an unknown one is left as it is."""
    decimal, hexadecimal, name = match.groups()
    if name:
        return html5.get(f"{name};", match.group())
    code = int(decimal) if decimal else int(hexadecimal, 16)
    return chr(code) if code <= 0x10FFFF else match.group()
