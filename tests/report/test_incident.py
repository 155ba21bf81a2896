import numpy as np
import pandas as pd
import pytest

from workbench.diagnosis import OnCall, ServiceGraph, Telemetry
from workbench.report import incident_memo

pytestmark = pytest.mark.filterwarnings("ignore::workbench.CausalWarning")


@pytest.fixture
def watch():
    r = np.random.default_rng(0)
    times = pd.date_range("2026-03-01 10:00", periods=300, freq="min", tz="UTC")
    db = r.normal(20, 1, 300)
    db[290:295] += 30
    web = 2 * db + r.normal(0, 1, 300)
    frame = pd.DataFrame({"<b>db</b> latency_ms": db, "web latency_ms": web}, index=times)
    graph = ServiceGraph.from_calls([("web", "<b>db</b>")])
    made = pd.DataFrame({"time": [times[288]], "service": ["<b>db</b>"], "what": ["<script>"]})
    return OnCall(Telemetry.from_frame(frame), graph, changes=made)


def test_the_page_has_every_tier_and_escapes_names(watch):
    html = incident_memo(watch.investigate("web", "2026-03-01T14:50")).html()
    for heading in ("First failure", "Impact", "Changes", "Around the onset", "Who calls whom"):
        assert heading in html
    assert "<script>" not in html and "<b>db</b>" not in html and "&lt;b&gt;db" in html
    assert html.count("<svg") == 3


def test_a_quiet_target_has_a_page_too(watch):
    html = incident_memo(watch.investigate("web", "2026-03-01T12:00")).html()
    assert "Nothing unusual" in html and "<svg" not in html
