import copy

import numpy as np
import pandas as pd
import pytest

from workbench import CausalGraph, CausalWarning, GraphEnsemble, Knowledge, load, save
from workbench.core.errors import FileFormatError, GraphError
from workbench.graph import bootstrap, discover, discovery, read_graph, write_graph
from workbench.graph.origins import Origin


@pytest.fixture
def dag():
    return CausalGraph(
        ["a", "b", "c", "d"],
        [("a", "b"), ("b", "c"), ("c", "d")],
        origins={("a", "b"): ("learned", 1 / 3), ("b", "c"): "required"},
    )


@pytest.fixture
def mixed():
    return CausalGraph(
        ["a", "b", "c"],
        [("a", "b"), ("a", "b", "arrow", "arrow"), ("b", "c", "circle", "arrow")],
        kind="pag",
        origins={("b", "a", "arrow", "arrow"): "learned", ("c", "b", "arrow", "circle"): "learned"},
    )


def test_an_edge_is_drawn_unless_something_else_is_said(dag, mixed):
    assert dag.origin("a", "b") == Origin("learned", 1 / 3)
    assert dag.origin("c", "b") == Origin("required")
    assert dag.origin("c", "d") == Origin("drawn")
    assert mixed.origin("b", "a", "arrow", "arrow").source == "learned"
    assert mixed.origin("a", "b", "tail", "arrow").source == "drawn"


def test_origins_play_no_part_in_equality(dag):
    assert dag == dag.with_origins({}) and hash(dag) == hash(dag.with_origins({}))


@pytest.mark.parametrize("name", ["dag", "mixed"])
@pytest.mark.parametrize("format", ["json", "graphml", "dot"])
def test_files_keep_origins(name, format, request, tmp_path):
    graph = request.getfixturevalue(name)
    back = read_graph(write_graph(graph, tmp_path / f"g.{format}"))
    assert back == graph and back.origins == graph.origins


@pytest.mark.parametrize("name", ["dag", "mixed"])
def test_other_forms_keep_origins(name, request, tmp_path):
    graph = request.getfixturevalue(name)
    save(graph, tmp_path / "g")
    forms = [load(tmp_path / "g"), copy.deepcopy(graph), read_graph(graph.to_networkx())]
    for back in forms:
        assert back == graph and back.origins == graph.origins


@pytest.mark.parametrize("format", ["dagitty", "adjacency", "edges", "tetrad"])
def test_formats_that_lose_origins_say_so(dag, format, recwarn):
    write_graph(dag.with_origins({}), format=format)
    assert not recwarn.list
    with pytest.warns(CausalWarning, match="which edges were learned or required"):
        write_graph(dag, format=format)


def test_attributes_of_other_tools_are_left_alone():
    graph = read_graph(
        'digraph { a -> b [origin="NYC", confidence=high]; b -> c [origin=learned] }'
    )
    assert graph.origin("a", "b").source == "drawn"
    assert graph.origin("b", "c") == Origin("learned")


def test_our_own_files_must_be_right():
    text = write_graph(
        CausalGraph(["a", "b"], [("a", "b")], origins={("a", "b"): ("learned", 0.5)})
    )
    for wrong in (text.replace('"learned"', '"guessed"'), text.replace("0.5", "1.5")):
        with pytest.raises(FileFormatError, match=r"line \d+, column \d+.*origin"):
            read_graph(wrong)


@pytest.mark.parametrize(
    ("origins", "message"),
    [
        ({("a", "d"): "learned"}, "'a'.*edge to 'd' that is not in the graph"),
        ({("x", "y"): "learned"}, "'x'.*not in the graph"),
        ({("a", "b"): "guessed"}, "unknown origin"),
        ({("a", "b"): ("learned", 2)}, "no share between 0 and 1"),
        ({("a", "b"): ("learned", True)}, "no share"),
    ],
)
def test_what_is_no_origin_is_refused(dag, origins, message):
    with pytest.raises(GraphError, match=message):
        dag.with_origins(origins)


def test_graphs_made_from_a_graph_keep_what_they_share(dag):
    assert dag.rename({"a": "z"}).origin("z", "b").confidence == 1 / 3
    assert dag.subgraph(["a", "b"]).origin("a", "b").source == "learned"
    assert dag.cpdag().origin("a", "b").source == "learned"
    for member in dag.cpdag().members():
        assert member.origin("a", "b").source == "learned"
        assert member.origin("c", "d").source == "drawn"
    assert dag.without_info().origins == dag.origins


def test_edges_edited_by_hand_are_drawn(dag):
    turned = dag.edited(add=[("b", "a")], remove=[("a", "b")])
    assert turned.origin("a", "b").source == "drawn"
    assert turned.origin("b", "c").source == "required"
    assert turned.kind == "dag" and not turned.has_edge("a", "b")
    with pytest.raises(GraphError, match="'a': has no edge to 'd'"):
        dag.edited(remove=[("a", "d")])


@pytest.fixture(scope="module")
def table():
    r = np.random.default_rng(0)
    a, b, c = r.normal(size=(3, 400))
    return pd.DataFrame({"a": a, "b": a + b, "c": c})


@pytest.mark.filterwarnings("ignore::workbench.CausalWarning")
@pytest.mark.parametrize("method", sorted(set(discovery.METHODS) - {"dagma"}))
def test_searches_say_what_was_learned_and_what_was_required(table, method):
    knowledge = Knowledge(required=[("c", "b")])
    graph = getattr(discovery, method)(table, knowledge=knowledge)
    assert graph.origin("c", "b").source == "required"
    assert graph.origin("a", "b").source == "learned"


def test_the_front_door_says_the_same(table):
    assert discover(table).origins == discovery.boss(table).origins


@pytest.mark.filterwarnings("ignore::workbench.CausalWarning")
def test_confidence_is_the_share_of_resamples_that_join_the_ends(table):
    ensemble = bootstrap(table, n_boot=10, knowledge=Knowledge(required=[("c", "b")]))
    graph = ensemble.with_confidence(ensemble.info["whole_table"])
    share = ensemble.edge_confidence("a", "b", "any")
    assert graph.origin("a", "b") == Origin("learned", share)
    assert graph.origin("c", "b") == Origin("required")
    assert ensemble.consensus().origin("a", "b") == Origin("learned", share)
    assert all(dag.origin("c", "b").source == "required" for dag, _ in ensemble.members())


def test_drawn_edges_get_no_confidence(dag):
    ensemble = GraphEnsemble([dag, dag.edited(remove=[("a", "b")])])
    graph = ensemble.with_confidence(dag)
    assert graph.origin("a", "b").confidence == 0.5
    assert graph.origin("c", "d") == Origin("drawn")
