import time
import warnings

import numpy as np
import pandas as pd
import pytest

from workbench import (
    CausalGraph,
    CausalWarning,
    Feature,
    GraphEnsemble,
    Knowledge,
    Schema,
    load,
    save,
)
from workbench.core.errors import DataError, GraphError, ParameterError
from workbench.graph import bootstrap
from workbench.graph.bootstrap import _rows

ABC = ["a", "b", "c"]


def graph(*edges):
    return CausalGraph(ABC, edges)


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 300))
    return pd.DataFrame({"a": a, "b": b, "c": a + b + 2 * rng.normal(size=300)})


def same(first, second):
    return first.graphs == second.graphs and first.weights == second.weights


def test_shares_by_hand():
    e = GraphEnsemble(
        [graph(("a", "b")), graph(("b", "a"), ("b", "c")), graph(("a", "b", "tail", "tail"))],
        weights=[5, 3, 2],
    )
    assert e.edge_confidence("a", "b") == pytest.approx(0.5)
    assert e.edge_confidence("a", "b", "<-") == pytest.approx(0.3)
    assert e.edge_confidence("b", "a", "->") == pytest.approx(0.3)
    assert e.edge_confidence("b", "a", "--") == pytest.approx(0.2)
    assert e.edge_confidence("a", "b", "any") == pytest.approx(1)
    assert e.edge_confidence("a", "c", "any") == 0
    frame = e.confidence()
    assert list(frame.columns) == ["u", "v", "->", "<-", "--", "any"] and len(frame) == 3
    assert frame.loc[0, ["->", "<-", "--", "any"]].tolist() == pytest.approx([0.5, 0.3, 0.2, 1])
    assert len(e.to_frame()) == 2 and len(e.to_frame(long=True)) == 8


def test_a_node_that_a_graph_lacks_does_not_count_against_its_edges():
    small = CausalGraph(["a", "b"], [("a", "b")])
    e = GraphEnsemble([small, graph(("b", "c"))])
    assert e.edge_confidence("b", "c") == 1 and e.edge_confidence("a", "b") == 0.5


def test_the_order_of_graphs_has_no_influence():
    graphs = [graph(("a", "b")), graph(("b", "c")), graph(("a", "b"))]
    assert same(GraphEnsemble(graphs), GraphEnsemble(graphs[::-1]))
    assert GraphEnsemble(graphs).weights == pytest.approx((2 / 3, 1 / 3))


def test_the_consensus_is_acyclic_even_if_the_majorities_form_a_ring():
    ring = [("a", "b"), ("b", "c"), ("c", "a")]
    e = GraphEnsemble([graph(*(x for x in ring if x != y)) for y in ring], weights=[3, 4, 5])
    consensus = e.consensus()
    assert len(consensus.edges) == 3 and consensus.members(limit=1)
    assert "cycle" in consensus.info["conflicts"][0]


def test_the_consensus_of_random_ensembles_contains_a_dag(random_dag):
    rng = np.random.default_rng(1)
    for _ in range(100):
        dags = [random_dag(rng, 6) for _ in range(4)]
        graphs = [g.cpdag() if rng.random() < 0.7 else g for g in dags]
        e = GraphEnsemble(graphs)
        consensus = e.consensus(0.5)
        assert consensus.members(limit=1)
        for pair in e.confidence().itertuples():
            share = e.edge_confidence(pair.u, pair.v, "any")
            assert bool(consensus.marks(pair.u, pair.v)) == (share >= 0.5)


def test_threshold_one_keeps_only_what_all_graphs_share():
    e = GraphEnsemble([graph(("a", "b"), ("b", "c")), graph(("a", "b"))])
    assert e.consensus(1.0).edges == graph(("a", "b")).edges
    with pytest.raises(ParameterError, match="threshold"):
        e.consensus(0)


def test_members_split_the_weight_of_their_class():
    line = graph(("a", "b", "tail", "tail"), ("b", "c", "tail", "tail"))
    e = GraphEnsemble([line, graph(("a", "b"), ("b", "c"))], weights=[3, 1])
    members = dict(e.members())
    assert all(m.kind == "dag" for m in members)
    assert members[graph(("a", "b"), ("b", "c"))] == pytest.approx(1 / 4 + 3 / 4 / 3)
    assert sum(members.values()) == pytest.approx(1) and len(members) == 3


def test_members_that_do_not_fit_are_said():
    line = graph(("a", "b", "tail", "tail"), ("b", "c", "tail", "tail"))
    with pytest.warns(CausalWarning, match="members-drawn"):
        found = GraphEnsemble([line]).members(limit=2)
    assert len(found) == 2 and sum(w for _, w in found) == pytest.approx(1)


def test_hidden_causes_have_neither_consensus_nor_members():
    e = GraphEnsemble([graph(("a", "b", "arrow", "arrow"))])
    assert e.edge_confidence("b", "a", "<->") == 1 and "<->" in e.confidence()
    for question in (e.consensus, e.members):
        with pytest.raises(GraphError):
            question()


def test_what_makes_no_ensemble():
    with pytest.raises(GraphError):
        GraphEnsemble([])
    with pytest.raises(GraphError, match="positive"):
        GraphEnsemble([graph()], weights=[0])
    with pytest.raises(GraphError, match="'z'"):
        GraphEnsemble([graph(), CausalGraph(["z"])])
    with pytest.raises(GraphError, match="Did you mean"):
        GraphEnsemble([CausalGraph(["age"])]).edge_confidence("agee", "age")
    with pytest.raises(ParameterError, match="sign"):
        GraphEnsemble([graph()]).edge_confidence("a", "b", "=>")


def test_saving_and_looks(tmp_path, table):
    import matplotlib

    matplotlib.use("Agg")
    e = bootstrap(table.assign(k=1.0), n_boot=10)
    assert {w.code for w in e.warnings} == {"constant-column"}
    save(e, tmp_path / "e")
    again = load(tmp_path / "e")
    assert same(again, e) and again.warnings == e.warnings
    assert again.info["whole_table"] == e.info["whole_table"]
    assert "10 resamples of boss" in repr(e) and len(repr(e).split("\n")) <= 10
    assert "&gt;" in e._repr_html_()
    assert e.plot().get_xlabel() == "effect"


def test_the_same_answer_for_any_number_of_workers(table):
    one = bootstrap(table, n_boot=4, n_jobs=1, random_state=3)
    assert same(one, bootstrap(table, n_boot=4, n_jobs=2, random_state=3))


def test_the_seed_decides(table):
    few = table.head(60)
    assert same(bootstrap(few, n_boot=20), bootstrap(few, n_boot=20))
    assert not same(bootstrap(few, n_boot=20), bootstrap(few, n_boot=20, random_state=1))


def test_the_order_of_columns_has_no_influence(table):
    assert same(bootstrap(table, n_boot=10), bootstrap(table[["c", "a", "b"]], n_boot=10))


def test_the_truth_is_stable_and_the_table_untouched(table):
    before = table.copy()
    e = bootstrap(table, n_boot=30)
    assert e.edge_confidence("a", "c", "any") == 1 and e.edge_confidence("a", "c") > 0.5
    assert e.edge_confidence("a", "b", "any") < 0.5
    assert e.consensus() == graph(("a", "c"), ("b", "c"))
    pd.testing.assert_frame_equal(table, before)


def test_every_resample_agrees_with_the_knowledge(table):
    k = Knowledge(tiers=["c", ["a", "b"]])
    for g in bootstrap(table, n_boot=20, knowledge=k).graphs:
        assert not k.violations(g)
    assert not k.violations(bootstrap(table, n_boot=20, knowledge=k).consensus())


def test_clusters_are_drawn_whole():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(10), 7)[rng.permutation(70)]
    for how, total in (("bootstrap", 70), ("half", 35)):
        rows = _rows(70, groups, how, np.random.default_rng(1))
        counts = np.bincount(rows, minlength=70)
        assert len(rows) == total
        for g in range(10):
            assert len(set(counts[groups == g])) == 1
    assert max(np.bincount(_rows(70, None, "half", np.random.default_rng(1)))) == 1


def test_drawing_whole_clusters_shows_the_doubt_that_single_rows_hide():
    rng = np.random.default_rng(5)
    base = rng.normal(size=(25, 2))
    df = pd.DataFrame(np.repeat(base, 20, axis=0), columns=["a", "b"])
    df["site"] = np.repeat(np.arange(25), 20)
    schema = Schema([Feature("site", role="cluster")])
    with pytest.warns(CausalWarning, match="dependent-rows"):
        whole = bootstrap(df, n_boot=30, schema=schema)
    assert whole.info["clusters"] == 25 and whole.nodes == ("a", "b")
    single = bootstrap(df[["a", "b"]], n_boot=30)
    doubt = [abs(e.edge_confidence("a", "b", "any") - 0.5) for e in (whole, single)]
    assert doubt[0] < doubt[1]


def test_a_resample_without_a_rare_level_does_not_spoil_the_rest():
    rng = np.random.default_rng(6)
    df = pd.DataFrame({"a": rng.normal(size=40), "rare": [1] + [0] * 39})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        e = bootstrap(df, n_boot=20)
    assert e.nodes == ("a", "rare") and {len(g) for g in e.graphs} == {1, 2}


def test_refusals_come_from_the_whole_table():
    with pytest.raises(DataError, match="3 rows"):
        bootstrap(pd.DataFrame(np.ones((3, 2))))
    good = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2)))
    for bad in ({"n_boot": 0}, {"n_jobs": 0}, {"resample": "jack"}, {"method": "pcc"}, {"alpa": 1}):
        with pytest.raises(ParameterError):
            bootstrap(good, **bad)
    with pytest.raises(ParameterError, match="half of 19 rows is 9, at least 10"):
        bootstrap(good[:19], resample="half")


def test_diabetes_in_seconds():
    from sklearn.datasets import load_diabetes

    df = load_diabetes(scaled=False, as_frame=True).frame
    middle = [c for c in df if c not in ("age", "sex", "target")]
    k = Knowledge(tiers=[["age", "sex"], middle, ["target"]])
    start = time.process_time()
    e = bootstrap(df, n_boot=50, knowledge=k)
    assert time.process_time() - start < 20
    assert e.edge_confidence("bmi", "target") > 0.9
    assert e.edge_confidence("target", "bmi") == 0
