"""What every method promises: parametrised over all of them."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from workbench import CausalGraph, Feature, Schema, load, save
from workbench.core.errors import NotFittedError, ParameterError, QuestionError
from workbench.diagnosis import (
    BARO,
    CIRCA,
    IDI,
    TOCA,
    BlameFlow,
    CounterfactualAttribution,
    IDICounterfactual,
    Incident,
    NSigma,
    Ranking,
    SmoothTraversal,
    System,
    Traversal,
)

METHODS = [
    NSigma(),
    NSigma(scorer="robust"),
    BARO(),
    Traversal(),
    SmoothTraversal(),
    CIRCA(),
    TOCA(n_draws=10),
    CounterfactualAttribution(n_draws=10),
    IDI(threshold=3.0),
    IDICounterfactual(threshold=3.0, mode="multiple"),
    BlameFlow(),
]

pytestmark = [
    pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning"),
    pytest.mark.parametrize("method", [clone(m) for m in METHODS], ids=repr),
]


def answer(method, shop, window=None, target="web", **shift):
    system = System(shop.graph(), shop.rows(500))
    window = shop.rows(1, seed=5, **shift) if window is None else window
    return clone(method).fit(system).rank(Incident(window, target))


def test_a_strong_fault_is_found(method, shop):
    ranking = answer(method, shop, db=15.0)
    assert ranking.status == "found" and "db" in ranking.nodes[:2]
    assert "cache" not in ranking.nodes  # it is usual


def test_a_usual_target_has_no_root_cause_and_says_so(method, shop):
    ranking = answer(method, shop, window=shop.rows(500).mean().to_frame().T)
    assert ranking.status == "no root cause found" and ranking.nodes == ()
    assert "not anomalous" in ranking.summary() and ranking.scores.isna().all()


def test_a_target_that_was_not_recorded_is_an_abstention(method, shop):
    ranking = answer(method, shop, window=shop.rows(3).assign(web=np.nan))
    assert ranking.status == "abstain" and "not recorded" in ranking.summary()
    assert ranking.row is None and ranking.nodes == ()


def test_a_target_without_causes_is_an_abstention_that_mentions_direction(method, shop):
    system = System.from_edges([(b, a) for a, b in shop.edges], shop.rows(100))
    ranking = method.fit(system).rank(Incident(shop.rows(1, db=20), "web"))
    assert ranking.status == "abstain" and "reverse" in ranking.summary()


def test_the_table_and_the_system_are_left_alone(method, shop):
    normal, window = shop.rows(100), shop.rows(3, db=15.0)
    window.loc[0, "users"] = np.nan
    copies = normal.copy(deep=True), window.copy(deep=True)
    system = System(shop.graph(), normal)
    before = system.to_frame()
    method.fit(system).rank(Incident(window.drop(columns="cache"), "web"))
    pd.testing.assert_frame_equal(normal, copies[0])
    pd.testing.assert_frame_equal(window, copies[1])
    pd.testing.assert_frame_equal(before, system.to_frame())


def test_an_incident_with_a_missing_metric_does_not_touch_the_next_one(method, shop):
    system = System(shop.graph(), shop.rows(300))
    whole = Incident(shop.rows(2, seed=3, db=15.0), "web")
    fresh = clone(method).fit(system).rank(whole).table
    method.fit(system)
    partial = method.rank(Incident(whole.window.drop(columns=["db", "cart"]), "web"))
    assert partial.marginalised["db"] == "not recorded in the incident"
    pd.testing.assert_frame_equal(method.rank(whole).table, fresh)


@pytest.mark.parametrize("what", ["units", "names", "columns", "nodes", "rows"])
def test_rankings_do_not_depend_on(method, shop, what):
    normal, window = shop.rows(400), shop.rows(4, seed=8, db=12.0, users=4.0)
    graph, target = shop.graph(), "web"
    usual = clone(method).fit(System(graph, normal)).rank(Incident(window, target))
    new = {n: n for n in shop.nodes}
    if what == "units":
        factor = pd.Series({n: 10.0 ** (i - 3) * 1.7 for i, n in enumerate(shop.nodes)})
        normal, window = normal * factor, window * factor
    elif what == "names":
        new = {n: f"{9 - i} {n[::-1]}" for i, n in enumerate(shop.nodes)}
        normal, window = normal.rename(columns=new), window.rename(columns=new)
        graph, target = graph.rename(new), new[target]
    elif what == "columns":
        normal, window = normal[sorted(normal)], window[sorted(window)[::-1]]
    elif what == "nodes":
        graph = CausalGraph(shop.nodes[::-1], shop.edges[::-1])
    else:
        normal = normal.sample(frac=1, random_state=2)
    other = clone(method).fit(System(graph, normal)).rank(Incident(window, target))
    assert other.nodes == tuple(new[n] for n in usual.nodes)
    numbers = usual.table.rename(index=new)[["score", "se", "deviation"]]
    pd.testing.assert_frame_equal(
        other.table.loc[numbers.index, ["score", "se", "deviation"]], numbers, rtol=1e-6
    )


def test_an_all_nan_metric_and_a_graph_that_disagrees_with_the_data(method, shop):
    normal = shop.rows(200).assign(users=np.nan, more=1.0).drop(columns="cache")
    ranking = method.fit(System(shop.graph(), normal)).rank(Incident(shop.rows(1, db=15), "web"))
    assert set(ranking.marginalised) == {"users", "cache"}
    assert ranking.status == "found" and ranking.nodes[0] in ("db", "cart")
    assert "marginalised" in {w.code for w in ranking.warnings}


def test_a_loop_is_ranked_as_one_node(method, shop):
    system = System.from_edges([*shop.edges, ("cart", "db")], shop.rows(300))
    ranking = method.fit(system).rank(Incident(shop.rows(1, db=30), "web"))
    assert ranking.nodes[0] == "loop(cart, db)"
    assert set(ranking.members["loop(cart, db)"]) == {"cart", "db"}


def test_saved_methods_and_rankings_answer_the_same(method, shop, tmp_path):
    system = System(shop.graph(), shop.rows(100).drop(columns="cache"))
    incident = Incident(shop.rows(2, db=15).set_axis(pd.date_range("2024", periods=2)), "web")
    ranking = clone(method).fit(system).rank(incident)
    save(clone(method).fit(system), tmp_path / "m")
    save(ranking, tmp_path / "r")
    again = load(tmp_path / "m").rank(incident)
    for other in (again, load(tmp_path / "r")):
        pd.testing.assert_frame_equal(other.table, ranking.table)
        assert repr(other) == repr(ranking) and other.warnings == ranking.warnings
        assert other.row == ranking.row and other.how() == ranking.how()


def test_what_is_not_a_system_or_an_incident_is_refused(method, shop):
    with pytest.raises(NotFittedError):
        clone(method).rank(Incident(shop.rows(1), "web"))
    with pytest.raises(QuestionError, match="System"):
        clone(method).fit(shop.rows(20))
    fitted = clone(method).fit(System(shop.graph(), shop.rows(20)))
    with pytest.raises(QuestionError, match="Incident"):
        fitted.rank(shop.rows(1))
    with pytest.raises(ParameterError, match="threshold"):
        clone(method).set_params(threshold=-1).fit(System(shop.graph(), shop.rows(20)))


def test_an_external_alarm_is_explained_with_threshold_zero(method, shop):
    window = shop.rows(1, seed=5, db=3.0)
    with_alarm = clone(method).set_params(threshold={"web": 0.0, "db": 0.5})
    assert "not anomalous" not in answer(with_alarm, shop, window=window).summary()


def test_one_patient_of_an_ordinary_table(method):
    from sklearn.datasets import load_diabetes

    df = load_diabetes(as_frame=True, scaled=False).frame.set_axis([f"p{i}" for i in range(442)])
    edges = [("age", "bp"), ("bmi", "bp"), ("bmi", "s5"), ("bmi", "target"), ("bp", "target")]
    graph = CausalGraph(["age", "bmi", "bp", "s5", "target"], [*edges, ("s5", "target")])
    sick, usual = df["target"].idxmax(), (df["target"] - df["target"].mean()).abs().idxmin()
    for patient, threshold in ((sick, 2.0), (usual, 3.0)):
        fitted = clone(method).set_params(threshold=threshold)
        fitted.fit(System(graph, df.drop(patient)))
        ranking = fitted.rank(Incident.from_row(df, patient, "target"))
        assert ranking.row == patient
        if patient == usual:
            assert ranking.status == "no root cause found"
            assert "the threshold is 3 sd" in ranking.summary()
        else:
            assert "not anomalous" not in ranking.summary()
            assert isinstance(method, NSigma) or ranking.status == "found"


def test_units_and_results_are_shown(method, shop):
    schema = Schema([Feature("web", unit="ms")])
    system = System(shop.graph(), shop.rows(100), schema=schema)
    ranking = method.fit(system).rank(Incident(shop.rows(1, db=15), "web"))
    assert isinstance(ranking, Ranking)
    assert " ms, " in ranking.summary() and len(repr(ranking).split("\n")) <= 10
    assert "<table" in ranking._repr_html_()
    long = ranking.to_frame(long=True)
    assert set(long.columns) == {"node", "quantity", "value"} and len(long) == 3 * 5
    assert ranking.reason(ranking.nodes[0])
    frame = ranking.to_frame()
    frame.iloc[0, 0] = 0.0
    assert ranking.table.iloc[0, 0] != 0.0


def test_plot_returns_the_axes(method, shop):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    name = "$db_{<b>$"
    graph = CausalGraph([name, "web"], [(name, "web")])
    normal = shop.rows(50).rename(columns={"db": name})
    ranking = method.fit(System(graph, normal)).rank(
        Incident(shop.rows(1, db=15).rename(columns={"db": name}), "web")
    )
    figure, ax = plt.subplots()
    assert ranking.plot(ax) is ax
    figure.canvas.draw()
    plt.close(figure)
    assert "<b>" not in ranking._repr_html_().replace("<p><b>", "").replace("&#9888; <b>", "")


def test_a_value_beyond_numbers_is_an_abstention_that_names_it(method, shop):
    window = shop.rows(2, seed=5, db=15.0)
    window.loc[1, "db"] = 1e200
    ranking = answer(method, shop, window=window)
    assert ranking.status == "abstain" and "'db' is 1e+200 at row 1" in ranking.summary()
    assert ranking.nodes == () and ranking.scores.isna().all()
