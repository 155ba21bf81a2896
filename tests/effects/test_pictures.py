"""Pictures of estimates: they draw, on the axes given, with labels in the user's terms."""

import numpy as np
import pytest

from workbench.core.errors import QuestionError
from workbench.effects import estimate

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")


def test_effects_of_units_and_along_a_modifier(confounded):
    import matplotlib.pyplot as plt

    df = confounded(200)
    df.loc[3, "a"] = np.nan
    found = estimate(
        df, ["b"], treatment="t", outcome="y", modifiers=["team", "a"], estimator="AIPW"
    )
    axes = plt.subplots()[1]
    assert found.plot_effects(axes) is axes and "effect of t" in axes.get_xlabel()
    assert sum(p.get_height() for p in axes.patches[:30]) == 200
    assert found.plot_effect_by("a").get_xlabel() == "a"
    levels = found.plot_effect_by("team").get_xticklabels()
    assert [label.get_text() for label in levels] == ["blue", "red"]
    with pytest.raises(QuestionError, match="'aa'"):
        found.plot_effect_by("aa")
    with pytest.raises(QuestionError, match="modifiers"):
        estimate(df, ["b"], treatment="t", outcome="y").plot_effects()
    plt.close("all")


def test_balance_before_and_after(confounded):
    df = confounded(200)
    found = estimate(df, ["a", "b", "team"], treatment="t", outcome="y").overlap
    labels = [label.get_text() for label in found.plot_balance().get_yticklabels()]
    assert set(labels) == set(found.balance.index)
    assert labels[-1] == found.balance["before"].abs().idxmax()
