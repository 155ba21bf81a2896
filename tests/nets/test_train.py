"""Members never influence each other, and the loop reaches what it promises."""

import random

import numpy as np
import pytest
import torch

from workbench.core.errors import DataError, ParameterError
from workbench.core.saving import load, save
from workbench.nets import (
    BatchedLinear,
    BatchedMLP,
    InputGate,
    LayerNorm,
    MultiHead,
    count_members,
    member_seeds,
    select,
    train,
)
from workbench.nets.optimise import Adam

N, D, M = 90, 4, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D))
Y = np.sin(X[:, 0]) + 0.5 * X[:, 1] + 0.3 * RNG.normal(size=N)
DATA = {"x": X, "y": Y}
FOLDS = [np.arange(N) % M != m for m in range(M)]
UNEQUAL = [np.arange(20 + 23 * m) for m in range(M)]
BOOTSTRAPS = [np.random.default_rng(m).integers(0, N, N) for m in range(M)]


def squared_error(net, batch):
    return batch.mean((net(batch.x)[..., 0] - batch.y) ** 2)


def fit(members=None, net=None, loss=squared_error, data=DATA, dropout=0.0, **options):
    """Train all members together, or (``members``) some of them as if the others never were."""
    seeds = member_seeds(0, M)
    members = range(M) if members is None else members
    seeds = [seeds[m] for m in members]
    for name in ("rows", "weight", "validation", "learning_rate"):
        if isinstance(options.get(name), list | np.ndarray):
            options[name] = [options[name][m] for m in members]
    if net is None:
        net = BatchedMLP(len(seeds), [D, 16, 1], dropout=dropout, random_state=seeds)
    options = {"epochs": 12, "batch_size": 16, "learning_rate": 0.01, "progress": False} | options
    return net, train(net, loss, data, random_state=seeds, **options)


def weights(net):
    return torch.cat([p.detach().flatten(1) for p in net.parameters()], 1)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_size": None},
        {"dropout": 0.3},
        {"rows": FOLDS, "validation": 0.25},
        {"rows": UNEQUAL, "dropout": 0.3},
        {"rows": UNEQUAL, "batch_size": None, "validation": 0.2},
        {"rows": BOOTSTRAPS, "weight_decay": 0.1, "l2": 0.01, "clip_norm": 0.1},
        {"validation": 0.3, "patience": 2, "epochs": 40, "learning_rate": 0.05, "dropout": 0.2},
        {"validation": 0.3, "patience": 3, "epochs": 40, "batch_size": None, "learning_rate": 0.1},
        {"learning_rate": [0.1, 0.01, 0.001, 0.03], "schedule": "cosine"},
        {"weight": np.random.default_rng(1).exponential(size=(M, N)), "validation": 0.2},
    ],
    ids=lambda o: "-".join(o) or "plain",
)
def test_members_together_equal_members_alone(options):
    together, history = fit(**options)
    for m in range(M):
        alone, lone_history = fit([m], **options)
        assert torch.allclose(weights(alone)[0], weights(together)[m], atol=1e-5)
        assert history.best_epoch[m] == lone_history.best_epoch[0]
        assert history.stopped[m] == lone_history.stopped[0]
        epochs = len(lone_history.training)
        assert np.allclose(history.training[:epochs, m], lone_history.training[:, 0], atol=1e-4)
        assert np.isnan(history.training[epochs:, m]).all()


def test_members_stop_at_their_own_epoch_and_move_no_more():
    options = dict(validation=0.3, patience=2, epochs=60, learning_rate=0.05)
    net, history = fit(**options)
    ends = np.isfinite(history.training).sum(0)
    assert len(set(ends)) > 1 and "patience" in history.stopped
    first = int(np.argmin(ends))
    short, _ = fit(**{**options, "epochs": int(ends[first])})
    assert torch.equal(weights(short)[first], weights(net)[first])


def test_the_best_weights_are_kept():
    # Few rows and a large net: the validation loss rises again.
    net, history = fit(rows=[np.arange(24)] * M, validation=[np.arange(24, N)] * M, epochs=60,
                       learning_rate=0.03)  # fmt: skip
    assert (history.validation[-1] > history.best_loss + 0.01).all()
    with torch.no_grad():
        error = (net(torch.tensor(X[24:]).float())[..., 0] - torch.tensor(Y[24:])) ** 2
    assert np.allclose(error.mean(1), history.best_loss, atol=1e-5)
    assert np.allclose(history.best_loss, np.nanmin(history.validation, 0))


def test_without_validation_the_last_weights_are_kept():
    net, history = fit(epochs=5, batch_size=None)
    assert (history.best_epoch == 5).all() and history.validation is None
    again, _ = fit(epochs=5, batch_size=None, schedule=lambda done: 1.0)
    assert torch.equal(weights(net), weights(again))


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_a_linear_net_reaches_least_squares_and_ridge(l2):
    net = BatchedLinear(2, D, 1, dtype=torch.float64)
    train(net, lambda net, b: squared_error(net, b) / 2, DATA, batch_size=None, epochs=1500,
          learning_rate=0.05, schedule="cosine", l2=[0.0, l2], progress=False)  # fmt: skip
    for m, penalty in enumerate([0.0, l2]):
        x, y = X - X.mean(0), Y - Y.mean()  # the intercept is not penalised
        slope = np.linalg.solve(x.T @ x / N + penalty * np.eye(D), x.T @ y / N)
        assert np.allclose(net.weight[m, :, 0].detach(), slope, atol=1e-4)
        assert np.allclose(net.offset[m, 0].detach(), Y.mean() - X.mean(0) @ slope, atol=1e-4)


def test_weights_of_rows_count_like_copies_of_rows():
    counts = np.array([np.bincount(b, minlength=N) for b in BOOTSTRAPS]).astype(float)
    by_rows, _ = fit(rows=BOOTSTRAPS, batch_size=None)
    by_weight, _ = fit(weight=counts, batch_size=None)
    assert torch.allclose(weights(by_rows), weights(by_weight), atol=1e-5)


def test_weighted_least_squares():
    weight = np.random.default_rng(1).exponential(size=N)
    net = BatchedLinear(1, D, 1, dtype=torch.float64)
    train(net, squared_error, DATA, weight=weight, batch_size=None, epochs=1500,
          learning_rate=0.05, schedule="cosine", progress=False)  # fmt: skip
    z = np.column_stack([X, np.ones(N)]) * np.sqrt(weight)[:, None]
    truth = np.linalg.lstsq(z, Y * np.sqrt(weight), rcond=None)[0]
    assert np.allclose(net.weight[0, :, 0].detach(), truth[:D], atol=1e-4)


def test_our_steps_are_those_of_adamw():
    rng = torch.Generator().manual_seed(0)
    start = torch.randn(3, 5, generator=rng, dtype=torch.float64)
    lone = [torch.nn.Parameter(row.clone()) for row in start]
    theirs = [torch.optim.AdamW([p], lr=0.02, weight_decay=0.1) for p in lone]
    ours, values = Adam(start, torch.ones(5, dtype=torch.float64)), start.clone()
    column = torch.ones(3, 1, dtype=torch.float64)
    for step in range(20):
        gradient = torch.randn(3, 5, generator=rng, dtype=torch.float64)
        moves = torch.tensor([[1.0], [1.0], [float(step % 2 == 0)]], dtype=torch.float64)
        ours.step(values, gradient, 0.02 * column, 0.1 * column, moves)
        for m in range(3):
            if moves[m]:
                lone[m].grad = gradient[m].clone()
                theirs[m].step()
    assert torch.allclose(values, torch.stack([p.detach() for p in lone]), atol=1e-12)


def test_weight_decay_spares_biases():
    net = BatchedLinear(1, 2, 1)
    with torch.no_grad():
        net.offset.fill_(1.0)
    before = net.weight.detach().clone()
    train(net, lambda net, b: 0 * b.mean(net(b.x)), {"x": np.ones((4, 2))}, epochs=1,
          learning_rate=0.1, weight_decay=0.5, progress=False)  # fmt: skip
    assert torch.allclose(net.weight, before * 0.95) and net.offset.item() == 1.0


def test_repeatable_and_global_generators_untouched():
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    threads = torch.get_num_threads()
    first, second = (fit(dropout=0.2, validation=0.2)[0] for _ in range(2))
    assert torch.equal(weights(first), weights(second))
    assert random.getstate() == states[0]
    assert (np.random.get_state()[1] == states[1]).all()
    assert torch.equal(torch.get_rng_state(), states[2]) and torch.get_num_threads() == threads
    other = BatchedMLP(M, [D, 16, 1], dropout=0.2, random_state=member_seeds(0, M))
    train(other, squared_error, DATA, random_state=1, progress=False, epochs=12, batch_size=16)
    assert not torch.equal(weights(first), weights(other))


def test_works_with_deterministic_algorithms():
    torch.use_deterministic_algorithms(True)
    try:
        fit(dropout=0.2, validation=0.3, patience=2, rows=UNEQUAL)
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_copied_row_is_never_on_both_sides():
    seen = {True: [set() for _ in range(M)], False: [set() for _ in range(M)]}

    def spy(net, batch):
        for k, m in enumerate(batch.members):
            seen[batch.training][m] |= set(batch.rows[k][batch.weight[k] > 0].tolist())
        return squared_error(net, batch)

    fit(rows=BOOTSTRAPS, validation=0.3, epochs=2, loss=spy)
    for m in range(M):
        distinct = set(BOOTSTRAPS[m].tolist())
        assert not seen[True][m] & seen[False][m]
        assert seen[True][m] | seen[False][m] == distinct
        assert len(seen[False][m]) == round(0.3 * len(distinct))


def test_rows_named_for_validation_are_not_trained_on():
    held = [np.arange(m, N, M) for m in range(M)]
    named, _ = fit(validation=held, epochs=3)
    both, _ = fit(rows=FOLDS, validation=held, epochs=3)
    assert torch.equal(weights(named), weights(both))


@pytest.mark.parametrize("batch_size", [7, None])
def test_each_epoch_shows_every_row_once_in_each_members_order(batch_size):
    seen = [[] for _ in range(M)]

    def spy(net, batch):
        for k, m in enumerate(batch.members):
            if len(seen[m]) < len(UNEQUAL[m]):
                seen[m] += batch.rows[k][batch.weight[k] > 0].tolist()
        return squared_error(net, batch)

    fit(rows=UNEQUAL, epochs=1, batch_size=batch_size, loss=spy)
    assert [sorted(s) for s in seen] == [u.tolist() for u in UNEQUAL]


def test_data_of_the_members():
    outcomes = np.stack([Y + m for m in range(M)])
    net = BatchedLinear(M, D, 1, dtype=torch.float64)
    train(net, squared_error, {"x": X}, member_data={"y": outcomes}, batch_size=None, epochs=800,
          learning_rate=0.1, schedule="cosine", progress=False)  # fmt: skip
    assert np.allclose(np.diff(net.offset[:, 0].detach()), 1, atol=1e-3)
    assert np.allclose(net.weight.detach() - net.weight[:1].detach(), 0, atol=1e-3)


def test_noise_in_the_loss_is_the_members_own():
    def noisy(net, batch):
        return squared_error(net, batch) + batch.mean(batch.normal(3) * net(batch.x))

    options = dict(loss=noisy, validation=0.2, patience=2, epochs=20, rows=UNEQUAL)
    together, _ = fit(**options)
    for m in (0, M - 1):
        assert torch.allclose(weights(fit([m], **options)[0])[0], weights(together)[m], atol=1e-5)


def test_losses_with_the_derivative_of_the_network():
    def smooth(net, batch):
        value, slope = torch.func.jvp(net, (batch.x,), (torch.ones_like(batch.x),))
        return batch.mean((value[..., 0] - batch.y) ** 2) + 0.01 * batch.mean(slope**2)

    options = dict(loss=smooth, validation=0.3, patience=2, epochs=30, learning_rate=0.05)
    together, history = fit(**options)
    assert np.isfinite(history.validation[0]).all()
    assert torch.allclose(weights(fit([1], **options)[0])[0], weights(together)[1], atol=1e-5)


def test_short_trainings_show_no_bar(capfd):
    fit(epochs=2, progress=True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_ten_networks_cost_less_together():
    x = np.random.default_rng(0).normal(size=(700, 25))
    data, widths = {"x": x, "y": np.sin(x[:, 0]) + x[:, 1] * x[:, 2]}, [25, 64, 64, 64, 1]

    def seconds(seeds):
        net = BatchedMLP(len(seeds), widths, random_state=seeds)
        return train(net, squared_error, data, random_state=seeds, progress=False).seconds

    seeds = member_seeds(0, 10)
    together, alone = seconds(seeds), sum(seconds([seed]) for seed in seeds)
    print(f"together {together:.1f} s, one by one {alone:.1f} s")  # noqa: T201
    assert together < 0.9 * alone


def test_mean_among_some_rows():
    def by_arm(net, batch):
        error = (net(batch.x)[..., 0] - batch.y) ** 2
        both = sum(batch.mean(error, among=batch.t == arm) for arm in (0, 1))
        none = batch.mean(error, among=torch.zeros_like(error))
        assert (none == 0).all()
        return both

    net, history = fit(loss=by_arm, data=DATA | {"t": np.arange(N) % 3 == 0}, batch_size=None,
                       epochs=1)  # fmt: skip
    start = BatchedMLP(M, [D, 16, 1], random_state=member_seeds(0, M))
    error = ((start(torch.tensor(X).float())[..., 0].detach() - torch.tensor(Y)) ** 2).numpy()
    truth = error[:, np.arange(N) % 3 == 0].mean(1) + error[:, np.arange(N) % 3 != 0].mean(1)
    assert np.allclose(history.training[0], truth, atol=1e-5)


def test_gates_close_on_useless_inputs_and_heads_train():
    class Gated(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.body = InputGate(2, D), BatchedMLP(2, [D, 8], activate_last=True)
            self.norm, self.heads = LayerNorm(2, 8), MultiHead(2, 2, [8, 8, 1])

        def forward(self, x):
            return self.heads(self.norm(self.body(self.gate(x))))

    def loss(net, batch):
        outcome = MultiHead.received(net(batch.x), batch.t)
        return batch.mean((outcome - batch.y) ** 2) + 0.15 * net.gate.penalty()

    t = np.arange(N) % 2
    net = Gated()
    train(net, loss, {"x": X, "y": 2 * X[:, 0] * (1 + t), "t": t}, epochs=250, batch_size=None,
          learning_rate=0.02, progress=False)  # fmt: skip
    gates = net.gate.mu.detach().clamp(0, 1)
    assert (gates[:, 0] > 0.5).all() and (gates[:, 1:] < 0.2).all()


def test_frozen_parameters_stay_and_follow_their_members():
    def make(seeds):
        net = BatchedMLP(len(seeds), [D, 8, 1], random_state=seeds)
        net.linear[0].requires_grad_(False)
        return net

    seeds = member_seeds(0, M)
    net = make(seeds)
    start = net.linear[0].weight.clone()
    options = dict(validation=0.3, patience=2, epochs=40, learning_rate=0.05)
    _, history = fit(net=net, **options)
    assert len(set(np.isfinite(history.training).sum(0))) > 1
    assert torch.equal(net.linear[0].weight, start)
    alone, _ = fit([3], net=make(seeds[3:4]), **options)
    assert torch.allclose(weights(alone)[0], weights(net)[3], atol=1e-5)


# -- what goes wrong -----------------------------------------------------------------------


def diverges(net, batch):
    blow = torch.where((batch.members == 2) & (batch.epoch >= 3), torch.inf, 1.0)
    return squared_error(net, batch) * blow


def test_a_loss_that_is_not_finite_names_member_and_epoch():
    net = BatchedMLP(M, [D, 16, 1], random_state=member_seeds(0, M))
    with pytest.raises(ParameterError, match="loss of member 2 is (inf|nan) in epoch 3"):
        fit(loss=diverges, net=net)
    assert count_members(net) == M and torch.isfinite(weights(net)).all()
    assert not net.training


def test_a_gradient_that_is_not_finite_is_seen_in_the_last_step():
    def root(net, batch):  # finite, with an infinite slope at 0
        return batch.mean((0 * net(batch.x)[..., 0]).abs().sqrt())

    with pytest.raises(ParameterError, match="largest weight of member 0 is nan in epoch 1"):
        fit(loss=root, epochs=1, batch_size=None)


def test_members_that_are_mixed_are_refused():
    with pytest.raises(ParameterError, match="member 0 depends on the weights of member 1"):
        fit(loss=lambda net, b: b.mean(net(b.x) - net(b.x).mean(0)))
    with pytest.raises(ParameterError, match="does not depend on the network's weights"):
        fit(loss=lambda net, b: b.mean(net(b.x).detach()))


def test_missing_values_are_named():
    bad = X.copy()
    bad[7, 2] = np.nan
    with pytest.raises(DataError, match=r"'x'.*row 7"):
        fit(data={"x": bad, "y": Y})


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda net, b: ((net(b.x)[..., 0] - b.y) ** 2).mean(), "one number per member"),
        (lambda net, b: (net(b.x)[..., 0] - b.y) ** 2, "one number per member"),
        (lambda net, b: 1.0, "not float"),
        (lambda net, b: ((net(b.x)[..., 0] - b.y) ** 2).mean(1), "ignores the weights"),
        (lambda net, b: b.mean(b.y[0]), "expected one value for each"),
    ],
)
def test_a_bad_loss_is_refused(loss, message):
    with pytest.raises(ParameterError, match=message):
        fit(loss=loss, rows=UNEQUAL)


def test_unknown_data_in_the_loss():
    with pytest.raises(AttributeError, match="Did you mean 'x'"):
        fit(loss=lambda net, b: b.mean(b.xx))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": 0}, ParameterError, "epochs"),
        ({"batch_size": 0}, ParameterError, "batch_size"),
        ({"learning_rate": [0.1]}, ParameterError, "learning_rate"),
        ({"l2": -1.0}, ParameterError, "l2"),
        ({"schedule": "sine"}, ParameterError, "schedule"),
        ({"device": "gpu"}, ParameterError, "device"),
        ({"validation": 1.5}, ParameterError, "validation"),
        ({"rows": [[N]] * M}, ParameterError, "among the 90.*90"),
        ({"rows": [[0.5]] * M}, ParameterError, "list of row numbers"),
        ({"rows": [[1]]}, ParameterError, "4 members"),
        ({"rows": [[]] + [[1]] * 3}, DataError, "member 0 has no training row"),
        ({"rows": [[1]] * M, "validation": 0.5}, DataError, "member 0 has no training row"),
        ({"weight": -np.ones(N)}, DataError, "row 0"),
        ({"weight": np.ones(3)}, ParameterError, "weight"),
        ({"data": {"x": X, "y": Y[:5]}}, DataError, "'y'.*5 rows"),
        ({"data": {"rows": X}}, ParameterError, "rows"),
        ({"data": {"x": np.array(["a", "b"])}}, DataError, "numbers"),
        ({"data": {}}, DataError, "no rows"),
        ({"member_data": {"x": np.ones((M, N))}}, ParameterError, "'x'"),
        ({"member_data": {"z": np.ones((2, N))}}, DataError, "2 slices for 4"),
        ({"member_data": {"z": np.ones((M, 5))}}, DataError, "5 rows"),
    ],
)
def test_odd_parameters_are_refused(options, error, message):
    net = BatchedMLP(M, [D, 3, 1])
    call = {"data": DATA, "epochs": 1, "progress": False} | options
    with pytest.raises(error, match=message):
        train(net, squared_error, call.pop("data"), **call)


def test_interrupt_leaves_the_best_weights_in_place():
    def interrupted(net, batch):
        if batch.epoch == 4:
            raise KeyboardInterrupt
        return squared_error(net, batch)

    net = BatchedMLP(M, [D, 16, 1], random_state=member_seeds(0, M))
    with pytest.raises(KeyboardInterrupt):
        fit(loss=interrupted, net=net)
    three, _ = fit(epochs=3)
    assert torch.equal(weights(net), weights(three)) and not net.training


# -- history -------------------------------------------------------------------------------


def test_history_shows_itself_and_can_be_saved(tmp_path):
    _, history = fit(validation=0.3, patience=2, epochs=30, learning_rate=0.05)
    assert list(history.to_frame().columns) == ["best_epoch", "best_loss", "stopped"]
    long = history.to_frame(long=True)
    assert len(long) == np.isfinite(history.training).sum()
    assert "4 members" in repr(history)
    again = load(save(history, tmp_path / "history"))
    assert np.array_equal(again.validation, history.validation, equal_nan=True)
    assert again.stopped == history.stopped
    assert len(history.plot().lines) == 2 * M


def test_trained_members_can_be_selected():
    net, _ = fit(validation=0.3, dropout=0.1)
    x = torch.tensor(X).float()
    assert torch.allclose(select(net, [3, 1])(x), net(x)[[3, 1]], atol=1e-6)


def test_a_trained_net_can_be_trained_on():
    net, _ = fit(epochs=2)
    before = weights(net).clone()
    _, history = fit(net=net, epochs=2, patience=1, validation=0.2)
    assert not torch.equal(before, weights(net))
    assert all(p.is_contiguous() and p.is_leaf and p.grad is None for p in net.parameters())
