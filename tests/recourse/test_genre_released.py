"""The replay of the released generator, faults included."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks._recourse import Tables
from benchmarks._replays_genre import ReleasedGenRe, _kernel, _partners


@pytest.fixture
def draw():
    rng = np.random.default_rng(0)
    columns = ["income", "debts", "sex"]
    rows = np.column_stack(
        [rng.uniform(100, 300, 300), rng.integers(0, 9, 300), rng.integers(0, 2, 300)]
    )
    rows[:2] = [[100, 0, 0], [300, 8, 1]]
    table = pd.DataFrame(rows, columns=columns).astype(float)
    labels = (table["income"] > 200).to_numpy(int)
    data = Tables("COMPAS", table, table.head(30), labels, labels[:30])

    def model(x):
        return torch.sigmoid((x[:, :1] - 200) / 20)

    return SimpleNamespace(data=data, y=labels, model=model)


def test_pairs_follow_the_law_and_never_differ_in_what_cannot_change():
    torch.manual_seed(0)
    source = torch.tensor([[0.0, 0.0]])
    targets = torch.tensor([[0.1, 0.0], [0.3, 0.0], [0.5, 0.0], [0.1, 1.0]])
    drawn = _partners(source, targets, [False, True], 100_000)[0]
    share = torch.bincount(drawn, minlength=4) / len(drawn)
    law = np.exp(-5 * np.array([0.1, 0.3, 0.5]))
    assert share[:3].numpy() == pytest.approx(law / law.sum(), abs=5e-3)
    assert share[3] == 0


def test_soft_targets_have_the_published_floor():
    weights = _kernel(torch.tensor([0.5, 0.0, 1.0]))
    entropy = -(weights * weights.clamp(min=1e-30).log()).sum(-1)
    assert entropy.numpy() == pytest.approx([1.42, 0.92, 0.55], abs=5e-3)


def test_ends_are_left_edges_and_whole_levels(draw):
    people = draw.data.train[draw.data.train["income"] < 190]
    end = ReleasedGenRe(epochs=2).fit(draw).recommend(people)
    assert list(end.columns) == list(people.columns) and end.index.equals(people.index)
    edges = 50 * (end[["income", "debts"]] - [100, 0]) / [200, 8]
    assert np.abs(edges - edges.round()).to_numpy().max() < 1e-4
    assert edges.to_numpy().max() <= 49.001
    assert set(end["sex"]) <= {0.0, 1.0}


def test_same_seed_same_ends_and_the_global_generator_is_left_alone(draw):
    people, before = draw.data.train.head(20), torch.random.get_rng_state()
    first, second = (ReleasedGenRe(epochs=1).fit(draw).recommend(people) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    assert torch.equal(before, torch.random.get_rng_state())
