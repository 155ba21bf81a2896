"""A model's inside, written in raw units, is the model."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from workbench import Schema
from workbench.core.errors import DataError, ParameterError, QuestionError
from workbench.recourse import ModelView, RecourseProblem
from workbench.tables import Encoder


@pytest.fixture(scope="module")
def df():
    rng = np.random.default_rng(0)
    n = 300
    return pd.DataFrame(
        {
            "income": rng.normal(3e4, 1e4, n),
            "age": rng.uniform(18, 80, n),
            "children": rng.integers(0, 5, n),
            "team": rng.choice(["red", "green", "blue"], n),
            "member": rng.integers(1, 3, n),
        }
    )


@pytest.fixture(scope="module")
def y(df):
    rng = np.random.default_rng(1)
    score = df["income"] / 1e4 - df["children"] + 2 * (df["team"] == "red") + df["member"]
    return (score + rng.normal(size=len(df)) > 3.5).map({True: "yes", False: "no"})


def preprocessing():
    from sklearn.compose import make_column_transformer
    from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler

    return make_column_transformer(
        (StandardScaler(), ["income", "age"]),
        (MinMaxScaler(), ["children"]),
        (OneHotEncoder(), ["team"]),
        remainder="passthrough",
    )


def view(model, df, **more):
    problem = RecourseProblem(model, data=df, **more)
    return problem.view, problem.space


def random_codes(problem_space, df, n=500):
    rng = np.random.default_rng(7)
    codes = problem_space.codes(df)
    return problem_space.draw(n, codes.mean(0), codes.std(0), rng)


def pipelines():
    from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    yield "logistic", lambda: make_pipeline(preprocessing(), LogisticRegression()), {}
    yield "other class", lambda: make_pipeline(preprocessing(), LogisticRegression()), "no"
    yield "svc", lambda: make_pipeline(preprocessing(), LinearSVC()), {"above": 0}
    yield "regression", lambda: make_pipeline(preprocessing(), LinearRegression()), {"below": 0}
    yield "ridge", lambda: make_pipeline(preprocessing(), Ridge()), {"below": 0}


@pytest.mark.parametrize("name, make, target", pipelines(), ids=[p[0] for p in pipelines()])
def test_linear_reproduces_the_score(df, y, name, make, target):
    labels = (y == "yes") * 1.0 if name in ("regression", "ridge") else y
    found, space = view(make().fit(df, labels), df, target=target or None)
    codes = random_codes(space, df)
    assert found.structure == "linear"
    truth, guess = found.score(space.frame(codes)), found.linear().score(space.design(codes))
    assert np.abs(truth - guess).max() < 1e-8
    encoded = found.score_encoded(torch.from_numpy(space.design(codes))).numpy()
    assert np.abs(truth - encoded).max() < 1e-8


def tree_models():
    import lightgbm
    from sklearn import ensemble, tree

    quiet = {"verbose": -1, "n_estimators": 10}
    yield "tree", lambda: tree.DecisionTreeClassifier(max_depth=5)
    yield "tree regression", lambda: tree.DecisionTreeRegressor(max_depth=5)
    yield "forest", lambda: ensemble.RandomForestClassifier(8, max_depth=5, random_state=0)
    yield "extra trees", lambda: ensemble.ExtraTreesRegressor(8, max_depth=5, random_state=0)
    yield "boosting", lambda: ensemble.GradientBoostingClassifier(n_estimators=10)
    yield "boosting regression", lambda: ensemble.GradientBoostingRegressor(n_estimators=10)
    yield "histogram", lambda: ensemble.HistGradientBoostingClassifier(max_iter=10)
    yield "histogram regression", lambda: ensemble.HistGradientBoostingRegressor(max_iter=10)
    yield "lightgbm", lambda: lightgbm.LGBMClassifier(**quiet)
    yield "lightgbm regression", lambda: lightgbm.LGBMRegressor(**quiet)


@pytest.mark.parametrize("name, make", tree_models(), ids=[m[0] for m in tree_models()])
@pytest.mark.parametrize("piped", [False, True])
def test_trees_reproduce_the_score(df, y, name, make, piped):
    from sklearn.pipeline import make_pipeline

    regression = "regression" in name or name == "extra trees"
    labels = (y == "yes") * 1.0 if regression else y
    data = df if piped else df.drop(columns="team")
    model = make_pipeline(preprocessing(), make()) if piped else make()
    model.fit(data, labels)
    found, space = view(model, data, target={"above": 0.5})
    codes = np.vstack([random_codes(space, data), space.codes(data)])
    assert found.structure == "trees"
    truth = found.score(space.frame(codes))
    assert np.abs(truth - found.trees().score(codes)).max() < 1e-8


def test_a_booster_is_read_and_its_categories_are_refused(df, y):
    import lightgbm

    data = df.drop(columns="team")
    train = lightgbm.Dataset(data, (y == "yes").astype(int))
    booster = lightgbm.train({"objective": "binary", "verbose": -1}, train, 5)
    found, space = view(booster, data)
    codes = random_codes(space, data)
    truth = found.score(space.frame(codes))
    assert np.abs(truth - found.trees().score(codes)).max() < 1e-8
    coded = df.assign(team=df["team"].astype("category"))
    booster = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(coded, y)
    found, _ = view(booster, coded)
    assert found.structure == "score only"


@pytest.mark.parametrize("ending", ["logit", "sigmoid", "two", "value"])
def test_relu_reproduces_the_score(df, ending):
    from torch import nn

    torch.manual_seed(0)
    encoder = Encoder().fit(df)
    outputs = 2 if ending == "two" else 1
    layers = [nn.Linear(len(encoder.columns_), 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, outputs)]
    layers += [nn.Sigmoid()] if ending == "sigmoid" else []
    network = nn.Sequential(*layers).double()
    output = {"sigmoid": None, "value": "value"}.get(ending, "logit")
    target = {"above": 0.1} if ending == "value" else None
    found, space = view(network, df, encoder=encoder, output=output, target=target)
    codes = random_codes(space, df)
    assert found.structure == "relu"
    truth = found.score(space.frame(codes))
    assert np.abs(truth - found.relu().score(space.design(codes))).max() < 1e-8
    encoded = found.score_encoded(torch.from_numpy(space.design(codes)))
    assert np.abs(truth - encoded.numpy()).max() < 1e-8
    assert network.training  # the caller's own modules stay as they were


@pytest.mark.parametrize("classifier", [True, False])
def test_sklearn_networks_are_relu(df, y, classifier):
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline

    kind = MLPClassifier if classifier else MLPRegressor
    network = kind(hidden_layer_sizes=(6, 4), max_iter=30, random_state=0)
    labels = y if classifier else (y == "yes") * 1.0
    with pytest.warns(UserWarning):  # stopped early
        model = make_pipeline(preprocessing(), network).fit(df, labels)
    found, space = view(model, df, target={"above": 0.5})
    codes = random_codes(space, df)
    truth = found.score(space.frame(codes))
    assert np.abs(truth - found.relu().score(space.design(codes))).max() < 1e-8


def test_what_is_not_linear_is_not_called_linear(df, y):
    from sklearn.linear_model import LogisticRegression, PoissonRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures

    numbers = df[["income", "age"]] / df[["income", "age"]].std()
    models = [
        make_pipeline(PolynomialFeatures(), LogisticRegression(max_iter=1000)).fit(numbers, y),
        PoissonRegressor().fit(numbers, (y == "yes") * 1.0),
    ]
    for model in models:
        found, _ = view(model, numbers, target={"above": 0.4})
        with pytest.raises(QuestionError, match="not known to be linear"):
            found.linear()
    with pytest.raises(QuestionError, match="no gradient"):
        found.score_encoded(None)


def test_smooth_networks_are_differentiable(df):
    from torch import nn

    encoder = Encoder().fit(df)
    network = nn.Sequential(nn.Linear(len(encoder.columns_), 4), nn.Tanh(), nn.Linear(4, 1))
    found, space = view(network, df, encoder=encoder, output="logit")
    assert found.structure == "differentiable"
    codes = random_codes(space, df)
    design = torch.from_numpy(space.design(codes)).requires_grad_()
    scores = found.score_encoded(design)
    truth = found.score(space.frame(codes))
    assert np.abs(truth - scores.detach().numpy()).max() < 1e-5
    scores.sum().backward()
    assert design.grad.abs().sum() > 0


NUMBERS = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.5], "b": [2.0, 1.0, 0.5, 4.0]})


@pytest.mark.parametrize(
    "model, says",
    [
        (lambda d: 1 / 0, "ZeroDivisionError"),
        (lambda d: np.ones(len(d) + 1), "shape"),
        (lambda d: np.ones((len(d), 2)), "shape"),
        (lambda d: np.where(d["a"] > 2.5, np.nan, 1.0), "nan"),
        (lambda d: ["yes"] * len(d), "numbers"),
        (lambda d: None, "nan|numbers|shape"),
    ],
)
def test_models_that_misbehave_are_named(model, says):
    with pytest.raises(DataError, match=says) as caught:
        ModelView(model, columns=["a", "b"]).score(NUMBERS)
    assert "the function" in str(caught.value)


def test_columns_that_are_missing_are_named():
    found = ModelView(lambda d: d["a"], columns=["a", "b"])
    with pytest.raises(DataError, match="'b'.*missing"):
        found.score(NUMBERS[["a"]])
    assert len(found.score(NUMBERS[:0])) == 0


def test_a_target_that_the_model_does_not_know(df, y):
    from sklearn.linear_model import LogisticRegression
    from torch import nn

    numbers = df[["age"]]
    model = LogisticRegression().fit(numbers, y)
    with pytest.raises(ParameterError, match="Did you mean 'yes'"):
        RecourseProblem(model, data=numbers, target="yess")
    with pytest.raises(ParameterError, match="between 0 and 1"):
        RecourseProblem(model, data=numbers, target={"above": 1.5})
    with pytest.raises(ParameterError, match="threshold is needed"):
        RecourseProblem(lambda d: d["age"], data=numbers)
    with pytest.raises(ParameterError, match="last layer is Linear"):
        RecourseProblem(nn.Sequential(nn.Linear(1, 1)), data=numbers)


def test_a_positional_model_needs_exactly_its_columns(df):
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(df[["age", "income"]].to_numpy(), df["children"])
    with pytest.raises(DataError, match="reads 2 columns"):
        RecourseProblem(model, data=df, target={"above": 1})
    schema = Schema.infer(df[["age", "income"]])
    problem = RecourseProblem(model, data=df, schema=schema, target={"above": 1})
    assert problem.columns == ["age", "income"]


def test_read_only_tables_reach_torch_without_its_warning():
    view = ModelView(torch.nn.Linear(1, 1), columns=["a"], output="value")
    rows = np.zeros((3, 1))
    rows.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.set_warn_always(True)
        try:
            view.tensor(rows)
        finally:
            torch.set_warn_always(False)


def test_a_model_is_shown_categories_as_the_data_has_them():
    lgb = pytest.importorskip("lightgbm")
    rng = np.random.default_rng(0)
    df = pd.DataFrame(
        {"n": rng.normal(size=200), "c": pd.Categorical(rng.choice(list("xyz"), 200))}
    )
    model = lgb.LGBMClassifier(n_estimators=5, verbose=-1)
    model.fit(df, df["n"] + (df["c"] == "x") > 0.5)  # splits on pandas' own categories
    problem = RecourseProblem(model, data=df)
    assert np.allclose(problem.score(problem.data), model.predict_proba(df)[:, 1])
