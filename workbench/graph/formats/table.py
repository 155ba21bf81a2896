"""Graphs as CSV tables: an adjacency matrix with names on both sides, or a list of edges.

Adjacency: the header and the first column hold the same names. By default the cell in row a and
column b is the edge from a to b (``orientation="row->column"``); 0 or nothing is no edge, another
number an edge with that weight, an arrow (``-->``, ``<->``, ``---``, ``o->``) its marks.

Edge list: columns ``source``, ``target`` and, if there are other edges than ``-->``, ``type``.
A row of type ``node`` or ``latent`` has no target and declares a node.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ...core.errors import FileFormatError, ParameterError
from ..causal_graph import CausalGraph
from ..parts import Mark
from .source import (
    ARROWS,
    DIRECTED,
    SHORT_ARROWS,
    TAIL,
    Draft,
    Place,
    Source,
    Written,
    arrow,
    kind_lost,
    latent_lost,
    origins_lost,
    shown,
    suggestion,
)

ORIENTATIONS = ("row->column", "column->row")
_DELIMITERS = (",", ";", "\t")
_TYPES: dict[str, tuple[Mark, Mark]] = {
    **SHORT_ARROWS,
    **ARROWS,
    "directed": DIRECTED,
    "bidirected": ARROWS["<->"],
    "undirected": ARROWS["---"],
}


def columns_of(source: Source) -> tuple[str, list[str]]:
    """The delimiter and the header."""
    text = source.text
    readings = {}
    for delimiter in _DELIMITERS:
        try:
            header = next(csv.reader(io.StringIO(text[:1_000_000], newline=""), **_csv(delimiter)))
        except (csv.Error, StopIteration):
            continue
        if len(header) > 1:
            readings[delimiter] = header
    if len(readings) > 1:
        # An edge list or an empty corner settles it.
        clear = {d: h for d, h in readings.items() if not h[0].strip() or is_edge_list(h)}
        readings = clear or readings
    if len(readings) > 1:
        signs = " and ".join(repr(d) for d in readings)
        raise source.error(f"columns could be separated by {signs}", 0, "Quote the names.")
    return next(iter(readings.items())) if readings else (",", [])


def is_edge_list(header: Iterable[str]) -> bool:
    names = [name.strip().lower() for name in header]
    return ("source" in names and "target" in names) or ("from" in names and "to" in names)


def _csv(delimiter: str) -> dict[str, object]:
    return {"delimiter": delimiter, "strict": True}


class _Row(NamedTuple):
    line: int
    cells: list[str]


def _rows(source: Source, delimiter: str) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(source.text, newline=""), **_csv(delimiter))
    line = 1
    try:
        for cells in reader:
            if cells:
                yield _Row(line, cells)
            line = reader.line_num + 1
    except csv.Error as error:
        raise source.error(f"not a valid CSV table: {error}", line=line) from None


# -- adjacency ---------------------------------------------------------------------------------


def read_adjacency(
    source: Source, orientation: str = "row->column", kind: str | None = None
) -> Draft:
    if orientation not in ORIENTATIONS:
        raise ParameterError(
            f"must be {' or '.join(map(repr, ORIENTATIONS))}",
            column="orientation",
            value=orientation,
        )
    delimiter, _ = columns_of(source)
    draft = Draft(source)
    rows = _rows(source, delimiter)
    header = next(rows, None)
    if header is None:
        raise source.error("the table is empty", 0)
    names = header.cells[1:]
    for i, name in enumerate(names):
        draft.node(name, Place(header.line, i + 2), new=True)
    cells: dict[tuple[str, str], tuple[str, Place]] = {}
    seen: dict[str, int] = {}
    for line, (first, *values) in rows:
        if first not in draft.nodes:
            raise draft.error(
                f"row {shown(first)} is not among the columns",
                Place(line, 1),
                "An adjacency table needs the same names in the header and in the first column. "
                + suggestion(first, names),
            )
        if first in seen:
            raise draft.error(f"row {shown(first)} comes twice", Place(line, 1))
        seen[first] = line
        if len(values) != len(names):
            raise draft.error(
                f"row {shown(first)} has {len(values)} cells, the header {len(names)}", Place(line)
            )
        for i, value in enumerate(values):
            if value not in ("0", ""):
                cells[first, names[i]] = value.strip(), Place(line, i + 2)
    missing = [name for name in names if name not in seen]
    if missing:
        raise draft.error(
            f"there is no row for {shown(missing[0])}",
            Place(source.text.count("\n") + 1),
            "The file may have been cut off.",
        )
    _fill(draft, cells, orientation == "column->row", kind in ("cpdag", "mpdag"))
    return draft


def _fill(
    draft: Draft, cells: dict[tuple[str, str], tuple[str, Place]], flipped: bool, class_: bool
) -> None:
    weights: dict[tuple[str, str], float] = {}
    for (row, column), (value, place) in cells.items():
        u, v = (column, row) if flipped else (row, column)
        marks = value.split()
        if marks and all(m in ARROWS for m in marks):
            for mark in marks:
                draft.edge(u, v, *ARROWS[mark], at=place)
            continue
        weight = _number(value)
        if weight is None or not math.isfinite(weight):
            raise draft.error(
                f"the cell is {shown(value)}, neither a number nor an edge",
                place,
                f"Edges are numbers or {', '.join(ARROWS)}.",
            )
        if weight == 0:
            continue
        back = _number(cells[column, row][0]) if (column, row) in cells else None
        if back and row != column:
            if not class_:
                raise draft.error(
                    f"both {shown(u)} to {shown(v)} and {shown(v)} to {shown(u)} are set",
                    place,
                    "If that stands for an edge without direction, say kind='cpdag' or 'mpdag'.",
                )
            draft.edge(u, v, TAIL, TAIL, place)
        else:
            draft.edge(u, v, at=place)
        weights[u, v] = weight
    if any(weight != 1 for weight in weights.values()):
        draft.info["weights"] = weights


_NUMERAL = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*")


def _number(text: str) -> float | None:
    return float(text) if _NUMERAL.fullmatch(text) else None


def write_adjacency(graph: CausalGraph) -> Written:
    directed = all(marks == list(DIRECTED) for _, _, *marks in graph.edges)
    cells: dict[tuple[str, str], str] = {}
    for u, v, *marks in graph.edges:
        if directed:
            cells[u, v] = "1"
            continue
        for row, column, mark in ((u, v, arrow(*marks)), (v, u, arrow(*marks[::-1]))):
            cells[row, column] = f"{cells[row, column]} {mark}" if (row, column) in cells else mark
    out = [_line(["", *graph.nodes])]
    for row in graph.nodes:
        marks = (cells.get((row, column), "0") for column in graph.nodes)
        out.append(",".join([_cell(row), *marks]))
    return Written(
        "\n".join(out) + "\n", latent_lost(graph) + kind_lost(graph) + origins_lost(graph)
    )


# -- edge list ---------------------------------------------------------------------------------


def read_edges(source: Source) -> Draft:
    delimiter, header = columns_of(source)
    names = [name.strip().lower() for name in header]
    pair = ("source", "target") if "source" in names else ("from", "to")
    for name in (*pair, *({"type"} & set(names))):
        if names.count(name) != 1:
            raise source.error(f"an edge list needs one column {name!r}", 0)
    at = [names.index(name) for name in pair]
    type_at = names.index("type") if "type" in names else None
    draft = Draft(source)
    rows = _rows(source, delimiter)
    next(rows)
    for line, cells in rows:
        if len(cells) != len(names):
            raise draft.error(f"{len(cells)} cells, the header has {len(names)}", Place(line))
        u, v = (cells[i] for i in at)
        type_ = "-->" if type_at is None else cells[type_at].strip().lower() or "-->"
        place = Place(line, at[0] + 1)
        if type_ in ("node", "latent") and not v:
            draft.node(u, place)
            if type_ == "latent":
                draft.latent.add(u)
            continue
        if type_ not in _TYPES:
            raise draft.error(
                f"unknown type of edge {cells[type_at or 0]!r}",
                Place(line, (type_at or 0) + 1),
                f"Types are {', '.join(ARROWS)}, node and latent.",
            )
        draft.node(u, place)
        draft.node(v, Place(line, at[1] + 1))
        draft.edge(u, v, *_TYPES[type_], at=place)
    return draft


def write_edges(graph: CausalGraph) -> Written:
    out = ["source,target,type"]
    joined = {n for u, v, *_ in graph.edges for n in (u, v)}
    for name in graph.nodes:
        if name in graph.latent or name not in joined:
            out.append(_line([name, "", "latent" if name in graph.latent else "node"]))
    out += [_line([u, v, arrow(*marks)]) for u, v, *marks in graph.edges]
    return Written("\n".join(out) + "\n", kind_lost(graph) + origins_lost(graph))


_QUOTED = re.compile(r'[",;\t\r\n]|^\s|\s$|^$')


def _cell(value: str) -> str:
    return '"' + value.replace('"', '""') + '"' if _QUOTED.search(value) else value


def _line(values: Iterable[str]) -> str:
    values = list(values)
    for value in values:
        if "\0" in value:
            raise FileFormatError(
                f"a table can't hold the name {shown(value)}", advice="Rename the node."
            )
    return ",".join(_cell(value) for value in values)
