import random

import numpy as np
import pytest

from workbench.core.errors import ParameterError
from workbench.core.seeding import foreign_generators, generator, integer, sequence, spawn


def test_children_do_not_depend_on_how_often_they_were_asked_for():
    first = [generator(s).random() for s in spawn(5, 3)]
    again = [generator(s).random() for s in spawn(5, 4)][:3]
    assert first == again
    assert len(set(first)) == 3
    parent = np.random.SeedSequence(5)
    parent.spawn(2)
    assert [generator(s).random() for s in spawn(parent, 3)] == first


def test_foreign_code_is_seeded_and_global_state_restored():
    random.seed(1)
    np.random.seed(1)
    before = random.getstate(), np.random.get_state()[1].tolist()
    with foreign_generators(3):
        one = random.random(), np.random.rand()
    with foreign_generators(3):
        two = random.random(), np.random.rand()
    assert one == two
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before


def test_torch_state_is_restored_when_torch_is_loaded():
    torch = pytest.importorskip("torch")
    before = torch.get_rng_state()
    with foreign_generators(3):
        one = torch.rand(1)
    with foreign_generators(3):
        two = torch.rand(1)
    assert torch.equal(one, two)
    assert torch.equal(torch.get_rng_state(), before)


def test_global_state_is_restored_after_an_error():
    before = random.getstate()
    with pytest.raises(KeyError), foreign_generators(0):
        raise KeyError
    assert random.getstate() == before


@pytest.mark.parametrize("bad", [None, -1, 1.5, "0", True, np.random.default_rng(0)])
def test_only_non_negative_integers_are_seeds(bad):
    with pytest.raises(ParameterError, match="random_state"):
        sequence(bad)


def test_an_integer_for_other_libraries_fits_31_bits():
    assert all(0 <= integer(i) < 2**31 for i in range(100))
    assert integer(4) == integer(np.int64(4))
