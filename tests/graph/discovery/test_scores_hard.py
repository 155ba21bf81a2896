"""Tables on which a search by score could err quietly: near copies, gaps, few rows, wrong edges."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest

import workbench.graph.discovery as discovery
from workbench import Knowledge
from workbench.core.errors import CausalWarning
from workbench.graph.discovery import boss, ges
from workbench.graph.discovery.design import prepare
from workbench.graph.discovery.ges import search as climb_classes
from workbench.graph.discovery.local_score import gaussian
from workbench.graph.discovery.scoring import pose

METHODS = ["boss", "ges", "grasp"]


def run(method, data, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(discovery, method)(data, **options)


@pytest.fixture(scope="module", autouse=True)
def compiled():
    for method in METHODS:
        run(method, np.random.default_rng(0).normal(size=(50, 3)))


def codes(graph):
    return [w["code"] for w in graph.info["warnings"]]


def near_copy(spread, n=300):
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    y = x + rng.normal(size=n)
    z = y + rng.normal(size=n)
    w = x + spread * np.random.default_rng(1).normal(size=n)
    return pd.DataFrame({"x": x, "y": y, "z": z, "w": w})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("spread", [1e-3, 1e-4, 4e-5])
def test_near_copies_end(method, spread):
    graph = run(method, near_copy(spread), time_limit=1.5)
    assert "time-limit" not in codes(graph)
    assert graph.marks("x", "w")


def test_what_the_search_gains_is_there():
    problem = pose(prepare(near_copy(1e-4)))
    dag, ended = climb_classes(problem, problem.required)
    again, _ = climb_classes(problem, dag)
    assert ended and problem.total(dag) > problem.total(problem.required)
    assert problem.total(again) == pytest.approx(problem.total(dag), rel=1e-8)


def gappy(seed, share=0.8, n=1000):
    rng = np.random.default_rng(seed)
    df = pd.DataFrame(rng.normal(size=(n, 8)), columns=list("abcdefgh"))
    for name in "ab":
        df.loc[rng.random(n) < share, name] = np.nan
    return df


@pytest.mark.parametrize("missing", ["auto", "pairwise"])
def test_pairs_that_share_few_rows_are_joined_no_more_often_than_others(missing):
    graphs = [run("boss", gappy(seed), missing=missing) for seed in range(50)]
    assert np.mean([len(g.marks("a", "b") or ()) > 0 for g in graphs]) <= 0.06
    assert np.mean([len(g.edges) for g in graphs]) <= 28 * 0.03


def test_the_thinnest_pair_is_counted_and_named():
    graph = run("boss", gappy(0), missing="pairwise")
    shared = int(gappy(0)[["a", "b"]].notna().all(axis=1).sum())
    assert graph.info["rows"] == shared
    message = graph.info["warnings"][0]["message"]
    assert f"the {shared} rows of 'a', 'b'" in message


def test_gaps_are_compared_pair_by_pair_only_where_that_gains_rows():
    assert "left out" in run("boss", gappy(0)).info["warnings"][0]["message"]
    rng = np.random.default_rng(0)
    spread = pd.DataFrame(rng.normal(size=(1000, 20)), columns=[f"v{j:02}" for j in range(20)])
    graph = run("boss", spread.mask(rng.random(spread.shape) < 0.05))
    assert graph.info["rows"] > 850


def test_a_limit_in_the_last_climb_is_said(monkeypatch, random_dag, linear_rows):
    rng = np.random.default_rng(0)
    module = __import__("sys").modules["workbench.graph.discovery.boss"]
    original = module.climb_classes
    monkeypatch.setattr(
        module, "climb_classes", lambda *args, **more: (original(*args, **more)[0], False)
    )
    with pytest.warns(CausalWarning, match="improving the best of 3 starts"):
        graph = boss(linear_rows(rng, random_dag(rng, 8, 2), 200), starts=3, time_limit=60)
    assert graph.info["starts_done"] == 3 and not graph.info["ended"]


@pytest.mark.parametrize("method", [*METHODS, "dagma"])
def test_required_edges_that_the_data_deny_are_told(method):
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(3, 1000))
    df = pd.DataFrame({"a": a, "b": b, "c": a + c})
    knowledge = Knowledge(required=[("a", "b"), ("a", "c")])
    options = {"steps": 100} if method == "dagma" else {}
    graph = run(method, df, knowledge=knowledge, **options)
    told = [w for w in graph.info["warnings"] if w["code"] == "unsupported-knowledge"]
    assert [w["columns"] for w in told] == [["a", "b"]]


@pytest.mark.parametrize("method", METHODS)
def test_independent_columns_stay_alone_with_fewer_rows_than_columns(method):
    for n, d in ((12, 30), (20, 30), (30, 30)):
        found = [
            len(run(method, np.random.default_rng(s).normal(size=(n, d))).edges) for s in range(3)
        ]
        assert np.mean(found) <= 2, (n, d)
    graph = run(method, np.random.default_rng(0).normal(size=(12, 30)))
    assert "extended BIC" in graph.info["explanation"]
    assert "by chance" in graph.info["warnings"][0]["message"]


def test_tables_of_twice_as_many_rows_as_columns_pay_log_n():
    for n, d in ((2000, 100), (2000, 1000), (60, 30)):
        assert gaussian(np.eye(d), np.ones(d), n, 1.0).cost == np.log(n)


@pytest.mark.parametrize("method", METHODS)
def test_names_have_no_influence(method, random_dag, linear_rows):
    rng = np.random.default_rng(4)
    df = linear_rows(rng, random_dag(rng, 12, 5), 300)
    graph = run(method, df)
    for _ in range(6):
        new = [f"n{i:02}" for i in rng.permutation(df.shape[1])]
        renamed = run(method, df.set_axis(new, axis=1))
        assert renamed.rename(dict(zip(new, df.columns, strict=True))) == graph


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_unnamed_columns_has_no_influence(method, random_dag, linear_rows):
    rng = np.random.default_rng(5)
    rows = linear_rows(rng, random_dag(rng, 12, 5), 300).to_numpy()
    graph = run(method, rows)
    for _ in range(20):
        order = rng.permutation(12)
        other = run(method, rows[:, order])
        back = {f"x{j}": f"x{i}" for j, i in enumerate(order)}
        assert other.rename(back) == graph


def test_names_of_level_columns_have_no_influence():
    rng = np.random.default_rng(0)
    n = 400
    first = rng.integers(0, 3, n)
    columns = [first]
    for _ in range(5):
        keep = rng.random(n) < 0.6
        columns.append(np.where(keep, columns[rng.integers(len(columns))], rng.integers(0, 3, n)))
    df = pd.DataFrame({f"v{i}": np.array([*"xyz"])[c] for i, c in enumerate(columns)})
    for method, new in itertools.product(METHODS, (["b", "f", "a", "e", "d", "c"], [*"fedcba"])):
        renamed = run(method, df.set_axis(new, axis=1))
        assert renamed.rename(dict(zip(new, df.columns, strict=True))) == run(method, df)


def test_columns_left_out_as_collinear_say_what_is_left():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 300))
    with pytest.warns(CausalWarning, match="'c' is, but for .*e-10 of its variance, a linear"):
        ges(pd.DataFrame({"a": a, "b": b, "c": a + 2e-5 * rng.normal(size=300)}))
    with pytest.warns(CausalWarning, match="'c' is a linear function of 'a'"):
        ges(pd.DataFrame({"a": a, "b": b, "c": 2 * a}))
