import numpy as np
import pandas as pd

from workbench import CausalGraph
from workbench.diagnosis import CIRCA, Incident, System


def test_residuals_are_those_of_least_squares(shop):
    normal, window = shop.rows(4000), shop.rows(3, seed=4, db=6.0)
    ranking = CIRCA().fit(System(shop.graph(), normal)).rank(Incident(window, "web"))
    x = np.c_[np.ones(len(normal)), normal["cache"]]
    beta, *_ = np.linalg.lstsq(x, normal["db"], rcond=None)
    noise = (normal["db"] - x @ beta).std(ddof=2)
    expected = (window["db"] - beta[0] - beta[1] * window["cache"]).abs().max() / noise
    quiet = ranking.scores[["cart", "users", "cache"]].max()
    assert quiet < 3 and ranking.nodes == ("db",)
    assert expected <= ranking.scores["db"] * 1.001 <= expected + max(quiet, 3.0)


def test_descendant_adjustment_skips_quiet_children():
    """a -> b -> c: b follows its law, c does not; a gets what it finds below b."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=2000)
    b = a + rng.normal(size=2000)
    normal = pd.DataFrame({"a": a, "b": b, "c": b + rng.normal(size=2000)})
    system = System(CausalGraph(list("abc"), [("a", "b"), ("b", "c")]), normal)
    window = pd.DataFrame({"a": [10.0], "b": [10.0], "c": [17.0]})
    ranking = CIRCA().fit(system).rank(Incident(window, "c"))
    assert np.allclose(ranking.scores[["a", "c", "b"]], [10 + 7, 7, 0], atol=0.8)
    assert ranking.nodes == ("a", "c")
    assert "plus" in ranking.reason("a") and "plus" not in ranking.reason("c")


def test_all_rows_count_and_gaps_are_bridged(shop):
    system = System(shop.graph(), shop.rows(500))
    window = pd.concat([shop.rows(2, seed=1), shop.rows(3, seed=2, db=9.0)], ignore_index=True)
    window.loc[0:2, "db"] = np.nan
    window.loc[3, "cache"] = np.nan
    ranking = CIRCA().fit(system).rank(Incident(window, "web"))
    assert ranking.nodes == ("db",)


def test_a_broken_identity_is_finite_and_first(shop):
    normal = shop.rows(300)
    normal["double"] = 2 * normal["db"]
    graph = CausalGraph(["db", "double"], [("db", "double")])
    window = normal.head(1).assign(double=40.0)
    ranking = CIRCA().fit(System(graph, normal)).rank(Incident(window, "double"))
    assert ranking.nodes == ("double",) and np.isfinite(ranking.scores).all()
