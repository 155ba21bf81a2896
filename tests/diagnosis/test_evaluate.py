import numpy as np
import pytest

from workbench.core.errors import DataError, ParameterError
from workbench.diagnosis import Incident, NSigma, System, evaluate
from workbench.diagnosis.evaluate import recall_at_k


def test_recall_counts_the_first_causes_plus_k_minus_one():
    ranked = ["a", "b", "c", "d", "e"]
    assert recall_at_k(ranked, {"b"}, 1) == 0 and recall_at_k(ranked, {"b"}, 2) == 1
    assert recall_at_k(ranked, {"a", "d"}, 1) == 0.5
    assert recall_at_k(ranked, {"a", "d"}, 3) == 1
    assert recall_at_k([], {"a"}, 3) == 0


def test_measures_over_faults_and_fault_free_windows():
    result = evaluate([["a", "b"], [], ["b", "a"], [], ["c"]], ["a", "a", "a", [], []])
    assert np.isclose(result["recall@1"], 1 / 3) and np.isclose(result["recall@3"], 2 / 3)
    assert np.isclose(result["Avg@5"], (1 + 0 + 0.8) / 3)
    assert np.isclose(result["answered"], 2 / 3) and result["specificity"] == 0.5
    table = result.to_frame()
    assert table.loc["recall@1", "n"] == 3
    assert np.isclose(table.loc["recall@1", "se"], np.std([1, 0, 0], ddof=1) / 3**0.5)
    assert len(result.to_frame(long=True)) == 5


def test_services_are_found_by_their_first_metric():
    ranked = ["web_cpu", "web_mem", "db_cpu"]
    service = {m: m[:-4] for m in ranked}
    assert evaluate([ranked], ["db"], belongs_to=service, ks=(2,))["recall@2"] == 1
    assert evaluate([ranked], ["db_cpu"], belongs_to=service, ks=(2,))["recall@2"] == 1


@pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")
def test_a_cause_inside_a_loop_is_found_with_the_loop(shop):
    system = System.from_edges([*shop.edges, ("cart", "db")], shop.rows(200))
    ranking = NSigma().fit(system).rank(Incident(shop.rows(1, db=40), "web"))
    assert evaluate([ranking], ["db"])["recall@1"] == 1
    names = {m: m.upper() for m in system.metrics}
    assert evaluate([ranking], ["DB"], belongs_to=names, ks=(2,))["recall@2"] == 1


def test_refusals():
    with pytest.raises(DataError, match="1 rankings and 2"):
        evaluate([["a"]], ["a", "b"])
    with pytest.raises(DataError):
        evaluate([], [])
    with pytest.raises(ParameterError, match="ks"):
        evaluate([["a"]], ["a"], ks=(0,))


@pytest.mark.parametrize(
    ("rankings", "causes", "column"),
    [([["a"], ["a"]], ["a", None], "causes"), ([["a"], "ab"], ["a", "a"], "rankings")],
)
def test_what_is_no_ranking_or_no_cause_is_refused_with_its_place(rankings, causes, column):
    with pytest.raises(DataError, match="first at row 1") as refusal:
        evaluate(rankings, causes)
    assert refusal.value.column == column
