"""What the released ROAR and its Wachter baseline do, faults included: to compare, not to use.

ROAR: the worst shift of a *linearised* loss (its linear program has the closed form used here; at
zeros, i.e. most one-hot columns, the solver's tie falls to the lower bound), a stop where the loss
changes by at most 1e-4, and no test whether the result is valid. For networks the release needs a
modified LIME that it does not contain: here the model's gradient at the person stands in for it.

Wachter: AMSGrad until the score is .51; the weight of the score grows by .1 every hundred steps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

_RATE, _STILL = 1e-3, 1e-4
_MOST_ROAR, _MOST_WACHTER = 20_000, 20_000
Logit = Callable[[Tensor], Tensor]


def released_roar(logit: Logit, x: np.ndarray, alpha: float, weight: float) -> np.ndarray:
    """End points ``(n, d)`` of the released search."""
    start = torch.from_numpy(x.copy()).requires_grad_()
    value = logit(start)
    (w,) = torch.autograd.grad(value.sum(), start)
    intercept = (value - (w * start).sum(1)).detach()
    start = start.detach()
    point, adam = start.clone(), _Adam(start)
    alive, before = torch.ones(len(x), dtype=torch.bool), torch.full((len(x),), np.inf)
    for _ in range(_MOST_ROAR):
        shift = torch.where(point > 0, -alpha, torch.where(point < 0, alpha, -alpha))
        worst = ((w + shift) * point).sum(1) + intercept - alpha
        loss = torch.nn.functional.softplus(-worst) + weight * (point - start).abs().sum(1)
        alive &= (loss - before).abs() > _STILL
        before = loss
        if not alive.any():
            break
        slope = -torch.sigmoid(-worst)[:, None] * (w + shift) + weight * (point - start).sign()
        point = torch.where(alive[:, None], point - _RATE * adam.step(slope), point)
    return point.numpy()


def released_wachter(logit: Logit, x: np.ndarray) -> np.ndarray:
    """End points ``(n, d)`` of the released baseline."""
    start = torch.from_numpy(x.copy())
    point, adam, weight = start.clone(), _Adam(start, amsgrad=True), 0.01
    for step in range(1, _MOST_WACHTER + 1):
        asked = point.clone().requires_grad_()
        score = logit(asked).sigmoid()
        alive = (score < 0.51).detach()
        if not alive.any():
            break
        (slope,) = torch.autograd.grad((weight * (score - 1.0) ** 2).sum(), asked)
        slope = slope + (point - start).sign()
        point = torch.where(alive[:, None], point - _RATE * adam.step(slope), point)
        if step % 100 == 0:
            weight = weight + 0.1 if weight < 1 else weight * 1.1
    return point.numpy()


class _Adam:
    """Adam's direction, row by row."""

    def __init__(self, like: Tensor, amsgrad: bool = False):
        self.first, self.second = torch.zeros_like(like), torch.zeros_like(like)
        self.top, self.amsgrad, self.time = torch.zeros_like(like), amsgrad, 0

    def step(self, slope: Tensor) -> Tensor:
        self.time += 1
        self.first = 0.9 * self.first + 0.1 * slope
        self.second = 0.999 * self.second + 0.001 * slope**2
        self.top = torch.maximum(self.top, self.second)
        size = (self.top if self.amsgrad else self.second) / (1 - 0.999**self.time)
        return self.first / (1 - 0.9**self.time) / (size.sqrt() + 1e-8)
