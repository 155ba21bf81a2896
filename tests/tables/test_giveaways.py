import warnings

import numpy as np
import pandas as pd
import pytest

from workbench.core.errors import CausalWarning
from workbench.effects import AIPW
from workbench.tables.effect_data import effect_data
from workbench.tables.giveaways import giveaways, near_copies


def visits_and_bill(n=600, seed=0):
    """Half of the people come, and who comes has a bill."""
    rng = np.random.default_rng(seed)
    treated = rng.integers(0, 2, n)
    visits = np.where(rng.random(n) < 0.5, rng.poisson(3 + treated) + 1.0, 0.0)
    bill = np.where(visits > 0, visits * rng.uniform(20, 60, n), 0.0)
    return treated, visits, bill


def test_a_bill_without_a_visit_gives_visits_away():
    _, visits, bill = visits_and_bill()
    (found,) = giveaways(visits, {"bill": bill, "noise": np.arange(600.0)})
    assert (found.column, found.value, found.outcome) == ("bill", 0.0, 0.0)
    assert found.rows == (visits == 0).sum()


def test_a_few_slips_do_not_hide_it_and_many_excuse_it():
    _, visits, bill = visits_and_bill()
    came = np.flatnonzero(visits > 0)
    bill[came[:2]] = 0.0
    assert giveaways(visits, {"bill": bill})
    bill[came[:30]] = 0.0
    assert not giveaways(visits, {"bill": bill})


def test_a_gap_tells_as_a_value_does():
    _, visits, bill = visits_and_bill()
    (found,) = giveaways(visits, {"bill": np.where(visits > 0, bill, np.nan)})
    assert "empty cell" in found.sentence("visits")


@pytest.mark.parametrize("seed", range(5))
def test_what_was_known_before_is_left_alone(seed):
    rng = np.random.default_rng(seed)
    n = 2000
    sick = rng.random(n)
    past = np.where(rng.random(n) < 0.4, 0.0, rng.gamma(2, sick))  # many zeros, and related
    visits = rng.poisson(2 * (past > 0) + sick).astype(float)
    rare = (rng.random(n) < 0.01 * (1 + 9 * (past > 0))).astype(float)  # ten times as rare without
    male = rng.integers(0, 2, n)
    pregnant = np.where(male == 1, 0.0, rng.integers(0, 2, n))  # a level may tell by right
    assert not giveaways(visits, {"past": past})
    assert not giveaways(rare, {"past": past})
    assert not giveaways(pregnant, {"male": male.astype(float)})


def test_estimators_say_that_a_covariate_came_afterwards():
    treated, visits, bill = visits_and_bill()
    w = pd.DataFrame({"bill": bill, "age": np.arange(600.0) % 71})
    with pytest.warns(CausalWarning, match="'bill' gives the outcome away"):
        fitted = AIPW(n_folds=2).fit(visits, treated, W=w)
    told = [note for note in fitted.warnings_ if note.code == "post-treatment"]
    assert [note.columns for note in told] == [("bill",)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", CausalWarning)
        effect_data(visits, treated, W=w[["age"]])


def test_near_copies_of_the_outcome():
    rng = np.random.default_rng(0)
    y, t = rng.normal(size=400), rng.integers(0, 2, 400)
    columns = {
        "rounded": (100 * y).round(),
        "turned": 3 - y + 0.01 * rng.normal(size=400),
        "with gaps": np.where(np.arange(400) % 5, y, np.nan),
        "lag": y + 0.1 * rng.normal(size=400),
        "outlier": np.r_[1e6, rng.normal(size=399)],
    }
    assert near_copies(y, columns) == ["rounded", "turned", "with gaps"]
    assert not near_copies(np.r_[1e6, y[1:]], {"outlier": columns["outlier"]})
    assert near_copies((y > 0.5).astype(float), columns) == ["rounded", "turned", "with gaps"]
    assert not near_copies(y, {"two": (y > 0).astype(float), "trend": np.exp(5 * y)})
    with pytest.warns(CausalWarning, match="'m' tells the outcome"):
        effect_data(y, t, W=pd.DataFrame({"m": columns["turned"]}))
