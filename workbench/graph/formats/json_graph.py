"""JSON: our own lossless form, and networkx's node-link form.

Ours: ``{"format": "workbench-graph", "version": 1, "kind": ..., "nodes": [{"name": ...,
"latent": true}], "edges": [{"source", "target", "mark_source", "mark_target"}], "info": {}}``;
an edge that was not drawn also has ``origin`` and, if it was learned, ``confidence``.
Node-link: ``{"directed": true, "nodes": [{"id": ...}], "links": [{"source", "target"}]}``, where
newer releases of networkx say ``edges`` for ``links``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from ..causal_graph import CausalGraph
from ..origins import SOURCES
from ..parts import KINDS, MARKS
from .attributed import Listing, origin_words
from .source import MAX_DEPTH, MAX_TOKENS, At, Draft, Source, Written, origin_of, shown, suggestion

FORMAT, VERSION = "workbench-graph", 1
_MARKS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["\[\]{},]', re.DOTALL)


def read(source: Source) -> Draft:
    data = _load(source)
    if not isinstance(data, dict):
        raise source.error("the JSON holds no object", 0, "A graph is an object in { }.")
    if "format" in data or "version" in data:
        return _own(source, data)
    return _node_link(source, data)


def _own(source: Source, data: dict[str, Any]) -> Draft:
    if data.get("format") != FORMAT:
        raise source.error(f"unknown format {data.get('format')!r}", 0, f"Expected {FORMAT!r}.")
    version = data.get("version")
    if version != VERSION or isinstance(version, bool):
        raise source.error(
            f"version {version!r} of the format is not known",
            0,
            f"This release reads version {VERSION}; update it or write the file again.",
        )
    _only(Draft(source), data, 0, {"format", "version", "kind", "nodes", "edges", "info"})
    kind, info = data.get("kind"), data.get("info", {})
    if kind not in KINDS:
        raise source.error(f"unknown kind of graph {kind!r}", 0, suggestion(kind, KINDS))
    if not isinstance(info, dict):
        raise source.error("'info' is not an object", 0)
    draft = Draft(source, kind=kind, info=_restored(info, source))
    for at, node in _objects(source, data, "nodes"):
        _only(draft, node, at, {"name", "latent"})
        name, latent = node.get("name"), node.get("latent", False)
        if not isinstance(name, str) or not isinstance(latent, bool):
            raise draft.error("a node needs a text 'name' and true or false for 'latent'", at)
        draft.node(name, at, new=True)
        if latent:
            draft.latent.add(name)
    ends = ("source", "target", "mark_source", "mark_target")
    for at, edge in _objects(source, data, "edges"):
        _only(draft, edge, at, {*ends, "origin", "confidence"})
        u, v, mark_u, mark_v = (edge.get(end) for end in ends)
        if not isinstance(u, str) or not isinstance(v, str):
            raise draft.error("an edge needs a 'source' and a 'target', both texts", at)
        if mark_u not in MARKS or mark_v not in MARKS:
            raise draft.error("an edge has an unknown mark", at, f"Marks are {', '.join(MARKS)}.")
        origin = origin_of(edge.get("origin", "drawn"), edge.get("confidence"))
        if origin is None:
            raise draft.error(
                "an edge has an origin or a confidence that is none",
                at,
                f"Origins are {', '.join(SOURCES)}; a confidence lies between 0 and 1.",
            )
        draft.edge(draft.known(u, at), draft.known(v, at), mark_u, mark_v, at, origin)
    return draft


def _node_link(source: Source, data: dict[str, Any]) -> Draft:
    lists = [key for key in ("links", "edges") if key in data]
    if len(lists) != 1 or "nodes" not in data:
        raise source.error(
            "a node-link graph has 'nodes' and either 'links' or 'edges'",
            0,
            f"Found {', '.join(map(repr, list(data)[:8])) or 'nothing'}.",
        )
    directed = data.get("directed", False)
    if not isinstance(directed, bool):
        raise source.error(f"'directed' is {directed!r}", 0, "It is true or false.")
    attributes = data.get("graph", {})
    if not isinstance(attributes, dict):
        raise source.error("'graph' is not an object", 0)
    draft = Draft(source)
    listing = Listing(draft)
    listing.graph(attributes)
    for at, node in _objects(source, data, "nodes"):
        if "id" not in node:
            raise draft.error("a node has no 'id'", at)
        listing.node(node["id"], node, at)
    for at, edge in _objects(source, data, lists[0]):
        if "source" not in edge or "target" not in edge:
            raise draft.error("an edge has no 'source' or no 'target'", at)
        listing.edge(edge["source"], edge["target"], edge, directed, at)
    return draft


def _objects(source: Source, data: dict[str, Any], key: str) -> Iterator[tuple[At, dict]]:
    """Each entry of a list, with how to find its place."""
    found = data.get(key)
    if not isinstance(found, list):
        raise source.error(f"{key!r} is not a list", 0)
    for i, entry in enumerate(found):
        at = partial(_offset, source.text, key, i)
        if not isinstance(entry, dict):
            raise source.error(f"an entry of {key!r} is not an object", at())
        yield at, entry


def _offset(text: str, key: str, index: int) -> int:
    """Where entry ``index`` of the list ``key`` of the outermost object begins."""
    depth, inside, commas = 0, False, 0
    for match in _MARKS.finditer(text):
        mark = match.group()
        if mark in "[{":
            depth += 1
        elif mark in "]}":
            depth -= 1
            inside = inside and depth >= 2
        elif depth == 1 and mark != ",":
            inside = mark == json.dumps(key) and text[match.end() :].lstrip().startswith(":")
        if inside and depth == 2 and mark in ",[":
            if commas == index:
                return re.compile(r"\s*").match(text, match.end()).end()
            commas += 1
    return 0


def _only(draft: Draft, entry: dict[str, Any], at: At, known: set[str]) -> None:
    for key in entry:
        if key not in known:
            raise draft.error(f"unknown field {shown(key)}", at, suggestion(key, sorted(known)))


# -- text --------------------------------------------------------------------------------------


def _load(source: Source) -> Any:
    depth = count = 0
    for match in _MARKS.finditer(source.text):
        if match.group() == '"':
            break  # a text without end: the parser below says so
        count += 1
        if count > MAX_TOKENS:
            raise source.too_long(match.start())
        if match.group() in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise source.too_deep(match.start())
        elif match.group() in "]}":
            depth -= 1
    try:
        return json.loads(source.text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise source.error(f"not valid JSON: {error.msg}", error.pos) from None
    except ValueError as error:  # a field twice, NaN, a number with thousands of digits
        raise source.error(f"not valid JSON: {error}", 0) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the field {shown(key)} stands twice")
        found[key] = value
    return found


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not allowed")


def write(graph: CausalGraph) -> Written:
    info, lost = {}, []
    for key, value in graph.info.items():
        try:
            plain = _plain(value)
            json.dumps(plain, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            lost.append((f"info[{key!r}], which has no form in JSON", ()))
        else:
            info[str(key)] = plain
    data = {
        "format": FORMAT,
        "version": VERSION,
        "kind": graph.kind,
        "nodes": [
            {"name": n, "latent": True} if n in graph.latent else {"name": n} for n in graph.nodes
        ],
        "edges": [
            {"source": u, "target": v, "mark_source": a, "mark_target": b}
            | origin_words(graph.origin(u, v, a, b))
            for u, v, a, b in graph.edges
        ],
        "info": info,
    }
    parts = []
    for key, value in data.items():
        if isinstance(value, list) and value:  # one node or edge per line
            rows = ",\n    ".join(json.dumps(row, ensure_ascii=False) for row in value)
            parts.append(f'  "{key}": [\n    {rows}\n  ]')
        else:
            parts.append(f'  "{key}": {json.dumps(value, ensure_ascii=False)}')
    return Written("{\n" + ",\n".join(parts) + "\n}\n", lost)


_TUPLE, _PAIRS = "__tuple__", "__pairs__"


def _plain(value: Any, depth: int = 0) -> Any:
    """The value as JSON; tuples and dictionaries with other keys are tagged so that they return."""
    if depth > MAX_DEPTH // 4:
        raise ValueError("nested too deep")
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is list:
        return [_plain(v, depth + 1) for v in value]
    if type(value) is tuple:
        return {_TUPLE: [_plain(v, depth + 1) for v in value]}
    if type(value) is dict:
        if all(type(k) is str and k not in (_TUPLE, _PAIRS) for k in value):
            return {k: _plain(v, depth + 1) for k, v in value.items()}
        return {_PAIRS: [[_plain(k, depth + 1), _plain(v, depth + 1)] for k, v in value.items()]}
    raise TypeError(type(value).__name__)


def _restored(value: Any, source: Source) -> Any:
    if isinstance(value, list):
        return [_restored(v, source) for v in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {_TUPLE} and isinstance(value[_TUPLE], list):
        return tuple(_restored(v, source) for v in value[_TUPLE])
    if set(value) == {_PAIRS} and isinstance(value[_PAIRS], list):
        try:
            return {_restored(k, source): _restored(v, source) for k, v in value[_PAIRS]}
        except (TypeError, ValueError):
            raise source.error("'info' holds a broken list of pairs", 0) from None
    return {k: _restored(v, source) for k, v in value.items()}
