import numpy as np
import pandas as pd
import pytest

from workbench import CausalGraph
from workbench.core.errors import ParameterError
from workbench.diagnosis import Incident, SmoothTraversal, System, Traversal
from workbench.diagnosis.incident import first_row


def levels(system, **z):
    """A window of one row at given numbers of standard deviations from the means."""
    value = dict(zip(system.metrics, system.mean, strict=True))
    scale = dict(zip(system.metrics, system.scale, strict=True))
    return pd.DataFrame({n: [value[n] + z.get(n, 0.0) * scale[n]] for n in system.metrics})


def test_the_score_is_the_largest_sum_along_an_anomalous_path(system):
    window = levels(system, db=6.0, users=5.0, cart=4.0, web=9.0)
    ranking = Traversal().fit(system).rank(Incident(window, "web"))
    assert ranking.nodes == ("db", "users")
    assert np.isclose(ranking.scores["db"], 6 + 4 + 9)
    assert np.isclose(ranking.scores["users"], 5 + 4 + 9)  # longer than users -> web
    assert "downstream" in ranking.reason("cart") and "usual" in ranking.reason("cache")


def test_a_gap_in_the_path_clears_what_is_above_it(system):
    window = levels(system, db=6.0, cart=2.0, web=9.0)
    ranking = Traversal().fit(system).rank(Incident(window, "web"))
    assert ranking.nodes == ("web",) and np.isclose(ranking.scores["web"], 9.0)
    assert "no anomalous path" in ranking.reason("db")


def test_only_the_upstream_most_are_blamed(system):
    window = levels(system, cache=4.0, db=30.0, cart=30.0, web=30.0)
    assert Traversal().fit(system).rank(Incident(window, "web")).nodes == ("cache",)


def test_the_first_row_with_an_anomalous_target_is_explained(system):
    rows = [levels(system, web=8.0), levels(system, db=5.0, cart=5.0, web=5.0)]
    rows.append(levels(system, users=9.0, web=9.0))
    incident = Incident(pd.concat(rows, ignore_index=True), "web")
    for skip, row, first in ((0, 0, "web"), (1, 1, "db"), (2, 2, "users"), (9, 2, "users")):
        ranking = Traversal(skip=skip).fit(system).rank(incident)
        assert (ranking.row, ranking.nodes[0]) == (row, first)
    usual = pd.concat([*rows[:1], levels(system)], ignore_index=True)
    ranking = Traversal(skip=1).fit(system).rank(Incident(usual, "web"))
    assert ranking.status == "no root cause found" and ranking.row == 1
    with pytest.raises(ParameterError, match="skip"):
        Traversal(skip=-1).fit(system)


def test_rows_without_the_target_are_passed_over():
    assert first_row(np.array([np.nan, 9.0, np.nan, 4.0]), 3.0, skip=2) == 3
    assert first_row(np.array([9.0, 5.0, np.nan]), 3.0, skip=2) == 0


def test_counted_surprise_has_the_published_form_and_ties(system):
    window = levels(system, db=20.0, users=40.0, cart=60.0, web=50.0)
    ranking = SmoothTraversal(tail=False).fit(system).rank(Incident(window, "web"))
    n = 500
    cache = np.abs(system.standardised(["cache"])[:, 0])
    at_mean = np.log((n + 0.5) / (np.sum(cache >= 0) + 0.5))
    assert np.isclose(ranking.scores["cache"], at_mean, atol=1e-9)
    assert np.isclose(ranking.scores["users"], np.log(2 * n + 1))
    assert np.isclose(ranking.scores["db"], np.log(2 * n + 1) - at_mean)
    assert np.isclose(ranking.scores["cart"], 0.0) and "cart" not in ranking.nodes


def test_extrapolated_tails_tell_strong_outliers_apart(system):
    window = levels(system, db=20.0, users=40.0, cart=60.0, web=50.0)
    ranking = SmoothTraversal().fit(system).rank(Incident(window, "web"))
    assert ranking.scores["users"] > ranking.scores["db"] + 1
    assert np.isnan(ranking.scores["web"])


def test_surprise_of_a_constant_metric_is_that_of_a_bell_curve():
    rng = np.random.default_rng(0)
    normal = pd.DataFrame({"a": np.full(99, 10.0), "y": rng.normal(size=99)})
    system = System(CausalGraph(["a", "y"], [("a", "y")]), normal)
    window = pd.DataFrame({"a": [10.0 + 4 * 0.03], "y": [9.0]})
    ranking = SmoothTraversal().fit(system).rank(Incident(window, "y"))
    from scipy.stats import norm

    assert np.isclose(ranking.scores["a"], -np.log(2 * norm.sf(4.0)))
