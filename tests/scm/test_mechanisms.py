"""What single mechanisms promise: choice, noise, Gumbel counterfactuals, counts."""

import numpy as np
import pandas as pd
import pytest

from workbench import CausalGraph, CausalWarning, StructuralCausalModel
from workbench.scm import AdditiveNoise, GumbelMax, Root
from workbench.scm.noise import RowUniforms

PAIR = CausalGraph(["x", "y"], [("x", "y")])


def pair(f, n, seed, sd=0.5):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-3, 3, n)
    return pd.DataFrame({"x": x, "y": f(x) + sd * rng.normal(size=n)})


def chosen(df):
    return StructuralCausalModel(PAIR).fit(df, progress=False).to_frame().loc["y", "mechanism"]


@pytest.fixture(scope="module")
def levels():
    rng = np.random.default_rng(1)
    n = 1500
    x = rng.normal(size=n)
    scores = np.column_stack([0 * x, 0.5 + x, -1.5 * x]) + rng.gumbel(size=(n, 3))
    y = np.array(["a", "b", "c"])[scores.argmax(1)]
    df = pd.DataFrame({"x": x, "y": y})
    return df, StructuralCausalModel(PAIR).fit(df, progress=False)


def test_waves_are_not_called_linear_and_lines_are():
    assert chosen(pair(np.sin, 400, 0)) in ("splines", "boosting")
    assert chosen(pair(lambda x: x, 400, 0)) == "linear"


def test_interactions_need_trees():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 1500))
    df = pd.DataFrame({"a": a, "b": b, "y": a * b + 0.3 * rng.normal(size=1500)})
    graph = CausalGraph(["a", "b", "y"], [("a", "y"), ("b", "y")])
    model = StructuralCausalModel(graph).fit(df, progress=False)
    assert model.to_frame().loc["y", "mechanism"] == "boosting"


@pytest.mark.slow
@pytest.mark.parametrize("n", [300, 1000])
def test_choice_is_right_in_nearly_every_sample(n):
    waves = [chosen(pair(np.sin, n, seed)) for seed in range(100)]
    lines = [chosen(pair(lambda x: x, n, seed)) for seed in range(100)]
    assert sum(name != "linear" for name in waves) >= 95
    assert sum(name == "linear" for name in lines) >= 95


@pytest.mark.parametrize("name", ["linear", "splines", "boosting"])
def test_flexible_functions_do_not_understate_the_noise(name):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 8))
    df = pd.DataFrame(X, columns=list("abcdefgh")).assign(y=X.sum(1) + rng.normal(size=200))
    graph = CausalGraph(df.columns, [(c, "y") for c in "abcdefgh"])
    model = StructuralCausalModel(graph, mechanisms={"y": name}).fit(df, progress=False)
    assert 0.9 < model.to_frame().loc["y", "noise_sd"] < 1.6


def test_splines_continue_as_straight_lines():
    df = pair(lambda x: x**2, 800, 0, sd=0.1)
    model = StructuralCausalModel(PAIR, mechanisms={"y": "splines"}).fit(df)
    with pytest.warns(CausalWarning, match="extrapolation"):
        far = [model.counterfactual(df, {"x": x})["y"].mean() for x in (4.0, 5.0, 6.0)]
    assert abs(far[2] - 2 * far[1] + far[0]) < 1e-6 * abs(far[2])


def test_interventional_frequencies_are_the_classifiers(levels):
    df, model = levels
    parents = model.equations_.parents("y", np.array([[0.7, 0.0]]))
    p = np.exp(model.mechanisms_["y"].log_probabilities(parents))[0]
    drawn = model.intervene({"x": 0.7}, 40_000)["y"].value_counts(normalize=True)[list("abc")]
    assert p.sum() == pytest.approx(1)
    assert np.abs(drawn - p).max() < 0.01
    truth = np.exp([0, 0.5 + 0.7, -1.5 * 0.7])
    assert np.abs(p - truth / truth.sum()).max() < 0.05


def test_counterfactuals_of_levels_average_to_the_intervention(levels):
    df, model = levels
    rng = np.random.default_rng(5)
    many = df.iloc[rng.integers(len(df), size=30_000)].reset_index(drop=True)
    after = model.counterfactual(many, {"x": -0.5})["y"].value_counts(normalize=True)
    world = model.intervene({"x": -0.5}, 30_000)["y"].value_counts(normalize=True)
    assert np.abs(after[list("abc")] - world[list("abc")]).max() < 0.03


def test_levels_are_stable_when_their_odds_rise(levels):
    # Oberst and Sontag's counterfactual stability: if p(seen) grows by at least the factor by
    # which p(k) grows, the counterfactual is not k.
    df, model = levels
    mechanism = model.mechanisms_["y"]
    values = model.to_values(df)
    before = mechanism.log_probabilities(model.equations_.parents("y", values))
    for x in (-2.0, 0.0, 1.0):
        there = values.copy()
        there[:, 0] = x
        after = mechanism.log_probabilities(model.equations_.parents("y", there))
        level = model.counterfactual(df, {"x": x})["y"].map({"a": 0, "b": 1, "c": 2}).to_numpy()
        rows, seen = np.arange(len(df)), values[:, 1].astype(int)
        ratio = after - before
        moved = level != seen
        assert (ratio[rows, level][moved] > ratio[rows, seen][moved]).all()


def test_abducted_gumbel_noise_is_standard_gumbel_over_the_population(levels):
    from scipy.stats import kstest

    df, model = levels
    drawn = model.sample(4_000, random_state=8)
    noise = model.abduct(drawn)[["y=a", "y=b", "y=c"]]
    for column in noise:
        assert kstest(noise[column], "gumbel_r").pvalue > 1e-3
    assert noise.corr().abs().where(~np.eye(3, dtype=bool)).max().max() < 0.06


def test_identical_rows_have_draws_of_their_own():
    rng = np.random.default_rng(0)
    x = rng.random(2000) < 0.5
    df = pd.DataFrame({"x": x, "y": rng.random(2000) < np.where(x, 0.7, 0.3)})
    model = StructuralCausalModel(PAIR).fit(df, progress=False)
    after = model.counterfactual(df, {"x": True})["y"]
    untouched = df.index[df["x"]]
    assert (after[untouched] == df["y"][untouched]).all()
    was_no = ~df["x"] & ~df["y"]
    # P(y=1 had x been 1 | x=0, y=0) under a monotone coupling is (.7 - .3) / .7.
    assert abs(after[was_no].mean() - 4 / 7) < 0.06
    assert after[~df["x"] & df["y"]].all()


def test_small_changes_of_a_count_add_up():
    rng = np.random.default_rng(0)
    x = rng.normal(size=5000)
    df = pd.DataFrame({"x": x, "y": rng.poisson(np.maximum(20 + x, 0))})
    model = StructuralCausalModel(PAIR, mechanisms={"y": "linear"}).fit(df, progress=False)
    after = model.counterfactual(df, shift={"x": 0.2})
    slope = (
        model.intervene({"x": 1.0}, 20_000)["y"] - model.intervene({"x": 0.0}, 20_000)["y"]
    ).mean()
    assert after["y"].dtype == df["y"].dtype
    assert abs((after["y"] - df["y"]).mean() - 0.2 * slope) < 0.03
    drawn = model.sample(20_000)["y"]
    assert (drawn == drawn.round()).all() and abs(drawn.std() / df["y"].std() - 1) < 0.05


def test_counts_near_zero_are_warned_about():
    rng = np.random.default_rng(0)
    x = rng.normal(size=1000)
    df = pd.DataFrame({"x": x, "y": rng.poisson(np.exp(x - 1))})
    with pytest.warns(CausalWarning, match="count-noise.*'y'"):
        StructuralCausalModel(PAIR).fit(df, progress=False)


def test_levels_never_seen_are_refused_not_guessed():
    from workbench import Feature, Schema
    from workbench.core.errors import DataError

    rng = np.random.default_rng(0)
    df = pd.DataFrame({"x": rng.normal(size=200), "y": rng.choice(["a", "b"], 200)})
    schema = Schema([Feature("y", "categorical", levels=("a", "b", "c"))])
    model = StructuralCausalModel(PAIR, schema=schema).fit(df, progress=False)
    assert set(model.sample(2000)["y"]) == {"a", "b"}
    odd = df.head(3).assign(y=["a", "c", "b"]).set_axis(["p", "q", "r"])
    with pytest.raises(DataError, match="'y'.*'q'.*'c'"):
        model.abduct(odd)


def test_gaussian_noise_gives_a_density():
    from scipy.stats import norm

    df = pair(lambda x: 2 * x, 2000, 0, sd=0.5)
    mechanisms = {"x": Root("gaussian"), "y": AdditiveNoise("linear", "gaussian")}
    model = StructuralCausalModel(PAIR, mechanisms=mechanisms).fit(df, progress=False)
    expected = norm.logpdf(df["x"], df["x"].mean(), df["x"].std()) + norm.logpdf(
        df["y"], 2 * df["x"], 0.5
    )
    assert np.abs(model.log_prob(df) - expected).mean() < 0.02


def test_probabilities_of_levels_are_log_prob():
    rng = np.random.default_rng(0)
    x = rng.choice(["u", "v"], 3000, p=[0.3, 0.7])
    y = rng.random(3000) < np.where(x == "u", 0.2, 0.6)
    df = pd.DataFrame({"x": x, "y": y})
    model = StructuralCausalModel(PAIR, mechanisms={"y": GumbelMax("linear")}).fit(df)
    rows = pd.DataFrame({"x": ["u", "v"], "y": [True, False]})
    np.testing.assert_allclose(np.exp(model.log_prob(rows)), [0.06, 0.28], atol=0.02)


def test_row_uniforms_are_uniform_and_independent():
    rows = np.arange(20_000.0)[:, None]
    u = RowUniforms(rows, 0).take(3, 2)
    assert abs(u.mean() - 0.5) < 0.01 and abs(u.var() - 1 / 12) < 0.002
    assert abs(np.corrcoef(u.T)[0, 1]) < 0.03
    assert abs(np.corrcoef(u[:-1, 0], u[1:, 0])[0, 1]) < 0.03
    assert abs(np.corrcoef(u[:, 0], RowUniforms(rows, 1).take(3, 1)[:, 0])[0, 1]) < 0.03


@pytest.mark.parametrize("odd", ["cauchy", "spike", "few", "constant", "huge", "tiny", "outlier"])
def test_odd_parents_give_finite_answers_and_the_right_slope(odd):
    rng = np.random.default_rng(0)
    n = 300
    z = rng.normal(size=n)
    x = {
        "cauchy": rng.standard_cauchy(n),
        "spike": np.where(rng.random(n) < 0.8, 0.0, z),
        "few": rng.integers(0, 7, n).astype(float),
        "constant": np.full(n, 3.3),
        "huge": 1e15 + 1e9 * z,
        "tiny": 1e-12 * z,
        "outlier": np.where(np.arange(n) == 7, 1e6, z),
    }[odd]
    scale = x.std() or 1.0
    df = pd.DataFrame({"x": x, "w": rng.normal(size=n)})
    df["y"] = 2 * (x - x.mean()) / scale + df["w"] + 0.1 * rng.normal(size=n)
    graph = CausalGraph(["x", "w", "y"], [("x", "y"), ("w", "y")])
    for name in ("linear", "splines", "boosting"):
        model = StructuralCausalModel(graph, mechanisms={"y": name}).fit(df, progress=False)
        after = model.counterfactual(df, {"w": df["w"].clip(-1, 0.9)})
        assert np.isfinite(after["y"]).all() and np.isfinite(model.sample(50)["y"]).all()
        slope = np.polyfit(after["w"] - df["w"], after["y"] - df["y"], 1)[0]
        assert abs(slope - 1) < 0.25, name


@pytest.mark.parametrize("seed", range(4))
def test_random_mixed_worlds_are_exact(seed):
    rng = np.random.default_rng(seed)
    names = ["a b", 'c"d', "e->f", "ü;", "g", "h=x"]
    edges = [(u, v) for j, v in enumerate(names) for u in names[:j] if rng.random() < 0.5]
    df, n = pd.DataFrame(index=range(150)), 150
    for i, name in enumerate(names):
        base = sum((df[p].astype("category").cat.codes % 3 for p in df.columns[:i]), 0.0)
        x = base + rng.normal(size=n)
        df[name] = [x, np.rint(x).clip(0).astype(int), x > 1, np.rint(x).clip(0, 3).astype(str)][
            (i + seed) % 4
        ]
        if df[name].dtype not in (float, int, bool):
            df[name] = "v" + df[name].astype(str)
    model = StructuralCausalModel(CausalGraph(names, edges)).fit(df, progress=False)
    pd.testing.assert_frame_equal(model.counterfactual(df), df, check_exact=True)
    graph = model.graph
    for name in names:
        value = df[name].iloc[0]
        after = model.counterfactual(df, {name: value})
        rest = [v for v in names if v != name and v not in graph.descendants(name)]
        pd.testing.assert_frame_equal(after[rest], df[rest], check_exact=True)
        same = df[name] == value
        pd.testing.assert_frame_equal(after[same], df[same], check_exact=True, check_dtype=False)
    assert model.abduct(df).columns.is_unique
