from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from workbench import CausalGraph, Knowledge, load, save
from workbench.core.errors import FileFormatError, GraphError, QuestionError


def random_knowledge(rng, dag):
    """Knowledge that is true of the DAG."""
    order = list(dag.topological_order())
    a, b = sorted(rng.choice(len(order) + 1, 2))
    edges = sorted(dag.directed_edges())
    pairs = [(u, v) for u in order for v in order if u < v and not dag.marks(u, v)]
    return Knowledge(
        tiers=[order[:a], order[a:b], order[b:]] if rng.random() < 0.5 else [],
        required=[e for e in edges if rng.random() < 0.2],
        forbidden=[(v, u) for u, v in edges if rng.random() < 0.2],
        not_adjacent=[p for p in pairs if rng.random() < 0.1],
        no_parents=[n for n in order if not dag.parents(n) and rng.random() < 0.2],
        no_children=[n for n in order if not dag.children(n) and rng.random() < 0.2],
    )


def test_tiers_forbid_edges_back_in_time_and_say_nothing_about_the_rest():
    k = Knowledge(tiers=[["a", "b"], "c"], closed_tiers=[0])
    assert k.allows("a", "c") and not k.allows("c", "a")
    assert not k.allows("a", "b") and not k.allows("b", "a")
    assert k.allows("free", "a") and k.allows("c", "free")


def test_required_edges_forbid_their_own_reversal_over_any_distance():
    k = Knowledge(required=[("a", "b"), ("b", "c")])
    assert k.requires("a", "b") and not k.requires("b", "a")
    assert not k.allows("b", "a") and not k.allows("c", "a")
    assert k.allows("a", "c")


def test_roots_and_sinks():
    k = Knowledge(no_parents="age", no_children="outcome")
    assert not k.allows("x", "age") and k.allows("age", "x")
    assert not k.allows("outcome", "x") and k.allows("x", "outcome")


def test_both_directions_forbidden_is_no_adjacency():
    both = Knowledge(forbidden=[("a", "b"), ("b", "a")])
    assert both == Knowledge(not_adjacent=[("b", "a")])
    assert both.violations(CausalGraph(["a", "b"], [("a", "b", "arrow", "arrow")]))


@pytest.mark.parametrize(
    ("pieces", "named"),
    [
        ({"tiers": [["a"], ["b"]], "required": [("b", "a")]}, "later tier"),
        ({"tiers": [["a", "b"]], "closed_tiers": [0], "required": [("b", "a")]}, "one tier"),
        ({"tiers": [["a"], ["b", "a"]]}, "tier 0 and in tier 1"),
        ({"required": [("a", "b"), ("b", "c"), ("c", "a")]}, "a -> b -> c -> a"),
        ({"required": [("a", "b")], "forbidden": [("a", "b")]}, "it is forbidden"),
        ({"required": [("a", "b")], "not_adjacent": [("b", "a")]}, "not adjacent"),
        ({"required": [("a", "b")], "no_parents": ["b"]}, "'b' has no parents"),
        ({"required": [("a", "b")], "no_children": ["a"]}, "'a' has no children"),
        ({"required": [("a", "a")]}, "itself"),
        ({"tiers": [["a"]], "closed_tiers": [1]}, "closed_tiers"),
        ({"tiers": "ab"}, "groups of names"),
        ({"required": ["ab"]}, "pairs of names"),
    ],
)
def test_contradictions_are_named_at_construction(pieces, named):
    with pytest.raises(GraphError, match=named):
        Knowledge(**pieces)


def test_merging_keeps_every_statement_of_both(random_dag):
    rng = np.random.default_rng(0)
    for _ in range(50):
        dag = random_dag(rng, 6)
        first, second = random_knowledge(rng, dag), random_knowledge(rng, dag)
        both = first & second
        for u, v in permutations(dag.nodes, 2):
            if not (first.allows(u, v) and second.allows(u, v)):
                assert not both.allows(u, v)
            assert both.requires(u, v) == (first.requires(u, v) or second.requires(u, v))
        assert not both.violations(dag)


def test_merging_contrary_time_orders_is_refused():
    with pytest.raises(GraphError, match="later tier"):
        Knowledge(tiers=["a", "b"]) & Knowledge(tiers=["b", "a"])


def test_the_matrix_agrees_with_the_single_question(random_dag):
    rng = np.random.default_rng(1)
    for _ in range(50):
        dag = random_dag(rng, 7)
        k = random_knowledge(rng, dag)
        matrix = k.allowed(dag.nodes)
        for i, u in enumerate(dag.nodes):
            for j, v in enumerate(dag.nodes):
                if i != j:
                    assert matrix[i, j] == k.allows(u, v)


def test_apply_keeps_exactly_the_members_that_agree(random_dag):
    rng = np.random.default_rng(2)
    for _ in range(100):
        dag = random_dag(rng, 5)
        k = random_knowledge(rng, dag)
        narrowed = k.apply(dag.cpdag())
        agreeing = {m for m in dag.cpdag().members(limit=500) if not k.violations(m)}
        assert {CausalGraph(m.nodes, m.edges) for m in narrowed.members(limit=500)} == agreeing
        assert not k.violations(narrowed)
        # Closed under Meek's rules: an edge that all members share is directed.
        for u, v, *marks in narrowed.edges:
            if marks == ["tail", "tail"]:
                assert len({m.has_edge(u, v) for m in agreeing}) == 2


def test_apply_names_the_edge_in_conflict():
    collider = CausalGraph(["a", "b", "c"], [("a", "c"), ("b", "c")]).cpdag()
    with pytest.raises(GraphError, match="a -> c"):
        Knowledge(forbidden=[("a", "c")]).apply(collider)
    with pytest.raises(GraphError, match="a -> b is required"):
        Knowledge(required=[("a", "b")]).apply(collider)
    with pytest.raises(QuestionError, match="Did you mean 'a'"):
        Knowledge(no_parents=["aa"]).apply(collider)


def test_apply_labels_what_knowledge_oriented():
    line = CausalGraph(["a", "b"], [("a", "b", "tail", "tail")])
    assert Knowledge(tiers=["a", "b"]).apply(line).kind == "mpdag"
    assert Knowledge(no_parents=["a"]).apply(line).has_edge("a", "b")
    assert Knowledge().apply(line) == line


def test_an_edge_left_open_against_knowledge_is_a_violation():
    line = CausalGraph(["a", "b"], [("a", "b", "tail", "tail")])
    assert "not oriented" in Knowledge(tiers=["a", "b"]).violations(line)[0]


def test_text_round_trip_with_odd_names():
    names = ["with blank", 'q"uote', "back\\slash", "a->b", "ü", "//x", "noparents", "new\nline"]
    k = Knowledge(
        tiers=[names[:2], names[2:4]],
        required=[(names[0], names[4])],
        forbidden=[(names[5], names[6])],
        not_adjacent=[(names[1], names[7])],
        no_parents=[names[6]],
        no_children=[names[7]],
        closed_tiers=[1],
    )
    assert Knowledge.from_text(k.to_text()) == k
    spelled = Knowledge.from_text(k.to_text(columns=names))
    assert np.array_equal(spelled.allowed(names), k.allowed(names))
    assert "noparents\n" not in k.to_text(columns=["x"]).replace('"noparents"', "")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("addtemporal", 1),
        ("/knowledge\naddtemporal\nfirst a b", 3),
        ("/knowledge\nforbiddirect\na b c", 3),
        ("/knowledge\nrequiredirect\n\na", 4),
        ('/knowledge\naddtemporal\n1 "a', 3),
        ("/knowledge\nforbiddengroup\na b", 2),
        ("/knowledge\naddtemporal\n1- a", 3),
    ],
)
def test_a_file_that_is_not_understood_is_refused_with_its_line(text, line):
    with pytest.raises(FileFormatError) as caught:
        Knowledge.from_text(text)
    assert caught.value.line == line


def test_saving(tmp_path):
    k = Knowledge(tiers=[["a"], ["b"]], required=[("a", "b")], no_parents=["c"])
    save(k, tmp_path / "k")
    assert load(tmp_path / "k") == k
    assert hash(load(tmp_path / "k")) == hash(k)


def test_a_typing_error_is_met_with_a_suggestion():
    k = Knowledge(tiers=[["agee"], ["bmi"]])
    with pytest.raises(QuestionError, match="Did you mean 'age'"):
        k.check(["age", "bmi"])


@pytest.mark.parametrize("name", ["airfoil", "auto_mpg", "wine_red", "yacht"])
def test_published_knowledge_files_fit_their_tables(name, real_data):
    folder = real_data / "causal_benchmarks_small"
    k = Knowledge.from_file(folder / f"{name}.knowledge.txt")
    k.check(pd.read_csv(folder / f"{name}.csv.gz", nrows=5).columns)
    assert Knowledge.from_text(k.to_text()) == k
    if name == "airfoil":
        assert k.closed_tiers == {0} and not k.allows("Chord", "Velocity")


def test_names_that_a_table_does_not_have_are_all_reported(real_data):
    folder = real_data / "causal_benchmarks_small"
    k = Knowledge.from_file(folder / "abalone.knowledge.txt")
    with pytest.raises(QuestionError) as caught:
        k.check(pd.read_csv(folder / "abalone.csv.gz", nrows=5).columns)
    for name in ("ShkW", "ShlW", "VisW", "WhW", "Len", "Hei"):
        assert repr(name) in str(caught.value)


def test_sachs_tiers_put_reagents_before_proteins(real_data):
    k = Knowledge.from_file(real_data / "sachs" / "tiers.tetrad-knowledge.txt")
    assert k.allows("u0126", "mek") and not k.allows("mek", "u0126")
