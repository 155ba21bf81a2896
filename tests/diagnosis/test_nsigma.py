import numpy as np
import pandas as pd
import pytest

from workbench.diagnosis import Incident, NSigma, System


def test_scores_are_z_scores_of_the_ancestors(shop):
    normal, window = shop.rows(300), shop.rows(1, db=12.0)
    ranking = NSigma().fit(System(shop.graph(), normal)).rank(Incident(window, "cart"))
    z = ((window.iloc[0] - normal.mean()) / normal.std(ddof=0)).abs()
    for node in ("db", "cache", "users"):
        assert np.isclose(ranking.scores[node], z[node])
    assert ranking.scores[["web", "cart"]].isna().all()


def test_upstream_most_is_flagged(shop):
    system = System(shop.graph(), shop.rows(300))
    ranking = NSigma().fit(system).rank(Incident(shop.rows(1, db=20.0), "web"))
    assert ranking.reason("db").startswith("upstream-most")
    assert "downstream of anomalous 'db'" in ranking.reason("cart")
    assert ranking.reason("cache").startswith("usual")


def test_without_a_graph_all_other_metrics_are_ranked(shop):
    system = System(None, shop.rows(300))
    ranking = NSigma().fit(system).rank(Incident(shop.rows(1, db=20.0), "cart"))
    assert {"db", "web"} <= set(ranking.nodes) and "cart" not in ranking.nodes


@pytest.mark.parametrize("draw", ["normal", "exponential", "uniform"])
def test_standard_error_is_the_spread_over_fault_free_samples(draw):
    rng = np.random.default_rng(0)
    value = pd.DataFrame({"a": [6.0], "b": [9.0]})
    scores, errors = [], []
    for _ in range(100):
        normal = pd.DataFrame(getattr(rng, draw)(size=(150, 2)), columns=["a", "b"])
        ranking = NSigma().fit(System(None, normal)).rank(Incident(value, "b"))
        scores.append(ranking.table.loc["a", "score"])
        errors.append(ranking.table.loc["a", "se"])
    assert 0.75 < np.mean(errors) / np.std(scores) < 1.3


def test_metrics_that_can_not_be_separated_are_said_to_be_tied():
    normal = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=list("aby"))
    window = (normal.mean() + normal.std() * [8.0, 8.2, 9.0]).to_frame().T
    ranking = NSigma().fit(System(None, normal)).rank(Incident(window, "y"))
    assert set(ranking.tied()) == {"a", "b"} and "not separable" in ranking.verdict()
