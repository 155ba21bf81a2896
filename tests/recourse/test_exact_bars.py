"""How often exact recourse is proven in time: 50 people, 20 features, 10 seconds each."""

import time
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from workbench.recourse import ExactRecourse, RecourseProblem


def proven(model):
    """Share of 50 declined people with a proven optimum, and CPU seconds a person."""
    x, y = make_classification(
        3000, 20, n_informative=10, n_redundant=4, shuffle=True, random_state=0
    )
    df = pd.DataFrame(x, columns=[f"v{j:02d}" for j in range(20)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(df[:2000], y[:2000])
    people = df[2000:][model.predict(df[2000:]) == 0]
    method = ExactRecourse(time_limit=10).fit(RecourseProblem(model, data=df[:2000]))
    method.recommend(people[50:51], progress=False)  # compiles
    start = time.process_time()
    plan = method.recommend(people[:50], progress=False)
    seconds = (time.process_time() - start) / 50
    out = plan.outcomes
    assert (out["status"] == "found").all() and model.predict(plan.recommended).all()
    assert out["bound"].notna().all() and (out["gap"] >= 0).all()
    return float(np.mean(out["gap"] <= 1e-5 * out["cost"])), seconds


@pytest.mark.slow
def test_forests_of_50_trees_are_proven():
    share, seconds = proven(RandomForestClassifier(50, max_depth=5, random_state=0))
    assert share >= 0.8, (share, seconds)


@pytest.mark.slow
def test_networks_of_two_layers_of_16_are_proven():
    network = MLPClassifier((16, 16), max_iter=400, random_state=0)
    share, seconds = proven(make_pipeline(StandardScaler(), network))
    assert share >= 0.95, (share, seconds)
