"""Published and measured figures on PetShop, where it is available."""

import dataclasses

import numpy as np
import pytest

from benchmarks._petshop import cells, fault_free, folder
from benchmarks._replays import circa, idi, tables, toca
from workbench.diagnosis import CIRCA, RankedCorrelation, Traversal, calibrate, evaluate

pytestmark = [
    pytest.mark.skipif(folder() is None, reason="WORKBENCH_DATA has no petshop/issues.json"),
    pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning"),
]


@pytest.fixture(scope="module")
def latency():
    return [c for c in cells("test") if c.metric == "latency"]


def figures(cell, answers):
    result = evaluate(answers, [fault.cause for fault in cell.faults])
    return result["recall@1"], result["recall@3"]


def ranked(cell, make, own_alarm=True):
    answers = []
    for fault in cell.faults:
        system = cell.system()
        limits = dict.fromkeys(system.metrics, 5.0)
        limits |= {} if own_alarm else dict.fromkeys(limits, 3.0) | {cell.target: 0.0}
        answers.append(make(limits).fit(system).rank(cell.incident(fault)))
    return figures(cell, answers)


def test_the_cells_hold_what_was_published():
    for split, counts in (("train", [4, 4, 4, 4]), ("test", [10, 8, 10, 8])):
        found = list(cells(split))
        assert [len(c.faults) for c in found] == counts
        for cell in found:
            assert len(cell.normal) == 589 and cell.target in cell.normal
            assert all(len(f.window) == 5 and f.cause in cell.graph.nodes for f in cell.faults)
            assert not cell.graph.children(cell.target)


@pytest.mark.slow
def test_a_leaky_graph_has_lost_at_least_what_a_clean_one_has(latency):
    for cell in latency:
        lost = [cell.removed(fault, leaky=True) for fault in cell.faults]
        assert all(a <= b for a, b in zip(lost, lost[1:], strict=False))
        for fault, gone in zip(cell.faults, lost, strict=True):
            assert cell.removed(fault, leaky=False) <= gone
            assert not gone.intersection(cell.leaky_system(fault).metrics)


def test_one_system_for_all_incidents_is_as_good_as_a_fresh_one(latency):
    cell = dataclasses.replace(latency[0], faults=latency[0].faults[:4])
    once = Traversal(5.0, skip=2).fit(cell.system())
    for fault in cell.faults[::-1]:
        fresh = Traversal(5.0, skip=2).fit(cell.system()).rank(cell.incident(fault))
        assert once.rank(cell.incident(fault)).nodes == fresh.nodes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "own_alarm", "low", "high"),
    [
        (lambda t: Traversal(t, skip=2), True, (0.8, 0.8), (0.9, 0.9)),
        (lambda t: RankedCorrelation(t, skip=2), True, (0.4, 0.6), (0.7, 0.9)),
        (lambda t: CIRCA(t), False, (0.3, 1.0), (0.2, 0.8)),
    ],
)
def test_recalls_of_the_methods(latency, method, own_alarm, low, high):
    for cell, expected in zip(latency, (low, high), strict=True):
        assert np.allclose(ranked(cell, method, own_alarm), expected, atol=0.101)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("replay", "leaky", "low", "high"),
    [
        (lambda t: idi(t, own=True), True, (0.9, 0.9), (0.9, 0.9)),
        (lambda t: idi(t, own=True, draws=200), False, (0.7, 0.8), (0.9, 0.9)),
        (circa, True, (0.6, 0.8), (0.6, 1.0)),
        (toca, True, (0.4, 0.4), (0.2, 0.2)),
    ],
)
def test_recalls_of_the_replays(latency, replay, leaky, low, high):
    for cell, expected in zip(latency, (low, high), strict=True):
        answers = [replay(tables(cell, fault, leaky)) for fault in cell.faults]
        assert np.allclose(figures(cell, answers), expected, atol=0.101)


@pytest.mark.slow
def test_without_the_own_node_test_idi_falls_below_one_half(latency):
    for cell in latency:
        once = []
        for draw in range(6):
            answers = []
            for k, fault in enumerate(cell.faults):
                t = tables(cell, fault, leaky=True)
                t.rng = np.random.default_rng([draw, k])
                answers.append(idi(t, own=False))
            once.append(figures(cell, answers)[0])
        assert np.mean(once) < 0.5


@pytest.mark.slow
def test_calibrated_thresholds_keep_the_rate_on_the_other_half():
    wrong = []
    for cell in cells("train"):
        system, windows = fault_free(cell, rows=5, most=60)
        method = Traversal(calibrate(system, 0.05, 5)).fit(system)
        wrong += [bool(method.rank(window).nodes) for window in windows]
    assert len(wrong) >= 200 and np.mean(wrong) <= 0.05
