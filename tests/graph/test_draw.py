import random
import re
import time
import xml.etree.ElementTree as ET

import matplotlib
import pytest

matplotlib.use("Agg")

from workbench.core.errors import GraphError, ParameterError
from workbench.graph import CausalGraph
from workbench.graph.draw import plot, svg
from workbench.graph.layout import layout
from workbench.graph.routing import bezier

SVG = "{http://www.w3.org/2000/svg}"


def random_dag(nodes, edges, seed):
    rng = random.Random(seed)
    pairs = set()
    while len(pairs) < edges:
        pairs.add(tuple(sorted(rng.sample(range(nodes), 2))))
    names = [f"variable {i}" if i % 5 == 0 else f"v{i}" for i in range(nodes)]
    return CausalGraph(names, [(names[i], names[j]) for i, j in sorted(pairs)])


def mixed():
    return CausalGraph(
        ["a", "b", "c", "d", "e", "lone"],
        [
            ("a", "b", "circle", "arrow"),
            ("b", "c", "circle", "circle"),
            ("c", "d"),
            ("c", "d", "arrow", "arrow"),
            ("a", "d", "arrow", "arrow"),
            ("d", "e", "tail", "tail"),
        ],
        latent=["e"],
    )


CASES = [
    CausalGraph([]),
    CausalGraph(["only"]),
    CausalGraph(["a", "b"]),
    CausalGraph(["a", "b"], [("a", "b", "arrow", "arrow")]),
    mixed(),
    random_dag(6, 8, 0),
    random_dag(12, 20, 1),
    random_dag(40, 60, 2),
    random_dag(60, 90, 3),
]


@pytest.mark.parametrize("graph", CASES, ids=repr)
def test_everything_is_inside_and_nothing_overlaps(graph):
    placed = layout(graph)
    boxes = list(placed.boxes.values())
    assert set(placed.boxes) == set(graph.nodes)
    assert sorted((c.u, c.v, *c.marks) for c in placed.curves) == list(graph.edges)
    for i, a in enumerate(boxes):
        assert 0 < a.x - a.width / 2 and a.x + a.width / 2 < placed.width
        assert 0 < a.y - a.height / 2 and a.y + a.height / 2 < placed.height
        for b in boxes[:i]:
            apart_x = abs(a.x - b.x) - (a.width + b.width) / 2
            apart_y = abs(a.y - b.y) - (a.height + b.height) / 2
            assert max(apart_x, apart_y) >= 2
    for curve in placed.curves:
        for x, y in curve.points:
            assert 0 <= x <= placed.width and 0 <= y <= placed.height


@pytest.mark.parametrize("seed", range(12))
def test_no_edge_runs_through_the_label_of_another_node(seed):
    graph = random_dag(10 + 4 * seed, 14 + 6 * seed, seed)
    placed = layout(graph)
    for curve in placed.curves:
        for k in range(0, len(curve.points) - 1, 3):
            for step in range(21):
                x, y = bezier(curve.points[k : k + 4], step / 20)
                for node, box in placed.boxes.items():
                    inside = (
                        abs(x - box.x) < box.width / 2 - 4 and abs(y - box.y) < box.height / 2 - 4
                    )
                    assert not inside, (curve.u, curve.v, node)


@pytest.mark.parametrize("graph", CASES[5:], ids=repr)
def test_causes_are_above_their_effects(graph):
    boxes = layout(graph).boxes
    for u, v in graph.directed_edges():
        assert boxes[u].y + boxes[u].height / 2 < boxes[v].y - boxes[v].height / 2


def test_a_tree_has_no_crossings():
    tree = CausalGraph(
        [str(i) for i in range(15)], [(str((i - 1) // 2), str(i)) for i in range(1, 15)]
    )
    boxes = layout(tree).boxes
    for u1, v1 in tree.directed_edges():
        for u2, v2 in tree.directed_edges():
            if boxes[u1].y == boxes[u2].y and boxes[u1].x < boxes[u2].x:
                assert boxes[v1].x < boxes[v2].x


@pytest.mark.parametrize("graph", CASES, ids=repr)
def test_svg_is_well_formed_and_fits_a_notebook(graph):
    root = ET.fromstring(svg(graph))
    assert root.tag == f"{SVG}svg" and 0 < int(root.get("width")) <= 720
    _, _, width, height = map(float, root.get("viewBox").split())
    assert int(root.get("height")) / int(root.get("width")) == pytest.approx(
        height / width, rel=0.05
    )
    assert len(root.findall(f"{SVG}g")) == len(graph.nodes)
    assert len(root.findall(f"{SVG}path")) == len(graph.edges)
    heads = sum(m == "arrow" for e in graph.edges for m in e[2:])
    rings = sum(m == "circle" for e in graph.edges for m in e[2:])
    assert len(root.findall(f"{SVG}polygon")) == heads
    assert len(root.findall(f"{SVG}circle")) == rings
    assert svg(graph) == svg(graph)


def test_two_headed_edges_and_latent_nodes_are_dashed():
    root = ET.fromstring(svg(mixed()))
    dashed = [p for p in root.findall(f"{SVG}path") if p.get("stroke-dasharray")]
    assert len(dashed) == 2 and {p.get("stroke") for p in dashed} == {"#c2410c"}
    groups = root.findall(f"{SVG}g")
    assert [bool(g.find(f"{SVG}rect").get("stroke-dasharray")) for g in groups].count(True) == 1


def test_names_are_escaped():
    names = [
        "<script>alert(1)</script>",
        "a&b",
        'q"',
        "]]>",
        "\x00\ud800",
        "&#x;",
        "two\nlines",
        " ",
    ]
    text = svg(CausalGraph(names, [(names[0], names[1])]))
    assert "<script" not in text
    shown = [g.find(f"{SVG}title").text for g in ET.fromstring(text).findall(f"{SVG}g")]
    assert shown[0] == names[0] and shown[1] == names[1]
    with pytest.raises(ParameterError, match="colour name"):
        svg(CausalGraph(["a"]), highlight={"a": '"/><script>'})


def test_long_names_are_wrapped():
    name = "an exceedingly long name of a variable that somebody typed into a spreadsheet"
    for text in (name, name.replace(" ", "_"), name.replace(" ", ""), "身長" * 40):
        box = layout(CausalGraph([text])).boxes[text]
        assert box.width < 160 and 1 < len(box.lines) <= 4
    assert layout(CausalGraph(["x"])).boxes["x"].lines == ("x",)


def test_weights_and_highlights():
    graph = CausalGraph(["a", "b", "c"], [("a", "b"), ("b", "c"), ("a", "c", "arrow", "arrow")])
    text = svg(
        graph, weights={("a", "b"): 0.9, ("c", "b"): 0.1}, highlight={"a": 1, "b": 2, "c": "teal"}
    )
    assert ">0.9</text>" in text and ">0.1</text>" in text and 'fill="teal"' in text
    widths = [float(w) for w in re.findall(r'stroke-width="([\d.]+)"/>', text)]
    assert max(widths) > 2 * min(widths)
    with pytest.raises(GraphError, match="no edge"):
        svg(graph, weights={("b", "b"): 1.0})
    with pytest.raises(GraphError, match="is not in the graph"):
        svg(graph, highlight={"zzz": 1})
    with pytest.raises(ParameterError, match="finite"):
        svg(graph, weights={("a", "b"): float("nan")})
    with pytest.raises(ParameterError, match="finite"):
        svg(graph, highlight={"a": float("inf")})


def test_labels_cover_neither_nodes_nor_each_other():
    from workbench.graph.draw import _edges

    graph = random_dag(11, 20, 4)
    placed = layout(graph)
    weights = {(u, v): 0.5 for u, v in graph.directed_edges()}
    spots = [s.label[1] for s in _edges(placed, weights, graph)]
    clashes = sum(
        abs(x1 - x2) < 14 and abs(y1 - y2) < 8
        for i, (x1, y1) in enumerate(spots)
        for x2, y2 in spots[:i]
    )
    assert clashes == 0


def test_a_hairball_is_described():
    text = svg(random_dag(300, 400, 0))
    assert "300 nodes, 400 edges" in ET.fromstring(text).find(f"{SVG}text").text


def test_a_large_picture_takes_less_than_two_seconds():
    start = time.process_time()
    svg(random_dag(250, 600, 0))
    assert time.process_time() - start < 2


def test_plot_draws_into_the_given_axes():
    from matplotlib import pyplot as plt

    figure, ax = plt.subplots()
    assert plot(mixed(), ax=ax) is ax
    shown = {t.get_text() for t in ax.texts}
    assert shown == set(mixed().nodes)
    plt.close(figure)
    dollars = CausalGraph(["$x$", "a_b", "\\alpha"], [("$x$", "a_b")])
    ax = dollars.plot(weights={("$x$", "a_b"): 0.25}, highlight={"a_b": 0.5})
    assert {"$x$", "a_b", "\\alpha", "0.25"} == {t.get_text() for t in ax.texts}
    ax.figure.canvas.draw()
    plt.close(ax.figure)
    for graph in (CausalGraph([]), CausalGraph(["a"])):
        plt.close(plot(graph).figure)


def test_labels_fit_into_their_boxes():
    from matplotlib import pyplot as plt

    names = ["WWWWWWWW", "minimum", "illicit", "Größe in cm", "x", "ALARM MESSAGE"]
    ax = plot(CausalGraph(names))
    renderer = ax.figure.canvas.get_renderer()
    for text, box in zip(ax.texts, layout(CausalGraph(names)).boxes.values(), strict=True):
        assert len(box.lines) == 1
        drawn = text.get_window_extent(renderer).transformed(ax.transData.inverted())
        assert abs(drawn.width) < box.width - 6
    plt.close(ax.figure)


# -- where edges come from --------------------------------------------------------------------


def lines_of(text, tag="path"):
    return ET.fromstring(text).findall(f"{SVG}{tag}")


def words_of(text):
    return [t.text for t in ET.fromstring(text).findall(f"{SVG}text")]


def test_a_graph_of_one_origin_looks_the_same_whatever_it_is():
    edges = [("a", "b"), ("b", "c")]
    drawn = CausalGraph(["a", "b", "c"], edges)
    learned = drawn.with_origins(dict.fromkeys(edges, "learned"))
    assert svg(drawn) == svg(learned)


def test_drawn_required_and_learned_edges_have_lines_of_their_own():
    graph = CausalGraph(
        ["a", "b", "c", "d"],
        [("a", "b"), ("b", "c"), ("c", "d")],
        origins={("a", "b"): ("learned", 0.25), ("b", "c"): "required"},
    )
    text = svg(graph)
    lines = lines_of(text)
    assert len(lines) == 4  # the drawn edge is a double line
    assert sum(line.get("stroke-dasharray") is not None for line in lines) == 1
    words = words_of(text)
    assert words[0] == "0.25"  # the number on the line
    assert words[1:4] == ["drawn", "required by knowledge", "learned"]
    assert words[4].startswith("number: share of resamples")
    root = ET.fromstring(text)
    height = float(root.get("viewBox").split()[3])
    assert all(0 < float(t.get("y")) < height for t in root.iter(f"{SVG}text"))
    axes = plot(graph)
    assert {"drawn", "required by knowledge", "learned"} <= {t.get_text() for t in axes.texts}


def test_numbers_that_the_caller_gives_replace_the_confidence():
    graph = CausalGraph(["a", "b"], [("a", "b")], origins={("a", "b"): ("learned", 0.25)})
    assert words_of(svg(graph))[0] == "0.25"
    assert words_of(svg(graph, weights={("a", "b"): 0.5})) == ["0.5"]
    assert words_of(svg(graph, weights={})) == []
