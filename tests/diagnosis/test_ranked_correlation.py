import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr

from workbench import CausalGraph, load, save
from workbench.diagnosis import Incident, RankedCorrelation, System

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")


@pytest.fixture
def window(shop):
    return shop.rows(6, seed=3, db=8.0, users=5.0)


def test_scores_are_logs_of_p_values(shop, system, window):
    window.loc[2, "db"] = np.nan
    ranking = RankedCorrelation().fit(system).rank(Incident(window, "web"))
    both = window.dropna()
    for node, rows in (("cart", window), ("users", window), ("db", both)):
        p = pearsonr(rows[node], rows["web"]).pvalue
        assert np.isclose(ranking.scores[node], -np.log(p))
    assert set(ranking.nodes) <= {"db", "cart", "users"} and np.isnan(ranking.scores["web"])


@pytest.mark.parametrize("what", ["units", "names", "columns", "nodes"])
def test_ranking_does_not_depend_on(shop, window, what):
    normal, graph, target = shop.rows(300), shop.graph(), "web"
    usual = RankedCorrelation().fit(System(graph, normal)).rank(Incident(window, target))
    new = {n: n for n in shop.nodes}
    if what == "units":
        factor = pd.Series({n: 10.0 ** (i - 3) for i, n in enumerate(shop.nodes)})
        normal, window = normal * factor, window * factor
    elif what == "names":
        new = {n: f"{9 - i}{n[::-1]}" for i, n in enumerate(shop.nodes)}
        normal, window = normal.rename(columns=new), window.rename(columns=new)
        graph, target = graph.rename(new), new[target]
    elif what == "columns":
        normal, window = normal[sorted(normal)], window[sorted(window)[::-1]]
    else:
        graph = CausalGraph(shop.nodes[::-1], shop.edges[::-1])
    other = RankedCorrelation().fit(System(graph, normal)).rank(Incident(window, target))
    assert other.nodes == tuple(new[n] for n in usual.nodes)
    scores = usual.scores.rename(index=new)
    assert np.allclose(other.scores[scores.index], scores, equal_nan=True)


def test_too_few_rows_and_a_frozen_target_are_abstentions(shop, system, window):
    method = RankedCorrelation().fit(system)
    for rows in (window.head(2), window.assign(web=window["web"].max())):
        ranking = method.rank(Incident(rows, "web"))
        assert ranking.status == "abstain" and "at least 3 common rows" in ranking.summary()


def test_works_without_a_graph_and_after_saving(shop, window, tmp_path):
    method = RankedCorrelation().fit(System(None, shop.rows(300)))
    ranking = method.rank(Incident(window, "cart"))
    assert "web" in ranking.nodes
    save(method, tmp_path / "m")
    again = load(tmp_path / "m").rank(Incident(window, "cart"))
    pd.testing.assert_frame_equal(again.table, ranking.table)


def test_a_lasting_offset_without_correlation_is_warned_of_and_not_blamed():
    rng = np.random.default_rng(0)
    normal = pd.DataFrame(rng.normal(size=(400, 2)), columns=["a", "b"])
    normal["t"] = normal["a"] + normal["b"] + rng.normal(0, 0.5, 400)
    offset = {"a": [8, 8.1, 8.2, 7.9, 8, 8.1], "b": [0, 0.1, 0, 0.2, 9, 9]}
    window = pd.DataFrame({**offset, "t": [8, 8, 8, 8, 17, 17.0]})
    system = System(CausalGraph(["a", "b", "t"], [("a", "t"), ("b", "t")]), normal)
    ranking = RankedCorrelation().fit(system).rank(Incident(window, "t"))
    assert "a" not in ranking.nodes and not np.signbit(ranking.scores["a"])
    assert [w.columns for w in ranking.warnings if w.code == "permanent-offset"] == [("a",)]
