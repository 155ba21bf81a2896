"""What the released GIKS does, faults included: to compare with, not to use.

* Two functions are trained: the head on the observed rows sees the embedding after its last ReLU,
  the head of gradient interpolation and of kernel smoothing sees it before.
* "Far" doses are not always far: where a draw lies past the window's lower edge nothing is added,
  only past its upper one.
* A near dose above 1 is replaced by one at distance 1.
* The smoother's factor comes from normalised embeddings, its right-hand side from raw ones.
* One weight multiplies both parts; the second phase has validation rows of its own, most of which
  the first has learned from.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDTH, _KNOTS = 50, (0.33, 0.66)
_EPOCHS, _BATCH, _RATE, _DECAY, _HELD = 201, 128, 1e-2, 5e-3, 0.3
_NEAR, _WINDOW, _WEIGHT, _TAU = 0.05, 0.05, 0.1, 1.0


def _basis(t: Tensor) -> Tensor:
    bends = [F.relu(t - knot) ** 2 for knot in _KNOTS]
    return torch.stack([torch.ones_like(t), t, t**2, *bends], -1)


class _Net(nn.Module):
    def __init__(self, n_in: int):
        super().__init__()
        self.trunk = nn.ModuleList([nn.Linear(n_in, _WIDTH), nn.Linear(_WIDTH, _WIDTH)])
        for layer in self.trunk:
            nn.init.normal_(layer.weight, 0, 0.01)
            nn.init.zeros_(layer.bias)
        self.first = nn.Parameter(torch.randn(_WIDTH, _WIDTH, 5))
        self.first_bias = nn.Parameter(torch.zeros(_WIDTH, 5))
        self.last = nn.Parameter(torch.randn(_WIDTH, 5))
        self.last_bias = nn.Parameter(torch.zeros(5))

    def embed(self, x: Tensor) -> Tensor:
        return self.trunk[1](F.relu(self.trunk[0](x)))  # the last ReLU is missing

    def head(self, phi: Tensor, t: Tensor) -> Tensor:
        basis = _basis(t)
        inner = torch.einsum("ni,iok->nok", phi, self.first) + self.first_bias
        hidden = F.relu((inner * basis[:, None]).sum(-1))
        return ((hidden @ self.last + self.last_bias) * basis).sum(-1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.head(F.relu(self.embed(x)), t)


def _interpolation(net: _Net, phi: Tensor, t: Tensor, y: Tensor) -> Tensor:
    delta = (2 * torch.rand_like(t) - 1) * _NEAR
    delta = torch.where(t - delta < 0, torch.zeros_like(t), delta)
    delta = torch.where(t - delta > 1, torch.ones_like(t), delta)
    near = (t - delta).detach().requires_grad_()
    level = net.head(phi, near)
    (slope,) = torch.autograd.grad(level.sum(), near, create_graph=True)
    return ((y - (level + delta * slope)) ** 2).mean()


def _far(t: Tensor) -> Tensor:
    low, high = (t - _NEAR).clamp(min=0), (t + _NEAR).clamp(max=1)
    drawn = torch.rand_like(t) * (1 - (high - low))
    return torch.where(drawn > high, drawn + (high - low), drawn)


@torch.no_grad()
def _smoothed(every: Tensor, t: Tensor, y: Tensor, query: Tensor, dose: Tensor):
    """Mean and variance of each query from the rows in its window."""
    unit, asked = F.normalize(every, dim=1), F.normalize(query, dim=1)
    inside = ((t[None] - dose[:, None]).abs() < _WINDOW).to(every.dtype)
    count = inside.sum(1)
    center = inside @ y / count
    outer = (unit[:, :, None] * unit[:, None]).flatten(1)
    gram = (inside @ outer).unflatten(1, (_WIDTH, _WIDTH)) + torch.eye(_WIDTH, dtype=every.dtype)
    right = (inside * (y[None] - center[:, None])) @ every  # raw embeddings
    solved = torch.cholesky_solve(torch.stack([right, asked], -1), torch.linalg.cholesky(gram))
    mean = center + (solved[..., 0] * asked).sum(1)
    variance = (solved[..., 1] * asked).sum(1)
    return torch.where(count > 0, mean, torch.nan), variance


def _smoothing(net: _Net, every: Tensor, t: Tensor, y: Tensor, phi: Tensor, own: Tensor) -> Tensor:
    dose = _far(own)
    mean, variance = _smoothed(every.detach(), t, y, phi.detach(), dose)
    weight = torch.softmax(-variance / _TAU, 0)
    gap = (net.head(phi, dose) - mean) ** 2
    known = torch.isfinite(mean)
    return (weight[known] * gap[known]).sum()


def _phase(net: _Net, x: Tensor, t: Tensor, y: Tensor, rng: np.random.Generator, both: bool):
    """One phase of training; the weights of the best epoch on held-out rows."""
    order = rng.permutation(len(y))
    cut = round(_HELD * len(y))
    held, learn = torch.from_numpy(order[:cut]), torch.from_numpy(order[cut:])
    adam = torch.optim.AdamW(net.parameters(), lr=_RATE, weight_decay=_DECAY)
    best, least = copy.deepcopy(net.state_dict()), np.inf
    for _ in range(_EPOCHS):
        for part in torch.from_numpy(rng.permutation(len(learn))).split(_BATCH):
            rows = learn[part]
            adam.zero_grad()
            loss = ((net(x[rows], t[rows]) - y[rows]) ** 2).mean()
            if both:
                every = net.embed(x[learn])
                phi, own = every[part], t[rows]
                near = (own - torch.rand_like(own)).abs() < _NEAR
                if near.any():
                    loss = loss + _WEIGHT * _interpolation(net, phi[near], own[near], y[rows][near])
                if not near.all():
                    far = ~near
                    smooth = _smoothing(net, every, t[learn], y[learn], phi[far], own[far])
                    loss = loss + _WEIGHT * smooth
            loss.backward()
            adam.step()
        with torch.no_grad():
            error = float(((net(x[held], t[held]) - y[held]) ** 2).mean())
        if error <= least:
            best, least = copy.deepcopy(net.state_dict()), error
    net.load_state_dict(best)


def released_giks(
    x: np.ndarray, t: np.ndarray, y: np.ndarray, x_test: np.ndarray, grid: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Curves of test rows after the first phase (the factual network) and after the second."""
    kept = torch.random.get_rng_state()
    try:
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        rows = tuple(torch.from_numpy(np.ascontiguousarray(a)).double() for a in (x, t, y))
        net = _Net(x.shape[1]).double()
        curves = []
        for both in (False, True):
            _phase(net, *rows, rng, both)
            curves.append(_curves(net, torch.from_numpy(x_test).double(), grid))
    finally:
        torch.random.set_rng_state(kept)
    return curves[0], curves[1]


@torch.no_grad()
def _curves(net: _Net, x: Tensor, grid: np.ndarray) -> np.ndarray:
    columns = [net(x, torch.full((len(x),), float(dose), dtype=x.dtype)) for dose in grid]
    return torch.stack(columns, 1).numpy()
