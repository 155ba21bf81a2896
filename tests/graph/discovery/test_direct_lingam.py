import warnings

import numpy as np
import pandas as pd
import pytest

from workbench import CausalWarning, Knowledge
from workbench.core.errors import DataError, ParameterError, QuestionError
from workbench.graph.discovery import direct_lingam
from workbench.graph.discovery.direct_lingam import adaptive_lasso


def uniform(rng):
    return lambda n: rng.uniform(-1.7, 1.7, size=n)


@pytest.fixture
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CausalWarning)
        yield


def test_large_samples_give_the_graph(random_dag, quiet, linear_sample):
    rng = np.random.default_rng(0)
    right = 0
    for _ in range(5):
        dag = random_dag(rng, 8, degree=3)
        right += direct_lingam(linear_sample(rng, dag, 5000, uniform(rng))) == dag
    assert right >= 4


@pytest.mark.parametrize("seed", range(10))
def test_the_order_is_that_of_causallearn(seed, random_dag, quiet, linear_sample):
    from causallearn.search.FCMBased.lingam import DirectLiNGAM

    rng = np.random.default_rng(seed)
    df = linear_sample(rng, random_dag(rng, 8, degree=3), 500, uniform(rng))
    other = DirectLiNGAM()
    other.fit(df.to_numpy())
    wanted = [df.columns[i] for i in other.causal_order_]
    assert direct_lingam(df).info["causal_order"] == wanted


def test_the_lasso_is_that_of_scikit_learn():
    from sklearn.linear_model import LassoLarsIC

    rng = np.random.default_rng(1)
    for _ in range(5):
        x = rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6))
        y = x[:, 0] - 0.3 * x[:, 3] + rng.normal(size=300)
        x, y = (x - x.mean(axis=0)) / x.std(axis=0), (y - y.mean()) / y.std()
        gram, cross = x.T @ x / 300, x.T @ y / 300
        full = np.linalg.solve(gram, cross)
        lasso = LassoLarsIC(criterion="bic").fit(x * np.abs(full), y)
        wanted = lasso.coef_ * np.abs(full)
        np.testing.assert_allclose(adaptive_lasso(gram, cross, full, 300), wanted, atol=1e-8)


def test_units_and_order_of_columns_have_no_influence(random_dag, quiet, linear_sample):
    rng = np.random.default_rng(2)
    df = linear_sample(rng, random_dag(rng, 10), 800, uniform(rng))
    graph = direct_lingam(df)
    assert direct_lingam(df * rng.uniform(0.001, 1000, size=10) + 5) == graph
    for _ in range(3):
        assert direct_lingam(df[rng.permutation(df.columns)]) == graph


def test_knowledge_is_never_violated_even_if_the_data_say_otherwise(
    random_dag, quiet, linear_sample, true_knowledge
):
    rng = np.random.default_rng(3)
    for _ in range(200):
        d = int(rng.integers(3, 9))
        df = linear_sample(rng, random_dag(rng, d), 60, uniform(rng))
        knowledge = true_knowledge(rng, random_dag(rng, d))
        graph = direct_lingam(df, knowledge=knowledge)
        assert graph.is_dag and knowledge.violations(graph) == []


def test_knowledge_that_orders_no_variables_but_edges(quiet):
    # The tiers forbid y -> x only; the required path leads from y to x all the same.
    rng = np.random.default_rng(4)
    df = pd.DataFrame(rng.uniform(size=(100, 3)), columns=["a", "x", "y"])
    knowledge = Knowledge(tiers=["x", "y"], required=[("y", "a"), ("a", "x")])
    assert not knowledge.violations(direct_lingam(df, knowledge=knowledge))


def test_a_required_edge_that_the_data_deny_is_kept_and_said():
    rng = np.random.default_rng(5)
    df = pd.DataFrame(rng.uniform(size=(500, 2)), columns=["a", "b"])
    with pytest.warns(CausalWarning, match="unsupported-knowledge"):
        graph = direct_lingam(df, knowledge=Knowledge(required=[("b", "a")]))
    assert graph.has_edge("b", "a")


def test_gaussian_noise_is_said(random_dag, linear_sample):
    rng = np.random.default_rng(6)
    dag = random_dag(rng, 5, degree=3)
    with pytest.warns(CausalWarning, match="gaussian-residuals"):
        graph = direct_lingam(linear_sample(rng, dag, 1000))
    assert graph.info["warnings"][0]["code"] == "gaussian-residuals"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        a, b, c = rng.uniform(size=(3, 2000))
        found = direct_lingam(pd.DataFrame({"a": a, "b": a + b, "c": a + b + c}))
    assert max(found.info["normality_p_values"].values()) < 0.05


def test_a_hidden_common_cause_is_said():
    rng = np.random.default_rng(7)
    hidden, a, b = rng.uniform(-1, 1, size=(3, 3000))
    df = pd.DataFrame({"a": 2 * hidden + a, "b": 2 * hidden + b})
    with pytest.warns(CausalWarning, match="dependent-residuals"):
        direct_lingam(df)


def test_what_is_no_number_is_refused_or_said():
    rng = np.random.default_rng(8)
    df = pd.DataFrame(rng.uniform(size=(200, 2)), columns=["a", "b"])
    with pytest.raises(DataError, match="'team'.*unordered levels"):
        direct_lingam(df.assign(team=rng.choice(list("xyz"), size=200)))
    with pytest.warns(CausalWarning, match="two-valued.*'sex'"):
        direct_lingam(df.assign(sex=rng.choice(["f", "m"], size=200)))
    with pytest.raises(DataError, match="more rows than columns"), pytest.warns(CausalWarning):
        direct_lingam(rng.uniform(size=(12, 15)))
    with pytest.raises(ParameterError, match="threshold"):
        direct_lingam(df, threshold=-1)
    with pytest.raises(QuestionError, match="'zz'"):
        direct_lingam(df, knowledge=Knowledge(tiers=["zz"]))
