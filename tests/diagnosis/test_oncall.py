import numpy as np
import pandas as pd
import pytest

from workbench.core.errors import DataError, QuestionError
from workbench.core.saving import load, save
from workbench.diagnosis import (
    IDI,
    Investigation,
    NSigma,
    OnCall,
    ServiceGraph,
    Telemetry,
    Traversal,
    investigate,
)
from workbench.diagnosis.telemetry.times import moment

pytestmark = pytest.mark.filterwarnings("ignore::workbench.CausalWarning")
FAULT = 560


@pytest.fixture
def watch(cluster):
    def go(frame, changes=None, calls=None, **more):
        graph = ServiceGraph.from_calls(calls or cluster.calls)
        return OnCall(Telemetry.from_frame(frame), graph, changes=changes, **more)

    return go


def changes(cluster, *rows):
    return pd.DataFrame(
        [(cluster.at(at), service, what) for at, service, what in rows],
        columns=["time", "service", "what"],
    )


@pytest.mark.parametrize(
    ("fault", "size", "cause"),
    [
        ("bank latency", 40, "bank latency_ms"),
        ("db errors", 3, "db errors_percent"),
        ("payment cpu", 120, "payment cpu_percent"),
    ],
)
def test_the_injected_cause_is_found_with_its_numbers(
    cluster, watch, untouched, fault, size, cause
):
    frame = untouched(cluster.rows(fault=fault, size=size))
    found = watch(frame).investigate("web", cluster.at(FAULT + 3))
    assert (found.status, found.cause) == ("found", cause)
    assert found.onset == cluster.at(FAULT)
    row = found.causes.loc[cause]
    assert row["before"] == pytest.approx(frame[cause].iloc[:FAULT].median(), rel=0.02)
    assert row["during"] == pytest.approx(frame[cause].iloc[FAULT : FAULT + 15].median(), rel=0.02)
    assert row["explains"] == pytest.approx(1, abs=0.25)
    assert row["since"] == cluster.at(FAULT) and found.first.index[0] == cause
    assert found.impact.index[0].startswith("web") and found.impact["entry"].iloc[0]
    assert cause not in found.impact.index


@pytest.mark.parametrize("off", [-1, 0, 1, 2, 10])
def test_an_alarm_a_step_early_or_late_gives_the_same_answer(cluster, watch, off):
    frame = cluster.rows(fault="bank latency", size=40)
    found = watch(frame).investigate("web", cluster.at(FAULT + off))
    assert found.cause == "bank latency_ms" and found.onset == cluster.at(FAULT)
    usual = found.baseline["fault-free rows"]
    assert usual.startswith("558 from 2026-03-01 00:00 to 2026-03-01 09:17")


def test_a_change_in_the_target_itself_has_no_cause_in_the_metrics(cluster, watch):
    frame = cluster.rows(fault="web latency", size=30)
    made = changes(cluster, (FAULT - 4, "web", "deploy 7"), (FAULT - 30, "cart", "flag"))
    found = watch(frame, made).investigate("web", cluster.at(FAULT + 3))
    assert found.status == "no cause in these metrics" and found.cause is None
    assert "web: deploy 7, 4 min before the onset, touches it" in found.verdict()
    assert not found.blamed and len(found.impact)


def test_a_quiet_target_is_its_own_outcome(cluster, watch):
    frame = cluster.rows(fault="bank latency", size=40, begin=400, end=410)
    found = watch(frame).investigate("web", cluster.at(300))
    assert found.status == "target is usual" and found.onset is None
    assert "nearest unusual stretch is 2026-03-01 06:40" in found.summary()
    repr(found), found._repr_html_(), found.to_frame(), found.to_frame(long=True), found.how()


def test_changes_are_ranked_by_what_they_touch(cluster, watch):
    frame = cluster.rows(fault="payment latency", size=40)
    made = changes(
        cluster,
        (FAULT - 1, "catalog", "flag"),
        (FAULT - 5, "payment", "deploy 2.1"),
        (FAULT - 2, "bank", "config"),
        (FAULT - 200, "payment", "deploy 2.0"),
        (FAULT + 30, "payment", "rollback"),
    )
    found = watch(frame, made).investigate("checkout", cluster.at(FAULT + 2))
    assert found.changes["what"].tolist() == ["deploy 2.1", "config", "flag"]
    assert found.changes["touches"].tolist() == ["blamed service", "upstream of it", "elsewhere"]
    assert found.changes["minutes_before"].tolist() == [5, 2, 1]
    assert "payment: deploy 2.1, 5 min before the onset, touches it" in found.verdict()


def test_earlier_incidents_are_not_usual(cluster, watch):
    frame = cluster.rows(fault="bank latency", size=40)
    frame.iloc[200:230] = cluster.rows(fault="db latency", size=60, begin=200, end=230).iloc[
        200:230
    ]
    found = watch(frame).investigate("web", cluster.at(FAULT + 3))
    assert found.cause == "bank latency_ms"
    assert found.baseline["left out as earlier incidents"] == "2026-03-01 03:18 to 03:51"


def test_answers_do_not_depend_on_what_was_asked_before(cluster, watch):
    frame = cluster.rows(fault="bank latency", size=40)
    frame.iloc[300:315] = cluster.rows(fault="db errors", size=3, begin=300, end=315).iloc[300:315]
    alone = watch(frame).investigate("web", cluster.at(FAULT + 3))
    shop = watch(frame)
    assert shop.investigate("web", cluster.at(303)).cause == "db errors_percent"
    again = shop.investigate("web", cluster.at(FAULT + 3))
    pd.testing.assert_frame_equal(again.causes, alone.causes)
    assert again.baseline == alone.baseline


def test_what_was_learned_once_serves_the_next_alarms(cluster, watch):
    frame = cluster.rows(fault="bank latency", size=40)
    shop = watch(frame).learn(cluster.at(500))
    assert shop.investigate("web", cluster.at(FAULT + 3)).cause == "bank latency_ms"
    method = shop._last[1]
    assert shop.investigate("checkout", cluster.at(FAULT + 3)).cause == "bank latency_ms"
    assert shop._last[1] is method
    with pytest.raises(QuestionError, match="learned as usual"):
        shop.investigate("web", cluster.at(400))


@pytest.mark.parametrize("order", [1, -1])
def test_order_units_and_other_methods(cluster, watch, order):
    frame = cluster.rows(fault="bank latency", size=40)[::1].iloc[:, ::order]
    frame = frame.sample(frac=1, random_state=0)
    frame["bank latency_ms"] *= 1000
    for method in (None, NSigma()):
        found = watch(frame, method=method).investigate("web", cluster.at(FAULT + 3))
        assert found.cause == "bank latency_ms"


def test_constant_missing_and_shifted_metrics_are_reported(cluster, watch):
    frame = cluster.rows(fault="bank latency", size=40)
    frame["redis errors_percent"] = 0.0
    frame["db latency_ms"] = np.nan
    found = watch(frame).investigate("web", cluster.at(FAULT + 3))
    assert found.cause == "bank latency_ms"
    said = {w.code for w in found.warnings}
    assert {"constant", "empty-metric", "marginalised"} <= said


def test_a_loop_of_services_is_one_cause(cluster, watch):
    calls = [*cluster.calls, ("bank", "payment")]
    frame = cluster.rows(fault="bank latency", size=40)
    found = watch(frame, calls=calls).investigate("web", cluster.at(FAULT + 3))
    assert found.cause.startswith("loop(") and "bank latency_ms" in found.how()[found.cause]
    assert found.causes.loc[found.cause, "service"] == "bank"
    assert any(n.startswith("loop(") for n in found.service_graph().nodes)


@pytest.mark.parametrize(
    ("target", "at", "error", "message"),
    [
        ("wbe", 563, QuestionError, "neither a service nor a metric. Did you mean 'web'"),
        ("web", 5000, QuestionError, "outside the metrics, which run from.*zone"),
        ("web", 10, DataError, "only 9 fault-free rows before.*at least 20.*Export from earlier"),
    ],
)
def test_questions_that_have_no_answer(cluster, watch, target, at, error, message):
    with pytest.raises(error, match=message):
        watch(cluster.rows()).investigate(target, cluster.at(at))


def test_targets_by_service_metric_and_separator(cluster, watch):
    shop = watch(cluster.rows(fault="bank latency", size=40))
    at = cluster.at(FAULT + 3)
    names = ("web", "web latency_ms", "web|latency_ms", "web/latency_ms")
    assert {shop.investigate(n, at).target for n in names} == {"web latency_ms"}
    stranger = cluster.rows().assign(**{"cdn latency": np.random.default_rng(0).normal(size=600)})
    with pytest.raises(QuestionError, match="'cdn': nothing in the service graph leads to it"):
        watch(stranger).investigate("cdn", at)
    silent = cluster.rows().drop(columns=[c for c in cluster.rows() if c.startswith("bank")])
    with pytest.raises(QuestionError, match="'bank' has no latency.*no metric at all"):
        watch(silent).investigate("bank", at)


def test_a_daily_pattern_is_said(cluster, watch):
    frame = cluster.rows(n=4000, fault="bank latency", size=60, begin=3900, end=3915)
    wave = 5 * np.sin(np.arange(4000) / 1440 * 2 * np.pi)
    for name in ("web latency_ms", "checkout latency_ms"):
        frame[name] += wave
    found = watch(frame).investigate("web", cluster.at(3902))
    assert found.cause == "bank latency_ms"
    assert "seasonality" in {w.code for w in found.warnings}


def test_investigations_are_saved_and_drawn(cluster, tmp_path):
    frame = cluster.rows(fault="payment cpu", size=120)
    made = changes(cluster, (FAULT - 5, "payment", "deploy $2.1"))
    graph = ServiceGraph.from_calls(cluster.calls)
    found = investigate(graph, frame, "web", cluster.at(FAULT + 3), changes=made)
    assert len(repr(found).split("\n")) <= 10
    save(found, tmp_path / "answer")
    again = load(tmp_path / "answer")
    assert isinstance(again, Investigation) and again.summary() == found.summary()
    pd.testing.assert_frame_equal(again.causes, found.causes, check_freq=False)
    healthy = found.healthy
    inside = healthy.loc[found.onset :].iloc[:15]
    assert (inside["healthy"] < inside["observed"]).all()
    assert inside["healthy"].mean() == pytest.approx(healthy["usual"].iloc[0], rel=0.1)
    from matplotlib.figure import Figure

    for draw in (found.plot, found.plot_timeline, found.plot_healthy):
        ax = Figure().add_subplot()
        assert draw(ax) is ax
        ax.figure.canvas.draw()


@pytest.mark.parametrize("text", ["01/02/2026", "01.02.2026 10:00", "20:03", "now", "2026-03", ""])
def test_a_time_that_can_be_read_in_two_ways_is_refused(cluster, watch, text):
    with pytest.raises(QuestionError, match="not a time in ISO 8601.*2026-03-01T14:32"):
        watch(cluster.rows()).investigate("web", text)


def test_iso_times_are_read_with_and_without_a_zone():
    expected = pd.Timestamp("2026-03-01T14:32Z")
    for text in ("2026-03-01T14:32", "2026-03-01 15:32+01:00", "2026-03-01 14:32 UTC"):
        assert moment(text) == expected
    assert moment(expected.tz_localize(None)) == expected == moment(expected.timestamp())


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [(300, 100, "baseline is reversed"), (580, 595, "baseline is not before the incident")],
)
def test_a_baseline_that_can_not_be_one_is_refused(cluster, watch, start, end, message):
    shop = watch(cluster.rows(fault="bank latency", size=40))
    with pytest.raises(QuestionError, match=message):
        shop.investigate("web", cluster.at(563), baseline=(cluster.at(start), cluster.at(end)))


def test_a_method_by_name_and_wrong_things(cluster):
    telemetry = Telemetry.from_frame(cluster.rows())
    calls = ServiceGraph.from_calls(cluster.calls)
    for method in ("IDI", IDI, IDI()):
        assert isinstance(OnCall(telemetry, calls, method=method).method, IDI)
    with pytest.raises(QuestionError, match="Did you mean 'IDI'"):
        OnCall(telemetry, calls, method="idi")
    with pytest.raises(QuestionError, match="must be a Telemetry"):
        OnCall(cluster.rows(), calls)
    with pytest.raises(QuestionError, match="must be a ServiceGraph"):
        OnCall(telemetry, cluster.calls)


def test_a_metric_that_goes_silent_in_the_incident_is_a_suspect(cluster, watch):
    frame = cluster.rows(fault="bank latency", size=40)
    frame.iloc[FAULT:, frame.columns.get_loc("bank latency_ms")] = np.nan
    found = watch(frame).investigate("web", cluster.at(FAULT + 3))
    note = next(w for w in found.warnings if w.code == "not-recorded")
    assert note.columns == ("bank latency_ms",) and "is itself a suspect" in note.message
    assert "silent meanwhile, hence suspect: bank latency_ms" in found.sentence
    assert "bank latency_ms" not in found.causes.index
    assert found.ranking.marginalised["bank latency_ms"] == "not recorded in the incident"
    assert not any("Timestamp(" in w.message for w in found.warnings)


def test_a_silent_member_of_a_loop_leaves_the_rest_of_it(cluster, watch):
    frame = cluster.rows(fault="payment latency", size=40)
    frame.iloc[FAULT:, frame.columns.get_loc("bank latency_ms")] = np.nan
    calls = [*cluster.calls, ("bank", "payment")]
    found = watch(frame, calls=calls).investigate("web", cluster.at(FAULT + 3))
    assert found.status == "found" and "silent meanwhile" in found.sentence


def test_a_target_in_a_loop_of_calls_says_that_the_cause_may_be_inside(cluster, watch):
    frame = cluster.rows(fault="db latency", size=40)
    calls = [*cluster.calls, ("db", "web")]
    found = watch(frame, calls=calls).investigate("web", cluster.at(FAULT + 3))
    assert found.status == "no cause in these metrics"
    said = "the cause may be inside the loop web, "
    assert said in found.sentence and "whose members can't be told apart" in found.sentence
    named = set(found.sentence.split(said)[1].split(", whose")[0].split(", "))
    assert named == {"checkout", "catalog", "cart", "db"}
    assert not {f"{s} latency_ms" for s in named}.intersection(found.impact.index)


def test_what_is_upstream_of_the_target_is_no_impact(cluster, watch):
    frame = cluster.rows(fault="bank latency", size=40)
    found = watch(frame).investigate("checkout", cluster.at(FAULT + 3))
    assert found.cause == "bank latency_ms"
    assert {"web latency_ms", "checkout latency_ms"} <= set(found.impact.index)
    assert "payment latency_ms" not in found.impact.index


def spreading(cluster, unit, size):
    """Errors of the services on the way from db to web that have nothing in common before."""
    r = np.random.default_rng(0)
    frame = cluster.rows()
    frame = frame.drop(columns=[c for c in frame if "errors" in c])
    for s in cluster.services:
        frame[f"{s} {unit}"] = 5 + r.normal(size=len(frame))
        frame.iloc[FAULT : FAULT + 15, -1] += size.get(s, 0.0)
    return frame


@pytest.mark.parametrize("unit", ["errors_percent", "errors_per_s"])
def test_faults_that_spread_only_in_the_incident_are_not_vetoed(cluster, watch, unit):
    moved = dict.fromkeys(["db", "cart", "catalog", "checkout", "web"], 20.0)
    frame = spreading(cluster, unit, moved)
    found = watch(frame).investigate("web", cluster.at(FAULT + 3))
    assert found.status == "found" and f"db {unit}" in found.blamed
    assert found.together < 0.1 and "by slopes learned in quiet times" in found.sentence


def test_what_explains_nothing_even_one_to_one_is_vetoed(cluster, watch):
    frame = spreading(cluster, "errors_percent", {"catalog": 8.0, "web": 400.0})
    found = watch(frame, method=Traversal()).investigate("web", cluster.at(FAULT + 3))
    assert found.status == "no cause in these metrics"
    assert "less than a tenth of it by slopes learned in quiet times" in found.sentence
    found = watch(frame).investigate("web", cluster.at(FAULT + 3))
    assert found.status == "no cause in these metrics"
