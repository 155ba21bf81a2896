"""IDI against closed forms: what fixing a metric does to the target."""

import numpy as np
import pandas as pd
import pytest

from workbench import CausalGraph, load, save
from workbench.core.errors import ParameterError
from workbench.diagnosis import IDI, IDICounterfactual, Incident, System
from workbench.diagnosis.idi import Intervention
from workbench.diagnosis.incident import align
from workbench.diagnosis.mechanisms import Mechanisms
from workbench.diagnosis.shapley import exact_shapley, subsets

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")


def chain(n=2000, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=n)
    b = 2 * a + rng.normal(size=n)
    return pd.DataFrame({"a": a, "b": b, "c": -b + rng.normal(size=n)})


@pytest.fixture(scope="module")
def line():
    return System(CausalGraph(["a", "b", "c"], [("a", "b"), ("b", "c")]), chain())


def fork(n=2000):
    """Two equal causes and one without effect."""
    rng = np.random.default_rng(1)
    x, y, idle = rng.normal(size=(3, n))
    frame = pd.DataFrame({"x": x, "y": y, "idle": idle, "t": x + y + rng.normal(size=n)})
    return System(CausalGraph(["x", "y", "idle", "t"], [(p, "t") for p in "xy"]), frame)


def test_a_fixed_root_leaves_the_target_where_its_noise_is(line):
    row = pd.DataFrame({"a": [8.0], "b": [16.0], "c": [-16.0]})
    ranking = IDI(n_draws=4000).fit(line).rank(Incident(row, "c"))
    assert ranking.nodes == ("a",)
    sd = np.sqrt(6)  # of c; given a = its mean, c ~ N(0, 2)
    left = np.sqrt(2) * np.sqrt(2 / np.pi) / sd
    assert ranking.scores["a"] == pytest.approx(16 / sd - left, abs=0.1)
    assert 0 < ranking.table.loc["a", "se"] < 0.01
    assert ranking.details["healed share"]["a"] > 0.99


def test_the_counterfactual_keeps_the_noise_of_the_incident(line):
    row = pd.DataFrame({"a": [8.0], "b": [16.5], "c": [-17.5]})
    ranking = IDICounterfactual().fit(line).rank(Incident(row, "c"))
    sd = np.sqrt(6)  # with a = 0: b = .5, c = -1.5
    assert ranking.scores["a"] == pytest.approx((17.5 - 1.5) / sd, abs=0.15)


def test_an_inner_cause_is_fixed_to_what_its_parents_imply(line):
    row = pd.DataFrame({"a": [1.0], "b": [20.0], "c": [-20.0]})
    ranking = IDICounterfactual(n_draws=4000).fit(line).rank(Incident(row, "c"))
    # b would be 2 + e, so c is -2 - e
    left = np.abs(-2 - np.random.default_rng(0).normal(size=100_000)).mean()
    assert ranking.nodes == ("b",)
    assert ranking.scores["b"] == pytest.approx((20 - left) / np.sqrt(6), abs=0.1)


def test_a_node_that_is_usual_is_no_candidate_even_if_it_moves_the_target(line):
    row = pd.DataFrame({"a": [2.0], "b": [20.0], "c": [-20.0]})
    ranking = IDI().fit(line).rank(Incident(row, "c"))
    assert ranking.nodes == ("b",) and np.isnan(ranking.scores["a"])
    assert ranking.reason("a").startswith("usual")


def test_a_node_behind_an_anomalous_parent_is_no_candidate(line):
    row = pd.DataFrame({"a": [8.0], "b": [40.0], "c": [-40.0]})
    ranking = IDI().fit(line).rank(Incident(row, "c"))
    assert ranking.nodes == ("a",) and "downstream of anomalous 'a'" in ranking.reason("b")


def test_shapley_values_are_efficient_symmetric_and_zero_for_a_dummy():
    system = fork()
    system = System(
        CausalGraph(["x", "y", "idle", "t"], [("x", "t"), ("y", "t"), ("idle", "t")]),
        system.normal().assign(idle=lambda f: f["idle"]),
    )
    row = pd.DataFrame({"x": [9.0], "y": [9.0], "idle": [9.0], "t": [18.0]})
    case = align(system, Incident(row, "t"), "z", 5.0)
    world = Intervention(case, [("x",), ("y",), ("idle",)], Mechanisms(system), 200, 0, False)
    total = world.target(subsets(3))
    phi = exact_shapley((total[0] - total).T)
    np.testing.assert_allclose(phi.sum(axis=1), total[0] - total[-1], atol=1e-8)


def test_a_dummy_scores_zero_and_twins_score_the_same():
    rng = np.random.default_rng(3)
    half = rng.normal(size=(1000, 2))
    x = np.r_[half[:, 0], half[:, 1]]
    y = np.r_[half[:, 1], half[:, 0]]  # exchangeable with x, to the last digit of every moment
    e = rng.normal(size=1000)
    frame = pd.DataFrame({"x": x, "y": y, "level": 1.0, "t": x + y + np.r_[e, e]})
    graph = CausalGraph(list(frame), [(p, "t") for p in ("x", "y", "level")])
    row = pd.DataFrame({"x": [9.0], "y": [9.0], "level": [2.0], "t": [18.0]})
    method = IDICounterfactual(mode="multiple").fit(System(graph, frame))
    ranking = method.rank(Incident(row, "t"))
    # a constant has no slope, and the noise below it is kept: fixing it changes nothing
    assert ranking.scores["level"] == pytest.approx(0.0, abs=1e-12)
    assert ranking.scores["x"] == pytest.approx(ranking.scores["y"], rel=1e-9)
    assert set(ranking.nodes) == {"x", "y"}


def test_many_candidates_go_over_permutations_and_agree_with_the_exact_values():
    rng = np.random.default_rng(5)
    names = [f"x{i}" for i in range(14)]
    frame = pd.DataFrame(rng.normal(size=(300, 14)), columns=names)
    frame["t"] = frame.sum(axis=1) + rng.normal(size=300)
    system = System(CausalGraph([*names, "t"], [(n, "t") for n in names]), frame)
    row = pd.DataFrame({**{n: [6.0 + i] for i, n in enumerate(names)}, "t": [100.0]})
    method = IDI(mode="multiple", n_draws=50, n_permutations=60)
    ranking = method.fit(system).rank(Incident(row, "t"))
    assert len(ranking.nodes) == 14
    assert set(ranking.nodes[:3]) & {"x13", "x12", "x11"}
    case = align(system, Incident(row, "t"), "z", 5.0)
    world = Intervention(case, [(n,) for n in names], Mechanisms(system), 50, 0, False)
    both = world.target(np.array([[False] * 14, [True] * 14])).mean(axis=1)
    assert ranking.scores[list(names)].sum() == pytest.approx(both[0] - both[1], abs=0.3)


def test_with_two_causes_sets_find_both():
    row = pd.DataFrame({"x": [12.0], "y": [12.0], "idle": [0.0], "t": [24.0]})
    ranking = IDI(mode="multiple").fit(fork()).rank(Incident(row, "t"))
    assert set(ranking.nodes) == {"x", "y"}


@pytest.mark.parametrize("scorer", ["robust", "tail"])
def test_other_scorers_judge_the_target_after_the_fix(line, scorer):
    row = pd.DataFrame({"a": [12.0], "b": [24.0], "c": [-24.0]})
    ranking = IDI(threshold=3.0, scorer=scorer).fit(line).rank(Incident(row, "c"))
    assert ranking.nodes == ("a",) and ranking.scores["a"] > 2


def test_networks_learn_a_curve_that_lines_cannot():
    rng = np.random.default_rng(2)
    a = rng.normal(size=200)
    b = a**2 + 0.2 * rng.normal(size=200)
    frame = pd.DataFrame({"a": a, "b": b})
    system = System(CausalGraph(["a", "b"], [("a", "b")]), frame)
    method = IDI(mechanisms="network", threshold=2.5).fit(system)
    world = Mechanisms(system, method._learn(system))
    at = np.array([-1.5, 0.0, 1.5])
    value = system.mean[1] + system.scale[1] * world.predict(
        "b", [(at - system.mean[0]) / system.scale[0]]
    )
    np.testing.assert_allclose(value, at**2, atol=0.4)
    assert world.noise("b").std() < 0.4
    ranking = method.rank(Incident(pd.DataFrame({"a": [-3.2], "b": [10.2]}), "b"))
    assert ranking.nodes == ("a",)


def test_networks_do_not_depend_on_the_order_of_rows():
    frame = chain(80)
    graph = CausalGraph(["a", "b", "c"], [("a", "b"), ("b", "c")])
    row = Incident(pd.DataFrame({"a": [9.0], "b": [18.0], "c": [-18.0]}), "c")
    both = [
        IDI(mechanisms="network", n_draws=20).fit(System(graph, f)).rank(row).scores["a"]
        for f in (frame, frame.sample(frac=1, random_state=1))
    ]
    assert both[0] == pytest.approx(both[1], rel=1e-6)


def test_networks_are_saved_and_learn_anew_what_an_incident_leaves_out(tmp_path):
    frame = chain(80)
    system = System(CausalGraph(["a", "b", "c"], [("a", "b"), ("b", "c")]), frame)
    method = IDI(mechanisms="network", n_draws=20).fit(system)
    row = pd.DataFrame({"a": [9.0], "b": [18.0], "c": [-18.0]})
    save(method, tmp_path / "m")
    again = load(tmp_path / "m").rank(Incident(row, "c"))
    pd.testing.assert_frame_equal(again.table, method.rank(Incident(row, "c")).table)
    assert method.rank(Incident(row.drop(columns="b"), "c")).nodes == ("a",)


@pytest.mark.parametrize(
    "wrong", [{"mode": "both"}, {"mechanisms": "tree"}, {"n_draws": 1}, {"n_permutations": 1.5}]
)
def test_parameters_that_make_no_sense_are_refused(line, wrong):
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        IDI(**wrong).fit(line)


def test_no_standard_error_is_shown_where_nothing_was_drawn(shop, system):
    window = shop.rows(1, seed=5, users=15.0)
    ranking = IDICounterfactual().fit(system).rank(Incident(window, "web"))
    assert ranking.nodes == ("users",) and ranking.table["se"].iloc[0] == 0.0
    assert "±" not in ranking.summary()
