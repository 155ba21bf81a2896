"""A network of M members is M networks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.core.errors import ParameterError, SavedStateError
from workbench.core.saving import load, save
from workbench.nets import (
    BatchedLinear,
    BatchedMLP,
    Dropout,
    InputGate,
    LayerNorm,
    MultiHead,
    SplineBasis,
    count_members,
    member_seeds,
    select,
    split_seeds,
)
from workbench.nets.stochastic import random_bits, seed_words, standard_normal


def normal(*shape, dtype=torch.float32):
    return torch.tensor(np.random.default_rng(0).normal(size=shape), dtype=dtype)


MAKERS = {
    "linear": lambda m, seeds: BatchedLinear(m, 3, 2, random_state=seeds),
    "mlp": lambda m, seeds: BatchedMLP(m, [3, 5, 4], dropout=0.4, norm="layer", random_state=seeds),
    "heads": lambda m, seeds: MultiHead(m, 3, [3, 5, 1], dropout=0.4, random_state=seeds),
    "gate": lambda m, seeds: InputGate(m, 3, random_state=seeds),
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("mode", [True, False])
@settings(max_examples=5, deadline=None)
@given(members=st.integers(1, 6), seed=st.integers(0, 10**6))
def test_member_m_is_the_lone_network_with_its_seed(kind, mode, members, seed):
    seeds = member_seeds(seed, members)
    together = MAKERS[kind](members, seed).train(mode)
    x = torch.linspace(-1, 1, members * 21).view(members, 7, 3)
    outputs = [together(x), together(x)]  # twice: the second draw differs from the first
    for m in range(members):
        alone = MAKERS[kind](1, [seeds[m]]).train(mode)
        for name, parameter in alone.named_parameters():
            assert torch.equal(parameter[0], dict(together.named_parameters())[name][m])
        for output in outputs:
            assert torch.allclose(alone(x[m : m + 1])[0], output[m], atol=1e-6)


@pytest.mark.parametrize("kind", MAKERS)
def test_save_and_load(kind, tmp_path):
    net = MAKERS[kind](4, 3).double()
    loaded = load(save(net, tmp_path / "net"))
    x = normal(5, 3, dtype=torch.float64)
    assert torch.equal(net.eval()(x), loaded(x)) and not loaded.training
    two = load(save(select(net, [0, 2]), tmp_path / "two"))
    assert count_members(two) == 2 and torch.allclose(two(x), net(x)[[0, 2]], atol=1e-14)
    net.train(), loaded.train()
    assert torch.equal(net(x.expand(4, 5, 3)), loaded(x.expand(4, 5, 3)))


def test_a_state_of_other_sizes_is_refused():
    state = BatchedLinear(2, 3, 1)._state()
    state["architecture"]["n_in"] = 4
    with pytest.raises(SavedStateError, match="do not fit"):
        BatchedLinear._from_state(state)


def test_start_is_independent_of_global_generators_and_of_dtype():
    state = torch.get_rng_state()
    torch.manual_seed(1)
    first = BatchedLinear(2, 3, 2)
    torch.manual_seed(2)
    second = BatchedLinear(2, 3, 2, dtype=torch.float64)
    torch.set_rng_state(state)
    assert torch.equal(first.weight, second.weight.float())
    assert first.weight.abs().max() <= 3**-0.5
    assert not torch.equal(first.weight[0], first.weight[1])


def test_shared_input_and_more_axes():
    net = BatchedMLP(3, [2, 4, 1], norm="layer")
    x = normal(6, 5, 2)
    grid = net(x.expand(3, 6, 5, 2))
    assert grid.shape == (3, 6, 5, 1)
    assert torch.allclose(grid[:, :, 2], net(x[:, 2]), atol=1e-6)


def test_layer_norm_is_torchs():
    x = normal(2, 5, 4)
    assert torch.allclose(LayerNorm(2, 4)(x), torch.nn.LayerNorm(4)(x))


def test_layers_take_the_same_input_for_all_members():
    x = normal(3, 4)  # as many rows as members: the first axis must not be taken for members
    for layer in (BatchedLinear(3, 4, 4), LayerNorm(3, 4), Dropout(3, 0.5), InputGate(3, 4)):
        assert layer(x).shape == (3, 3, 4)
        again = type(layer)._from_state(layer._state()).eval()
        assert torch.allclose(
            again(x).expand(3, 3, 4), again(x.expand(3, 3, 4)).expand(3, 3, 4), atol=1e-6
        )


def test_received_picks_the_arm():
    outcomes = torch.arange(12.0).view(2, 3, 2)
    arm = torch.tensor([1, 0, 1])
    assert MultiHead.received(outcomes, arm).tolist() == [[1, 2, 5], [7, 8, 11]]


def test_dropout_drops_the_right_share_and_keeps_the_mean():
    layer = Dropout(3, 0.3)
    x = torch.ones(3, 2000, 50)
    out = layer(x)
    assert torch.allclose(out.mean((1, 2)), torch.ones(3), atol=0.01)
    assert out.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert not torch.equal(out[0], out[1]) and not torch.equal(out, layer(x))
    assert torch.equal(layer.eval()(x), x)


def test_random_bits_look_independent():
    words, counter = seed_words(member_seeds(5, 2)), torch.zeros(2, dtype=torch.int32)
    z = standard_normal(random_bits(words, counter, 2000, 100), torch.float64)
    assert abs(z.mean()) < 0.01 and abs(z.std() - 1) < 0.01 and abs((z**4).mean() - 3) < 0.05
    later = standard_normal(random_bits(words, counter + 1, 2000, 100), torch.float64)
    n = z[0].numel() ** 0.5
    pairs = [(z[0], z[1]), (z[0], later[0]), (z[0, 1:], z[0, :-1]), (z[0, :, 1:], z[0, :, :-1])]
    assert all(abs((a * b).mean()) * n < 4.5 for a, b in pairs)
    square = z[0, 1:, 1:] * z[0, :-1, 1:] * z[0, 1:, :-1] * z[0, :-1, :-1]
    assert abs(square.mean()) * n < 4.5
    # The numbers of a row and unit do not depend on the size of the table.
    assert torch.equal(
        random_bits(words, counter, 2000, 100)[:, :7, :5], random_bits(words, counter, 7, 5)
    )


def test_random_bits_wrap_like_unsigned_integers():
    words, counter = seed_words(member_seeds(1, 1)), torch.tensor([77], dtype=torch.int32)

    def mix(v):
        for multiplier, shift in ((0x7FEB352D, 16), (0x119DE1F3, 15)):
            v = ((v ^ (v >> shift)) * multiplier) % 2**32
        return v ^ (v >> 16)

    a, b = (int(w) % 2**32 for w in words[0])
    key = mix(mix(mix(a) ^ b) ^ 77)
    for row, unit in ((0, 0), (3, 1), (12, 40)):
        v = ((mix(mix(row) ^ key) ^ mix(unit + 1)) * 0x7FEB352D) % 2**32
        v = ((v ^ (v >> 15)) * 0x119DE1F3) % 2**32
        assert int(random_bits(words, counter, 13, 41)[0, row, unit]) % 2**32 == v


@pytest.mark.parametrize("kind", ["bspline", "power"])
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_spline_basis(kind, degree):
    basis = SplineBasis([0.5, 1.0, 2.5], degree, kind, low=-1, high=3, dtype=torch.float64)
    t = torch.linspace(-0.99, 2.99, 57, dtype=torch.float64).view(3, 19)
    values = basis(t)
    assert values.shape == (3, 19, basis.n_basis) and basis.n_basis == 4 + degree
    assert np.linalg.matrix_rank(values.view(57, -1)) == basis.n_basis
    if kind == "bspline":
        assert torch.allclose(values.sum(-1), torch.ones_like(t)) and (values >= 0).all()
    for power in range(degree + 1):  # every polynomial up to the degree, also outside
        fit = torch.linalg.lstsq(values.view(57, -1), (t**power).view(57, 1)).solution
        outside = torch.tensor([-2.0, 4.0], dtype=torch.float64)
        assert torch.allclose((basis(outside) @ fit)[:, 0], outside**power, atol=1e-8)


def test_both_bases_span_the_same_splines():
    t = torch.linspace(0, 1, 50, dtype=torch.float64)
    local, power = (
        SplineBasis([0.2, 0.7], 3, kind, dtype=torch.float64)(t) for kind in ("bspline", "power")
    )
    fit = torch.linalg.lstsq(power, local).solution
    assert torch.allclose(power @ fit, local, atol=1e-9)


def test_bsplines_are_scipys():
    from scipy.interpolate import BSpline

    basis = SplineBasis([0.3, 0.4], 3, dtype=torch.float64)
    t = np.linspace(-0.2, 1.2, 40)
    for j in range(basis.n_basis):
        theirs = BSpline(basis.grid[0].numpy(), np.eye(basis.n_basis)[j], 3)(t)
        assert np.allclose(basis(torch.tensor(t))[:, j], theirs)


@pytest.mark.parametrize("kind", ["bspline", "power"])
@pytest.mark.parametrize("degree", [2, 3])
def test_spline_derivatives_in_both_modes(kind, degree):
    basis = SplineBasis([0.31, 0.66], degree, kind, dtype=torch.float64)
    t = torch.tensor([-0.1, 0.0, 0.05, 0.3, 0.5, 0.9, 1.0, 1.1], dtype=torch.float64)
    forward = torch.func.jvp(basis, (t,), (torch.ones_like(t),))[1]
    reverse = torch.func.vmap(torch.func.jacrev(basis))(t)
    central = (basis(t + 1e-5) - basis(t - 1e-5)) / 2e-5
    assert torch.allclose(forward, central, atol=1e-6)
    assert torch.allclose(forward, reverse, atol=1e-12)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(t, torch.ones_like(t))
        tangent = torch.autograd.forward_ad.unpack_dual(basis(dual)).tangent
    assert torch.allclose(tangent, forward)


def test_spline_knots_from_quantiles_and_saving(tmp_path):
    dose = np.random.default_rng(0).exponential(size=500)
    basis = SplineBasis.from_quantiles(dose, 4, degree=3, kind="power")
    assert np.allclose(basis.knots, np.quantile(dose, [0.2, 0.4, 0.6, 0.8]))
    loaded = load(save(basis, tmp_path / "basis"))
    assert torch.equal(loaded(torch.tensor(dose[:9])), basis(torch.tensor(dose[:9])))
    with pytest.raises(ParameterError, match="fewer knots"):
        SplineBasis.from_quantiles(np.array([0, 0, 0, 1.0]), 3)


def test_forward_mode_through_a_network():
    net = BatchedMLP(2, [3, 8, 1], activation="tanh", dtype=torch.float64)
    x, v = normal(2, 2, 5, 3, dtype=torch.float64)
    slope = torch.func.jvp(net, (x,), (v,))[1]
    assert torch.allclose(slope, (net(x + 1e-6 * v) - net(x - 1e-6 * v)) / 2e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("make", "column"),
    [
        (lambda: BatchedLinear(0, 1, 1), "members"),
        (lambda: BatchedLinear(2, 0, 1), "n_in"),
        (lambda: BatchedLinear(2, 1, 1, random_state=[1]), "random_state"),
        (lambda: BatchedLinear(2, 1, 1, random_state=[1, 2]), "random_state"),
        (lambda: BatchedLinear(2, 1, 1, random_state=None), "random_state"),
        (lambda: BatchedMLP(2, [3]), "widths"),
        (lambda: BatchedMLP(2, [3, 1], activation="rellu"), "activation"),
        (lambda: BatchedMLP(2, [3, 2, 1], dropout=1.0), "dropout"),
        (lambda: BatchedMLP(2, [3, 1], norm="batch"), "norm"),
        (lambda: MultiHead(2, 2, [3, 2]), "widths"),
        (lambda: InputGate(2, 2, sd=0), "sd"),
        (lambda: SplineBasis([0.5, 0.5]), "knots"),
        (lambda: SplineBasis([1.5]), "knots"),
        (lambda: SplineBasis(degree=9), "degree"),
        (lambda: SplineBasis(kind="natural"), "kind"),
        (lambda: select(BatchedLinear(2, 1, 1), 2), "index"),
        (lambda: count_members(torch.nn.ReLU()), "net"),
        (lambda: count_members(torch.nn.Sequential(BatchedLinear(2, 1, 1), LayerNorm(3, 1))), "1"),
    ],
)
def test_odd_parameters_are_refused(make, column):
    with pytest.raises(ParameterError) as caught:
        make()
    assert column in caught.value.column


def test_seeds_of_parts_differ():
    parts = split_seeds(member_seeds(0, 3), 2)
    keys = {seed.spawn_key for part in parts for seed in part}
    assert len(keys) == 6
