"""The grammar that DOT and dagitty text share: statements in braces, edge chains, attributes.

    graph     : header [name] '{' statements '}'
    statement : node [attributes] | group (operator group)* [attributes] | key '=' value
              | ('graph' | 'node' | 'edge') attributes
    group     : node [':' port [':' compass]] | ['subgraph' [name]] '{' statements '}'

A recursive-descent parser over one regular expression; it recurses only into braces.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .source import MAX_DEPTH, MAX_EDGES, MAX_NODES, MAX_TOKENS, Source, shown

_LETTER = r"A-Za-z_\x80-\U0010ffff"
_SPACE = r"(?:[ \t\r\n\f\v]+|//[^\n]*|/\*.*?\*/|^\#[^\n]*)+"
_QUOTED = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'


@dataclass(frozen=True)
class Dialect:
    """What differs between the languages.

    Args:
        name: For messages.
        header: Matches what opens a graph, up to its name.
        word: Matches an unquoted name.
        operators: Edge operators.
        defaults: Whether ``node [...]`` sets defaults; then these words are no names.
        advice: What to do about a character that can't be read.
    """

    name: str
    header: re.Pattern[str]
    word: str
    operators: tuple[str, ...]
    defaults: bool
    advice: str

    def tokens(self) -> re.Pattern[str]:
        longest_first = sorted(self.operators, key=len, reverse=True)
        operators = "|".join(re.escape(o) for o in longest_first)
        return re.compile(
            rf"(?P<space>{_SPACE})|(?P<op>{operators})|(?P<word>{self.word})"
            rf"|(?P<quoted>{_QUOTED})|(?P<sign>[{{}}\[\];,:=+])",
            re.DOTALL | re.MULTILINE,
        )


DOT_WORD = rf"[{_LETTER}][{_LETTER}0-9]*|-?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?![{_LETTER}0-9.])"
DAGITTY_WORD = rf"[{_LETTER}0-9.]+"


class Token(NamedTuple):
    type: str  # op, word, quoted, html, sign or end
    text: str
    at: int


class Link(NamedTuple):
    """One edge as written."""

    left: str
    operator: str
    right: str
    attributes: dict[str, Any]
    own: dict[str, Any]  # the attributes without the defaults
    at: int


@dataclass
class Parsed:
    """A graph as written: nothing has been interpreted but names and scopes of defaults."""

    header: re.Match[str]
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    attributes: dict[str, tuple[Any, int]] = field(default_factory=dict)


@dataclass
class _Scope:
    node: dict[str, Any]
    edge: dict[str, Any]
    members: dict[str, None] = field(default_factory=dict)

    def inner(self) -> _Scope:
        return _Scope(dict(self.node), dict(self.edge))


class Parser:
    """Reads one graph; anything that is not one is an error with its place."""

    def __init__(self, source: Source, dialect: Dialect):
        self.source, self.dialect = source, dialect
        self._match = dialect.tokens().match
        self._at = 0
        self._depth = self._count = 0
        self._spelling: dict[str, str] = {}
        self._next()

    def parse(self) -> Parsed:
        start = self.token.at
        header = self.dialect.header.match(self.source.text, start)
        if header is None:
            raise self.source.error(f"this does not begin like {self.dialect.name}", start)
        self.out = Parsed(header)
        self._at = header.end()
        self._next()
        if self.token.type in ("word", "quoted", "html"):
            self._next()  # the graph's own name
        self._expect("{")
        self._statements(_Scope({}, {}), top=True)
        if self.token.type != "end":
            raise self.source.error(
                "there is more text after the graph's closing '}'",
                self.token.at,
                "Put each graph into a file of its own.",
            )
        return self.out

    # -- statements ------------------------------------------------------------------------

    def _statements(self, scope: _Scope, top: bool = False) -> None:
        """Everything up to and with the closing brace."""
        opened = self.token.at
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self.source.too_deep(opened)
        while not self._accept("}"):
            if self.token.type == "end":
                raise self.source.error(
                    "the text ends before the closing '}'",
                    self.token.at,
                    "The file may have been cut off.",
                )
            if not self._accept(";"):
                self._statement(scope, top)
        self._depth -= 1

    def _statement(self, scope: _Scope, top: bool) -> None:
        token = self.token
        keyword = token.text.lower() if token.type == "word" and self.dialect.defaults else ""
        if keyword in ("graph", "node", "edge"):
            self._defaults(keyword, scope, top)
            return
        if self._opens_group():
            left = self._group(scope)
        else:
            name = self._name()
            if self._accept("="):
                value = self._value()
                if top:
                    self.out.attributes[name] = (value, token.at)
                return
            self._port()
            left = [name]
            if self.token.type != "op":
                self._node(name, token.at, scope, self._attributes())
                return
            self._node(name, token.at, scope, {})
        self._chain(left, scope)

    def _defaults(self, keyword: str, scope: _Scope, top: bool) -> None:
        at = self.token.at
        self._next()
        if not self._sees("["):
            raise self.source.error(
                f"{keyword!r} is a keyword here", at, "Put a node of that name in double quotes."
            )
        attributes = self._attributes()
        if keyword == "node":
            scope.node.update(attributes)
        elif keyword == "edge":
            scope.edge.update(attributes)
        elif top:
            self.out.attributes.update({k: (v, at) for k, v in attributes.items()})

    def _chain(self, left: list[str], scope: _Scope) -> None:
        """``a -> b -> {c d} [attributes]``: the attributes belong to every edge."""
        steps = []
        while self.token.type == "op":
            operator, at = self.token.text, self.token.at
            self._next()
            if self._opens_group():
                right = self._group(scope)
            else:
                place = self.token.at
                right = [self._name()]
                self._port()
                self._node(right[0], place, scope, {})
            steps.append((left, operator, right, at))
            left = right
        own = self._attributes()
        attributes = {**scope.edge, **own} if scope.edge else own
        for lefts, operator, rights, at in steps:
            if len(self.out.links) + len(lefts) * len(rights) > MAX_EDGES:
                raise self.source.error(f"more than {MAX_EDGES:,} edges", at)
            self.out.links += [
                Link(u, operator, v, attributes, own, at) for u in lefts for v in rights
            ]

    def _opens_group(self) -> bool:
        return self._sees("{") or (
            self.dialect.defaults
            and self.token.type == "word"
            and self.token.text.lower() == "subgraph"
        )

    def _group(self, scope: _Scope) -> list[str]:
        """The nodes of ``{...}`` or ``subgraph name {...}``."""
        if not self._sees("{"):
            self._next()
            if self.token.type != "sign":
                self._value()
        self._expect("{")
        inner = scope.inner()
        self._statements(inner)
        scope.members.update(inner.members)
        return list(inner.members)

    def _node(self, name: str, at: int, scope: _Scope, attributes: dict[str, Any]) -> None:
        scope.members[name] = None
        known = self.out.nodes.get(name)
        if known is None:
            if not name:
                raise self.source.error("a node has an empty name", at, "Give it a name.")
            if len(self.out.nodes) >= MAX_NODES:
                raise self.source.error(f"more than {MAX_NODES:,} nodes", at)
            self.out.nodes[name] = {**scope.node, **attributes}
        else:
            known.update(attributes)

    def _port(self) -> None:
        for _ in range(2):
            if self._accept(":"):
                self._value()

    def _attributes(self) -> dict[str, Any]:
        """Any number of ``[key=value, flag; ...]`` lists; a flag has the value True."""
        found: dict[str, Any] = {}
        while self._accept("["):
            while not self._accept("]"):
                at, key = self.token.at, self._value()
                if self._accept("="):
                    found[key] = self._value()
                elif self.dialect.defaults:
                    raise self.source.error(f"the attribute {key!r} has no value", at)
                else:
                    found[key] = True
                if not self._accept(","):
                    self._accept(";")
        return found

    # -- tokens ----------------------------------------------------------------------------

    def _next(self) -> None:
        text = self.source.text
        self._count += 1
        if self._count > MAX_TOKENS:
            raise self.source.too_long(self._at)
        while True:
            match = self._match(text, self._at)
            if match is None:
                self.token = self._rare(self._at)
                return
            self._at = match.end()
            if match.lastgroup != "space":
                self.token = Token(match.lastgroup, match.group(), match.start())
                return

    def _rare(self, at: int) -> Token:
        """The end, an HTML name, or a character that has no place here."""
        text = self.source.text
        if at >= len(text):
            return Token("end", "", at)
        char = text[at]
        if char == '"':
            raise self.source.error('a name in double quotes has no closing "', at)
        if text.startswith("/*", at):
            raise self.source.error("a comment has no closing '*/'", at)
        if char == "<" and self.dialect.defaults and not text.startswith("<-", at):
            depth = 0
            for match in re.compile("[<>]").finditer(text, at):
                depth += 1 if match.group() == "<" else -1
                if depth == 0:
                    self._at = match.end()
                    return Token("html", text[at + 1 : match.start()], at)
            raise self.source.error("a name in <...> has no closing '>'", at)
        raise self.source.error(f"unexpected {char!r}", at, self.dialect.advice)

    def _sees(self, sign: str) -> bool:
        return self.token.type == "sign" and self.token.text == sign

    def _accept(self, sign: str) -> bool:
        found = self._sees(sign)
        if found:
            self._next()
        return found

    def _expect(self, sign: str) -> None:
        if not self._accept(sign):
            raise self._unexpected(f"{sign!r} was expected")

    def _unexpected(self, expected: str):
        token = self.token
        seen = "the end of the text" if token.type == "end" else repr(token.text[:40])
        return self.source.error(f"{expected}, not {seen}", token.at, self.dialect.advice)

    def _name(self) -> str:
        """A node's name; two spellings that would become one name are an error."""
        at = self.token.at
        name, raw = self._text()
        if self._spelling.setdefault(name, raw) != raw:
            raise self.source.error(
                f"two names differ only in how they are written: {shown(raw)} and "
                f"{shown(self._spelling[name])}",
                at,
                "Rename one of them.",
            )
        return name

    def _value(self) -> str:
        return self._text()[0]

    def _text(self) -> tuple[str, str]:
        """A name or value, and what tells it from others in the language's own eyes."""
        token = self.token
        if token.type == "word":
            if self.dialect.defaults and token.text.lower() in KEYWORDS:
                raise self._unexpected("a name was expected (keywords go in double quotes)")
            self._next()
            return token.text, token.text
        if token.type == "html":
            self._next()
            return token.text, f"<{token.text}>"
        if token.type != "quoted":
            raise self._unexpected("a name was expected")
        text, raw = [unquote(token.text)], [_raw(token.text)]
        self._next()
        while self._accept("+"):
            if self.token.type != "quoted":
                raise self._unexpected("a text in double quotes was expected after '+'")
            text.append(unquote(self.token.text))
            raw.append(_raw(self.token.text))
            self._next()
        return "".join(text), "".join(raw)


KEYWORDS = frozenset(("graph", "digraph", "subgraph", "node", "edge", "strict"))

_ESCAPE = re.compile(r'\\(?:(["\\])|\r?\n)')
_RAW = re.compile(r'\\(?:(")|\r?\n)')


def unquote(text: str) -> str:
    r"""The content of a quoted name: ``\"`` and ``\\`` are undone, a ``\`` joins lines."""
    text = text[1:-1]
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda m: m.group(1) or "", text)


def _raw(text: str) -> str:
    r"""The content as Graphviz compares it: there ``\\`` is two characters."""
    text = text[1:-1]
    return _RAW.sub(lambda m: m.group(1) or "", text) if "\\" in text else text


def quote(name: str) -> str:
    """A name in double quotes."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
