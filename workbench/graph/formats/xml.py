"""XML read safely: no entities, no external parts, bounded depth, every element with its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

from .source import MAX_DEPTH, MAX_TOKENS, Place, Source


@dataclass(slots=True)
class Element:
    """One element: local name, attributes, text, children."""

    tag: str
    attributes: dict[str, str]
    at: Place
    children: list[Element] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def all(self, tag: str) -> Iterator[Element]:
        return (child for child in self.children if child.tag == tag)


def parse(source: Source, doctype: bool = False) -> Element:
    """The root element. With ``doctype`` a DTD is tolerated as long as it declares no entity."""
    reader = expat.ParserCreate(namespace_separator=" ")
    reader.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    reader.buffer_text = True
    root = Element("", {}, Place(1, 1))
    stack, count = [root], 0

    def here() -> Place:
        return Place(reader.CurrentLineNumber, reader.CurrentColumnNumber + 1)

    def refuse(what: str) -> NoReturn:
        line, char = here()
        raise source.error(f"{what} is not allowed", line=line, char=char, advice="Remove it.")

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal count
        at = here()
        count += 1
        if len(stack) > MAX_DEPTH:
            raise source.too_deep(line=at.line, char=at.char)
        if count > MAX_TOKENS // 2:
            raise source.too_long(line=at.line, char=at.char)
        element = Element(tag.rsplit(" ", 1)[-1], attributes, at)
        stack[-1].children.append(element)
        stack.append(element)

    def text(data: str) -> None:
        stack[-1].parts.append(data)

    reader.StartElementHandler = start
    reader.EndElementHandler = lambda tag: stack.pop()
    reader.CharacterDataHandler = text
    reader.EntityDeclHandler = lambda *_: refuse("an entity declaration")
    reader.ExternalEntityRefHandler = lambda *_: refuse("a reference to another file")
    if not doctype:
        reader.StartDoctypeDeclHandler = lambda *_: refuse("a document type declaration")
    try:
        reader.Parse(source.text, True)
    except expat.ExpatError as error:
        raise source.error(
            f"not well-formed XML: {expat.ErrorString(error.code)}",
            line=error.lineno,
            char=error.offset + 1,
        ) from None
    except UnicodeEncodeError as error:
        raise source.error("a lone surrogate is no character", error.start) from None
    return root.children[0]
