"""The table of odd inputs for anybody's estimator."""

import time

import numpy as np
import pytest

from workbench.checks import check_causal_estimator
from workbench.checks import estimator as room
from workbench.checks.estimator import (
    CRYPTIC,
    DOUBTFUL,
    LATE,
    NAMED,
    OUTCOMES,
    PLACED,
    RIGHT,
    SILENT,
    UNPLACED,
    Heard,
    judge,
    run_case,
)
from workbench.checks.odd_inputs import answer, refusal, warning
from workbench.checks.odd_questions import effect_cases
from workbench.core import saving
from workbench.core.errors import DataError, ParameterError
from workbench.effects.catalogue import make

CASES = {case.name: case for case in effect_cases()}


@pytest.fixture(scope="module", autouse=True)
def loaded():
    """Libraries are imported once, outside the tests' own time."""
    for name in ("AIPW", "LinearDML"):
        run_case(make(name, n_folds=2), CASES["clean table"])


class Difference:
    """Compares means and looks at nothing."""

    def fit(self, Y, T, X=None, W=None):
        Y, T = np.ravel(np.asarray(Y)), np.ravel(np.asarray(T))
        self.value = float(Y[T == 1].mean() - Y[T == 0].mean())
        return self

    def effect(self, X=None, T0=0, T1=1):
        return np.array([self.value])


@pytest.mark.parametrize("name", CASES)
def test_our_default_for_arms_passes(name):
    found = run_case(make("AIPW", n_folds=3), CASES[name])
    assert found.met, f"{found.outcome}: {found.message}"
    assert found.expected != "refusal" or found.seconds < 2


@pytest.mark.parametrize("name", list(CASES)[1::2])
def test_our_default_for_doses_passes(name):
    found = run_case(make("LinearDML", n_folds=2), CASES[name])
    assert found.met, f"{found.outcome}: {found.message}"
    assert found.expected != "refusal" or found.seconds < 2


def test_what_comes_out_is_judged():
    told = DataError("is empty", column="a", row=3)
    vague, lost = ValueError("Input contains NaN."), KeyError("blocks")
    at_a = refusal("'a'", "row 3")
    assert judge(Heard(right=True), answer()) == (RIGHT, True)
    assert judge(Heard(), answer()) == (SILENT, False)
    assert judge(Heard(generic=True), answer()) == (DOUBTFUL, False)
    assert judge(Heard(right=True, changed="a"), answer()) == (SILENT, False)
    assert judge(Heard(error=told), at_a) == (PLACED, True)
    assert judge(Heard(error=told), answer(), columns=["a"]) == (PLACED, False)
    assert judge(Heard(error=told), refusal("'b'")) == (UNPLACED, False)
    assert judge(Heard(error=told), answer(), refusable=("'a'",)) == (PLACED, True)
    assert judge(Heard(error=vague), at_a, "nan") == (UNPLACED, False)
    assert judge(Heard(error=lost), at_a, "nan") == (CRYPTIC, False)
    assert judge(Heard(right=True), at_a) == (SILENT, False)
    assert judge(Heard(right=True), refusal("'a'", unless_right=True)) == (RIGHT, True)
    rank = frozenset({"rank"})
    assert judge(Heard(right=True, codes=rank), warning("rank")) == (NAMED, True)
    assert judge(Heard(right=True), warning("rank")) == (RIGHT, False)
    assert judge(Heard(codes=rank), warning("rank")) == (NAMED, False)
    assert judge(Heard(codes=rank), warning("rank", right=False)) == (NAMED, True)
    assert judge(Heard(), warning("rank", right=False)) == (SILENT, False)


def test_a_careless_estimator_is_found_out():
    names = ["reversed contrast", "Y with a shuffled index", "infinite outcome", "clean table"]
    found = {n: run_case(Difference(), CASES[n]) for n in names}
    assert {r.outcome for r in found.values()} <= {SILENT, DOUBTFUL}
    assert not any(r.met for r in found.values())


def test_a_table_that_was_changed_counts_as_wrong():
    class Careless(Difference):
        def fit(self, Y, T, X=None, W=None):
            W["propensity_score"] = 0.5
            super().fit(Y, T)
            self.value = 2.0

    found = run_case(Careless(), CASES["clean table"])
    assert found.outcome == SILENT and "changed the caller's" in found.message


def test_econml_shows_the_contrast():
    from econml.dml import LinearDML

    asked = ["Y with a shuffled index", "columns reordered at prediction", "empty cell in X"]
    found = [run_case(LinearDML(random_state=0), CASES[n]).outcome for n in asked]
    assert found == [SILENT, SILENT, UNPLACED]


def test_what_is_no_estimator_is_refused():
    with pytest.raises(ParameterError, match="no method fit"):
        check_causal_estimator("AIPW")
    with pytest.raises(ParameterError, match="time_limit"):
        check_causal_estimator(Difference(), time_limit=0)


def test_what_can_not_be_copied_is_refused():
    unwilling = Difference()
    unwilling.lines = (line for line in "abc")
    with pytest.raises(ParameterError, match="can't be copied"):
        check_causal_estimator(unwilling)


@pytest.mark.slow
def test_the_report(tmp_path):
    report = check_causal_estimator(make("AIPW"))
    assert report.ok, report.to_frame().query("not met").to_string()
    assert list(report.counts().index) == list(OUTCOMES)
    assert report.counts().sum() == len(report.to_frame()) == len(CASES)
    assert len(repr(report).split("\n")) <= 10 and "AIPW()" in report.summary()
    assert report._repr_html_()
    again = check_causal_estimator(make("AIPW"))
    columns = ["case", "outcome", "message"]
    assert report.to_frame()[columns].equals(again.to_frame()[columns])
    saving.save(report, tmp_path / "report")
    assert saving.load(tmp_path / "report").summary() == report.summary()


@pytest.mark.slow
def test_hangs_and_crashes_are_outcomes(monkeypatch):
    few = [CASES["clean table"], CASES["all treated"], CASES["three rows"]]
    monkeypatch.setattr(room, "effect_cases", lambda seed: few)

    class Stubborn(Difference):
        def fit(self, Y, T, X=None, W=None):
            if len(Y) == 3:
                import os

                os._exit(3)
            if min(T) == 1:
                time.sleep(600)
            return super().fit(Y, T)

    started = time.perf_counter()
    report = check_causal_estimator(Stubborn(), time_limit=3)
    assert time.perf_counter() - started < 60
    outcomes = dict(zip(report.to_frame()["case"], report.to_frame()["outcome"], strict=True))
    assert outcomes["all treated"] == outcomes["three rows"] == LATE
    assert outcomes["clean table"] in (SILENT, RIGHT)
