import gzip
import json

import numpy as np
import pandas as pd
import pytest

from workbench.core.errors import CausalWarning, DataError, FileFormatError
from workbench.diagnosis import Telemetry, read_metrics
from workbench.diagnosis.telemetry.times import moment

pytestmark = pytest.mark.filterwarnings("ignore::workbench.CausalWarning")
T0 = 1_772_373_600  # 2026-03-01 14:00 UTC


def answer(*series, kind="matrix"):
    """What query_range returns for (labels, values) with one value per minute."""
    result = [
        {"metric": labels, "values": [[T0 + 60 * i, str(v)] for i, v in enumerate(values)]}
        for labels, values in series
    ]
    return {"status": "success", "data": {"resultType": kind, "result": result}}


@pytest.fixture
def write(tmp_path):
    def go(content, name="latency.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return go


def codes(found):
    return [w.code for w in found.warnings]


# -- Prometheus ----------------------------------------------------------------------------


def test_prometheus_names_come_from_labels_or_from_the_file(write):
    path = write(answer(({"service": "cart"}, [1, 2, 3]), ({"service": "web"}, [4, 5, 6])))
    found = read_metrics(path)
    assert list(found.frame.columns) == ["cart latency", "web latency"]
    assert found.frame["web latency"].tolist() == [4, 5, 6]
    assert str(found.frame.index[0]) == "2026-03-01 14:00:00+00:00"
    named = answer(({"__name__": "cpu_percent", "app": "cart"}, [1, 2, 3]))
    found = read_metrics(write(named))
    assert found.series.loc["cart cpu_percent", ["kind", "unit"]].tolist() == ["saturation", "%"]


def test_nan_is_a_gap_and_infinity_too_but_said(write):
    found = read_metrics(write(answer(({"job": "cart"}, ["1", "NaN", "+Inf", "4"]))))
    assert found.frame["cart latency"].isna().tolist() == [False, True, True, False]
    assert codes(found) == ["infinite-values"]
    assert 'job="cart"' in found.warnings[0].message


def test_counters_become_rates_and_survive_a_reset(write):
    counter = {"__name__": "http_requests_total", "service": "cart"}
    found = read_metrics(write(answer((counter, [0, 60, 120, 30, 90]))))
    rate = found.frame["cart http_requests_total"]
    np.testing.assert_allclose(rate, [np.nan, 1, 1, 0.5, 1])
    assert "1 reset" in found.series["note"].iloc[0] and found.series["unit"].iloc[0] == "1/s"
    gauge = {"__name__": "jobs_total", "service": "cart"}
    found = read_metrics(write(answer((gauge, [5, 4, 6, 3, 5]))))
    assert found.frame["cart jobs_total"].tolist() == [5, 4, 6, 3, 5]
    assert "taken as it is" in found.series["note"].iloc[0]


def test_sum_and_count_give_the_mean(write):
    name = "request_duration_seconds"
    found = read_metrics(
        write(
            answer(
                ({"__name__": f"{name}_sum", "service": "cart"}, [0, 30, 90]),
                ({"__name__": f"{name}_count", "service": "cart"}, [0, 60, 120]),
            )
        )
    )
    np.testing.assert_allclose(found.frame[f"cart {name}"], [np.nan, 0.5, 1.0])
    assert found.series.loc[f"cart {name}", ["kind", "unit"]].tolist() == ["latency", "s"]


def test_instances_are_added_up_or_averaged_and_said(write):
    both = [({"service": "cart", "pod": p}, [v, v]) for p, v in (("a", 1), ("b", 3))]
    found = read_metrics(write(answer(*both), "requests.json"))
    assert found.frame["cart requests"].tolist() == [4, 4]
    assert found.series["note"].iloc[0] == "sum of 2 series over pod"
    assert read_metrics(write(answer(*both))).frame["cart latency"].tolist() == [2, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"status": "success", "data": {"resultType": "mat', r"line 1, .*ends too early.*again"),
        ("nothing like it", r"line 1, column 1: is not JSON"),
        ("", "is empty"),
        (answer(), "no series.*time range"),
        (
            answer(({"service": "a"}, [1]), kind="vector"),
            "'vector', expected 'matrix'.*query_range",
        ),
        ({"status": "error", "errorType": "bad_data", "error": "parse error"}, "bad_data: parse"),
        ({"foo": 1}, "is not an answer of Prometheus.*'foo'"),
        (answer(({"service": "a"}, ["1", "abc"])), r'\{service="a"\}: value 2.*abc'),
        (answer(({"zone": "a"}, [1])), "no label names the service.*'zone'"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_hostile_answers_say_what_and_where(write, content, message):
    with pytest.raises(FileFormatError, match=message) as error:
        read_metrics(write(content))
    assert "latency.json" in str(error.value)


def test_only_histogram_buckets_and_only_gaps_are_refused(write):
    bucket = {"__name__": "d_bucket", "service": "a", "le": "0.5"}
    with pytest.raises(DataError, match="histogram_quantile"):
        read_metrics(write(answer((bucket, [1, 2]))))
    with pytest.raises(DataError, match="'a latency': no metric has a value"):
        read_metrics(write(answer(({"service": "a"}, ["NaN", "NaN"]))))
    found = read_metrics(write(answer(({"service": "a"}, ["NaN"]), ({"service": "b"}, [1]))))
    assert list(found.frame) == ["b latency"] and codes(found) == ["empty-metric"]


# -- tables --------------------------------------------------------------------------------

LONG = """time,service,metric,value
2026-03-01T14:01:00Z,cart,latency_ms,12
2026-03-01T14:00:00Z,cart,latency_ms,10
2026-03-01T15:02:00+01:00,cart,latency_ms,13
2026-03-01T14:00:00Z,db,cpu,0.5
"""


def test_long_tables_unsorted_with_several_zones(write):
    found = read_metrics(write(LONG, "m.csv"))
    assert found.frame["cart latency_ms"].tolist() == [10, 12, 13]
    assert found.frame["db cpu"].isna().tolist() == [False, True, True]
    assert not found.warnings


def test_every_form_of_a_table_says_the_same(write, tmp_path):
    times = pd.date_range("2026-03-01", periods=50, freq="min", tz="UTC", name="time")
    r = np.random.default_rng(0)
    wide = pd.DataFrame({"cart|latency_ms": r.normal(size=50), "db|cpu": r.normal(size=50)}, times)
    long = wide.reset_index().melt("time", value_name="value")
    long[["service", "metric"]] = long["variable"].str.split("|", expand=True).to_numpy()
    long = long[["time", "service", "metric", "value"]].sample(frac=1, random_state=0)
    wide.reset_index().to_csv(tmp_path / "w.csv", index=False)
    wide.reset_index().to_parquet(tmp_path / "w.parquet")
    long.to_csv(tmp_path / "l.csv", index=False)
    long.to_parquet(tmp_path / "l.parquet")
    (tmp_path / "w.csv.gz").write_bytes(gzip.compress((tmp_path / "w.csv").read_bytes()))
    expected = Telemetry.from_frame(wide).frame
    for name in ("w.csv", "w.parquet", "l.csv", "l.parquet", "w.csv.gz"):
        found = read_metrics(tmp_path / name).frame
        pd.testing.assert_frame_equal(found, expected, check_names=False, check_freq=False)


def test_repeated_times_use_the_last_and_say_so(write):
    again = LONG + "2026-03-01T14:00:00Z,cart,latency_ms,99\n"
    found = read_metrics(write(again, "m.csv"))
    assert found.frame["cart latency_ms"].iloc[0] == 99 and codes(found) == ["duplicate-times"]
    same = LONG + "2026-03-01T14:00:00Z,cart,latency_ms,10\n"
    assert not read_metrics(write(same, "m.csv")).warnings
    wide = "time,cart|cpu\n2026-03-01T14:00Z,1\n2026-03-01T14:00Z,2\n2026-03-01T14:01Z,3\n"
    found = read_metrics(write(wide, "w.csv"))
    assert found.frame["cart cpu"].tolist() == [2, 3] and codes(found) == ["duplicate-times"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "time,cart|cpu\n2026-03-01T14:00Z,1\n2026-03-01T14:01,2\n",
            "line 3.*no zone, those above",
        ),
        ("time,cart|cpu\n2026-03-01T14:00Z,1\nlunch,2\n", "line 3.*'lunch'"),
        ("time,cart|cpu\n2026-03-01T14:00Z,1\n2026-03-01T14:01Z,fast\n", "line 3.*'fast'"),
        ("time,cart|cpu\n12,1\n13,2\n", "line 2.*Unix"),
        ("when,cart|cpu\n2026-03-01T14:00Z,1\n", "no column with times.*'when'"),
        ("time,cart|cpu\n", "holds no rows"),
        ("time,service,metric,value\n", "holds no rows"),
        ("time,a b,c\n1,2\n", "line 2: has 2 fields"),
        ("when,service,metric,value\n1,a,b,2\n", "no column for the time"),
    ],
)
def test_hostile_tables_say_what_and_where(write, text, message):
    with pytest.raises(FileFormatError, match=message):
        read_metrics(write(text, "m.csv"))


def test_wide_names_need_a_service(write):
    text = "time,shopping_cart_cpu,other\n2026-03-01T14:00Z,1,2\n2026-03-01T14:01Z,1,2\n"
    with pytest.raises(DataError, match="no column names a service"):
        read_metrics(write(text, "m.csv"))
    found = read_metrics(write(text, "m.csv"), services=["shopping_cart"])
    assert list(found.frame) == ["shopping_cart cpu"]
    assert found.unused == {"other": "names no service and metric"}


def test_infinite_cells_count_as_gaps(write):
    text = "time,cart|cpu\n2026-03-01T14:00Z,inf\n2026-03-01T14:01Z,2\n"
    found = read_metrics(write(text, "m.csv"))
    assert found.frame["cart cpu"].isna().tolist() == [True, False]
    assert codes(found) == ["infinite-values"]


def test_truncated_parquet_is_named(tmp_path):
    path = tmp_path / "m.parquet"
    path.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(FileFormatError, match=r"m.parquet.*not a readable parquet"):
        read_metrics(path)


def test_files_with_other_steps_meet_on_the_coarser_one(write, tmp_path):
    slow = write(answer(({"service": "cart"}, [1, 2, 3, 4])), "latency.json")
    times = pd.date_range("2026-03-01T14:00:05Z", periods=12, freq="15s")
    fast = pd.DataFrame({"time": times, "cart|cpu": np.arange(12.0)})
    fast.to_csv(tmp_path / "fast.csv", index=False)
    found = read_metrics([slow, tmp_path / "fast.csv"])
    assert found.step == pd.Timedelta(minutes=1)
    assert found.frame["cart cpu"].tolist()[:3] == [1.5, 5.5, 9.5]


def test_same_metric_twice_is_combined_and_missing_files_are_named(write, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.csv"):
        read_metrics(tmp_path / "nowhere.csv")
    with pytest.raises(FileFormatError, match="which format"):
        read_metrics(write("x", "m.xyz"))


def test_from_frame_leaves_the_table_alone(untouched):
    times = pd.date_range("2026-03-01", periods=5, freq="min", tz="Europe/Berlin")
    frame = untouched(pd.DataFrame({"cart cpu": np.arange(5.0), "cart p99": 1.0}, times))
    found = Telemetry.from_frame(frame, kinds={"cpu": "requests"})
    assert found.series["kind"].tolist() == ["requests", "latency"]
    assert str(found.frame.index.tz) == "UTC"
    with pytest.raises(ValueError, match="unknown kind"):
        Telemetry.from_frame(frame, kinds={"cpu": "latencyy"})


@pytest.mark.parametrize("at", ["2026-03-01T15:00+01:00", "2026-03-01 14:00", 1772373600])
def test_moments(at):
    assert moment(at) == pd.Timestamp("2026-03-01 14:00", tz="UTC")


def test_no_moment():
    with pytest.raises(ValueError, match="is not a time"):
        moment("lunch")


def test_warnings_are_shown_once(write):
    with pytest.warns(CausalWarning, match="infinite"):
        read_metrics(write(answer(({"job": "cart"}, ["1", "Inf"]))))
