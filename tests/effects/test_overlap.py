"""Overlap, balance and effective sample size."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from workbench.core.errors import CausalWarning
from workbench.effects import balance, overlap


def table(strength, n=400, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    t = (rng.random(n) < 1 / (1 + np.exp(-strength * z))).astype(int)
    return pd.DataFrame({"z": z, "u": rng.normal(size=n), "t": t})


def test_a_trial_overlaps():
    found = overlap(table(0.0), "t")
    assert found.grade == "good" and not found.warnings
    assert abs(found.auc - 0.5) < 0.1
    assert min(found.ess) > 0.9 * min(found.sizes)
    assert found.balance.abs().to_numpy().max() < 0.3


def test_stronger_selection_leaves_fewer_effective_rows():
    one, two = (overlap(table(s), "t") for s in (0.5, 2.0))
    assert sum(two.ess) < sum(one.ess)
    assert two.auc > one.auc


@pytest.mark.parametrize("step", [lambda z: z > 0, lambda z: abs(z) > 0.7])
def test_a_step_function_has_no_overlap(step):
    df = table(0.0)
    df["t"] = step(df.z).astype(int)
    with pytest.warns(CausalWarning, match="no overlap"):
        found = overlap(df, "t")
    assert found.grade == "none"
    assert "extrapolation" in found.verdict()


def test_a_dose_that_covariates_determine():
    df = table(0.0)
    df["t"] = 3 * df.z + 0.01 * df.u
    with pytest.warns(CausalWarning, match="no overlap"):
        assert overlap(df, "t", ["z"]).grade == "none"
    df["t"] = df.z + df.u
    found = overlap(df, "t", ["z"])
    assert found.grade == "good"
    assert found.auc == pytest.approx(0.5, abs=0.1)


def test_weighting_balances():
    found = balance(table(1.0, 1000), "t")
    assert abs(found.loc["z", "before"]) > 0.5
    assert abs(found.loc["z", "after"]) < 0.15


def test_units_outside_are_named_and_shown():
    df = table(0.5)
    df.index = [f"p{i}" for i in range(len(df))]
    df.loc["p0", ["z", "t"]] = [40.0, 1]
    found = overlap(df, "t", ["z"])
    assert "p0" in found.outside
    assert bool(found.to_frame().loc["p0", "outside"])
    assert len(found.to_frame(long=True)) == 2 * len(df)
    assert "propensity" in found.plot().get_xlabel()
    assert "outside common support" in repr(found)
    assert "p0" in found._repr_html_() or len(found.outside) > 10


def test_order_of_columns_has_no_influence():
    df = table(1.0)
    one, two = overlap(df, "t", ["z", "u"]), overlap(df, "t", ["u", "z"])
    np.testing.assert_allclose(one.score, two.score)


def test_what_stays_unbalanced_is_part_of_the_verdict():
    rng = np.random.default_rng(1)
    df = pd.DataFrame({"bmi": rng.normal(27, 4, 300), "drug": np.tile(["a", "b"], 150)})
    found = replace(overlap(df, "drug"), balance=pd.DataFrame({"after": [0.02]}, index=["bmi"]))
    assert found.verdict() == "good: like is compared with like."
    found = replace(found, balance=pd.DataFrame({"after": [-0.14]}, index=["bmi"]))
    assert "'bmi' still differs by 0.14 sd" in found.verdict()
