import numpy as np
import pandas as pd
import pytest

from workbench.core.errors import GraphError
from workbench.diagnosis import ServiceGraph, Telemetry, metric_graph

pytestmark = pytest.mark.filterwarnings("ignore::workbench.CausalWarning")


def telemetry(*columns, kinds=None):
    times = pd.date_range("2026-03-01", periods=3, freq="min", tz="UTC")
    frame = pd.DataFrame({c: [1.0, 2.0, 3.0] for c in columns}, index=times)
    return Telemetry.from_frame(frame, kinds=kinds)


def edges(calls, *columns):
    return set(metric_graph(ServiceGraph.from_calls(calls), telemetry(*columns)).edges)


def test_trouble_flows_up_load_flows_down_saturation_stays_inside():
    found = edges(
        [("web", "db")],
        *(f"{s} {m}" for s in ("web", "db") for m in ("requests", "latency", "errors", "cpu")),
    )
    assert {("db latency", "web latency"), ("db errors", "web errors")} <= found
    assert ("db latency", "web errors") in found and ("web requests", "db requests") in found
    inside = {(u, v) for u, v in found if u.split()[0] == v.split()[0] == "db"}
    causes = [("requests", "cpu"), ("requests", "latency"), ("cpu", "latency"), ("cpu", "errors")]
    assert {(f"db {u}", f"db {v}") for u, v in causes} <= inside
    assert not {("web latency", "db latency"), ("db requests", "web requests")} & found
    assert not {("db cpu", "web cpu"), ("db cpu", "web latency")} & found


def test_equal_statistics_follow_each_other():
    found = edges([("web", "db")], "web p50", "web p99", "db p50", "db p99")
    assert found == {("db p50", "web p50"), ("db p99", "web p99")}
    found = edges([("web", "db")], "web p99", "db latency_mean")
    assert found == {("db latency_mean", "web p99")}


def test_what_was_not_recorded_is_passed_through():
    calls = [("web", "cart"), ("cart", "db"), ("web", "cdn")]
    found = edges(calls, "web latency", "db latency")
    assert found == {("db latency", "cart latency"), ("cart latency", "web latency")}


def test_disagreement_is_reported():
    graph = ServiceGraph.from_calls([("web", "cart"), ("web", "auth")])
    with pytest.warns(match="without a metric: 'auth'") as notes:
        found = metric_graph(graph, telemetry("web latency", "cart latency", "Auth latency"))
    text = " ".join(str(n.message) for n in notes)
    assert "not in the graph: 'Auth'" in text and "Did you mean 'auth'" in text
    assert found.services.loc["auth", "in_metrics"] == np.False_
    with pytest.warns(match="can't tell what 'web foo' measures"):
        metric_graph(graph, telemetry("web latency", "web foo"))
    with pytest.raises(GraphError, match="no service of the graph has a metric.*Names must agree"):
        metric_graph(graph, telemetry("x latency"))
