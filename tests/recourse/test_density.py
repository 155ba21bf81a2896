"""How common a row is: by rank of its distance to the fifth-nearest known row."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import cKDTree

from workbench import Feature, Schema
from workbench.recourse import density
from workbench.recourse.density import Density
from workbench.recourse.space import Space


def known(n=400, columns=3):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        rng.normal(size=(n, columns)), columns=[f"x{j}" for j in range(columns)]
    ).round(3)


def of(df, scale=1.0):
    space = Space(Schema([Feature(c) for c in df]))
    return Density(space, df.to_numpy(), np.full(len(df.columns), scale))


def test_rank_of_the_distance_to_the_fifth_nearest():
    df, asked = known(), np.random.default_rng(1).normal(size=(50, 3))
    tree = cKDTree(df.to_numpy())
    usual = tree.query(df.to_numpy(), k=[6])[0][:, 0]
    wanted = (usual[:, None] >= tree.query(asked, k=[5])[0][:, 0]).mean(axis=0)
    np.testing.assert_allclose(of(df)(asked), wanted, atol=1 / 400 + 1e-12)


def test_compiled_and_plain_distances_are_the_same_bits(monkeypatch):
    df, asked = known(300, 12), np.random.default_rng(1).normal(size=(40, 12))
    plain = of(df)
    monkeypatch.setattr(density, "_COMPILED_FROM", 0)
    compiled = of(df)
    np.testing.assert_array_equal(plain._usual, compiled._usual)
    np.testing.assert_array_equal(plain._distance(asked, 5), compiled._distance(asked, 5))


@pytest.mark.parametrize("compiled_from", [0, 10**12], ids=["compiled", "plain"])
def test_large_offsets_far_rows_and_few_rows(monkeypatch, compiled_from):
    monkeypatch.setattr(density, "_COMPILED_FROM", compiled_from)
    df, asked = known(), np.random.default_rng(1).normal(size=(20, 3))
    near, far = of(df)(asked), of(df * 1e9 + 1e12, 1e9)(asked * 1e9 + 1e12)
    np.testing.assert_allclose(near, far, atol=5e-3)
    assert of(df)(np.array([[1e30, 0, 0], [1e300, 0, 0]])).tolist() == [0, 0]
    few = of(df.head(3))(df.head(3).to_numpy())
    assert ((few >= 0) & (few <= 1)).all()


def test_nothing_asked():
    assert of(known())(np.empty((0, 3))).shape == (0,)
