"""What a structural causal model promises, whatever its mechanisms."""

import numpy as np
import pandas as pd
import pytest

from workbench import CausalGraph, CausalWarning, Feature, Schema, StructuralCausalModel, load, save
from workbench.core.errors import (
    DataError,
    GraphError,
    NotFittedError,
    ParameterError,
    QuestionError,
    recording,
)
from workbench.scm import Equation, Gaussian, Root

NODES = [f"x{i}" for i in range(10)]


def linear_world(seed=0):
    rng = np.random.default_rng(seed)
    edges = [(u, v) for j, v in enumerate(NODES) for u in NODES[:j] if rng.random() < 0.4]
    b = {e: float(rng.uniform(0.3, 1.2) * rng.choice([-1, 1])) for e in edges}
    graph = CausalGraph(NODES, edges)
    model = StructuralCausalModel.linear_gaussian(
        graph,
        b,
        intercepts={n: float(rng.normal()) for n in NODES},
        noise_sd={n: float(rng.uniform(0.5, 2)) for n in NODES},
    )
    B = np.zeros((10, 10))
    for (u, v), value in b.items():
        B[NODES.index(v), NODES.index(u)] = value
    return model, B


def closed_form(B, x, set_to=None, shift=None):
    """x + (I - B')^-1 (change), with the rows of set nodes cut."""
    B, change = B.copy(), np.zeros_like(x)
    if set_to is not None:
        node, value = set_to
        B[node] = 0
        change[:, node] = value - x[:, node]
    if shift is not None:
        node, delta = shift
        change[:, node] = delta
    return x + np.linalg.solve(np.eye(len(B)) - B, change.T).T


@pytest.fixture(scope="module")
def mixed():
    """A table with every kind of column, and a model fitted to it."""
    rng = np.random.default_rng(0)
    n = 600
    sex = rng.choice(["f", "m"], n)
    age = rng.normal(50, 10, n)
    visits = rng.poisson(3 + 2 * (sex == "f"))
    smoker = rng.random(n) < 1 / (1 + np.exp((age - 50) / 10))
    grade = np.array(["low", "mid", "high"])[
        np.clip((age / 20 + smoker + rng.gumbel(size=n)).astype(int) - 2, 0, 2)
    ]
    grade = pd.Categorical(grade, ["low", "mid", "high"], ordered=True)
    y = 2 * visits + 0.1 * age + 3 * (grade == "high") + rng.normal(size=n)
    df = pd.DataFrame(
        {
            "sex": sex,
            "age": age,
            "visits": visits,
            "smoker": smoker,
            'the "grade"': grade,
            "y": y,
            "constant": 7.1,
            "other": rng.normal(size=n),
        },
        index=[f"r{i}" for i in range(n)],
    )
    graph = CausalGraph(
        ["sex", "age", "visits", "smoker", 'the "grade"', "y", "constant"],
        [
            ("sex", "visits"),
            ("age", "smoker"),
            ("age", 'the "grade"'),
            ("smoker", 'the "grade"'),
            ("visits", "y"),
            ("age", "y"),
            ('the "grade"', "y"),
            ("sex", "constant"),
        ],
    )
    model = StructuralCausalModel(graph).fit(df, progress=False)
    return df, graph, model


def test_hard_counterfactual_equals_the_closed_form():
    model, B = linear_world()
    df = model.sample(10_000, random_state=1)
    assert len(model.graph.descendants("x1")) > 3
    after = model.counterfactual(df, {"x1": 1.5})
    expected = closed_form(B, df.to_numpy(), set_to=(1, 1.5))
    np.testing.assert_allclose(after.to_numpy(), expected, atol=1e-8)


def test_shift_counterfactual_equals_the_closed_form():
    model, B = linear_world()
    df = model.sample(10_000, random_state=1)
    assert len(model.graph.descendants("x1")) > 3
    after = model.counterfactual(df, shift={"x1": -0.7})
    expected = closed_form(B, df.to_numpy(), shift=(1, -0.7))
    np.testing.assert_allclose(after.to_numpy(), expected, atol=1e-8)


def test_hard_and_shift_differ_where_an_ancestor_is_acted_on():
    model, _ = linear_world()
    df = model.sample(100)
    child = next(v for u, v in model.graph.directed_edges() if u == "x0")
    frozen = model.counterfactual(df, {"x0": 3.0, child: df[child]})
    moved = model.counterfactual(df, {"x0": 3.0}, shift={child: 0.0})
    assert (frozen[child] == df[child]).all()
    assert (moved[child] != df[child]).all()
    pd.testing.assert_frame_equal(moved, model.counterfactual(df, {"x0": 3.0}))
    twice = model.counterfactual(df, {"x0": 3.0}, shift={child: 0.4})
    one_by_one = model.counterfactual(moved, shift={child: 0.4})
    np.testing.assert_allclose(twice, one_by_one, atol=1e-10)


def test_sample_has_the_implied_mean_and_covariance():
    model, B = linear_world()
    df = model.sample(50_000, random_state=2)
    A = np.linalg.inv(np.eye(10) - B)
    equations = [model.mechanisms_[n] for n in NODES]
    mean = A @ [e.function.intercept for e in equations]
    cov = A @ np.diag([e.noise.sd**2 for e in equations]) @ A.T
    sd = np.sqrt(np.diag(cov))
    assert (np.abs(df.mean() - mean) < 5 * sd / np.sqrt(50_000)).all()
    assert np.abs(df.cov() / np.outer(sd, sd) - cov / np.outer(sd, sd)).max().max() < 0.03


def test_log_prob_is_the_normal_density():
    from scipy.stats import multivariate_normal

    model, B = linear_world()
    df = model.sample(50)
    A = np.linalg.inv(np.eye(10) - B)
    equations = [model.mechanisms_[n] for n in NODES]
    mean = A @ [e.function.intercept for e in equations]
    cov = A @ np.diag([e.noise.sd**2 for e in equations]) @ A.T
    expected = multivariate_normal(mean, cov).logpdf(df.to_numpy())
    np.testing.assert_allclose(model.log_prob(df), expected, rtol=1e-8)


def test_abducted_noise_is_the_noise():
    model, _ = linear_world()
    noise = model.draw_noise(200, 3)
    df = pd.DataFrame(model.propagate(noise), columns=NODES)
    np.testing.assert_allclose(model.abduct(df).to_numpy(), noise, atol=1e-10)


@pytest.mark.slow
def test_error_of_fitted_counterfactuals_falls_with_the_root_of_n():
    truth, B = linear_world()
    test = truth.sample(2_000, random_state=9)
    expected = closed_form(B, test.to_numpy(), set_to=(0, 1.5))
    errors, linear = {}, []
    for n in (1_000, 100_000):
        each = []
        for seed in range(3):
            fitted = StructuralCausalModel(truth.graph).fit(
                truth.sample(n, random_state=10 + seed), progress=False
            )
            after = fitted.counterfactual(test, {"x0": 1.5}).to_numpy()
            each.append(np.sqrt(np.mean((after - expected) ** 2)))
            inner = [v for v in NODES if truth.graph.parents(v)]
            linear += (fitted.to_frame().loc[inner, "mechanism"] == "linear").tolist()
        errors[n] = np.mean(each)
    assert np.mean(linear) >= 0.95
    assert errors[100_000] < 0.02
    assert 5 < errors[1_000] / errors[100_000] < 25


@pytest.mark.slow
def test_ten_nodes_and_ten_thousand_rows_fit_in_twenty_seconds():
    from time import process_time

    truth, _ = linear_world()
    df = truth.sample(10_000)
    start = process_time()
    StructuralCausalModel(truth.graph).fit(df, progress=False)
    assert process_time() - start < 20


def test_the_empty_intervention_returns_the_data_exactly(mixed):
    df, graph, model = mixed
    nodes = [c for c in df.columns if c in graph.nodes]
    pd.testing.assert_frame_equal(model.counterfactual(df), df[nodes], check_exact=True)
    pd.testing.assert_frame_equal(model.counterfactual(df, shift={"age": 0.0}), df[nodes])
    one = df.iloc[[17]]
    pd.testing.assert_frame_equal(model.counterfactual(one), one[nodes], check_exact=True)


def test_noise_regenerates_the_data(mixed):
    df, graph, model = mixed
    noise = model.abduct(df).to_numpy()
    values = model.propagate(noise)
    original = model.to_values(df)
    for node, j in model.equations_.position.items():
        if node == "y":
            np.testing.assert_allclose(values[:, j], original[:, j], rtol=1e-12, atol=1e-12)
        else:
            assert (values[:, j] == original[:, j]).all(), node


def test_factual_values_change_nothing(mixed):
    df, graph, model = mixed
    nodes = [c for c in df.columns if c in graph.nodes]
    for node in nodes:
        pd.testing.assert_frame_equal(
            model.counterfactual(df, {node: df[node]}), df[nodes], check_exact=True
        )


def test_non_descendants_never_change(mixed):
    df, graph, model = mixed
    plain = model.sample(300, random_state=4)
    for node, value in {"age": 44.0, "sex": "m", "smoker": True, "visits": 4}.items():
        rest = [n for n in graph.nodes if n != node and n not in graph.descendants(node)]
        after = model.counterfactual(df, {node: value})
        pd.testing.assert_frame_equal(after[rest], df[rest], check_exact=True)
        world = model.intervene({node: value}, 300, random_state=4)
        pd.testing.assert_frame_equal(world[rest], plain[rest], check_exact=True)
        assert (world[node] == value).all() and (after[node] == value).all()


def test_counterfactuals_do_not_depend_on_which_rows_are_asked_together(mixed):
    df, graph, model = mixed
    nodes = list(graph.nodes)
    whole = model.counterfactual(df, {"age": 58.0, "smoker": False})[nodes]
    some = df.iloc[[400, 3, 77]]
    part = model.counterfactual(some, {"age": 58.0, "smoker": False})[nodes]
    for node in nodes:
        if model.schema_[node].is_discrete:
            assert (part[node] == whole.loc[some.index, node]).all()
        else:
            np.testing.assert_allclose(part[node], whole.loc[some.index, node], rtol=1e-12)
    pd.testing.assert_frame_equal(
        model.abduct(df.iloc[[5]]), model.abduct(df).iloc[[5]], rtol=1e-12
    )


def test_sample_matches_the_data(mixed):
    df, graph, model = mixed
    drawn = model.sample(20_000, random_state=5)
    assert list(drawn.columns) == list(graph.nodes)
    for node in ("age", "visits", "y"):
        assert abs(drawn[node].mean() - df[node].mean()) < 0.15 * df[node].std()
        assert abs(drawn[node].std() / df[node].std() - 1) < 0.12
    assert abs((drawn["sex"] == "f").mean() - (df["sex"] == "f").mean()) < 0.02
    assert abs(drawn["smoker"].mean() - df["smoker"].mean()) < 0.04
    grades = [t['the "grade"'].value_counts(normalize=True).sort_index() for t in (drawn, df)]
    assert (grades[0] - grades[1]).abs().max() < 0.05
    assert drawn['the "grade"'].dtype == df['the "grade"'].dtype
    assert drawn["smoker"].dtype == bool


def test_the_same_seed_gives_the_same_rows(mixed):
    _, _, model = mixed
    pd.testing.assert_frame_equal(
        model.sample(50, random_state=3), model.sample(50, random_state=3)
    )
    assert not model.sample(50, random_state=3).equals(model.sample(50, random_state=4))


def test_the_callers_table_and_the_global_generators_are_untouched(mixed):
    df, graph, model = mixed
    before = df.copy(deep=True)
    state = np.random.get_state()[1].copy()
    StructuralCausalModel(graph).fit(df, progress=False)
    model.counterfactual(df, {"age": 40.0}, shift={"visits": 1})
    model.abduct(df)
    pd.testing.assert_frame_equal(df, before)
    assert (np.random.get_state()[1] == state).all()


def test_orders_of_columns_and_nodes_have_no_influence(mixed):
    df, graph, model = mixed
    turned = CausalGraph(graph.nodes[::-1], graph.edges[::-1])
    other = StructuralCausalModel(turned).fit(df[df.columns[::-1]], progress=False)
    nodes = list(graph.nodes)
    pd.testing.assert_frame_equal(other.sample(200)[nodes], model.sample(200)[nodes])
    change = {"age": 41.0, "smoker": True}
    pd.testing.assert_frame_equal(
        other.counterfactual(df[df.columns[::-1]], change)[nodes],
        model.counterfactual(df, change)[nodes],
    )


def test_functions_see_parents_and_the_natural_value():
    graph = CausalGraph(["a", "b", "c"], [("a", "b"), ("b", "c")])
    model = StructuralCausalModel.linear_gaussian(graph, {("a", "b"): 2.0, ("b", "c"): 1.0})
    df = model.sample(100)
    after = model.counterfactual(
        df, {"a": lambda now: now["a"] + 1, "b": lambda now: now["b"].clip(upper=0) + now["a"]}
    )
    np.testing.assert_allclose(after["a"], df["a"] + 1)
    np.testing.assert_allclose(after["b"], (df["b"] + 2).clip(upper=0) + df["a"] + 1)
    np.testing.assert_allclose(after["c"] - df["c"], after["b"] - df["b"])
    with pytest.raises(QuestionError, match="natural value"):
        model.counterfactual(df, {"b": lambda now: now["c"]})


def test_series_are_matched_by_index(mixed):
    df, _, model = mixed
    turned = df["age"][::-1] + 1
    after = model.counterfactual(df, {"age": turned})
    np.testing.assert_allclose(after["age"], df["age"] + 1)
    with pytest.raises(DataError, match="different index"):
        model.counterfactual(df, {"age": (df["age"] + 1).reset_index(drop=True)})


def test_one_batch_holds_many_draws_and_intervention_sets():
    model, _ = linear_world()
    noise = model.draw_noise(40, 0).reshape(2, 1, 20, 10)
    sets = np.full((3, 1), np.nan)
    sets[1], sets[2] = 0.5, -2.0
    out = model.propagate(noise, {"x1": sets})
    assert out.shape == (2, 3, 20, 10)
    np.testing.assert_allclose(out[:, 0], model.propagate(noise[:, 0]), rtol=1e-12)
    np.testing.assert_allclose(
        out[1, 2], model.propagate(noise[1, 0], {"x1": np.array(-2.0)}), rtol=1e-12
    )


def test_known_equations_that_are_not_additive():
    graph = CausalGraph(["x", "y"], [("x", "y")])
    model = StructuralCausalModel.known(
        graph,
        {
            "x": Root(Gaussian(1.0)),
            "y": Equation(
                lambda pa, u: np.exp(pa["x"]) * u,
                lambda rng, n: rng.uniform(1, 2, n),
                inverse=lambda pa, x: x * np.exp(-pa["x"]),
            ),
        },
    )
    df = model.sample(100)
    after = model.counterfactual(df, {"x": 0.0})
    np.testing.assert_allclose(after["y"], df["y"] * np.exp(-df["x"]))


def test_saving_keeps_every_answer(mixed, tmp_path):
    df, _, model = mixed
    again = load(save(model, tmp_path / "model"))
    pd.testing.assert_frame_equal(again.sample(100), model.sample(100))
    change = {"age": 41.0, "smoker": True}
    pd.testing.assert_frame_equal(
        again.counterfactual(df, change), model.counterfactual(df, change)
    )
    assert repr(again.fit_report()) == repr(model.fit_report())
    assert again.warnings_ == model.warnings_


def test_parameters_and_cloning():
    from sklearn.base import clone

    graph = CausalGraph(["a", "b"], [("a", "b")])
    model = StructuralCausalModel(graph, mechanisms={"b": "linear"}, random_state=4)
    assert clone(model).get_params()["mechanisms"] == {"b": "linear"}
    with pytest.raises(NotFittedError):
        model.sample(3)


def test_mechanisms_by_name_estimator_function_and_object():
    from sklearn.neighbors import KNeighborsRegressor

    rng = np.random.default_rng(0)
    a = rng.normal(size=400)
    df = pd.DataFrame({"a": a, "b": a**2 + 0.1 * rng.normal(size=400)})
    graph = CausalGraph(["a", "b"], [("a", "b")])
    for mechanism in ("boosting", "splines", KNeighborsRegressor(), lambda pa: pa["a"] ** 2):
        model = StructuralCausalModel(graph, mechanisms={"b": mechanism}).fit(df)
        after = model.counterfactual(df, {"a": 1.0})
        assert abs(after["b"].mean() - 1) < 0.2
        assert model.to_frame().loc["b", "noise_sd"] < 0.6
    model.set_mechanism("b", "linear", df)
    assert model.to_frame().loc["b", "mechanism"] == "linear"
    model.set_mechanism("b", Equation(lambda pa: 3 * pa["a"], Gaussian(0.0)))
    assert (model.intervene({"a": 2.0}, 5)["b"] == 6).all()
    with pytest.raises(QuestionError, match="Pass df"):
        model.set_mechanism("b", "splines")
    with pytest.raises(ParameterError, match="Did you mean 'boosting'"):
        StructuralCausalModel(graph, mechanisms={"b": "bosting"}).fit(df)


def test_report_reads_well(mixed):
    _, graph, model = mixed
    frame = model.to_frame()
    assert list(frame.index) == list(graph.nodes)
    assert frame.loc["y", "score"] > 0.8 and frame.loc["smoker", "measure"] == "log-loss"
    assert frame.loc["constant", "mechanism"] == "constant"
    assert len(repr(model.fit_report()).split("\n")) <= 10
    assert "<table" in model.fit_report()._repr_html_()
    assert set(model.fit_report().to_frame(long=True).columns) == {"node", "field", "value"}


def test_tables_of_any_shape(mixed):
    df, graph, model = mixed
    none = model.counterfactual(df.head(0), {"age": 40.0})
    assert len(none) == 0 and set(none.columns) == set(graph.nodes)
    assert len(model.sample(0)) == 0
    same_label = df.head(4).set_axis([0, 0, 0, 0])
    after = model.counterfactual(same_label, {"age": [30.0, 40.0, 50.0, 60.0]})
    assert after["age"].tolist() == [30.0, 40.0, 50.0, 60.0] and list(after.index) == [0] * 4
    numbered = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=[0, 1])
    small = StructuralCausalModel(CausalGraph(["0", "1"], [("0", "1")])).fit(numbered)
    assert list(small.counterfactual(numbered, {"0": 0.5}).columns) == [0, 1]


def test_types_of_columns_are_kept():
    rng = np.random.default_rng(0)
    n = 400
    df = pd.DataFrame(
        {
            "flag": pd.array(rng.random(n) < 0.5, dtype="boolean"),
            "small": rng.integers(0, 100, n).astype("uint8"),
            "team": pd.Categorical(rng.choice(["a", "b", "c"], n)),
            "word": rng.choice(["no", "yes"], n),
        }
    )
    graph = CausalGraph(df.columns, [("flag", "small"), ("flag", "team"), ("team", "word")])
    model = StructuralCausalModel(graph).fit(df, progress=False)
    after = model.counterfactual(df, {"flag": True})
    assert (after.dtypes == df.dtypes).all() and after["flag"].all()
    fewer = df[df["team"] != "c"].assign(team=lambda t: t["team"].cat.remove_unused_categories())
    assert set(model.counterfactual(fewer, {"team": "c"})["team"]) == {"c"}


def test_a_failed_fit_leaves_nothing_behind(mixed):
    df, graph, _ = mixed
    model = StructuralCausalModel(graph).fit(df, progress=False)
    with pytest.raises(DataError):
        model.fit(df.drop(columns="y"))
    with pytest.raises(NotFittedError):
        model.sample(3)


def test_importing_the_model_loads_no_heavy_library():
    import subprocess
    import sys

    code = (
        "import sys, workbench.scm.model; print([m for m in "
        "('sklearn', 'scipy', 'torch', 'lightgbm', 'tqdm') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# -- refusals and warnings -----------------------------------------------------------------


def test_graphs_that_do_not_say_what_causes_what():
    df = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2)), columns=["a", "b"])
    arrow = ("a", "b", "tail", "arrow")
    with pytest.raises(GraphError, match="latent"):
        StructuralCausalModel(CausalGraph(["a", "b", "u"], [arrow], latent=["u"])).fit(df)
    with pytest.raises(GraphError, match="hidden common cause with 'b'"):
        StructuralCausalModel(CausalGraph(["a", "b"], [("a", "b", "arrow", "arrow")])).fit(df)
    with pytest.raises(GraphError, match="is a class .cpdag.*members"):
        StructuralCausalModel(CausalGraph(["a", "b"], [("a", "b", "tail", "tail")])).fit(df)


def test_refusals_name_the_place(mixed):
    df, graph, model = mixed
    with pytest.raises(DataError, match="column 'visits': is a node of the graph"):
        StructuralCausalModel(graph).fit(df.drop(columns="visits"))
    holed = df.assign(age=df["age"].where(df.index != "r3"))
    with pytest.raises(DataError, match="'age'.*1 missing value.*'r3'"):
        StructuralCausalModel(graph).fit(holed)
    with pytest.raises(DataError, match="'age'.*'r3'"):
        model.counterfactual(holed, {"sex": "f"})
    with pytest.raises(QuestionError, match="'agee'.*Did you mean 'age'"):
        model.intervene({"agee": 3}, 5)
    with pytest.raises(QuestionError, match="'sex'.*value 'x'"):
        model.intervene({"sex": "x"}, 5)
    with pytest.raises(QuestionError, match="'sex'.*can't be shifted"):
        model.intervene(None, 5, shift={"sex": 1})
    with pytest.raises(QuestionError, match="both set and shifted"):
        model.intervene({"age": 40.0}, 5, shift={"age": 1.0})
    with pytest.raises(QuestionError, match="'age'.*finite"):
        model.intervene({"age": np.nan}, 5)
    with pytest.raises(QuestionError, match="'age'.*5 rows"):
        model.intervene({"age": [1.0, 2.0]}, 5)
    with pytest.raises(QuestionError, match="'age'.*numbers"):
        model.intervene({"age": "old"}, 5)
    with pytest.raises(QuestionError, match="'age'.*no density"):
        model.log_prob(df)
    with pytest.raises(DataError, match="'visits'.*whole number.*'r0'"):
        model.abduct(df.assign(visits=df["visits"] + 0.5))
    with pytest.raises(ParameterError, match="has none"):
        StructuralCausalModel.linear_gaussian(graph, {})


def test_dropped_rows_are_said(mixed):
    df, graph, _ = mixed
    holed = df.assign(age=df["age"].where(df.index != "r3"))
    schema = Schema([Feature("age", missing="drop")])
    with pytest.warns(CausalWarning, match="1 row of 600 dropped"):
        model = StructuralCausalModel(graph, schema=schema).fit(holed)
    assert model.n_rows_ == 599


def test_conditions_are_named():
    rng = np.random.default_rng(0)
    a = rng.normal(size=300)
    df = pd.DataFrame({"a": a, "b": 3 * a, "c": a + rng.normal(size=300)})
    graph = CausalGraph(["a", "b", "c"], [("a", "b"), ("a", "c"), ("b", "c")])
    with pytest.warns(CausalWarning, match="collinear-parents.*'a', 'b'"):
        model = StructuralCausalModel(graph).fit(df)
    with pytest.warns(CausalWarning), recording() as notes:
        model.intervene({"a": 50.0}, 10)
    assert [w.code for w in notes] == ["extrapolation"]
    with pytest.warns(CausalWarning, match="few-rows"):
        StructuralCausalModel(graph).fit(df.head(12))
    with pytest.raises(DataError, match="'c'.*3 rows"), pytest.warns(CausalWarning):
        StructuralCausalModel(graph).fit(
            df.head(3).assign(b=[1.0, 5.0, 2.0]),
        )
    spread = df.assign(c=a + np.exp(a) * rng.normal(size=300), b=rng.normal(size=300))
    with pytest.warns(CausalWarning, match="noise-depends-on-parents"):
        StructuralCausalModel(graph).fit(spread)


def test_clusters_are_held_out_together():
    # Rows of a cluster share an offset that a flexible model could memorise.
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(250), 4)
    a = rng.normal(size=250)[who] + 0.01 * rng.normal(size=1000)
    b = rng.normal(size=250)[who] + 0.1 * rng.normal(size=1000)
    df = pd.DataFrame({"a": a, "b": b, "who": who})
    graph = CausalGraph(["a", "b"], [("a", "b")])
    schema = Schema([Feature("who", role="cluster")])
    naive = StructuralCausalModel(graph).fit(df).to_frame().loc["b"]
    aware = StructuralCausalModel(graph, schema=schema).fit(df).to_frame().loc["b"]
    assert naive["mechanism"] != "linear" and aware["mechanism"] == "linear"
    with pytest.warns(CausalWarning, match="repeated-ids.*'person_id' repeats"):
        guessed = StructuralCausalModel(graph).fit(df.rename(columns={"who": "person_id"}))
    assert guessed.to_frame().loc["b", "score"] == aware["score"]


def test_large_values_keep_their_precision():
    rng = np.random.default_rng(0)
    a = 1e15 + 1e9 * rng.normal(size=500)
    df = pd.DataFrame({"a": a, "b": 2 * (a - 1e15) + 1e9 * rng.normal(size=500)})
    model = StructuralCausalModel(CausalGraph(["a", "b"], [("a", "b")])).fit(df)
    after = model.counterfactual(df, {"a": df["a"] + 1e9})
    assert abs((after["b"] - df["b"]).mean() / 2e9 - 1) < 0.1
