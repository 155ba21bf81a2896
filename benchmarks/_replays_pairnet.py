"""What the released PairNet does, faults included: to compare with, not to use.

* One penalty, the plain sum of squared weights of the representation, weight 1, so that the
  embedding collapses to nearly one dimension in which the partners' law is almost flat.
* Partners are drawn before the split, so that training rows are paired with validation rows.
* Every epoch draws fresh validation pairs; training stops ten epochs after their best and returns
  the last weights.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDTH, _HEAD = 200, 100
_PENALTY, _RATE, _BATCH = 1.0, 1e-4, 100
_EPOCHS, _PATIENCE, _LEAST_UPDATES = 1000, 10, 200
_PARTNERS, _USED, _DROP = 10, 3, 0.1


class _Net(nn.Module):
    def __init__(self, n_in: int, generator: torch.Generator):
        super().__init__()
        widths = (n_in, _WIDTH, _WIDTH, _WIDTH)
        self.body = _stack(widths, generator)
        self.heads = nn.ModuleList(
            nn.Sequential(*_stack((_WIDTH, _HEAD, _HEAD), generator), _layer(_HEAD, 1, generator))
            for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        phi = self.body(x)
        return torch.cat([head(phi) for head in self.heads], -1)

    def penalty(self) -> Tensor:
        return _PENALTY * sum((m.weight**2).sum() for m in self.body if hasattr(m, "weight"))


def _stack(widths: tuple[int, ...], generator: torch.Generator) -> nn.Sequential:
    layers = []
    for n_in, n_out in zip(widths[:-1], widths[1:], strict=True):
        layers += [_layer(n_in, n_out, generator), nn.ELU()]
    return nn.Sequential(*layers)


def _layer(n_in: int, n_out: int, generator: torch.Generator) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, n_in, n_out)
    with torch.no_grad():
        layer.weight.normal_(0, (2 / (n_in + n_out)) ** 0.5, generator=generator)
        layer.bias.normal_(0, 0.01, generator=generator)
    return layer


def _train(net: _Net, loss: Callable[[np.ndarray], Tensor], train, held, rng) -> None:
    """Adam until ten epochs bring nothing on the held-out rows; the last weights stay."""
    adam = torch.optim.Adam(net.parameters(), lr=_RATE)
    best, since, updates = np.inf, 0, 0
    for _ in range(_EPOCHS):
        order = rng.permutation(train)
        for start in range(0, len(order), _BATCH):
            adam.zero_grad()
            (loss(order[start : start + _BATCH]) + net.penalty()).backward()
            adam.step()
            updates += 1
        with torch.no_grad():
            value = float(loss(held) + net.penalty())
        since = 0 if value < best else since + 1
        best = min(best, value)
        if since > _PATIENCE and updates > _LEAST_UPDATES:
            return


def _split(t: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """70 % and 30 % of the rows, by arm."""
    train, held = [], []
    for arm in (0, 1):
        rows = rng.permutation(np.flatnonzero(t == arm))
        cut = round(0.7 * len(rows))
        train.append(rows[:cut])
        held.append(rows[cut:])
    return np.concatenate(train), np.concatenate(held)


def _cache(psi: np.ndarray, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Ten partners of every row, (n, C): softmax of -distance at temperature 1, pruned."""
    n = len(t)
    distance = np.linalg.norm(psi[:, None] - psi[None], axis=2)
    np.fill_diagonal(distance, 1e10)
    dropped = int(2 * _DROP * (n * n - n)) + n
    limit = np.partition(distance.ravel(), n * n - dropped)[n * n - dropped]
    distance = np.where(distance > limit, 1e10, distance)
    size = min(_PARTNERS, min((t == a).sum() for a in (0, 1)) - 1)
    partners = np.empty((n, size), dtype=int)
    for i in range(n):
        pool = np.flatnonzero(t != t[i])
        chance = np.exp(-(distance[i, pool] - distance[i, pool].min()))
        chance /= chance.sum()
        possible = min(size, int((chance > 0).sum()))
        partners[i] = np.resize(rng.choice(pool, possible, replace=False, p=chance), size)
    return partners


def _tarnet(x: Tensor, t: Tensor, y: Tensor, rows, rng, generator) -> _Net:
    net = _Net(x.shape[1], generator)

    def loss(index: np.ndarray) -> Tensor:
        at = torch.from_numpy(index)
        return F.mse_loss(net(x[at]).gather(1, t[at, None])[:, 0], y[at])

    _train(net, loss, *rows, rng)
    return net


def _effects(net: _Net, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return net(_tensor(x)).diff(dim=1)[:, 0].double().numpy()


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


def _start(x, t, y, seed):
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    rows = _split(t, rng)
    data = _tensor(x), torch.from_numpy(t.astype(np.int64)), _tensor(y)
    return data, rows, rng, generator


def released_tarnet(x, t, y, x_test, seed: int = 0) -> np.ndarray:
    """Effects of the test rows by the released TARNet."""
    data, rows, rng, generator = _start(x, t, y, seed)
    return _effects(_tarnet(*data, rows, rng, generator), x_test)


def released_pairnet(x, t, y, x_test, seed: int = 0) -> np.ndarray:
    """Effects of the test rows by the released PairNet on the embedding of its TARNet."""
    data, rows, rng, generator = _start(x, t, y, seed)
    xs, arm, ys = data
    with torch.no_grad():
        psi = _tarnet(*data, rows, rng, generator).body(xs).double().numpy()
    partners = _cache(psi, t, rng)
    net = _Net(x.shape[1], generator)

    def loss(index: np.ndarray) -> Tensor:
        # Three of the cached partners, drawn afresh each time, wherever they lie in the split.
        slots = rng.permuted(np.tile(np.arange(partners.shape[1]), (len(index), 1)), axis=1)
        other = torch.from_numpy(np.take_along_axis(partners[index], slots[:, :_USED], 1))
        at = torch.from_numpy(index)
        rest = ys[at] - net(xs[at]).gather(1, arm[at, None])[:, 0]
        flat = other.flatten()
        rest_other = ys[flat] - net(xs[flat]).gather(1, arm[flat, None])[:, 0]
        return ((rest[:, None] - rest_other.view(other.shape)) ** 2).mean()

    _train(net, loss, *rows, rng)
    return _effects(net, x_test)
