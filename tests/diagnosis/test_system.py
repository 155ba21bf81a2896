import pickle
import time
import warnings

import numpy as np
import pandas as pd
import pytest

from workbench import CausalGraph, Feature, Schema, load, save
from workbench.core.errors import CausalWarning, DataError, GraphError, QuestionError
from workbench.diagnosis import System

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")


def codes(system):
    return {w.code for w in system.warnings}


def test_causes_come_first_and_moments_are_those_of_the_table(shop):
    normal = shop.rows(500)
    system = System(shop.graph(), normal)
    assert set(system.metrics) == set(shop.nodes)
    for node in shop.nodes:
        for parent in shop.graph().parents(node):
            assert system.position[parent] < system.position[node]
    table = normal[list(system.metrics)]
    assert np.allclose(system.mean, table.mean())
    assert np.allclose(system.sd, table.std(ddof=0))
    assert np.allclose(system.median, table.median())
    assert np.allclose(system.kurtosis, table.kurt() + 3, atol=0.1)
    assert np.allclose(system.covariance(), table.cov(ddof=0))
    assert not system.warnings and not system.marginalised


def test_pairs_that_contradict_each_other_do_not_make_a_mechanism_without_noise():
    rng = np.random.default_rng(1)
    rows = pd.DataFrame(rng.normal(size=(90, 3)), columns=["a", "b", "y"])
    rows.loc[:29, "y"] = rows["a"] + 0.1 * rows["y"]  # y follows a, and b, but a is against b
    rows.loc[:29, "b"] = np.nan
    rows.loc[30:59, "y"] = rows["b"] + 0.1 * rows["y"]
    rows.loc[30:59, "a"] = np.nan
    rows.loc[60:, "b"] = -rows["a"]
    rows.loc[60:, "y"] = np.nan
    system = System(CausalGraph(["a", "b", "y"], [("a", "y"), ("b", "y")]), rows)
    assert np.linalg.eigvalsh(system.correlation())[0] > -1e-10
    fit = system.mechanism("y")
    z = np.nan_to_num(system.standardised(["y", *system.parents("y")])[:60])
    assert 0.7 < fit.noise / (z[:, 0] - z[:, 1:] @ fit.slopes).std() < 1.4


def test_pairwise_complete_covariance_agrees_with_pandas(shop):
    normal = shop.rows(500)
    gaps = np.random.default_rng(1).random(normal.shape) < 0.1
    normal = normal.mask(gaps)
    system = System(shop.graph(), normal)
    mine = system.covariance()
    for a in mine:
        for b in set(mine) - {a}:
            both = normal[[a, b]].dropna()
            assert np.isclose(mine.loc[a, b], np.cov(both.T, ddof=0)[0, 1])
    assert np.linalg.eigvalsh(system.correlation())[0] > -1e-10
    assert system.count.sum() == (~gaps).sum()


def test_mechanism_is_least_squares_within_its_standard_error(shop):
    normal = shop.rows(2000)
    system = System(shop.graph(), normal)
    fit = system.mechanism("web")
    x = normal[list(system.parents("web"))].to_numpy()
    a = np.column_stack([np.ones(len(x)), x])
    beta, left, *_ = np.linalg.lstsq(a, normal["web"].to_numpy(), rcond=None)
    sd = normal.std(ddof=0)
    mine = fit.slopes * sd["web"] / sd[list(system.parents("web"))].to_numpy()
    assert np.allclose(mine, beta[1:], rtol=1e-3)
    noise = np.sqrt(left[0] / (len(x) - 3))
    assert np.isclose(fit.noise * sd["web"], noise, rtol=1e-3)
    textbook = np.sqrt(np.diag(noise**2 * np.linalg.inv(a.T @ a)))[1:]
    scale = sd["web"] / sd[list(system.parents("web"))].to_numpy()
    assert np.allclose(np.sqrt(np.diag(fit.spread)) * scale, textbook, rtol=0.01)
    residuals = system.residuals("web")
    assert np.isclose(np.nanstd(residuals), fit.noise, rtol=0.01)


def test_equal_parents_share_the_weight_and_constants_get_none():
    rng = np.random.default_rng(0)
    a = rng.normal(size=200)
    normal = pd.DataFrame({"a": a, "b": 7 * a, "k": 3.0, "y": a + 0.1 * rng.normal(size=200)})
    system = System(CausalGraph(list("abky"), [(p, "y") for p in "abk"]), normal)
    slopes = dict(zip(system.parents("y"), system.mechanism("y").slopes, strict=True))
    assert np.isclose(slopes["a"], slopes["b"]) and slopes["k"] == 0
    assert "constant" in codes(system)


def test_more_parents_than_rows_still_gives_finite_mechanisms():
    rng = np.random.default_rng(0)
    normal = pd.DataFrame(rng.normal(size=(12, 21)), columns=[f"m{i}" for i in range(21)])
    graph = CausalGraph(list(normal), [(f"m{i}", "m20") for i in range(20)])
    fit = System(graph, normal).mechanism("m20")
    assert np.isfinite(fit.slopes).all() and np.isfinite(fit.noise)


def test_nodes_without_usable_data_are_marginalised_and_named(shop):
    normal = shop.rows(100)
    normal["db"] = np.nan
    normal["other"] = 1.0
    with pytest.warns(CausalWarning, match="'db'"):
        system = System(shop.graph(), normal.drop(columns="users"))
    assert dict(system.marginalised) == {
        "db": "no value in any row",
        "users": "not a column of the fault-free rows",
    }
    assert system.ignored == ("other",)
    assert system.parents("cart") == ("cache",)  # through db
    assert system.confounded == (("cart", "web"),)  # users moved both
    assert codes(system) == {"marginalised", "hidden-common-cause"}
    frame = system.to_frame()
    assert frame.loc["db", "status"] == "marginalised" and frame.loc["other", "status"] == "ignored"


def test_a_misspelt_node_is_answered_with_the_column_that_was_meant(shop):
    system = System(shop.graph(), shop.rows(50).rename(columns={"users": "user"}))
    assert any("Did you mean 'user'" in w.message for w in system.warnings)


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (pd.Series([1.0] * 5 + [np.nan] * 45), "only 5 values"),
        (pd.Series(pd.date_range("2024", periods=50)), "holds dates"),
        (pd.Series(list("abcde") * 10), "has unordered levels; diagnosis works on numbers"),
        (pd.Series([None] * 50, dtype=object), "no value in any row"),
    ],
)
def test_columns_that_are_no_metrics(shop, column, why):
    normal = shop.rows(50)
    normal["db"] = column
    assert System(shop.graph(), normal).marginalised["db"] == why


def test_two_levels_and_ordered_levels_become_numbers_and_two_numbers_stay(shop):
    normal = shop.rows(60)
    normal["db"] = ["f", "m"] * 30
    normal["cart"] = pd.Categorical(["lo", "mid", "hi"] * 20, ["lo", "mid", "hi"], ordered=True)
    normal["users"] = [0.0, 100.0] * 30
    normal["cache"] = [True, False] * 30
    system = System(shop.graph(), normal)
    values = system.normal()
    assert set(values["db"]) == {0.0, 1.0} and set(values["cart"]) == {0.0, 1.0, 2.0}
    assert set(values["users"]) == {0.0, 100.0} and set(values["cache"]) == {0.0, 1.0}
    row = system.encode(normal.iloc[[1]])
    assert row[0, system.position["db"]] == 1.0
    with pytest.raises(DataError, match="'db'.*not known"):
        system.encode(normal.iloc[[1]].assign(db="x"))


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (lambda d: d.assign(db=np.where(d.index == 3, np.inf, d["db"])), "'db'.*infinite.*row 3"),
        (lambda d: d.assign(db=d["db"].astype(str)), "'db'.*text"),
        (lambda d: d.head(3), "3 rows"),
        (lambda d: d.head(0), "0 rows"),
        (lambda d: pd.concat([d, d[["db"]]], axis=1), "'db'.*2 times"),
        (lambda d: d * np.nan, "no metric has usable"),
        (lambda d: d.rename(columns=str.upper), "no node of the graph"),
    ],
)
def test_refusals_name_the_place(shop, change, pattern):
    with pytest.raises((DataError, GraphError), match=f"(?s){pattern}"):
        System(shop.graph(), change(shop.rows(50)))


def test_classes_of_graphs_and_foreign_graphs_are_refused_with_a_way_out(shop):
    normal = shop.rows(50)
    with pytest.raises(GraphError, match="members"):
        System(CausalGraph(["db", "web"], [("db", "web", "tail", "tail")]), normal)
    with pytest.raises(GraphError, match="from_edges"):
        System({"db": []}, normal)


def test_bidirected_edges_are_hidden_common_causes(shop):
    graph = CausalGraph(["db", "web"], [("db", "web"), ("db", "web", "arrow", "arrow")])
    system = System(graph, shop.rows(50))
    assert system.confounded == (("db", "web"),) and system.parents("web") == ("db",)


def test_latent_nodes_are_left_out_even_if_a_column_has_their_name(shop):
    graph = CausalGraph(shop.nodes, shop.edges, latent=["users"])
    system = System(graph, shop.rows(50))
    assert system.marginalised["users"] == "latent" and "users" not in system.metrics


def test_without_a_graph_every_metric_is_used_and_ids_are_not(shop):
    normal = shop.rows(50).assign(order_id=np.arange(50), at=pd.date_range("2024", periods=50))
    system = System(None, normal)
    assert set(system.metrics) == set(shop.nodes) and system.ignored == ("at", "order_id")
    assert set(system.candidates("web")) == set(shop.nodes) - {"web"}


def test_loops_are_collapsed_and_named(shop):
    edges = [*shop.edges, ("cart", "db"), ("web", "web")]
    with pytest.warns(CausalWarning, match="'loop\\(cart, db\\)'"):
        system = System.from_edges(edges, shop.rows(200))
    assert set(system.nodes) == {"cache", "users", "loop(cart, db)", "web"}
    assert set(system.members("loop(cart, db)")) == {"cart", "db"}
    assert system.parents("db") == system.parents("cart")
    assert set(system.parents("db")) == {"cache", "users"}
    assert set(system.parents("web")) == {"cart", "users"}
    assert set(system.candidates("web")) == {"cache", "users", "loop(cart, db)"}


def test_calls_are_turned_around(shop):
    calls = [(effect, cause) for cause, effect in shop.edges]
    reversed_ = System.from_edges(calls, shop.rows(50), reverse=True)
    assert reversed_.graph == System(shop.graph(), shop.rows(50)).graph


def test_without_equals_a_system_that_never_had_the_metric_and_changes_nothing(shop):
    normal = shop.rows(300)
    system = System(shop.graph(), normal)
    before = system.to_frame()
    less, fresh = system.without("db"), System(shop.graph(), normal.drop(columns="db"))
    assert less.graph == fresh.graph and less.nodes == fresh.nodes
    for name in fresh.metrics:
        mine, other = less.mechanism(name), fresh.mechanism(name)
        mine_by_name = dict(zip(less.parents(name), mine.slopes, strict=True))
        assert mine_by_name == pytest.approx(
            dict(zip(fresh.parents(name), other.slopes, strict=True))
        )
        assert np.isclose(mine.noise, other.noise)
    assert less.marginalised == {"db": "left out"}
    assert less._baseline is system._baseline
    assert "db" in system.metrics
    pd.testing.assert_frame_equal(before, system.to_frame())
    assert system.without([]) is system
    with pytest.raises(QuestionError, match="Did you mean 'db'"):
        system.without("dbb")


def test_it_is_immutable_and_leaves_the_table_alone(shop):
    normal = shop.rows(50)
    copy = normal.copy(deep=True)
    system = System(shop.graph(), normal)
    normal.iloc[0, 0] = 1e9
    assert system.mean[system.position["web"]] < 1000
    normal.iloc[0, 0] = copy.iloc[0, 0]
    pd.testing.assert_frame_equal(normal, copy)
    with pytest.raises(AttributeError):
        system.metrics = ()
    with pytest.raises(ValueError):
        system._baseline.values[0, 0] = 1.0
    with pytest.raises(TypeError):
        system.marginalised["x"] = ""


def test_order_does_not_depend_on_names_units_columns_nodes_or_rows(shop):
    normal = shop.rows(300)
    system = System(shop.graph(), normal)
    new = {n: f"{i}_{n[::-1]}" for i, n in enumerate(shop.nodes[::-1])}
    shuffled = normal.sample(frac=1, random_state=1)[sorted(normal)] * 3.7
    graph = CausalGraph(shop.nodes[::-1], shop.edges[::-1])
    other = System(graph.rename(new), shuffled.rename(columns=new))
    assert tuple(new[n] for n in system.metrics) == other.metrics


def test_constants_have_a_scale_and_large_offsets_are_no_constants():
    normal = pd.DataFrame(
        {
            "flat": [100.0] * 50,
            "zero": [0.0] * 50,
            "rounding": [0.1 + 0.2] * 25 + [0.3] * 25,
            "offset": 1e15 + 1e9 * np.random.default_rng(0).normal(size=50),
        }
    )
    system = System(None, normal)
    constant = dict(zip(system.metrics, system.constant, strict=True))
    assert constant == {"flat": True, "zero": True, "rounding": True, "offset": False}
    scale = dict(zip(system.metrics, system.scale, strict=True))
    assert np.isclose(scale["flat"], 0.3) and scale["zero"] == 0.0


def test_saved_and_pickled_systems_are_the_same(shop, tmp_path):
    normal = shop.rows(80)
    normal["db"] = np.nan
    schema = Schema([Feature("web", unit="ms")])
    system = System.from_edges([*shop.edges, ("web", "cart")], normal, schema=schema)
    save(system, tmp_path / "s")
    for other in (load(tmp_path / "s"), pickle.loads(pickle.dumps(system))):
        pd.testing.assert_frame_equal(other.to_frame(), system.to_frame())
        assert other.graph == system.graph and other.nodes == system.nodes
        assert other.warnings == system.warnings and other.confounded == system.confounded
        assert other.schema["web"].unit == "ms"
        assert np.array_equal(other.mechanism("web").slopes, system.mechanism("web").slopes)


def test_hostile_names_are_escaped(shop):
    name = "<script>'x' -> \"y\"; $z$"
    normal = shop.rows(20).rename(columns={"db": name})
    system = System(CausalGraph([name, "web"], [(name, "web")]), normal)
    assert "<script>" not in system._repr_html_()


@pytest.mark.slow
def test_a_large_system_is_made_in_ten_seconds():
    rng = np.random.default_rng(0)
    names = [[f"s{i}_m{j}" for j in range(7)] for i in range(400)]
    edges = [
        (names[p][j], names[i][j])
        for i in range(1, 400)
        for p in rng.choice(i, min(i, 3), replace=False)
        for j in range(7)
    ]
    flat = [n for service in names for n in service]
    normal = pd.DataFrame(rng.normal(size=(10_000, 2800)), columns=flat)
    graph = CausalGraph(flat, edges)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        system = System(graph, normal)
    made = time.perf_counter()
    system.without(["s3_m0", "s40_m2"]).mechanism("s399_m0")
    assert made - start < 10 and time.perf_counter() - made < 0.5
