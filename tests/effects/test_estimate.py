"""From an identified question to a number with everything behind it."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from workbench import Schema
from workbench.core.errors import (
    CausalWarning,
    DataError,
    IdentificationError,
    ParameterError,
    QuestionError,
)
from workbench.core.saving import load, save
from workbench.effects import AIPW, CausalStack, estimate


def question(treatment, outcome, adjustment=(), method="back-door", **more):
    return SimpleNamespace(
        treatment=treatment,
        outcome=outcome,
        method=method,
        adjustment=frozenset(adjustment),
        is_identified=method != "not identifiable",
        **more,
    )


def front_door_table(n, seed):
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=n)
    t = (hidden + rng.normal(size=n) > 0).astype(int)
    m = 1.5 * t + rng.normal(size=n)
    return pd.DataFrame({"t": t, "m": m, "y": 2 * m + hidden + rng.normal(size=n)})


def instrument_table(n, seed, strength=1.0):
    rng = np.random.default_rng(seed)
    hidden, z = rng.normal(size=(2, n))
    d = strength * z + hidden + rng.normal(size=n)
    return pd.DataFrame({"z": z, "d": d, "y": 0.5 * d + hidden + rng.normal(size=n)})


def test_a_sentence_with_units_and_interval(confounded):
    df = confounded()
    schema = Schema.infer(df).correct(y={"unit": "points"})
    found = estimate(df, question("t", "y", ["a", "b"]), schema=schema)
    assert found.low < 1 < found.high
    assert "points" in found.summary() and "95 % interval" in found.summary()
    assert found.identification == "back-door: the graph's adjustment set is a, b"
    assert sum(found.arm_sizes.values()) == found.n == 300
    assert len(found.ess) == 2 and set(found.balance.index) == {"a", "b"}
    assert found.how()["adjusted for"] == "a, b"
    assert "AIPW" in found.method
    assert len(repr(found).split("\n")) <= 10


def test_it_agrees_with_the_estimator(confounded):
    df = confounded()
    found = estimate(df, ["a", "b"], treatment="t", outcome="y", random_state=3)
    direct = AIPW(random_state=3).fit(df.y, df.t, W=df[["a", "b"]])
    assert found.value == direct.ate()
    assert found.interval == direct.ate_interval()


def test_doses_have_a_contrast_inside_the_data(confounded):
    df = confounded()
    found = estimate(df, ["a", "b"], treatment="d", outcome="yd")
    assert (found.t0, found.t1) == (0.0, 1.0)
    assert found.low < 0.5 < found.high
    far = estimate(df.assign(d=df.d + 50), ["a", "b"], treatment="d", outcome="yd")
    assert 48 < far.t0 < far.t1 < 52
    assert [w.code for w in far.warnings] == ["constant-slope"]
    with pytest.warns(CausalWarning, match="extrapolation"):
        beyond = estimate(df, ["a", "b"], treatment="d", outcome="yd", T0=0, T1=99)
    assert beyond.verdict().startswith("Doubtful")


def test_effects_by_modifier(confounded):
    df = confounded(400)
    df["y"] = df.y + df.t * (df.team == "red")
    small = CausalStack(families=["spline"], n_folds=3)
    asked = {"treatment": "t", "outcome": "y", "modifiers": ["team", "b"]}
    found = estimate(df, ["b"], **asked, estimator=small)
    assert (found.effects["low"] < found.effects["effect"]).all()
    cells = found.subgroups.set_index("value").effect
    assert cells["red"] - cells["blue"] == pytest.approx(1, abs=0.5)
    assert len(found.effects) == 400
    assert len(found.to_frame()) == 7  # all, two teams, four quartiles
    assert len(found.plot().get_yticklabels()) == 7
    assert any(w.code == "modifier" for w in found.warnings)  # team is no adjustment column


@pytest.mark.slow
def test_units_are_answered_by_the_stack_and_refuted_by_their_average(confounded):
    df = confounded(300)
    found = estimate(
        df, ["a", "b"], treatment="t", outcome="y", modifiers=["a", "b"], refute=True, simulations=2
    )
    assert isinstance(found.estimator, CausalStack)
    assert found.refutations.outcome != "failed" and abs(found.value - 1) < 0.5
    assert "Attacked was AIPW's" in found.refutations.summary()


def test_the_treated(confounded):
    df = confounded()
    found = estimate(df, ["b"], treatment="t", outcome="y", target="ATT")
    assert "on the treated" in found.summary() and found.low < 1 < found.high
    with pytest.raises(QuestionError, match="on the treated"):
        estimate(df, ["b"], treatment="d", outcome="yd", target="ATT")


def test_clusters_and_weights_come_from_the_schema(confounded):
    df = confounded(200)
    long = pd.concat([df] * 2, ignore_index=True)
    long["site"], long["person_id"] = np.tile(np.arange(200), 2), np.tile(np.arange(200), 2)
    schema = Schema.infer(long).correct(site={"role": "cluster"})
    single = estimate(df, ["b"], treatment="t", outcome="y")
    double = estimate(long, ["b"], treatment="t", outcome="y", schema=schema)
    assert double.clusters == 200
    assert double.se == pytest.approx(single.se, rel=0.25)
    with pytest.warns(CausalWarning, match="repeats"):
        by_id = estimate(long.drop(columns="site"), ["b"], treatment="t", outcome="y")
    assert by_id.clusters == 200
    with pytest.raises(DataError, match="'sit'"):
        estimate(long, ["b"], treatment="t", outcome="y", groups="sit")


def test_refutations_are_attached(confounded):
    df = confounded(150)
    found = estimate(
        df, ["b"], treatment="t", outcome="y", refute=True, simulations=2, estimator="AIPW"
    )
    assert len(found.refutations) == 4
    assert "placebo treatment" in found.how()


def test_front_door():
    found = estimate(
        front_door_table(4000, 0),
        question("t", "y", method="front-door", mediators=frozenset({"m"})),
    )
    assert abs(found.value - 3) < 4 * found.se < 0.6
    assert any(w.code == "linear-model" for w in found.warnings)
    hits = 0
    for seed in range(60):
        answer = estimate(
            front_door_table(150, seed),
            question("t", "y", method="front-door", mediators=frozenset({"m"})),
        )
        hits += answer.low < 3 < answer.high
    assert hits >= 51


def test_instrument():
    asked = question(
        "d", "y", method="instrument", instruments=(SimpleNamespace(name="z", given=frozenset()),)
    )
    found = estimate(instrument_table(4000, 0), asked)
    assert abs(found.value - 0.5) < 4 * found.se < 0.2
    assert found.target == "LATE"
    hits = sum(
        (lambda a: a.low < 0.5 < a.high)(estimate(instrument_table(150, s), asked))
        for s in range(60)
    )
    assert hits >= 51
    with pytest.warns(CausalWarning, match="hardly move"):
        weak = estimate(instrument_table(200, 0, strength=0.02), asked)
    assert weak.verdict().startswith("Doubtful")


def test_two_stage_least_squares_by_hand():
    df = instrument_table(200, 1)
    asked = question("d", "y", method="instrument", instruments=("z",))
    slope = np.cov(df.z, df.y)[0, 1] / np.cov(df.z, df.d)[0, 1]
    assert estimate(df, asked).value == pytest.approx(slope)


def test_no_effect_is_tested_and_said(confounded):
    df = confounded()
    with pytest.warns(CausalWarning, match="no directed path"):
        found = estimate(df, question("t", "a", ["b"], method="no effect"))
    assert found.low < 0 < found.high
    assert found.verdict() == "The table agrees with the graph, by which there is no effect."


def test_what_can_t_be_asked(confounded):
    df = confounded()
    with pytest.raises(IdentificationError, match="'t'.*t <- u -> y"):
        estimate(df, question("t", "y", method="not identifiable", reason="t <- u -> y"))
    with pytest.raises(DataError, match="'bb'.*Did you mean 'b'"):
        estimate(df, question("t", "y", ["bb"]))
    with pytest.raises(ParameterError, match="treatment"):
        estimate(df, ["b"])
    with pytest.raises(ParameterError, match="target"):
        estimate(df, ["b"], treatment="t", outcome="y", target="ITE")
    with pytest.raises(ParameterError, match="alpha"):
        estimate(df, ["b"], treatment="t", outcome="y", alpha=95)
    with pytest.raises(QuestionError, match="'t'"):
        estimate(df, question("t", "y", ["b"]), treatment="d")
    with pytest.raises(QuestionError, match="'t'.*also in"):
        estimate(df, ["b", "t"], treatment="t", outcome="y")
    with pytest.raises(ParameterError, match="'AIPWW'.*AIPW"):
        estimate(df, ["b"], treatment="t", outcome="y", estimator="AIPWW")
    with pytest.raises(QuestionError, match="linear estimator"):
        estimate(
            df,
            question("t", "y", method="front-door", mediators=frozenset({"b"})),
            estimator="AIPW",
        )


def test_saved_and_loaded(confounded, tmp_path):
    df = confounded(200)
    found = estimate(df, ["b"], treatment="t", outcome="y", modifiers=["team"], estimator="AIPW")
    save(found, tmp_path / "e")
    back = load(tmp_path / "e")
    assert repr(back) == repr(found)
    assert back.warnings == found.warnings and back.overlap.grade == found.overlap.grade
    pd.testing.assert_frame_equal(back.effects, found.effects)


def test_labels_that_repeat_are_no_obstacle(confounded):
    df = confounded(200)
    same = df.set_axis(np.zeros(len(df), dtype=int))
    asked = {"treatment": "t", "outcome": "y"}
    assert estimate(same, ["b"], **asked).value == estimate(df, ["b"], **asked).value


def test_rows_that_differ_in_what_is_adjusted_for_are_no_repeats():
    rng = np.random.default_rng(0)
    x, drug = rng.normal(size=(600, 1)), rng.integers(0, 2, 600)
    df = pd.DataFrame({"x": x[:, 0], "drug": drug})
    df["y"] = (drug + x[:, 0] + 5 * rng.normal(size=600)).round(1)
    assert df[["drug", "y"]].duplicated().mean() > 0.2 and not df.duplicated().any()
    found = estimate(df, ["x"], treatment="drug", outcome="y")
    assert "duplicate-rows" not in {w.code for w in found.warnings}


def test_integers_as_column_names(confounded):
    from workbench import Study
    from workbench.effects import overlap

    named = confounded(200)[["a", "b", "t", "y"]]
    df = named.set_axis([0, 1, 2, 3], axis=1)
    found = estimate(df, [0, 1], treatment=2, outcome=3, modifiers=[0], estimator="AIPW")
    expected = estimate(
        named, ["a", "b"], treatment="t", outcome="y", modifiers=["a"], estimator="AIPW"
    )
    assert found.value == expected.value and found.modifiers == ("0",)
    study = Study(df)
    assert study.effect(2, 3, adjust_for=[0, 1], estimator="AIPW", refute=False).outcome == "3"
    assert set(overlap(df, 2, [0, 1]).balance.index) == {"0", "1"}
