import numpy as np
import pandas as pd

from workbench.diagnosis import BARO, Incident, NSigma, System
from workbench.diagnosis.baro import change_point


def test_scores_are_deviations_in_interquartile_ranges(shop):
    normal, window = shop.rows(300), shop.rows(2, seed=6, db=12.0)
    ranking = BARO().fit(System(shop.graph(), normal)).rank(Incident(window, "web"))
    spread = (normal.quantile(0.75) - normal.quantile(0.25)) / 1.3489795
    expected = ((window - normal.median()).abs() / spread).max()
    for node in ("db", "cart", "users", "cache"):
        assert np.isclose(ranking.scores[node], expected[node])
    assert np.isnan(ranking.scores["web"]) and set(ranking.nodes) == {"cart", "db"}


def test_faults_among_the_fault_free_rows_change_little(shop):
    normal = shop.rows(300)
    soiled = pd.concat([normal, shop.rows(30, seed=1, db=40.0)])
    incident = Incident(shop.rows(1, seed=6, db=12.0), "web")
    clean, dirty = (
        method.fit(System(shop.graph(), rows)).rank(incident).table.loc["db", "score"]
        for method, rows in ((BARO(), normal), (BARO(), soiled))
    )
    assert 0.75 < dirty / clean < 1.05
    z = NSigma().fit(System(shop.graph(), soiled)).rank(incident)
    assert "db" not in z.nodes


def test_an_early_window_does_no_harm(shop):
    """Something else was odd before the onset: it is over, and not to blame."""
    system = System(shop.graph(), shop.rows(500))
    early = shop.rows(3, seed=1).assign(cache=26.0)
    window = pd.concat([early, shop.rows(4, seed=2, users=12.0)], ignore_index=True)
    ranking = BARO().fit(system).rank(Incident(window, "web"))
    assert "cache" not in ranking.nodes and ranking.nodes[0] == "users"
    assert ranking.details["change"] == "at 3"


def test_change_points():
    step = np.r_[np.zeros(4), np.full(3, 7.0)][:, None]
    assert change_point(step, latest=6) == 4
    assert change_point(step[::-1], latest=6) == 0  # it got better
    assert change_point(step, latest=2) == 0  # the row to explain comes before it
    assert change_point(np.ones((6, 2)), latest=5) == 0
    assert change_point(np.array([[0.0], [9.0]]), latest=1) == 0
    gaps = np.c_[step, np.full(7, np.nan)]
    assert change_point(gaps[:, :1], 6) == change_point(np.c_[step, step * [[1]]], 6) == 4
