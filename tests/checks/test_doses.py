"""The table of odd inputs for estimators of doses."""

import numpy as np
import pandas as pd
import pytest

from workbench.checks import check_causal_estimator
from workbench.checks.dose_questions import OF_ARMS, dose_cases, dose_table, takes_doses
from workbench.checks.estimator import SILENT, cases_for, run_case
from workbench.checks.odd_questions import effect_cases
from workbench.core.errors import ParameterError
from workbench.effects import DoseGP
from workbench.effects.catalogue import ENTRIES, make

CASES = {case.name: case for case in dose_cases()}
SHARED = {case.name for case in effect_cases()}
CHEAP = {
    "DoseGP": {"kernels": ["main"], "steps": 8, "n_folds": 3},
    "DoseSLearner": {"learner": "spline", "n_folds": 3},
    "LinearDML": {"discrete_treatment": False, "n_folds": 2},
    "PolynomialDML": {"n_folds": 2},
}
# What tables of arms are asked as well is asked in part here, and in full in the slow tier.
ASKED = [n for n in CASES if n not in SHARED] + [n for n in CASES if n in SHARED][::3]
TRAINED = {"epochs": 200, "steps": 8}  # networks that have seen the table often enough to answer


def able(case, place):
    """A cheap learner that can be asked the question, another one for the next case."""
    names = [n for n in CHEAP if not case.needs or hasattr(make(n), case.needs)]
    name = names[place % len(names)]
    return make(name, **CHEAP[name])


@pytest.fixture(scope="module", autouse=True)
def loaded():
    """Libraries are imported once, outside the tests' own time."""
    for name, params in CHEAP.items():
        run_case(make(name, **params), CASES["clean table"])


@pytest.mark.parametrize(("place", "name"), enumerate(ASKED), ids=str)
def test_cheap_learners_pass(place, name):
    found = run_case(able(CASES[name], place), CASES[name])
    assert found.met, f"{found.outcome}: {found.message}"
    assert found.expected != "refusal" or found.seconds < 2


def test_every_case_says_what_is_expected():
    names = [case.name for case in dose_cases()]
    assert len(set(names)) == len(names)
    assert OF_ARMS < SHARED and not OF_ARMS & set(names)
    for case in CASES.values():
        assert case.expected.outcome != "refusal" or case.expected.places
        assert case.expected.outcome != "warning" or case.expected.codes
    answerable = sum(case.expected.outcome != "refusal" for case in CASES.values())
    assert answerable > len(names) / 2


def test_the_clean_table_has_the_effect_that_it_says():
    df = dose_table(5000, 3)
    columns = np.column_stack([df.t, df.b, df.a, np.ones(len(df))])
    found = np.linalg.lstsq(columns, df.y, rcond=None)[0]
    np.testing.assert_allclose(found, [2, 1, 1, 0], atol=0.03)


class Slope:
    """A regression on the dose alone, which looks at nothing else."""

    def fit(self, Y, T, X=None, W=None):
        self.value = np.polyfit(np.ravel(T).astype(float), np.ravel(Y).astype(float), 1)[0]
        return self

    def effect(self, X=None, T0=0, T1=1):
        return np.full(1 if X is None else len(X), self.value * (T1 - T0))


def test_who_is_asked_about_doses():
    assert takes_doses(make("DoseGP")) and takes_doses(make("PolynomialDML"))
    assert takes_doses(make("LinearDML", discrete_treatment=False))
    assert not any(takes_doses(e) for e in (make("LinearDML"), make("AIPW"), Slope()))
    assert "average curve" in {c.name for c in cases_for(make("DoseGP"))}
    plain = {c.name for c in cases_for(Slope(), treatment="dose")}
    assert "average curve" not in plain and "constant dose" in plain
    assert "constant dose" not in {c.name for c in cases_for(Slope())}
    with pytest.raises(ParameterError, match="treatment"):
        check_causal_estimator(Slope(), treatment="amount")


def test_a_careless_estimator_of_doses_is_found_out():
    names = ["gaps of the dose filled with -999", "contrast beyond the doses", "clean table"]
    found = [run_case(Slope(), CASES[n]) for n in names]
    assert {r.outcome for r in found} == {SILENT}
    assert not any(r.met for r in found)


@pytest.mark.slow
def test_the_report_of_an_estimator_of_doses():
    report = check_causal_estimator(DoseGP(**CHEAP["DoseGP"]))
    assert report.ok, report.to_frame().query("not met").to_string()
    assert len(report.cases) == len(CASES)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "entry", [e for e in ENTRIES if e.cls.treatment != "discrete"], ids=lambda e: e.name
)
def test_the_whole_table_of_doses(entry):
    params = entry.test_params | {k: v for k, v in TRAINED.items() if k in entry.test_params}
    if entry.cls.treatment == "any":
        params["discrete_treatment"] = False
    estimator = make(entry.name, **params)
    rows = pd.DataFrame([vars(run_case(estimator, case)) for case in cases_for(estimator)])
    assert rows.met.all(), rows[~rows.met].to_string()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(1, 4))
def test_the_expectations_are_no_accident_of_one_table(seed):
    estimator = make("DoseGP", **CHEAP["DoseGP"])
    wrong = [r for c in dose_cases(seed) if not (r := run_case(estimator, c, seed)).met]
    assert not wrong
