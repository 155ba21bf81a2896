import gzip
import json
import os
import random
import subprocess
import sys
import time
import warnings
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.core.errors import CausalWarning, FileFormatError, GraphError, ParameterError
from workbench.graph import CausalGraph, read_graph, write_graph
from workbench.graph.files import READERS, WRITERS

DATA = os.environ.get("WORKBENCH_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="WORKBENCH_DATA is not set")

NASTY = [
    "age at entry",
    'say "hi"',
    "it's",
    "a<b",
    "a->b",
    "a <-> b",
    "<->",
    "--",
    "größe",
    "身長",
    "node",
    "graph",
    "edge",
    "digraph",
    "subgraph",
    "strict",
    "dag",
    "latent",
    "1",
    "1.0",
    "01",
    "9lives",
    "-1",
    "two\nlines",
    "tab\there",
    "cr\rlf\r\n",
    "back\\slash",
    "ends with \\",
    '\\"',
    "\\N",
    "\\n",
    "a;b",
    "a,b",
    "a:b",
    "{b c}",
    "[x]",
    "(x)",
    "<b>bold</b>",
    "&amp;",
    "&#65;",
    " leading",
    "trailing ",
    "a b dd",
    "a --> b",
    "//no comment",
    "/* nor this */",
    "#hash",
    "=SUM(A1)",
    "null",
    "source",
    "x\u00a0y",
    "\u2028",
]


@st.composite
def graphs(draw, names):
    """Graphs of every kind."""
    names = draw(st.lists(names, unique=True, max_size=6))
    kind = draw(st.sampled_from(["dag", "cpdag", "mpdag", "admg", "pag", "complete"]))
    directed, both = ("tail", "arrow"), ("arrow", "arrow")
    plain = ("tail", "tail")
    circles = [(a, b) for a in ("tail", "arrow", "circle") for b in ("arrow", "circle", "tail")]
    choices = {
        "dag": [()] + [(directed,)],
        "complete": [()] + [(directed,)],
        "cpdag": [(), (directed,), (plain,)],
        "mpdag": [(), (directed,), (plain,)],
        "admg": [(), (directed,), (both,), (directed, both)],
        "pag": [()] + [(c,) for c in circles if c != ("arrow", "tail")] + [(directed, both)],
    }[kind]
    edges = [
        (names[i], names[j], *marks)
        for j in range(len(names))
        for i in range(j)
        for marks in draw(st.sampled_from(choices))
    ]
    latent = draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    if kind == "complete":
        return CausalGraph(names, edges, latent=latent).cpdag()
    return CausalGraph(names, edges, latent=latent, kind=kind)


def lossy(call):
    """(result, text of the warnings)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call()
    assert all(isinstance(w.message, CausalWarning) for w in caught)
    assert all(w.message.code == "lossy-format" for w in caught)
    return result, " ".join(w.message.message for w in caught)


relaxed = settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("format", WRITERS)
@relaxed
@given(graph=graphs(st.sampled_from(NASTY)))
def test_what_was_written_is_read_back_or_named_as_lost(format, graph):
    check_round_trip(format, graph)


@pytest.mark.parametrize("format", WRITERS)
@relaxed
@given(graph=graphs(st.text(min_size=1, max_size=8)))
def test_the_same_with_any_text_as_a_name(format, graph):
    check_round_trip(format, graph)


def check_round_trip(format, graph):
    try:
        text, lost = lossy(lambda: write_graph(graph, format=format))
    except FileFormatError as error:
        assert format in ("tetrad", "graphml") or any("\0" in n for n in graph.nodes)
        assert any(repr(n) in str(error) for n in graph.nodes)
        return
    back = read_graph(text, format=format)
    assert set(back.nodes) == set(graph.nodes)
    assert back.edges == graph.edges
    assert back.latent == graph.latent or "latent" in lost
    assert back.kind == graph.kind or repr(graph.kind) in lost
    if format in ("json", "dot", "graphml"):
        assert back == graph and not lost and back.nodes == graph.nodes


@pytest.mark.parametrize("format", ["json", "dot", "graphml", "dagitty", "adjacency", "edges"])
def test_every_odd_name_survives_a_file(tmp_path, format):
    names = [n for n in NASTY if "\0" not in n]
    graph = CausalGraph(names, list(zip(names, names[1:], strict=False)))
    path = write_graph(graph, tmp_path / "g.txt.gz", format=format)
    assert read_graph(path, format=format) == graph


@pytest.mark.parametrize("format", ["json", "dot", "graphml", "dagitty"])
def test_written_text_is_recognised(format):
    graph = CausalGraph(["a b", "c"], [("a b", "c", "arrow", "arrow")], latent=["c"])
    assert read_graph(write_graph(graph, format=format)) == graph


def test_info_survives_json_or_is_named():
    graph = CausalGraph(["a", "b"], [("a", "b")], info={"alpha": 0.05, "w": {("a", "b"): 2.0}})
    text, lost = lossy(lambda: write_graph(graph))
    assert dict(read_graph(text).info) == dict(graph.info) and not lost
    _, lost = lossy(lambda: write_graph(graph.with_info(model=object())))
    assert "info['model']" in lost


# -- DOT ---------------------------------------------------------------------------------------


def edges(text, **options):
    return read_graph(text, **options).edges


D, B, U = ("tail", "arrow"), ("arrow", "arrow"), ("tail", "tail")
C, T = ("circle", "arrow"), ("tail", "circle")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("digraph G {\n  a -> b;\n\n  b -> c\n}\n", [("a", "b", *D), ("b", "c", *D)]),
        ("strict digraph{a->b a->b}", [("a", "b", *D)]),
        ("DiGraph { a -> b -> c }", [("a", "b", *D), ("b", "c", *D)]),
        ("digraph { // 1\n a -> b /* 2\n */ -> c\n# 3\n}", [("a", "b", *D), ("b", "c", *D)]),
        ("digraph { a -> {b c} }", [("a", "b", *D), ("a", "c", *D)]),
        ("digraph { {a b} -> {c; d} }", [(u, v, *D) for u in "ab" for v in "cd"]),
        ("digraph { a -> subgraph cluster_1 { b -> c } }", [(*e, *D) for e in ("ab", "ac", "bc")]),
        ('digraph { "a b" -> "c\\"d" }', [("a b", 'c"d', *D)]),
        ('digraph { "a" + "b" -> "c\\\nd" }', [("ab", "cd", *D)]),
        ("digraph { größe -> 身長 }", [("größe", "身長", *D)]),
        ("digraph { a -> <<b>x</b>> }", [("a", "<b>x</b>", *D)]),
        ("digraph { a:p:n -> b:s }", [("a", "b", *D)]),
        ("digraph { 1 -> 2.5 -> -3 }", [("1", "2.5", *D), ("2.5", "-3", *D)]),
        ("digraph { a -> b [dir=both] }", [("a", "b", *B)]),
        ("digraph { a -> b [dir=back] }", [("b", "a", *D)]),
        ("digraph { a -> b [dir=none] }", [("a", "b", *U)]),
        ("digraph { a -> b [dir=both, arrowtail=odot arrowhead=normal] }", [("a", "b", *C)]),
        ("digraph { a -> b [dir=both arrowtail=none] }", [("a", "b", *D)]),
        ("digraph { a -> b [arrowhead=none] }", [("a", "b", *U)]),
        ("digraph { edge [dir=both]; a -> b [color=red]; { edge [dir=none] b -> c } c -> d }",
         [("a", "b", *B), ("b", "c", *U), ("c", "d", *B)]),
        ("graph { a -- b -- c }", [("a", "b", *U), ("b", "c", *U)]),
        ("graph { a -- b [dir=forward] }", [("a", "b", *D)]),
        ("digraph { a -> b; a -> b [dir=both] }", [("a", "b", *B), ("a", "b", *D)]),
        ("strict digraph { a -> b; a -> b [dir=both] }", [("a", "b", *B)]),
        ("digraph { rankdir=LR; graph [bgcolor=white] node [shape=box] a->b }", [("a", "b", *D)]),
    ],
)  # fmt: skip
def test_dot_means_what_graphviz_draws(text, expected):
    assert set(edges(text)) == set(
        CausalGraph([*{n for e in expected for n in e[:2]}], expected).edges
    )


def test_dot_latent_nodes_kind_and_labels():
    graph = read_graph(
        "digraph { kind=admg; node [latent=true] u; v [observed=no, latent=no]; "
        'w [latent=no, label="Long name"]; u -> w -> v }'
    )
    assert graph.latent == {"u", "v"} and graph.kind == "admg"
    assert graph.info["labels"] == {"w": "Long name"}
    assert read_graph(
        'digraph { 0 [label="age"] 1 [label="bmi"] 0 -> 1 }', columns=["age", "bmi"]
    ) == (CausalGraph(["age", "bmi"], [("age", "bmi")]))


@pytest.mark.parametrize(
    ("text", "line", "char", "says"),
    [
        ("digraph {\n  a <-> b\n}", 2, 5, "dir=both"),
        ("digraph {\n a -- b }", 2, 4, "dir=none"),
        ("graph {\n a -> b }", 2, 4, "digraph"),
        ("digraph {\n a-b -> c }", 2, 3, "double quotes"),
        ("digraph {\n 2nd -> c }", 2, 2, "double quotes"),
        ("digraph {\n a -> b", 2, 8, "cut off"),
        ('digraph {\n a -> "b', 2, 7, "closing"),
        ("digraph {\n a -> <b", 2, 7, "closing"),
        ("digraph {\n a /* b", 2, 4, "comment"),
        ("digraph { a } digraph { b }", 1, 15, "more text"),
        ("digraph {\n a -> a }", 2, 4, "itself"),
        ('digraph {\n a -> "" }', 2, 7, "empty name"),
        ("digraph {\n a -> b [dir=sideways] }", 2, 4, "forward"),
        ("digraph {\n a -> b [arrowhead=crow] }", 2, 4, "causal meaning"),
        ("digraph {\n a -> b [arrowtail=odot] }", 2, 4, "dir=both"),
        ("digraph {\n a -> b; a -> b [dir=none] }", 2, 12, "contradict"),
        ("digraph {\n a -> node }", 2, 7, "keyword"),
        ('digraph {\n "a\\\\b" -> "a\\b" }', 2, 12, "differ only"),
        ("digraph { kind=tree; a -> b }", 1, 11, "kind"),
    ],
)
def test_dot_refusals_say_where_and_what_to_do(text, line, char, says):
    with pytest.raises(FileFormatError) as caught:
        read_graph(text)
    assert (caught.value.line, caught.value.char) == (line, char)
    assert says in str(caught.value)


# -- dagitty -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected", "kind"),
    [
        ("dag { a <-> b }", [("a", "b", *B)], "admg"),
        ("dag{a <- b}", [("b", "a", *D)], "dag"),
        ("dag { x -> m -> y }", [("x", "m", *D), ("m", "y", *D)], "dag"),
        ("dag { x <- z -> y <-> x }", [("z", "x", *D), ("z", "y", *D), ("x", "y", *B)], "admg"),
        ("dag { a -> {b c} }", [("a", "b", *D), ("a", "c", *D)], "dag"),
        ('dag "my graph" {\n"a b" -> c.1\n1 -> c.1 }',
         [("a b", "c.1", *D), ("1", "c.1", *D)], "dag"),
        ("pdag { a -- b }", [("a", "b", *U)], "cpdag"),
        ("pdag { a -> b }", [("a", "b", *D)], "mpdag"),
        ("pdag { a -> c <- b }", [("a", "c", *D), ("b", "c", *D)], "cpdag"),
        ("mag { a -> b }", [("a", "b", *D)], "pag"),
        ("pag { a @-> b <-@ c }", [("a", "b", *C), ("c", "b", *C)], "pag"),
        ("pag { a @-@ b --@ c @-- d }",
         [("a", "b", "circle", "circle"), ("b", "c", *T), ("c", "d", *T[::-1])],
         "pag"),
    ],
)  # fmt: skip
def test_dagitty(text, expected, kind):
    graph = read_graph(text)
    nodes = {n for e in expected for n in e[:2]}
    assert graph == CausalGraph(sorted(nodes), expected, kind=kind)


def test_dagitty_attributes():
    text = (
        'dag {\nbb="-1,-2,3,4"\nx [exposure,pos="0.5,-1"]\ny [outcome, pos="1,1"]\n'
        "z [adjusted]\nu [latent]\nx -> y [beta=0.3]\nu -> {x y}\n}"
    )
    graph = read_graph(text)
    assert graph.latent == {"u"} and len(graph.edges) == 3
    assert graph.info["roles"] == {"exposure": ("x",), "outcome": ("y",), "adjusted": ("z",)}
    assert graph.info["positions"] == {"x": (0.5, -1.0), "y": (1.0, 1.0)}
    back = read_graph(write_graph(graph, format="dagitty"))
    assert back == graph and dict(back.info) == dict(graph.info)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dag { a -- b }", "no edge '--'"),
        ("dag { a @-> b }", "no edge '@->'"),
        ("pdag { a <-> b }", "no edge '<->'"),
        ("dag { a --> b }", "->"),
        ("dag { a -> b", "cut off"),
        ("dag { a b] }", "]"),
    ],
)
def test_dagitty_refusals(text, says):
    with pytest.raises(FileFormatError, match="line 1, column") as caught:
        read_graph(text)
    assert says in str(caught.value)


# -- GML, GraphML, JSON --------------------------------------------------------------------------


@pytest.fixture
def nasty_networkx():
    return nx.DiGraph([("a b", 'q"uo<te'), ('q"uo<te', "größe & \\"), ("7", "a b")])


def test_networkx_files_are_read(nasty_networkx):
    expected = read_graph(nasty_networkx)
    assert len(expected.edges) == 3
    assert read_graph("\n".join(nx.generate_gml(nasty_networkx))) == expected
    assert read_graph("\n".join(nx.generate_graphml(nasty_networkx))) == expected
    for key in ("links", "edges"):
        data = nx.node_link_data(nasty_networkx, edges=key)
        assert read_graph(json.dumps(data)) == expected


def test_networkx_reads_our_graphml():
    graph = CausalGraph(["a b", "c"], [("a b", "c")])
    assert list(nx.parse_graphml(write_graph(graph, format="graphml")).edges) == [("a b", "c")]
    mixed = CausalGraph(["a", "b"], [("a", "b", "arrow", "arrow")])
    with pytest.raises(nx.NetworkXError):  # rather than taking ↔ for an arrow
        nx.parse_graphml(write_graph(mixed, format="graphml"))


def test_undirected_files_have_no_direction():
    plain = nx.Graph([("a", "b")])
    for text in ("\n".join(nx.generate_gml(plain)), "\n".join(nx.generate_graphml(plain))):
        assert edges(text) == (("a", "b", *U),)
    assert edges(json.dumps(nx.node_link_data(plain, edges="edges"))) == (("a", "b", *U),)
    assert edges("graph [ node [ id 1 ] node [ id 2 ] edge [ source 1 target 2 ] ]") == (
        ("1", "2", *U),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('graph [ node [ id 0 label "a" ] node [ id 1 label "a" ] ]', "two nodes are called 'a'"),
        ("graph [ node [ id 0 ] node [ id 0 ] ]", "twice"),
        ('graph [ node [ id 0 label "a" ] node [ id 1 ] ]', "no label"),
        ("graph [ node [ id 0 ] edge [ source 0 target 5 ] ]", "5, which is not a node"),
        ("graph [ node [ id 0 id 1 ] ]", "stands twice"),
        ("graph [ directed 2 ]", "0 or 1"),
        ("graph [ node [ id 0 ]", "cut off"),
        ("graph [ node [ id ] ]", "no value"),
        ("graph [ ] ]", "']' without"),
        ('graph [ label "x ]', "closing"),
        ("graph [" + " a [" * 200, "100 levels"),
        ("<graphml><graph/></graphml>", "edgedefault"),
        ('<graphml>\n<graph edgedefault="directed"><edge source="a" target="b"/></graph></graphml>',
         "'a', which is not a node"),
        ('<graphml><graph edgedefault="directed"><node id="a"/><node id="a"/></graph></graphml>',
         "twice"),
        ('<graphml><graph edgedefault="directed"><hyperedge/></graph></graphml>', "more than two"),
        ("<graphml><graph>", "not well-formed"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><graphml/>', "document type"),
        ('<!DOCTYPE BIF [<!ENTITY a "b">]><BIF/>', "entity declaration"),
        ("<graphml>" + "<a>" * 200, "100 levels"),
        ('{"nodes": [], "links": [], "edges": []}', "either"),
        ('{"nodes": [{"id": 1}, {"id": "1"}], "links": []}', "two nodes are called '1'"),
        ('{"nodes": [{"id": [1, 2]}], "links": []}', "can't be the id"),
        ('{"nodes": [{"id": true}], "links": []}', "text or a number"),
        ('{"nodes": [{"id": 1, "id": 2}], "links": []}', "stands twice"),
        ('{"nodes": [{"id": NaN}], "links": []}', "NaN"),
        ('{"nodes": [{"id": 1}], "links": [{"source": 1, "target": 2}]}', "2, which is not a node"),
        ('{"nodes": [{"id": 1}],\n "links": [\n {"source": 1}]}', "line 3, column 2"),
        ('{"nodes": [{"id": 1},\n {"id": 1}], "links": []}', "line 2, column 2"),
        ('{"nodes": [', "not valid JSON"),
        ('{"a":' * 200, "100 levels"),
        ('{"format": "workbench-graph", "version": 2}', "version 2"),
        ('{"format": "other"}', "unknown format"),
    ],
)  # fmt: skip
def test_structured_refusals(text, says):
    with pytest.raises(FileFormatError) as caught:
        read_graph(text)
    assert says in str(caught.value)


# -- tables, Tetrad, BIF -----------------------------------------------------------------------


def test_adjacency_orientation_and_weights():
    text = ",a,b\na,0,2.5\nb,0,0\n"
    graph = read_graph(text, format="adjacency")
    assert graph.edges == (("a", "b", *D),) and graph.info["weights"] == {("a", "b"): 2.5}
    assert edges(text, orientation="column->row") == (("b", "a", *D),)
    assert read_graph(",b,a\na,1,0\nb,0,0").edges == (("a", "b", *D),)  # by name, not by place
    assert read_graph(";a;b\na;;1\nb;;").edges == (("a", "b", *D),)


def test_adjacency_with_both_directions_needs_a_class():
    text = ",a,b\na,0,1\nb,1,0\n"
    with pytest.raises(FileFormatError, match="line 2, column 3.*kind='cpdag'"):
        read_graph(text)
    assert read_graph(text, kind="cpdag").edges == (("a", "b", *U),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0,1\n0,0\n", "can't tell"),
        (",a,b\na,0,1\n", "no row for 'b'"),
        (",a,b\na,0,1\nc,0,0\n", "line 3, column 1: row 'c'"),
        (",a,b\na,0,1\nb,0\n", "1 cells"),
        (",a,a\n", "line 1, column 3: the node 'a' is declared twice"),
        (",a,b\na,0,x\nb,0,0\n", "line 2, column 3: the cell is 'x'"),
        (",a,b\na,0,nan\nb,0,0\n", "the cell is 'nan'"),
        (",a,b\na,1,0\nb,0,0\n", "itself"),
        (',a,b\na,0,"1\nb,0,0\n', "not a valid CSV"),
        ("source,target\na,a\n", "line 2, column 1"),
        ("source,target\na\n", "line 2: 1 cells"),
        ("source,target,type\na,b,likes\n", "line 2, column 3: unknown type"),
        ("source,target\na,\n", "empty name"),
        ("source,target,type\na,b,-->\na,b,---\n", "contradict"),
        (";a;b,c;d\n;\n", "can't tell|row ''"),
    ],
)
def test_table_refusals(text, says):
    with pytest.raises(FileFormatError, match=says):
        read_graph(text)


def test_edge_list_types():
    text = "Source,Target,Type,comment\na,b,,x\nb,c,<->,\nc,d,undirected,\nu,,latent,\n,,,\n"
    with pytest.raises(FileFormatError, match="line 6"):
        read_graph(text)
    graph = read_graph(text.removesuffix(",,,\n"))
    assert graph.latent == {"u"} and len(graph) == 5
    assert set(graph.edges) == {("a", "b", *D), ("b", "c", *B), ("c", "d", *U)}


def test_tetrad_text():
    graph = read_graph(
        "Graph Nodes:\na,b c,(l),d\n\nGraph Edges:\n1. a --> b c dd nl\n2. (l) o-> d\n"
        "3. b c <-> d [b c <-> d]:0.9;[no edge]:0.1;\n4. d --- a\n\nAmbiguous triples:\n<a, d, l>\n"
    )
    assert graph.latent == {"l"}
    assert set(graph.edges) == {("a", "b c", *D), ("l", "d", *C), ("b c", "d", *B), ("a", "d", *U)}
    assert graph.info["edge_notes"]["a", "b c"] == "dd nl"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Graph Nodes:\na;b\n", "no section"),
        ("Graph Nodes:\na;b\n\nGraph Edges:\n1. a --> c\n", "line 5, column 4"),
        ("Graph Nodes:\na;b\n\nGraph Edges:\n1. a ==> b\n", "not an edge"),
        ("Graph Nodes:\na;b\n\nGraph Edges:\na --> b\n", "begins with its number"),
        ("Graph Nodes:\na;a\n\nGraph Edges:\n", "declared twice"),
        ("Graph Nodes:\na;b;b dd\n\nGraph Edges:\n1. a --> b dd\n", "more than one way"),
    ],
)
def test_tetrad_refusals(text, says):
    with pytest.raises(FileFormatError, match=says):
        read_graph(text)


BIF = """network test { property "by } hand"; }
variable a { type discrete [ 2 ] { <1, >=1 }; }  // a comment
variable b-2 { type discrete[3]{x+, x-, 0.5}; property p = q; }
probability ( a ) { table 0.5, 0.5; }
probability ( b-2 | a ) { (<1) 1, 0, 0; default 0.2, 0.3, 0.5; }
"""


def test_bif_structure():
    assert edges(BIF) == (("a", "b-2", *D),)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("| a", "| c"), "line 5, column 21: 'c' is not among the nodes"),
        (("[ 2 ]", "[ 3 ]"), "announces 3 states"),
        (("probability ( a ) { table 0.5, 0.5; }", ""), "no probability block"),
        (("variable b-2", "variable a"), "declared twice"),
        (("network", "netwerk"), "unexpected 'netwerk'"),
    ],
)
def test_bif_refusals(change, says):
    with pytest.raises(FileFormatError, match=says.replace("[", r"\[")):
        read_graph(BIF.replace(*change), format="bif")


def test_xmlbif():
    text = (
        '<?xml version="1.0"?>\n<!DOCTYPE BIF [ <!ELEMENT BIF (NETWORK)*> ]>\n<BIF><NETWORK>'
        "<VARIABLE><NAME>a b</NAME></VARIABLE><VARIABLE><NAME>c</NAME></VARIABLE>"
        "<DEFINITION><FOR>a b</FOR></DEFINITION>"
        "<DEFINITION><FOR>c</FOR><GIVEN>a b</GIVEN></DEFINITION></NETWORK></BIF>"
    )
    assert edges(text) == (("a b", "c", *D),)
    with pytest.raises(FileFormatError, match="no probability"):
        read_graph(text.replace("<DEFINITION><FOR>a b</FOR></DEFINITION>", ""))


@needs_data
def test_all_networks_have_the_published_size():
    folder = Path(DATA) / "bnlearn"
    rows = [
        [cell.strip() for cell in line.split("|")[1:4]]
        for line in (folder / "README.md").read_text().splitlines()
        if line.count("|") == 8 and line.split("|")[2].strip().isdigit()
    ]
    assert len(rows) == 16
    for name, nodes, arcs in rows:
        graph = read_graph(folder / f"{name}.bif.gz")
        assert (graph.kind, len(graph), len(graph.edges)) == ("dag", int(nodes), int(arcs))


@needs_data
def test_sachs_in_two_formats_agrees():
    folder = Path(DATA) / "sachs"
    matrix = read_graph(folder / "consensus_adjacency.csv")
    assert matrix == read_graph(folder / "consensus_graph.tetrad.txt") and len(matrix.edges) == 20


# -- the front door ----------------------------------------------------------------------------


def test_the_content_decides_never_a_part_of_the_path(tmp_path):
    for name in ("my.dot.notes", "graph.gml.txt", "x"):
        (tmp_path / name).write_text("dag { a <-> b }")
        assert edges(tmp_path / name) == (("a", "b", *B),)
    (tmp_path / "g.dot").write_text("dag { a <-> b }")
    with pytest.raises(FileFormatError, match="g.dot"):
        read_graph(tmp_path / "g.dot")


def test_files_may_be_packed_and_have_a_byte_order_mark(tmp_path):
    expected = CausalGraph(["ä", "b"], [("ä", "b")])
    (tmp_path / "a.gv.gz").write_bytes(gzip.compress("digraph { ä -> b }".encode()))
    (tmp_path / "b.gv").write_bytes("digraph { ä -> b }".encode("utf-8-sig"))
    (tmp_path / "c.gv").write_bytes("digraph { ä -> b }".encode("utf-16"))
    (tmp_path / "d.gv").write_bytes("digraph {\r\n ä -> b\r\n}".encode())
    for name in ("a.gv.gz", "b.gv", "c.gv", "d.gv"):
        assert read_graph(tmp_path / name) == expected
    (tmp_path / "e.gv").write_bytes(b"digraph {\n \xe4 -> b }")
    with pytest.raises(FileFormatError, match="e.gv, line 2, column 2: not UTF-8"):
        read_graph(tmp_path / "e.gv")
    packed = gzip.compress(b"digraph { a -> b }")
    (tmp_path / "f.gv.gz").write_bytes(packed[:-6])
    with pytest.raises(FileFormatError, match="broken gzip"):
        read_graph(tmp_path / "f.gv.gz")


def test_a_cycle_names_its_nodes_and_the_file(tmp_path):
    path = tmp_path / "loop.dot"
    path.write_text("digraph { a -> b -> c -> a }")
    with pytest.raises(GraphError, match="a -> b -> c -> a.*loop.dot"):
        read_graph(path)


@pytest.mark.parametrize("source", ["no_such_file.dot", "word", "a -> b", "", "x" * 10_000_000])
def test_what_is_neither_file_nor_graph_is_refused_at_once(source):
    start = time.process_time()
    with pytest.raises(FileFormatError):
        read_graph(source)
    assert time.process_time() - start < 2


def test_a_misspelt_path_gets_a_suggestion(tmp_path):
    write_graph(CausalGraph(["a"]), tmp_path / "smoking.json")
    with pytest.raises(FileFormatError, match="Did you mean 'smoking.json'"):
        read_graph(tmp_path / "smokin.json")
    with pytest.raises(ParameterError, match="Did you mean 'graphml'"):
        read_graph("dag { }", format="graphlm")
    with pytest.raises(FileFormatError, match="regular file"):
        read_graph(tmp_path)
    with pytest.raises(ParameterError, match="networkx"):
        read_graph(3)


def test_columns_are_checked():
    assert read_graph("dag { a -> b; u [latent] }", columns=["b", "a", "z"])
    with pytest.raises(GraphError, match="'aeg'.*Did you mean 'age'"):
        read_graph("dag { aeg -> b }", columns=["age", "b"])


def test_kind_overrules():
    assert read_graph("dag { a -> b }", kind="pag").kind == "pag"
    with pytest.raises(GraphError, match="not allowed"):
        read_graph("dag { a <-> b }", kind="dag")
    with pytest.raises(GraphError, match="kind must be one of"):
        read_graph("dag { a }", kind="tree")


def test_nothing_heavy_is_loaded():
    heavy = "networkx matplotlib causallearn dowhy torch sklearn scipy".split()
    code = (
        "import sys; from workbench.graph import read_graph, write_graph, CausalGraph;"
        "g = read_graph('digraph { a -> b }'); write_graph(g); g._repr_svg_();"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_nothing_is_overwritten_without_force(tmp_path):
    path = tmp_path / "g.dot"
    write_graph(CausalGraph(["a"]), path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        write_graph(CausalGraph(["b"]), path)
    assert path.read_bytes() == before
    write_graph(CausalGraph(["b"]), path, force=True)
    assert read_graph(path).nodes == ("b",)
    assert [p.name for p in tmp_path.iterdir()] == ["g.dot"]
    with pytest.raises(ParameterError, match="Choose one of"):
        write_graph(CausalGraph(["b"]), tmp_path / "g.bif")


def test_what_a_format_cannot_carry_is_named():
    graph = CausalGraph(["a", "b"], [("a", "b")], latent=["a"], kind="pag")
    with pytest.warns(CausalWarning) as caught:
        write_graph(graph, format="adjacency")
    assert ["latent" in str(w.message) for w in caught] == [True, False]
    assert caught[0].message.columns == ("a",) and caught[0].filename == __file__
    with pytest.warns(CausalWarning, match="kind 'pag'.*'dag'"):
        write_graph(graph, format="edges")
    with pytest.raises(FileFormatError, match="'x;y'"):
        write_graph(CausalGraph(["x;y"]), format="tetrad")
    with pytest.raises(FileFormatError, match="XML"):
        write_graph(CausalGraph(["x\x01"]), format="graphml")


# -- size and hostility ------------------------------------------------------------------------


def test_a_hundred_megabytes_are_refused_at_once(tmp_path):
    path = tmp_path / "large.dot"
    with open(path, "wb") as file:
        file.truncate(100_000_000)
    bomb = tmp_path / "bomb.dot.gz"
    bomb.write_bytes(gzip.compress(b" " * 60_000_000, 1))
    for source in (path, bomb):
        start = time.process_time()
        with pytest.raises(FileFormatError, match="larger than 50 MB"):
            read_graph(source)
        assert time.process_time() - start < 2
    with pytest.raises(FileFormatError, match="larger than 1e-05 MB"):
        read_graph("digraph { a }", max_bytes=10)


@pytest.mark.parametrize("format", READERS)
@pytest.mark.parametrize(
    "unit", ["{", "[", '"', '"\\', "<", "/*", "a ", "a -> ", ",", "\n", "(", "o"]
)
def test_repetition_does_not_take_long(format, unit):
    start = time.process_time()
    for lead in (
        "",
        "digraph {",
        "dag {",
        "graph [",
        '{"a":"',
        "Graph Nodes:\na\nGraph Edges:\n1. a ",
    ):
        try:
            read_graph(lead + unit * 20_000 + "\n", format=format)
        except (FileFormatError, GraphError):
            pass
    assert time.process_time() - start < 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format", "lead", "unit"),
    [
        ("dot", "digraph {", "a;"),
        ("dot", 'digraph { "a"', '+"a"'),
        ("dagitty", "dag {", "a "),
        ("gml", "graph [", " a 1"),
        ("graphml", "<graphml>", "<a/>x"),
        ("json", "[", "[],"),
        ("json", '"', '\\"'),
        ("bif", "network ", "x "),
        ("adjacency", "", "a,"),
    ],
)
def test_forty_megabytes_of_nonsense_end(format, lead, unit):
    start = time.process_time()
    with pytest.raises(FileFormatError):
        read_graph(lead + unit * (40_000_000 // len(unit)) + "\n", format=format)
    assert time.process_time() - start < 60


def test_products_of_groups_are_bounded():
    group = "{" + " ".join(f"n{i}" for i in range(600)) + "}"
    with pytest.raises(FileFormatError, match="300,000 edges"):
        read_graph(f"digraph {{ {group} -> {group.replace('n', 'm')} }}")


@pytest.fixture(scope="module")
def valid_files():
    graph = CausalGraph(
        ["age at", 'q"', "größe", "d", "e"],
        [("age at", 'q"'), ('q"', "größe"), ("d", "e"), ("age at", "e")],
        latent=["d"],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files = {f: write_graph(graph.rename({'q"': "q"}), format=f) for f in WRITERS}
    files["gml"] = "\n".join(nx.generate_gml(nx.DiGraph([("a", "b"), ("b", "c d")])))
    files["bif"] = BIF
    files["xmlbif"] = (
        "<BIF><NETWORK><VARIABLE><NAME>a</NAME></VARIABLE>"
        "<DEFINITION><FOR>a</FOR></DEFINITION></NETWORK></BIF>"
    )
    return files


@pytest.mark.parametrize("format", READERS)
def test_broken_files_are_refused_or_read_but_never_crash(valid_files, format):
    text = valid_files[format]
    read_graph(text, format=format)
    rng = random.Random(0)
    broken = [text[:k] for k in range(0, len(text), max(1, len(text) // 150))]
    for _ in range(400):
        data = bytearray(text.encode())
        for _ in range(rng.choice((1, 1, 2, 8))):
            data[rng.randrange(len(data))] = (
                rng.choice(b"\"'<>{}[]()\\-;,=\n\0 a1")
                if (rng.random() < 0.6)
                else rng.randrange(256)
            )
        broken.append(data.decode("utf-8", "replace"))
    start = time.process_time()
    for candidate in broken:
        try:
            read_graph(candidate + "\n", format=format)
        except (FileFormatError, GraphError):
            pass
    assert time.process_time() - start < 2


@pytest.mark.parametrize("format", ["dot", "json", "dagitty", "gml", "bif", "graphml", "xmlbif"])
def test_a_file_that_was_cut_off_is_noticed(valid_files, format):
    text = valid_files[format].rstrip()
    for k in range(1, len(text), 7):
        with pytest.raises((FileFormatError, GraphError)):
            read_graph(text[:-k] + "\n", format=format)


@pytest.mark.parametrize("format", WRITERS)
def test_twenty_thousand_edges_take_less_than_two_seconds(format):
    rng = random.Random(0)
    names = [f"v {i}" for i in range(1000)]
    pairs = {tuple(sorted(rng.sample(range(1000), 2))) for _ in range(20_500)}
    graph = CausalGraph(names, [(names[i], names[j]) for i, j in sorted(pairs)[:20_000]])
    start = time.process_time()
    text = write_graph(graph, format=format)
    middle = time.process_time()
    assert read_graph(text, format=format) == graph
    assert middle - start < 2 and time.process_time() - middle < 2
