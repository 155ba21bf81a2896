"""Large tables: no time bombs, no memory bombs, and the answer is still right."""

import numpy as np
import pandas as pd
import pytest

from workbench.effects import AIPW, refute
from workbench.effects.design import redundant
from workbench.tables.effect_data import effect_data

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")


@pytest.mark.slow
def test_two_hundred_thousand_mixed_rows_take_three_minutes_and_little_memory(measured):
    found = {r["metric"]: r["value"] for r in measured("effects_scale")}
    assert found["lower end"] < 1.0 < found["upper end"]
    assert found["upper end"] - found["lower end"] < 0.05
    assert found["refutations passed"] >= 3
    assert found["CPU seconds"] < 180
    assert found["peak GiB"] < 8


def test_of_many_rows_refuters_take_some():
    rng = np.random.default_rng(0)
    n = 12_000
    t, group = rng.integers(0, 2, n), np.arange(n) // 4
    y = t + rng.normal(size=n)
    found = refute(AIPW(n_folds=2), y, t, groups=group, refuters=["data subset"], simulations=2)
    assert found.outcome == "passed"
    assert found.items[0].value != pytest.approx(AIPW(n_folds=2).fit(y, t, groups=group).ate())
    assert abs(found.items[0].value - 1) < 0.15


def test_redundant_columns_are_found_among_many_rows():
    rng = np.random.default_rng(0)
    n = 45_000
    z = pd.DataFrame(rng.normal(size=(n, 3)), columns=list("abc"))
    z["d"] = z.a - 2 * z.b
    z["rare"] = (np.arange(n) == 7).astype(float)  # constant in most of the rows that tell first
    t, y = rng.integers(0, 2, n), rng.normal(size=n)
    found = redundant(effect_data(y, t, W=z))
    assert len(set(found) & {"a", "b", "d"}) == 1 and not {"c", "rare"} & set(found)
