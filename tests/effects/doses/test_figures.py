"""Figures of dose-response learners on laws with known curves; slow."""

import time
import warnings

import numpy as np
import pytest

from benchmarks._doses import (
    GRID,
    confounded,
    draws,
    ihdp_continuous,
    moving_optimum,
    ours,
    records,
    scored,
    scored_together,
)
from benchmarks._replays_giks import released_giks
from benchmarks.dose_laws import regret
from workbench.effects import GIKS, DoseStack, dose_response_error, fit_together
from workbench.effects.doses.gaussian_process import condition
from workbench.effects.doses.giks import taught

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def values(found):
    return {r.metric: r.value for r in records("figures", "", {"it": found})}


@pytest.mark.parametrize(
    ("law", "name", "error"),
    [(moving_optimum, "moving optimum", 0.80), (confounded, "strong confounding", 0.20)],
)
def test_the_default_finds_curves_and_its_intervals_hold_them(law, name, error):
    found = scored({"it": ours(DoseStack(progress=False), True)}, list(draws(law, name, range(5))))
    got = values(found["it"])
    assert got["CF error"] < error
    assert 0.85 < got["90 % intervals hold"] < 0.98
    assert got["the same, worst decile of dose"] > 0.8


def test_the_default_on_ihdp(real_data):
    found = scored({"it": ours(DoseStack(progress=False), True)}, list(ihdp_continuous(range(10))))
    got = values(found["it"])
    assert got["CF error"] < 0.75
    assert got["the same, worst decile of dose"] > 0.8


def test_kernel_smoothing_is_what_giks_gains():
    from scipy.stats import wilcoxon

    for law, name in ((confounded, "strong confounding"), (moving_optimum, "moving optimum")):
        replicates = list(draws(law, name, range(8)))
        both, factual = (
            np.array(scored_together(GIKS(ks_weight=w, progress=False), replicates).error)
            for w in (1.0, 0.0)
        )
        assert wilcoxon(both, factual, alternative="less").pvalue < 0.01


def test_doubtful_smoothed_outcomes_err_more():
    r = next(draws(moving_optimum, "moving optimum", [0]))
    asked = {}

    class Spy(GIKS):
        def plan_with(self, rows, learned, seed):
            asked.update(rows=rows, learned=learned)
            return super().plan_with(rows, learned, seed)

    fitted = Spy(progress=False, epochs=1).fit(r.y, r.t, X=r.x)
    rows, learned = asked["rows"], asked["learned"]
    teachers = [condition(rows, *one) for one in learned]
    z = fitted._inputs(r.x_test)
    mean, weight = taught(teachers, z, fitted.scales_.dose(GRID)[None])
    error = (mean * fitted.scales_.y_width + fitted.scales_.y_center - r.truth) ** 2
    order = np.argsort(weight.ravel())  # weights fall with variance
    tenth = len(order) // 10
    most, least = (error.ravel()[part].mean() for part in (order[:tenth], order[-tenth:]))
    assert most > 2 * least


def test_seconds(real_data):
    splits = list(ihdp_continuous(range(60, 63)))
    for estimator, most in ((GIKS(progress=False), 5), (DoseStack(progress=False), 10)):
        seconds = []
        for r in splits:
            start = time.process_time()
            estimator.fit(r.y, r.t, X=r.x)
            seconds.append(time.process_time() - start)
        assert min(seconds) < 1.4 * most, seconds  # beside another job


def test_personal_doses_beat_the_best_common_one():
    own, common = [], []
    for r in draws(moving_optimum, "moving optimum", range(3)):
        stack = DoseStack(progress=False).fit(r.y, r.t, X=r.x)
        own.append(regret(r, stack.optimal_dose(r.x_test, bounds=(GRID[0], GRID[-1]))))
        best = GRID[r.truth.mean(axis=0).argmax()]
        common.append(regret(r, np.full(len(r.truth), best)))
    assert np.mean(own) < 0.6 * np.mean(common)


def test_splits_trained_together_are_those_trained_alone(real_data):
    splits = list(ihdp_continuous(range(60, 63)))
    tables = [{"Y": r.y, "T": r.t, "X": r.x} for r in splits]
    together = fit_together(GIKS(progress=False), tables)
    for one, r in zip(together, splits, strict=True):
        alone = GIKS(progress=False).fit(r.y, r.t, X=r.x)
        gap = one.dose_response(r.x_test, GRID) - alone.dose_response(r.x_test, GRID)
        assert np.abs(gap).max() < 1e-4 * r.y.std()


def test_the_release_is_replayed(real_data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, second = [], []
        for k, r in enumerate(ihdp_continuous(range(8))):
            for found, level in zip(
                (first, second), released_giks(r.x, r.t, r.y, r.x_test, r.grid, k), strict=True
            ):
                found.append(dose_response_error(level, r.truth, "cf"))
    assert 1.7 < np.mean(second) < 2.1 and 1.8 < np.mean(first) < 2.3
