"""Refutations end in one word and one sentence."""

import numpy as np
import pandas as pd
import pytest

from workbench.core.errors import ParameterError
from workbench.effects import AIPW, LinearDML, estimate, refute

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")


def test_a_sound_estimate_passes(confounded):
    df = confounded(200)
    before = df.copy()
    found = refute(AIPW(n_folds=2), df.y, df.t, W=df[["a", "b"]], simulations=3)
    assert found.outcome == "passed"
    assert [i.name for i in found] == list(found.to_frame().index)
    assert all(i.outcome in ("passed", "doubtful", "failed") for i in found)
    assert all(i.sentence.endswith(".") for i in found)
    assert abs(found.items[0].found) < 0.5 and found.items[0].expected == 0
    assert found.items[2].found == pytest.approx(found.items[2].value, abs=0.4)
    assert len(found.plot().get_yticklabels()) == 4
    pd.testing.assert_frame_equal(df, before)


def test_subsets_differ_from_each_other(confounded):
    df = confounded(200)
    found = refute(
        AIPW(n_folds=2), df.y, df.t, W=df[["b"]], refuters=["data subset"], simulations=4
    )
    assert found.items[0].spread > 0


def test_columns_with_the_refuters_own_names_are_safe(confounded):
    df = confounded(200).rename(columns={"a": "placebo", "b": "w_random"})
    w = df[["placebo", "w_random"]].assign(propensity_score=df.yd)
    found = refute(
        AIPW(n_folds=2), df.y, df.t, W=w, simulations=2, refuters=["random common cause"]
    )
    assert found.items[0].found == pytest.approx(found.items[0].value, abs=0.2)


def test_the_same_seed_gives_the_same_refutation(confounded):
    df = confounded(150)
    options = {"W": df[["b"]], "simulations": 2, "refuters": ["placebo treatment"]}
    state = np.random.get_state()[1].copy()
    one, two = (refute(LinearDML(n_folds=2), df.yd, df.d, **options) for _ in range(2))
    assert one == two
    np.testing.assert_array_equal(state, np.random.get_state()[1])


def test_a_hidden_link_through_the_rows_fails(confounded):
    """An estimator that reports a constant can't pass the placebo."""
    from workbench.effects.base import Estimate

    class Stubborn(AIPW):
        def _ate(self, x, t0, t1):
            return Estimate(1.0, 0.1, 100.0)

    df = confounded(100)
    found = refute(Stubborn(n_folds=2), df.y, df.t, simulations=2, refuters=["placebo treatment"])
    assert found.outcome == "failed"


def test_wrong_options_are_named(confounded):
    df = confounded(100)
    with pytest.raises(ParameterError, match="placebo treatment"):
        refute(AIPW(), df.y, df.t, refuters=["placebo"])
    with pytest.raises(ParameterError, match="simulations"):
        refute(AIPW(), df.y, df.t, simulations=1)


def test_an_estimate_can_be_refuted(confounded):
    df = confounded(150)
    found = estimate(df, ["b"], treatment="t", outcome="y", T0=1, T1=0)
    options = {"simulations": 2, "refuters": ["data subset"]}
    again = refute(found, df.y, df.t, W=df[["b"]], **options)
    assert again.items[0].value == pytest.approx(found.value)


def test_an_estimator_may_be_named(confounded):
    df = confounded(200)
    found = refute("AIPW", df.y, df.t, W=df[["a"]], simulations=2, refuters=["data subset"])
    assert [item.name for item in found] == ["data subset"]
