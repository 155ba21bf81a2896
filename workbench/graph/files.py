"""Reading and writing graphs: one front door for every file format and foreign graph object."""

from __future__ import annotations

import gzip
import io
import os
import re
import secrets
import stat
import sys
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..core.errors import (
    FileFormatError,
    GraphError,
    ParameterError,
    did_you_mean,
    recording,
    warn,
)
from .causal_graph import CausalGraph
from .formats import bif, dagitty, dot, gml, graphml, json_graph, table, tetrad
from .formats.source import MAX_BYTES, MAX_LINES, Draft, Source, Written
from .parts import KINDS, Kind

READERS: dict[str, Callable[[Source], Draft]] = {
    "dot": dot.read,
    "gml": gml.read,
    "graphml": graphml.read,
    "json": json_graph.read,
    "bif": bif.read,
    "xmlbif": bif.read_xml,
    "dagitty": dagitty.read,
    "adjacency": table.read_adjacency,
    "edges": table.read_edges,
    "tetrad": tetrad.read,
}
WRITERS: dict[str, Callable[[CausalGraph], Written]] = {
    "dot": dot.write,
    "graphml": graphml.write,
    "json": json_graph.write,
    "dagitty": dagitty.write,
    "adjacency": table.write_adjacency,
    "edges": table.write_edges,
    "tetrad": tetrad.write,
}
_SUFFIXES = {
    ".dot": "dot",
    ".gv": "dot",
    ".gml": "gml",
    ".graphml": "graphml",
    ".json": "json",
    ".bif": "bif",
    ".xmlbif": "xmlbif",
    ".dagitty": "dagitty",
    ".tetrad": "tetrad",
}
_TABLES = (".csv", ".tsv")


def read_graph(
    source: Any,
    *,
    format: str | None = None,
    kind: Kind | None = None,
    columns: Iterable[str] | None = None,
    orientation: str = "row->column",
    max_bytes: int = MAX_BYTES,
) -> CausalGraph:
    """Read a causal graph from a file, a text, or an object of another library.

    Nothing is lost without a word: an edge, mark or name that can't be represented is an error
    with file, line and column. Nothing in a file is ever executed.

    Args:
        source: A path (``.gz`` too); a text; or a networkx, causal-learn, dowhy or
            :class:`CausalGraph` object.
        format: ``dot, gml, graphml, json`` (ours, or node-link), ``bif, xmlbif, dagitty,
            adjacency, edges`` (both CSV) or ``tetrad``. Left out, it is recognised by the suffix
            of the path, else by how the content begins.
        kind: What the graph is, where the file doesn't say or is to be overruled. An adjacency
            table with both directions set is readable as ``"cpdag"`` or ``"mpdag"`` only.
        columns: The columns of the data: every node that is not latent must be one of them.
            causal-learn's ``X1, X2, ...`` are renamed to them, DOT nodes with labels are called
            by their labels if those fit.
        orientation: For an adjacency table: ``"row->column"`` (default) means that the cell in
            row a and column b is the edge a → b; ``"column->row"`` is the other convention.
        max_bytes: Refuse larger files; for ``.gz`` the unpacked size counts.

    Raises:
        FileFormatError: The content is not what its format allows; says where.
        GraphError: A directed cycle, a mark that the kind excludes, a node outside ``columns``.

    Example:
        >>> read_graph("digraph G { age -> bmi -> outcome; age -> outcome }")
        CausalGraph(dag, 3 nodes, 3 edges: age -> bmi; age -> outcome; bmi -> outcome)
        >>> read_graph("dag { age -> bmi <-> outcome; u [latent]; u -> age }").kind
        'admg'
        >>> read_graph("digraph { age -> bmi; bmi <-> outcome }")
        Traceback (most recent call last):
            ...
        workbench.core.errors.FileFormatError: line 1, column 27: unexpected '<'. Names with...
    """
    if kind is not None and kind not in KINDS:
        raise GraphError(f"kind must be one of {', '.join(KINDS)}", value=kind)
    if format is not None and format not in READERS:
        raise ParameterError(
            "is not a format that can be read",
            column="format",
            value=format,
            advice=did_you_mean(format, READERS),
        )
    names = None if columns is None else list(columns)
    if not isinstance(source, str | os.PathLike):
        graph = _from_object(source, names)
        return _fit(graph if kind in (None, graph.kind) else graph._copy(kind=kind), names)
    draft = read_draft(
        source, format=format, kind=kind, orientation=orientation, max_bytes=max_bytes
    )
    return _fit(draft.finish(kind), names)


def read_draft(
    source: str | os.PathLike[str],
    *,
    format: str | None = None,
    kind: Kind | None = None,
    orientation: str = "row->column",
    max_bytes: int = MAX_BYTES,
) -> Draft:
    """The nodes and edges of a file or text as they stand there, loops included.

    For graphs that are not causal themselves, such as calls among services; the arguments are
    those of :func:`read_graph`.
    """
    content, suffix = _content(source, format, max_bytes)
    if content.text.count("\n") > MAX_LINES:
        raise content.error(f"more than {MAX_LINES:,} lines")
    format = format or _format(content, suffix)
    if format == "adjacency":
        return table.read_adjacency(content, orientation, kind)
    return READERS[format](content)


def write_graph(
    graph: CausalGraph,
    path: str | os.PathLike[str] | None = None,
    *,
    format: str | None = None,
    force: bool = False,
) -> str | Path:
    """Write a graph to a file (``.gz`` too), or return it as text if ``path`` is None.

    ``json`` carries everything; ``dot`` and ``graphml`` carry names, marks, latent nodes and where
    edges come from; ``dagitty`` the first three. What a format can't carry is listed in a
    ``lossy-format`` warning; a name that it can't hold is an error.

    Args:
        graph: The graph.
        path: Where to; the file appears complete or not at all.
        format: ``dot, graphml, json, dagitty, adjacency, edges`` (both CSV) or ``tetrad``; left
            out, the suffix of the path decides (``.csv`` is an adjacency table), and without a
            path it is ``json``.
        force: Replace an existing file.

    Raises:
        FileExistsError: There is a file already and ``force`` is not set.
        FileFormatError: A node's name has no form in this format.

    Example:
        >>> g = CausalGraph(["a", "b"], [("a", "b")])
        >>> print(write_graph(g, format="dagitty"))
        dag {
          a
          b
          a -> b
        }
    """
    path = None if path is None else Path(path)
    suffix = "" if path is None else _suffix(path)
    if format is None:
        format = "adjacency" if suffix == ".csv" else _SUFFIXES.get(suffix)
        format = "json" if path is None else format
    if format not in WRITERS:
        raise ParameterError(
            "is not a format that can be written",
            column="format",
            value=format or suffix,
            advice=f"Choose one of {', '.join(WRITERS)}.",
        )
    text, lost = WRITERS[format](graph)
    with recording():
        for what, nodes in lost:
            shown = f": {', '.join(map(repr, nodes[:8]))}" + ", ..." * (len(nodes) > 8)
            shown = shown if nodes else ""
            warn("lossy-format", f"the format {format!r} does not carry {what}{shown}", nodes)
    if path is None:
        return text
    _save(path, text, force)
    return path


# -- where the content comes from --------------------------------------------------------------


def _from_object(source: Any, columns: list[str] | None) -> CausalGraph:
    if isinstance(source, CausalGraph):
        return source
    from . import exchange

    home = type(source).__module__.split(".")[0]
    networkx = sys.modules.get("networkx")
    if networkx is not None and isinstance(source, networkx.Graph):
        return exchange.from_networkx(source)
    if home == "causallearn" or (isinstance(source, tuple) and source):
        return exchange.from_causallearn(source, exchange.fitting_names(source, columns))
    if home == "dowhy":
        return exchange.from_dowhy(source)
    raise ParameterError(
        f"can't read a graph from {type(source).__name__}",
        column="source",
        advice="Pass a path, a text, or a graph of networkx, causal-learn or dowhy.",
    )


def _content(
    source: str | os.PathLike[str], format: str | None, max_bytes: int
) -> tuple[Source, str]:
    """The text, and the suffix of its file (empty for a text that was passed as it is)."""
    if isinstance(source, str):
        text = source.removeprefix("\ufeff")
        if len(source) > max_bytes:
            raise _too_large(None, max_bytes)
        is_path = "\n" not in source and len(source) < 4096 and _exists(source)
        if not is_path:
            if "\n" in source or _formats(text) or (format and re.search(r"[{<\[]", source)):
                return Source(text), ""
            raise _missing(source)
    path = Path(source)
    if not _exists(path):
        raise _missing(path)
    data = _bytes(path, max_bytes)
    return Source(_decoded(data, path), str(path)), _suffix(path)


def _exists(path: str | Path) -> bool:
    try:
        return os.path.exists(path)
    except ValueError:  # a NUL in the name
        return False


def _missing(path: str | Path) -> FileFormatError:
    shown = str(path)
    if len(shown) > 200:
        return FileFormatError(
            f"neither a path nor the text of a graph: {shown[:60]!r}...",
            advice="A text begins like its format; else say format=.",
        )
    try:
        beside = sorted(os.listdir(Path(path).parent))[:1000]
    except (OSError, ValueError):
        beside = []
    close = did_you_mean(Path(path).name, beside)
    advice = close if close.startswith("Did") else "Check the path; a text begins like its format."
    return FileFormatError("no such file, and not the text of a graph", path=shown, advice=advice)


def _too_large(path: Path | None, limit: int) -> FileFormatError:
    return FileFormatError(
        f"larger than {limit / 1e6:g} MB",
        path=path,
        advice="If that is really one graph, pass a larger max_bytes.",
    )


def _bytes(path: Path, limit: int) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise FileFormatError("not a regular file", path=path, advice="Pass a file.")
        if status.st_size > limit:
            raise _too_large(path, limit)
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
                data = packed.read(limit + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileFormatError(f"broken gzip file: {error}", path=path) from None
    except OSError as error:
        raise FileFormatError(f"can't be read: {error.strerror or error}", path=path) from None
    if len(data) > limit:
        raise _too_large(path, limit)
    return data


def _decoded(data: bytes, path: Path) -> str:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FileFormatError(
            "not UTF-8 text",
            path=path,
            line=line,
            char=error.start - data.rfind(b"\n", 0, error.start),
            advice="Save the file as UTF-8.",
        ) from None


def _suffix(path: Path) -> str:
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


# -- which format it is ------------------------------------------------------------------------

_LEAD = re.compile(r"(?:\s+|//[^\n]*(?:\n|$)|/\*.*?\*/|[#%][^\n]*(?:\n|$))*", re.DOTALL)
_BEGINNINGS = {
    "dot": re.compile(r"(?:strict\b\s*)?(?:di)?graph\b(?!\s*\[)[^\[{]*\{", re.IGNORECASE),
    "dagitty": re.compile(r'(?:dag|pdag|mag|pag)\s*(?:"[^"]*"|[\w.]+)?\s*\{'),
    "gml": re.compile(r"(?:(?:Creator|Version|comment)\b[^\n]*\s+)*graph\s*\[", re.IGNORECASE),
    "json": re.compile(r"[\[{]"),
    "bif": re.compile(r"(?:network|variable)\s[^{]*\{"),
    "tetrad": re.compile(r"Graph Nodes:", re.IGNORECASE),
}
_LOOK = 20_000


def _formats(text: str) -> list[str]:
    """The formats that a text begins like."""
    head = text[:_LOOK]
    begin = _LEAD.match(head).end()
    if head[begin : begin + 1] == "<":
        root = re.search(r"<(?:\w+:)?(graphml|BIF)\b", head[begin:])
        return [{"graphml": "graphml", "BIF": "xmlbif"}[root[1]]] if root else []
    return [name for name, pattern in _BEGINNINGS.items() if pattern.match(head, begin)]


def _format(content: Source, suffix: str) -> str:
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if suffix not in _TABLES:
        found = _formats(content.text)
        if len(found) == 1:
            return found[0]
    _, header = table.columns_of(content)
    if table.is_edge_list(header):
        return "edges"
    if len(header) > 1 and (suffix in _TABLES or not header[0].strip()):
        return "adjacency"
    raise content.error(
        "can't tell which format this is",
        0,
        f"Say format= one of {', '.join(READERS)}.",
    )


# -- names and files ---------------------------------------------------------------------------


def _fit(graph: CausalGraph, columns: list[str] | None) -> CausalGraph:
    """Check the nodes against the columns of the data."""
    if columns is None:
        return graph
    known = set(columns)
    labels = graph.info.get("labels", {})
    if not known.issuperset(graph.observed):
        names = {n: labels[n] for n in graph.nodes if n in labels}
        if names and all(names.get(n, n) in known for n in graph.observed):
            return graph.rename(names)
    for node in graph.observed:
        if node not in known:
            raise GraphError(
                "is not a column of the data",
                column=node,
                advice=f"{did_you_mean(node, columns)} Rename it, or mark it as latent.".strip(),
            )
    return graph


def _save(path: Path, text: str, force: bool) -> None:
    """Write beside and then move, so that no reader ever sees half a file."""
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists; pass force=True to replace it")
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise FileFormatError(
            f"the character {text[error.start]!r} has no form in UTF-8",
            path=path,
            advice="Rename the node.",
        ) from None
    if path.suffix.lower() == ".gz":
        data = gzip.compress(data, mtime=0)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(beside, "xb") as file:
            file.write(data)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
