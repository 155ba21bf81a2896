import time
import warnings

import numpy as np
import pandas as pd
import pytest

import workbench.graph.discovery as discovery
from workbench import CausalWarning, Feature, Knowledge, Schema, discover, load, read_graph, save
from workbench.core.errors import DataError, ParameterError, QuestionError
from workbench.graph import bootstrap

N = 300


@pytest.fixture
def chain():
    rng = np.random.default_rng(0)
    a = rng.normal(size=N)
    b = a + rng.normal(size=N)
    return pd.DataFrame({"a": a, "b": b, "c": b + rng.normal(size=N)})


LINE = {("a", "b", "tail", "tail"), ("b", "c", "tail", "tail")}


def quietly(df, **options):
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        graph = discover(df, **options)
    assert all(isinstance(w.message, CausalWarning) for w in notes), [str(w.message) for w in notes]
    return graph, {w.message.code for w in notes}


def test_the_chain_is_found_and_the_table_is_untouched(chain):
    before = chain.copy()
    graph, notes = quietly(chain)
    assert set(graph.edges) == LINE and graph.kind == "cpdag" and not notes
    pd.testing.assert_frame_equal(chain, before)


def test_the_explanation_names_the_test_and_what_was_left_out(chain):
    graph, _ = quietly(chain.assign(patient_id=range(N)))
    assert "Gaussian BIC" in graph.info["explanation"]
    assert "Fisher-z" in discover(chain, "pc").info["explanation"]
    assert "'patient_id' (has role 'id')" in graph.info["explanation"]
    assert graph.nodes == ("a", "b", "c")


def odd_tables(chain):
    """name -> (table, nodes left out, codes of warnings)."""
    rng = np.random.default_rng(1)
    a, b = chain["a"], chain["b"]
    team = pd.Series(rng.choice(list("xyz"), N))
    return {
        "constant": (chain.assign(k=1.0), {"k"}, {"constant-column"}),
        "constant text": (chain.assign(k="u"), {"k"}, {"constant-column"}),
        "rounding only": (chain.assign(k=1e15 + 0.4 * rng.random(N)), {"k"}, {"constant-column"}),
        "duplicate": (chain.assign(z=a), {"z"}, {"collinear-column"}),
        "three times": (chain.assign(z=3 * a), {"z"}, {"collinear-column"}),
        "sum of two": (chain.assign(z=a + b + 2), {"z"}, {"collinear-column"}),
        "coarse copy": (
            chain.assign(team=team, u=(team == "x").astype(int)),
            {"u"},
            {"collinear-column"},
        ),
        "huge copy": (chain.assign(z=1e15 + 1e9 * a), {"z"}, {"collinear-column"}),
        "gaps": (chain.mask(rng.random(chain.shape) < 0.05), set(), {"missing-values"}),
        "dates": (
            chain.assign(k=pd.date_range("2020", periods=N, tz="UTC")),
            {"k"},
            {"dependent-rows"},
        ),
        "repeated ids": (
            chain.assign(user_id=[i // 2 for i in range(N)]),
            {"user_id"},
            {"dependent-rows"},
        ),
        "many levels": (
            chain.assign(k=[f"t{i % 200}" for i in range(N)]),
            set(),
            {"pooled-levels"},
        ),
        "unused level": (
            chain.assign(k=pd.Categorical(team, categories=list("wxyz"))),
            set(),
            set(),
        ),
        "shuffled rows": (chain.sample(frac=1, random_state=0), set(), set()),
        "one label": (chain.set_axis([0] * N), set(), set()),
    }


@pytest.mark.parametrize(
    "name", sorted(odd_tables(pd.DataFrame(np.ones((N, 3)), columns=[*"abc"])))
)
def test_odd_columns_leave_the_answer_about_the_others_as_it_is(chain, name):
    table, out, codes = odd_tables(chain)[name]
    before = table.copy()
    graph, notes = quietly(table)
    assert set(graph.info["left_out"]) == out and notes == codes
    assert not out.intersection(graph.nodes)
    assert {e for e in graph.edges if {e[0], e[1]} <= {*"abc"}} == LINE
    assert {w["code"] for w in graph.info["warnings"]} == codes
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e150, 1e300])
def test_units_beyond_the_square_root_of_floats(chain, scale):
    graph, notes = quietly(chain * scale)
    assert set(graph.edges) == LINE and not notes


def test_a_column_far_from_zero_keeps_its_edges(chain):
    rng = np.random.default_rng(2)
    graph, _ = quietly(chain.assign(far=1e15 + 1e9 * (chain["a"] + rng.normal(size=N))))
    assert graph.marks("a", "far")


def test_collinear_copies_of_the_column_that_knowledge_needs_give_way(chain):
    table = chain.assign(aa=2 * chain["b"])
    graph, _ = quietly(table, knowledge=Knowledge(required=[("b", "c")]))
    assert graph.has_edge("b", "c") and set(graph.info["left_out"]) == {"aa"}


def test_more_columns_than_rows_is_answered_with_a_warning():
    x = np.random.default_rng(3).normal(size=(20, 30))
    table = pd.DataFrame(x).assign(twin=2 * x[:, 3])
    graph, notes = quietly(table)
    assert notes == {"few-rows", "collinear-column"} and len(graph) == 30


@pytest.mark.parametrize(
    ("change", "column"),
    [
        (lambda t: t.head(3), "a"),
        (lambda t: t.assign(k=np.nan), "k"),
        (lambda t: t.assign(k=np.where(np.arange(N) < N - 5, np.nan, 1.0)), "k"),
        (lambda t: t.assign(k=np.where(np.arange(N) == 4, np.inf, 1.0)), "k"),
        (lambda t: t.assign(k=t["a"].astype(str)), "k"),
        (lambda t: t.assign(k=[1, "u"] * (N // 2)), "k"),
        (lambda t: t.assign(k=t["a"] + 1j), "k"),
        (lambda t: t.assign(k=1.7e308 * np.linspace(-1, 1, N)), "k"),
        (lambda t: t.set_axis(["a", "a", "c"], axis=1), "a"),
        (lambda t: t[["a"]] * 0, "a"),
    ],
)
def test_refusals_name_the_column(chain, change, column):
    with (
        pytest.raises(DataError) as caught,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", CausalWarning)
        discover(change(chain))
    assert caught.value.column == column


def test_names_with_blanks_quotes_and_arrows(chain):
    names = ["a b", 'q"->;', "ü"]
    graph, _ = quietly(chain.set_axis(names, axis=1))
    assert graph.nodes == tuple(names)


def test_weights_and_clusters_are_named(chain):
    schema = Schema([Feature("w", role="weight"), Feature("g", "categorical", role="cluster")])
    table = chain.assign(w=1.0 + np.arange(N), g=["u", "v"] * (N // 2))
    graph, notes = quietly(table, schema=schema)
    assert notes == {"weights-ignored", "dependent-rows"}
    assert set(graph.info["left_out"]) == {"w", "g"}


def test_unknown_names_get_a_suggestion(chain):
    with pytest.raises(ParameterError, match="is not a method"):
        discover(chain, method="PC")
    with pytest.raises(ParameterError, match="Did you mean 'penalty'"):
        discover(chain, penalti=2)
    with pytest.raises(QuestionError, match="'aaa'"):
        discover(chain, knowledge=Knowledge(no_parents=["aaa"]))
    with pytest.raises(ParameterError, match="Knowledge"):
        discover(chain, knowledge=[("a", "b")])
    with pytest.raises(ParameterError, match="random_state"):
        discover(chain, random_state=None)


def test_every_method_is_a_function_of_its_own(chain):
    for name in discovery.METHODS:
        assert callable(getattr(discovery, name))
        assert discover(chain, method=name) == getattr(discovery, name)(chain)


def test_a_learned_graph_can_be_saved_with_its_diagnostics(chain, tmp_path):
    graph, _ = quietly(chain.assign(k=1.0))
    save(graph, tmp_path / "g")
    again = load(tmp_path / "g")
    assert again == graph and dict(again.info) == dict(graph.info)


def test_diabetes_with_tiers_is_sensible_and_fast():
    from sklearn.datasets import load_diabetes

    df = load_diabetes(scaled=False, as_frame=True).frame
    middle = [c for c in df if c not in ("age", "sex", "target")]
    knowledge = Knowledge(tiers=[["age", "sex"], middle, ["target"]])
    start = time.process_time()
    graph = discover(df, knowledge=knowledge)
    assert time.process_time() - start < 2
    assert not knowledge.violations(graph)
    assert not graph.children("target") and {"bmi", "s5"} <= set(graph.parents("target"))


@pytest.mark.filterwarnings("ignore::workbench.CausalWarning")
def test_what_comes_back_on_real_proteins_is_in_the_textbook(real_data):
    """853 cells of Sachs et al. (2005): six stable pairs, all of them in the 20-edge graph."""
    folder = real_data / "sachs"
    if not folder.is_dir():
        pytest.skip("WORKBENCH_DATA has no sachs/")
    cells = np.log2(pd.read_csv(folder / "sachs_observational.csv.gz"))
    textbook = read_graph(folder / "consensus_graph.tetrad.txt")
    shares = bootstrap(cells, n_boot=20).confidence()
    stable = shares[shares["any"] >= 0.8]
    assert len(stable) == 6
    pairs = zip(stable["u"], stable["v"], strict=True)
    assert all(frozenset(pair) in textbook.skeleton() for pair in pairs)
    assert shares["any"].iloc[6] < 0.5
