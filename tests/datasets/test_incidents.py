"""Simulated incidents: the truth is what the tables say."""

import numpy as np
import pandas as pd
import pytest

from workbench.core.errors import ParameterError
from workbench.datasets import (
    linear_incident,
    noninvertible_incident,
    nonlinear_incident,
    services_incident,
)
from workbench.diagnosis import IDI, Incident, evaluate
from workbench.diagnosis.incident import align

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")

MAKERS = [linear_incident, noninvertible_incident, nonlinear_incident]


def deviations(case):
    seen = align(case.system, case.incident, "z", 3.0)
    return dict(zip(seen.system.metrics, seen.z, strict=True))


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("n_causes", [1, 3])
def test_causes_lie_above_the_target_and_not_above_each_other(make, n_causes):
    case = make(n_causes, n_rows=400, random_state=5)
    system, target = case.system, case.incident.target
    assert len(case.causes) == n_causes
    assert set(case.causes) <= set(system.ancestors(target))
    for cause in case.causes:
        assert not set(case.causes) & set(system.ancestors(cause))
    assert len(system.ancestors(target)) >= 10
    z = deviations(case)
    assert abs(z[target]) > 3
    assert all(abs(z[d]) > 2.5 for d in (*case.causes, *case.distractors))
    assert case.distractors and not set(case.distractors) & set(case.causes)


@pytest.mark.parametrize("make", [*MAKERS, services_incident])
def test_the_same_seed_gives_the_same_incident(make):
    one, two, other = make(random_state=2), make(random_state=2), make(random_state=3)
    pd.testing.assert_frame_equal(one.system.normal(), two.system.normal())
    pd.testing.assert_frame_equal(one.incident.window, two.incident.window)
    assert one.causes == two.causes
    assert one.system.normal().shape != other.system.normal().shape or not np.allclose(
        one.system.normal(), other.system.normal()
    )


def test_linear_incidents_are_linear_up_to_their_noise():
    case = linear_incident(n_rows=500, random_state=4)
    frame = case.system.normal()
    for metric in case.system.metrics:
        above = list(case.system.parents(metric))
        if not above:
            continue
        x = np.column_stack([np.ones(len(frame)), frame[above]])
        left = frame[metric] - x @ np.linalg.lstsq(x, frame[metric], rcond=None)[0]
        assert left.std() <= 0.32  # U[0, 1] has .29


def test_nonlinear_incidents_are_not():
    curved = 0
    for seed in range(3):
        case = nonlinear_incident(n_rows=2000, random_state=seed)
        frame = case.system.normal()
        for metric in case.system.metrics:
            above = list(case.system.parents(metric))
            if len(above) == 1:
                x, y = frame[above[0]], frame[metric]
                line = np.polyval(np.polyfit(x, y, 1), x)
                bend = np.polyval(np.polyfit(x, y, 7), x)
                curved += ((y - bend) ** 2).mean() < 0.93 * ((y - line) ** 2).mean()
    assert curved >= 3


def test_with_the_truth_linear_healing_brings_the_target_back():
    cases = [linear_incident(random_state=s) for s in range(20)]
    answers = [IDI(threshold=2.0).fit(c.system).rank(c.incident) for c in cases]
    assert evaluate(answers, [c.causes for c in cases])["recall@1"] >= 0.9


@pytest.mark.parametrize("metric", ["latency", "availability"])
def test_a_shop_adds_up_along_calls(metric):
    case = services_incident(metric, random_state=8)
    frame = case.system.normal()
    system = case.system
    assert case.incident.target == "web" and len(case.incident) == 5
    for caller in system.metrics:
        for callee in system.parents(caller):
            if metric == "latency" and not callee.startswith("lb-"):
                # a caller waits for at least a fifth of its calls
                assert frame[caller].mean() > 0.2 * frame[callee].mean()
    if metric == "availability":
        assert frame.to_numpy().max() <= 100 and (frame == 100).all().any()


def test_balancers_are_not_connected_to_their_services():
    case = services_incident(random_state=1)
    balancers = [m for m in case.system.metrics if m.startswith("lb-")]
    assert balancers
    for name in balancers:
        assert case.system.parents(name) == ()
        assert case.system.normal()[[name, name[3:]]].corr().iloc[0, 1] > 0.8


def test_a_fault_free_window_has_no_cause():
    case = services_incident(fault=False, random_state=1)
    assert case.causes == () and "none" in repr(case)


def test_lasting_offsets_are_in_every_row():
    for seed in range(30):
        case = services_incident(random_state=seed)
        if case.distractors:
            break
    usual = case.system.normal()[list(case.distractors)].mean()
    window = case.incident.window[list(case.distractors)]
    assert ((window - usual).abs() > 0).all().all()
    assert isinstance(case.incident, Incident) and set(case.notes.values()) == {"lasting offset"}


@pytest.mark.parametrize("make", MAKERS)
def test_sizes_that_make_no_sense_are_refused(make):
    with pytest.raises(ParameterError, match="n_causes"):
        make(0)
    with pytest.raises(ParameterError, match="n_rows"):
        make(n_rows=5)


def test_a_shop_refuses_what_it_does_not_know():
    with pytest.raises(ParameterError, match="metric"):
        services_incident("cpu")
    with pytest.raises(ParameterError, match="n_services"):
        services_incident(n_services=2)
