"""What a rule achieves, on rows that did not teach it."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from workbench.core.errors import DataError, ParameterError, QuestionError
from workbench.core.saving import load, save
from workbench.core.seeding import spawn
from workbench.effects import AIPW, policy_tree, policy_value
from workbench.effects.judge import Judge, gate

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")


def table(n=400, seed=0, slope=1.0, average=0.5):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n))
    t = (rng.random(n) < 1 / (1 + np.exp(-0.8 * a))).astype(int)
    y = t * (average + slope * a) + a + 0.5 * b + rng.normal(size=n)
    return pd.DataFrame({"a": a, "b": b, "t": t, "y": y})


def test_values_and_gains_by_hand():
    df = table(200)
    arms = (df.a > 0).astype(int)
    found = policy_value(arms, df.y, df.t, W=df[["a", "b"]], cost=0.3)
    data, _ = gate(df.y, df.t, None, df[["a", "b"]], None, None, by_x=False)
    score = Judge(n_folds=5, random_state=spawn(0, 3)[1]).fit_data(data).scores_.score
    net = score - [0, 0.3]
    own = np.where(arms == 1, net[:, 1], net[:, 0])
    assert found.values["value"].iloc[0] == pytest.approx(own.mean())
    np.testing.assert_allclose(found.values["value"].iloc[1:], net.mean(axis=0))
    gap = own - net[:, 0]
    assert found.gains["gain"].iloc[0] == pytest.approx(gap.mean())
    assert found.gains["se"].iloc[0] == pytest.approx(gap.std(ddof=1) / np.sqrt(200))
    assert found.values["share"].iloc[0] == pytest.approx(arms.mean())


def test_the_same_rule_in_all_its_forms():
    df = table(200)
    x = df[["a", "b"]]
    by_array = policy_value((df.a > 0).astype(int).to_numpy(), df.y, df.t, X=x)
    by_label = policy_value((df.a > 0).astype(int).iloc[::-1], df.y, df.t, X=x)
    by_rule = policy_value(lambda f: f["a"] > 0, df.y, df.t, X=x)
    pd.testing.assert_frame_equal(by_array.values, by_label.values)
    pd.testing.assert_frame_equal(by_array.values, by_rule.values)


def test_everybody_is_the_average_outcome_and_gains_nothing_on_itself():
    df = table(200)
    found = policy_value(np.ones(200, dtype=int), df.y, df.t, W=df[["a"]])
    assert found.gains["gain"].iloc[1] == 0 and found.gains["se"].iloc[1] == 0
    assert found.gains["gain"].iloc[0] == pytest.approx(
        found.values["value"].iloc[2] - found.values["value"].iloc[1]
    )
    assert "Not shown" in found.verdict()


def test_a_good_rule_beats_and_a_bad_one_loses():
    df = table(300, slope=3.0, average=0.0)
    good = policy_value((df.a > 0).astype(int), df.y, df.t, W=df[["a", "b"]])
    assert good.verdict().startswith("Better")
    bad = policy_value((df.a < 0).astype(int), df.y, df.t, W=df[["a", "b"]])
    assert bad.verdict().startswith("Worse")
    turned = policy_value((df.a < 0).astype(int), -df.y, df.t, W=df[["a", "b"]], maximise=False)
    assert turned.verdict().startswith("Worse")


def test_costs_and_less_is_better():
    df = table(200)
    arms = (df.a > 0).astype(int)
    up = policy_value(arms, df.y, df.t, W=df[["a"]], cost={1: 0.5})
    down = policy_value(arms, -df.y, df.t, W=df[["a"]], cost=0.5, maximise=False)
    np.testing.assert_allclose(up.values["value"], -down.values["value"], atol=0.1)
    dear = policy_value(AIPW(n_folds=2), df.y, df.t, X=df[["a"]], cost=1e6, n_folds=2)
    assert dear.values["share"].iloc[0] == 0


def test_an_estimator_decides_for_rows_it_has_not_seen():
    df, fresh = table(200), table(200, 1)
    fitted = AIPW(n_folds=2).fit(df.y, df.t, X=df[["a"]])
    again = policy_value(fitted, df.y, df.t, X=df[["a"]], n_folds=2)
    assert any(w.code == "refitted" for w in again.warnings)
    assert "100 rows of 200 in 2 parts" in again.how_decided and again.n == 100
    outside = policy_value(fitted, fresh.y, fresh.t, X=fresh[["a"]], n_folds=2)
    assert not any(w.code == "refitted" for w in outside.warnings)
    direct = policy_value(
        (fitted.effect(fresh[["a"]]) > 0).astype(int), fresh.y, fresh.t, X=fresh[["a"]], n_folds=2
    )
    pd.testing.assert_frame_equal(outside.values, direct.values)


def test_the_curve_joins_nobody_and_everybody(tmp_path):
    df = table(200)
    found = policy_value("AIPW", df.y, df.t, X=df[["a"]], n_folds=2)
    assert found.curve["value"].iloc[0] == pytest.approx(found.values["value"].iloc[1])
    assert found.curve["value"].iloc[-1] == pytest.approx(found.values["value"].iloc[2])
    assert (found.curve["value"] - found.curve["random"]).iloc[8:12].min() > 0
    found.plot()
    assert len(repr(found).split("\n")) <= 10
    save(found, tmp_path / "p")
    assert repr(load(tmp_path / "p")) == repr(found)


def test_several_arms():
    rng = np.random.default_rng(0)
    n = 200
    x, arm = rng.normal(size=n), rng.choice(["low", "mid", "top"], n)
    y = np.select([arm == "mid", arm == "top"], [x, -x]) + 0.5 * rng.normal(size=n)
    best = np.where(x > 0, "mid", "top")
    df = pd.DataFrame({"x": x})
    found = policy_value(best, y, arm, X=df)
    assert found.verdict().startswith("Better") and len(found.gains) == 3
    learned = policy_value("AIPW", y, arm, X=df, n_folds=2)
    assert learned.values["value"].iloc[0] == pytest.approx(norm.pdf(0) * 2, abs=0.2)
    tree = policy_tree(y, arm, X=df, max_depth=1, n_folds=2)
    assert {leaf.arm for leaf in tree.leaves} == {"mid", "top"}
    assert (tree.decide(df) == best).mean() > 0.8


def test_a_tree_in_raw_units_and_readable():
    rng = np.random.default_rng(0)
    n = 500
    df = pd.DataFrame({"age": rng.integers(20, 80, n), "sex": rng.choice(["f", "m"], n)})
    t = rng.integers(0, 2, n)
    gain = np.where((df.sex == "f") & (df.age > 50), 4.0, -4.0)
    found = policy_tree(gain * t + rng.normal(size=n), t, X=df, n_folds=3)
    treated = [leaf for leaf in found.leaves if leaf.arm == 1]
    assert len(treated) == 1 and "sex = f" in treated[0].who and "age > " in treated[0].who
    assert 47 <= treated[0].bounds["age"][0] <= 53
    assert sum(leaf.share for leaf in found.leaves) == pytest.approx(1)
    assert sum(leaf.mask(df).astype(int) for leaf in found.leaves).max() == 1
    assert found.verdict().startswith("Better") and found.agreement > 0.9
    shuffled = df[["sex", "age"]].iloc[::-1]
    np.testing.assert_array_equal(found.decide(shuffled)[::-1], found.decide(df))
    wanted = df.sex.eq("f") & (df.age > treated[0].bounds["age"][0])
    np.testing.assert_array_equal(found.decide(df), wanted.astype(int))
    with pytest.raises(DataError, match="'sex'"):
        found.decide(df[["age"]])


def test_a_tree_is_that_of_econml_on_the_same_scores():
    from econml.policy import PolicyTree as Foreign

    df = table(300)
    found = policy_tree(df.y, df.t, X=df[["a", "b"]], max_depth=2, min_leaf=20, n_folds=2)
    data, _ = gate(df.y, df.t, df[["a", "b"]], None, None, None)
    score = Judge(n_folds=2, random_state=spawn(0, 3)[1]).fit_data(data).scores_.score
    theirs = Foreign(max_depth=2, min_samples_leaf=20, min_samples_split=40, honest=False)
    theirs.fit(df[["a", "b"]].to_numpy(), score - score.mean())
    agree = theirs.predict(df[["a", "b"]].to_numpy()) == found.decide(df[["a", "b"]])
    assert agree.mean() > 0.99


def test_a_tree_is_never_valued_on_the_rows_that_taught_it(tmp_path):
    """Pure noise: in-sample gains are large, held-out ones are not."""
    gains = []
    for seed in range(4):
        df = table(120, seed, slope=0.0, average=0.0)
        found = policy_tree(df.y, df.t, X=df[["a", "b"]], n_folds=2, min_leaf=10)
        gains.append(found.value.gains["gain"].min())
    assert np.mean(gains) < 0.1
    save(found, tmp_path / "t")
    back = load(tmp_path / "t")
    assert back.rules == found.rules
    np.testing.assert_array_equal(back.decide(df[["a", "b"]]), found.decide(df[["a", "b"]]))


def test_what_can_t_be_valued():
    df = table(60)
    with pytest.raises(DataError, match="policy.*59|59.*policy"):
        policy_value(np.ones(59), df.y, df.t)
    with pytest.raises(QuestionError, match="'policy'.*row 0.*2"):
        policy_value(np.full(60, 2), df.y, df.t)
    with pytest.raises(DataError, match="'policy'.*row 3"):
        policy_value(df.a.where(df.index == 9, 1.0).where(df.index != 3), df.y, df.t)
    with pytest.raises(ParameterError, match="cost"):
        policy_value(np.ones(60), df.y, df.t, cost=np.nan)
    with pytest.raises(ParameterError, match="maximise"):
        policy_value(np.ones(60), df.y, df.t, maximise="no")
    with pytest.raises(ParameterError, match="'cost'.*which arm"):
        policy_value(np.full(60, "a"), df.y, df.t.map({0: "a", 1: "b"}), cost=1)
    with pytest.raises(QuestionError, match="'X'"):
        policy_value("AIPW", df.y, df.t)
    with pytest.raises(ParameterError, match="max_depth"):
        policy_tree(df.y, df.t, X=df[["a"]], max_depth=0)
    with pytest.raises(DataError, match="'a'.*missing.*row 2"):
        policy_tree(df.y, df.t, X=df[["a"]].where(df.index.to_numpy()[:, None] != 2))


@pytest.mark.slow
def test_intervals_cover_the_value_of_a_rule():
    truth, hits, runs = 0.25 + norm.pdf(0), np.zeros(3), 150
    for seed in range(runs):
        df = table(400, seed)
        found = policy_value((df.a > 0).astype(int), df.y, df.t, W=df[["a", "b"]])
        rows = [found.values.iloc[0], *found.gains.iloc[:2].to_dict("records")]
        wanted = [truth, truth, truth - 0.5]
        hits += [r["low"] < v < r["high"] for r, v in zip(rows, wanted, strict=True)]
    assert (hits / runs > 0.89).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["estimator", "tree"])
def test_nothing_is_gained_where_nothing_is_to_be_gained(kind):
    """No effect at all: the true gain of every learned rule is zero."""
    hits, better, runs = np.zeros(2), 0, 50
    for seed in range(runs):
        df = table(300, seed, slope=0.0, average=0.0)
        x = df[["a", "b"]]
        found = (
            policy_value("AIPW", df.y, df.t, X=x)
            if kind == "estimator"
            else policy_tree(df.y, df.t, X=x).value
        )
        hits += (found.gains["low"] <= 0) & (found.gains["high"] >= 0)
        better += found.verdict().startswith("Better")
    assert (hits / runs > 0.86).all() and better / runs < 0.1


def test_a_rule_made_from_these_rows_is_not_called_better_without_a_condition():
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=600), rng.integers(0, 2, 600)
    y = t * x + rng.normal(size=600)
    given = policy_value(x > 0, y, t, X=x, n_folds=2)
    assert given.verdict().endswith("if these rows had no part in making the rule.")
    everybody = policy_value(np.ones(600, dtype=int), y + 2 * t, t, X=x, n_folds=2)
    assert ", the same as with" in everybody.summary()


def test_the_curve_does_not_ask_who_comes_first_in_the_table():
    df = table(400)
    fitted = AIPW(n_folds=2).fit(df.y, df.t, X=df[["a"]].rename(columns={"a": "x"}))
    new = table(400, seed=1)
    new["x"] = np.where(new.a > 0, 0.25, 0.75)  # two values that the fit has not seen
    new = new.iloc[np.argsort(-new.y * (2 * new.t - 1))]
    curve = policy_value(fitted, new.y, new.t, X=new[["x"]], W=new[["a"]]).curve
    other = new.sample(frac=1, random_state=0)
    again = policy_value(fitted, other.y, other.t, X=other[["x"]], W=other[["a"]]).curve
    pd.testing.assert_frame_equal(curve, again)
    np.testing.assert_allclose(curve["share"], np.arange(21) / 20)


def test_costs_may_be_numpy_numbers():
    df = table(100)
    found = policy_value(np.ones(100, int), df.y, df.t, W=df[["a"]], cost=np.int64(1))
    assert found.costs == {0: 0.0, 1: 1.0}
