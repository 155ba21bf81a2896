"""Negative controls end in one word and one sentence."""

import numpy as np
import pandas as pd
import pytest

from workbench.core.errors import DataError, QuestionError
from workbench.effects import AIPW, LinearDML, placebo_outcome, placebo_treatment

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")


def table(n=400, seed=0):
    rng = np.random.default_rng(seed)
    u = rng.normal(size=n)
    t = (rng.random(n) < 1 / (1 + np.exp(-1.5 * u))).astype(int)
    return pd.DataFrame(
        {"u": u, "t": t, "y": t + u + rng.normal(size=n), "before": u + rng.normal(size=n),
         "other": rng.normal(size=n), "later": (rng.random(n) < 0.5).astype(int),
         "proxy": (u + rng.normal(size=n) > 0).astype(int)}
    )  # fmt: skip


def test_hidden_confounding_shows_in_an_outcome_before_the_treatment():
    df = table()
    found = placebo_outcome("AIPW", df[["before", "other"]], df.t, Y=df.y)
    assert [i.outcome for i in found] == ["failed", "passed"] and found.outcome == "failed"
    assert found.items[0].found > 0.5 and found.items[0].expected == 0
    adjusted = placebo_outcome("AIPW", df["before"], df.t, Y=df.y, W=df[["u"]])
    assert adjusted.outcome == "passed" and adjusted.items[0].name == "placebo outcome before"
    assert all(i.sentence.endswith(".") for i in found)
    found.plot()


def test_a_test_that_can_t_see_the_effect_is_doubtful():
    df = table(60)
    small = placebo_outcome("AIPW", df["other"], df.t, Y=0.05 * df.t + df.other * 3 + df.u, W=df.u)
    assert small.outcome == "doubtful" and "unseen" in small.items[0].sentence
    assert placebo_outcome("AIPW", df["other"], df.t, W=df.u).outcome == "passed"


def test_placebo_treatments():
    df = table()
    fair = placebo_treatment("AIPW", df.y, df["later"], T=df.t, W=df[["u"]])
    assert fair.outcome == "passed"
    found = placebo_treatment("AIPW", df.y, df["proxy"], T=df.t)
    assert found.outcome == "failed" and found.items[0].value > 0.5
    dose = placebo_treatment(LinearDML(n_folds=2), df.y, df["other"], W=df[["u"]])
    assert dose.outcome == "passed"
    arrays = placebo_treatment(
        "AIPW", df.y.to_numpy(), df["later"].to_numpy(), W=df[["u"]].to_numpy()
    )
    assert arrays.items[0].name == "placebo treatment"


def test_false_alarms_are_as_rare_as_promised():
    fails = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        t = rng.integers(0, 2, 60)
        fails += placebo_outcome(AIPW(n_folds=2), rng.normal(size=60), t).outcome == "failed"
    assert fails <= 6


def test_what_can_t_be_run_is_said():
    df = table(60)
    with pytest.raises(DataError, match="same value"):
        placebo_outcome("AIPW", df["other"] * 0, df.t)
    with pytest.raises(DataError, match="59"):
        placebo_outcome("AIPW", df["other"][:59], df.t)

    class Bare(AIPW):
        intervals = False

    with pytest.raises(QuestionError, match="intervals"):
        placebo_outcome(Bare(), df["other"], df.t)


def test_the_real_treatment_is_matched_by_label():
    df = table(200)
    later = df.later
    straight = placebo_treatment("AIPW", df.y, later, T=df.t, W=df[["u"]])
    turned = placebo_treatment("AIPW", df.y, later, T=df.t.iloc[::-1], W=df[["u"]])
    assert repr(turned) == repr(straight)
    same = [part.set_axis([0] * 200) for part in (df.y, later, df.t, df[["u"]])]
    repeated = placebo_treatment("AIPW", same[0], same[1], T=same[2], W=same[3])
    assert repr(repeated) == repr(straight)
    with pytest.raises(DataError, match="different index labels"):
        placebo_treatment("AIPW", df.y, later, T=df.t.set_axis(range(1, 201)), W=df[["u"]])
