import numpy as np
import pandas as pd
import pytest

from workbench import load, save
from workbench.core.errors import DataError, QuestionError
from workbench.diagnosis import BlameFlow, Incident, NSigma, System
from workbench.diagnosis.incident import align

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")


def case(system, window, target="web"):
    return align(system, Incident(window, target), "z", 3.0)


def test_the_trigger_is_the_row_in_which_the_target_is_most_anomalous(shop, system):
    window = shop.rows(5)
    window.loc[3, "web"] = -500.0
    window.loc[1, "web"] = 300.0
    found = case(system, window)
    assert found.labels[found.trigger] == 3
    assert np.isclose(found.values[system.position["db"]], window.loc[3, "db"])


def test_columns_are_matched_by_name_and_unknown_ones_ignored(shop, system):
    window = shop.rows(3)
    one, other = case(system, window), case(system, window[sorted(window)].assign(more=1.0))
    assert np.array_equal(one.window, other.window)


def test_a_metric_missing_in_one_incident_is_marginalised_for_it_alone(shop, system):
    window = shop.rows(3).assign(db=np.nan)
    found = case(system, window.drop(columns="cache"))
    assert set(found.missing) == {"db", "cache"}
    assert found.system.parents("cart") == ("users",)
    assert set(system.metrics) == set(shop.nodes)
    assert found.window.shape == (3, 3)


def test_a_gap_in_the_trigger_row_is_filled_and_named(shop, system):
    window = shop.rows(3)
    window.loc[1:, "web"] = [500.0, 400.0]
    window.loc[1, "db"] = np.nan
    found = case(system, window)
    assert found.filled == ("db",)
    assert np.isclose(found.values[system.position["db"]], window["db"].median())


def test_lasting_offsets_are_told_from_the_incident(shop, system):
    window = shop.rows(6, cache=50.0)
    window.loc[4, "web"] += 500.0
    window["web"] = np.where(np.arange(6) == 4, 900.0, 80.0)
    window["db"] = np.where(np.arange(6) == 4, 100.0, 5.0)
    ranking = NSigma().fit(system).rank(Incident(window, "web"))
    offset = [w for w in ranking.warnings if w.code == "permanent-offset"]
    assert len(offset) == 1 and "cache" in offset[0].columns and "db" not in offset[0].columns


def test_a_constant_that_moves_is_named():
    rng = np.random.default_rng(0)
    normal = pd.DataFrame({"flag": 1.0, "web": rng.normal(size=50)})
    system = System(None, normal)
    ranking = (
        NSigma().fit(system).rank(Incident(pd.DataFrame({"flag": [0.0], "web": [9.0]}), "web"))
    )
    assert "constant-moved" in {w.code for w in ranking.warnings}
    assert ranking.nodes == ("flag",) and np.isnan(ranking.table.loc["flag", "se"])


def test_one_record_of_an_ordinary_table(shop):
    df = shop.rows(100).set_axis([f"p{i}" for i in range(100)])
    incident = Incident.from_row(df, "p7", "web")
    assert len(incident) == 1 and incident.window.index.tolist() == ["p7"]
    with pytest.raises(QuestionError, match="no row.*'p777'"):
        Incident.from_row(df, "p777", "web")
    with pytest.raises(QuestionError, match="2 rows"):
        Incident.from_row(pd.concat([df, df]), "p7", "web")


def test_refusals_name_the_place(shop, system):
    rows = shop.rows(2)
    with pytest.raises(QuestionError, match="Did you mean 'web'"):
        Incident(rows, "webb")
    with pytest.raises(DataError, match="no rows"):
        Incident(rows.head(0), "web")
    with pytest.raises(QuestionError, match="not a metric of this system"):
        case(system, rows.assign(foo=1.0), "foo")
    with pytest.raises(DataError, match="(?s)'db'.*infinite.*row 1"):
        case(system, rows.assign(db=[1.0, np.inf]))
    with pytest.raises(DataError, match="'db'"):
        case(system, rows.assign(db=["slow", "fast"]))
    gone = System(shop.graph(), shop.rows(50).assign(web=np.nan))
    with pytest.raises(QuestionError, match="'web'.*no value in any row"):
        case(gone, rows)


def test_it_is_immutable_and_saved(shop, tmp_path):
    window = shop.rows(3)
    incident = Incident(window, "web")
    window.iloc[0, 0] = np.nan
    copy = incident.window
    copy.iloc[0, 0] = np.nan
    assert incident.window.notna().all().all()
    with pytest.raises(AttributeError):
        incident.target = "db"
    save(incident, tmp_path / "i")
    other = load(tmp_path / "i")
    pd.testing.assert_frame_equal(other.window, incident.window)
    assert other.target == "web"


@pytest.mark.parametrize("kind", ["Int64", "Float64", "int16", "object", "float32"])
def test_numbers_of_any_type_are_read_alike(shop, system, kind):
    window = shop.rows(3).round()
    typed = window.astype(kind)
    assert np.allclose(system.encode(typed), system.encode(window))


def test_empty_cells_of_any_type_are_gaps(shop, system):
    window = shop.rows(2).round().astype("Int64")
    window.loc[0, "db"] = pd.NA
    window["cart"] = [None, None]
    got = np.isnan(system.encode(window))
    assert got[0, system.position["db"]] and got.sum() == 3


def test_a_metric_recorded_in_quiet_rows_only_counts_as_not_recorded(shop, system):
    window = shop.rows(6, seed=3)
    window.loc[4:, ["db", "cart", "web"]] += [15, 22, 45]
    window.loc[4:, "db"] = np.nan
    window.index = pd.date_range("2026-03-01", periods=6, freq="min", tz="UTC")
    ranking = BlameFlow().fit(system).rank(Incident(window, "web"))
    assert ranking.marginalised["db"] == "not recorded in the incident"
    note = next(w for w in ranking.warnings if w.code == "not-recorded")
    assert "is itself a suspect" in note.message
    assert ranking.nodes[0] == "cart"


def test_a_gap_is_named_by_the_time_as_a_person_writes_it(shop, system):
    window = shop.rows(3, seed=3)
    window.loc[1:, ["db", "cart", "web"]] += [15, 22, 45]
    window.loc[2, ["db", "web"]] += [np.nan, 9]
    window.index = pd.date_range("2026-03-01", periods=3, freq="min", tz="UTC")
    ranking = BlameFlow().fit(system).rank(Incident(window, "web"))
    note = next(w for w in ranking.warnings if w.code == "filled")
    assert "'db' not recorded at 2026-03-01 00:02:00+00:00" in note.message
