"""Averages over parts of the rows: the rows' own scores, their weights, their target."""

import numpy as np
import pandas as pd
import pytest

from workbench.effects import estimate

pytestmark = pytest.mark.filterwarnings("ignore::workbench.CausalWarning")


def bent(n: int, seed: int) -> pd.DataFrame:
    r = np.random.default_rng(seed)
    x = r.normal(size=n)
    t = (r.random(n) < 1 / (1 + np.exp(-x))).astype(int)
    return pd.DataFrame({"x": x, "t": t, "y": x + t * x**2 + r.normal(size=n)})


def test_an_effect_that_bends_is_seen_in_the_quartiles():
    df = bent(3000, 0)
    found = estimate(df, ["x"], treatment="t", outcome="y", modifiers=["x"], estimator="AIPW")
    cells = pd.qcut(df["x"], 4)
    truth = (df["x"] ** 2).groupby(cells, observed=True).mean().to_numpy()
    shown = found.subgroups
    assert np.all(np.abs(shown["effect"] - truth) < 4 * (shown["high"] - shown["low"]) / 3.92)
    assert shown["effect"].iloc[0] > 1 > shown["effect"].iloc[1]


def test_weights_count_in_subgroups():
    r = np.random.default_rng(1)
    n = 2000
    z, b = r.normal(size=n), r.integers(0, 2, n)
    t = r.integers(0, 2, n)
    weight = np.where(z > 0, 3.0, 1.0)
    df = pd.DataFrame({"z": z, "b": b, "t": t, "w": weight})
    df["y"] = t * np.where(z > 0, 2.0, 0.0) + z + r.normal(size=n)
    for name in ("AIPW", "DRLearner"):
        found = estimate(
            df, ["z", "b"], treatment="t", outcome="y", modifiers=["b"], estimator=name,
            sample_weight="w",
        )  # fmt: skip
        truth = np.average(np.where(z > 0, 2.0, 0.0), weights=weight)
        assert found.value == pytest.approx(truth, abs=0.2)
        assert found.subgroups["effect"].to_numpy() == pytest.approx([truth, truth], abs=0.35)


def test_subgroups_have_the_target_of_the_whole():
    r = np.random.default_rng(2)
    n = 4000
    x, sex = r.normal(size=n), r.choice(["f", "m"], n)
    t = (r.random(n) < 1 / (1 + np.exp(-1.5 * x))).astype(int)
    df = pd.DataFrame({"x": x, "sex": sex, "t": t, "y": x + t * (1 + x) + r.normal(size=n)})
    found = estimate(
        df,
        ["x", "sex"],
        treatment="t",
        outcome="y",
        modifiers=["sex"],
        target="ATT",
        estimator="AIPW",
    )
    truth = (1 + x)[t == 1].mean()
    assert found.value == pytest.approx(truth, abs=0.15)
    assert found.subgroups["effect"].to_numpy() == pytest.approx([truth, truth], abs=0.25)
    parts = found.subgroups["effect"] @ found.subgroups["n"] / n
    assert parts == pytest.approx(found.value, abs=0.02)


def test_a_level_without_treated_rows_is_named():
    df = bent(600, 3).assign(site=np.random.default_rng(3).choice(["a", "b", "c"], 600))
    df.loc[df["site"] == "c", "t"] = 0
    found = estimate(df, ["x", "site"], treatment="t", outcome="y")
    note = next(w for w in found.warnings if w.code == "empty-level")
    assert "'site' = 'c'" in note.message and note.columns == ("site",)
    assert found.verdict().startswith(("Doubtful", "Not supported"))
