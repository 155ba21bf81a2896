"""JSON: our own lossless form, and networkx's node-link form.

Ours: ``{"format": "workbench-graph", "version": 1, "kind": ..., "nodes": [{"name": ...,
"latent": true}], "edges": [{"source", "target", "mark_source", "mark_target"}], "info": {}}``.
Node-link: ``{"directed": true, "nodes": [{"id": ...}], "links": [{"source", "target"}]}``, where
newer releases of networkx say ``edges`` for ``links``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ...core.errors import did_you_mean
from ..causal_graph import KINDS, MARKS, CausalGraph
from .attributed import Listing
from .source import MAX_DEPTH, Draft, Source, Written

FORMAT, VERSION = "workbench-graph", 1


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
    _only(source, data, "the graph", {"format", "version", "kind", "nodes", "edges", "info"})
    kind, info = data.get("kind"), data.get("info", {})
    if kind not in KINDS:
        raise source.error(f"unknown kind of graph {kind!r}", 0, did_you_mean(kind, KINDS))
    if not isinstance(info, dict):
        raise source.error("'info' is not an object", 0)
    draft = Draft(source, kind=kind, info=_restored(info, source))
    for where, node in _objects(source, data, "nodes"):
        _only(source, node, where, {"name", "latent"})
        name, latent = node.get("name"), node.get("latent", False)
        if not isinstance(name, str) or not isinstance(latent, bool):
            raise source.error(f"{where} needs a text 'name' and true or false for 'latent'")
        if name in draft.nodes:
            raise source.error(f"{where}: the node {name!r} is declared twice")
        draft.node(name)
        if latent:
            draft.latent.add(name)
    ends = ("source", "target", "mark_source", "mark_target")
    for where, edge in _objects(source, data, "edges"):
        _only(source, edge, where, set(ends))
        u, v, mark_u, mark_v = (edge.get(end) for end in ends)
        for name in (u, v):
            if not isinstance(name, str) or name not in draft.nodes:
                advice = did_you_mean(name, draft.nodes)
                raise source.error(f"{where} names {name!r}, which is not a node", advice=advice)
        if mark_u not in MARKS or mark_v not in MARKS:
            raise source.error(f"{where}: unknown mark", advice=f"Marks are {', '.join(MARKS)}.")
        draft.edge(u, v, mark_u, mark_v)
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
    for where, node in _objects(source, data, "nodes"):
        if "id" not in node:
            raise source.error(f"{where} has no 'id'")
        listing.node(node["id"], node)
    for where, edge in _objects(source, data, lists[0]):
        if "source" not in edge or "target" not in edge:
            raise source.error(f"{where} has no 'source' or no 'target'")
        listing.edge(edge["source"], edge["target"], edge, directed)
    return draft


def _objects(source: Source, data: dict[str, Any], key: str) -> Iterator[tuple[str, dict]]:
    found = data.get(key)
    if not isinstance(found, list):
        raise source.error(f"{key!r} is not a list", 0)
    for i, entry in enumerate(found):
        if not isinstance(entry, dict):
            raise source.error(f"{key}[{i}] is not an object")
        yield f"{key}[{i}]", entry


def _only(source: Source, entry: dict[str, Any], where: str, known: set[str]) -> None:
    for key in entry:
        if key not in known:
            raise source.error(
                f"{where} has an unknown field {key!r}", advice=did_you_mean(key, sorted(known))
            )


# -- text --------------------------------------------------------------------------------------


def _load(source: Source) -> Any:
    depth = 0
    for match in re.finditer(r'"[^"\\]*(?:\\.[^"\\]*)*"|["\[\]{}]', source.text, re.DOTALL):
        if match.group() == '"':
            break  # a text without end: the parser below says so
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
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the field {next(k for k in keys if keys.count(k) > 1)!r} stands twice")
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
