"""The weights of all members as one matrix, a row per member, and Adam on its rows.

Freezing, dropping, clipping or restoring a member is then one operation on rows, and no step of
one member can touch another.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import ParameterError
from .members import count_members, member_buffers


class Weights:
    """All trainable parameters of a network as a matrix ``values`` (m, P).

    While it is in use (``with``), the network's parameters are views of this matrix and the
    network has only the m members that are still being trained. On leaving, whatever the reason,
    the network has all M members again with the rows of ``kept``.
    """

    def __init__(self, net: nn.Module):
        self.net, self.total = net, count_members(net)
        everything = dict(net.named_parameters())
        self.parameters = [p for p in everything.values() if p.requires_grad]
        self.frozen = [(p, p.data) for p in everything.values() if not p.requires_grad]
        if not self.parameters:
            raise ParameterError("has no parameter that may change", column="net")
        kinds = {(p.dtype, p.device) for p in everything.values()}
        if len(kinds) > 1:
            raise ParameterError(
                f"has parameters of several types or devices: {sorted(map(str, kinds))}",
                column="net",
            )
        self.shapes = [p.shape[1:] for p in self.parameters]
        self.sizes = [shape.numel() for shape in self.shapes]
        self.buffers = [(m, name, b) for m, name, b in member_buffers(net, self.total)]
        self.values = torch.cat([p.detach().flatten(1) for p in self.parameters], 1)
        self.kept = self.values.clone()
        self.members = np.arange(self.total)
        # Only matrices decay: not biases, gates or scales.
        matrix = torch.tensor([float(len(shape) > 1) for shape in self.shapes])
        self.decays = matrix.repeat_interleave(torch.tensor(self.sizes)).to(self.values)

    def __enter__(self) -> Self:
        self._attach()
        return self

    def __exit__(self, *reason: object) -> None:
        for parameter, part, shape in self._parts(self.kept):
            parameter.data = part.reshape(self.total, *shape).clone()
        for parameter, data in self.frozen:
            parameter.data = data
        for module, name, buffer in self.buffers:
            setattr(module, name, buffer)

    def gradient(self, loss: Tensor, retain_graph: bool = False) -> Tensor:
        """The gradient of a sum over members, (m, P)."""
        parts = torch.autograd.grad(
            loss,
            self.parameters,
            retain_graph=retain_graph,
            allow_unused=True,
            materialize_grads=True,
        )
        return torch.cat([part.flatten(1) for part in parts], 1)

    def keep(self, which: np.ndarray) -> None:
        """Keep today's weights of some of the active members (mask, (m,)) as their result."""
        if which.all() and len(which) == self.total:
            self.kept.copy_(self.values)
        elif which.any():
            device = self.values.device
            place = torch.from_numpy(self.members[which]).to(device)
            self.kept[place] = self.values[torch.from_numpy(np.flatnonzero(which)).to(device)]

    def drop(self, stay: Tensor) -> None:
        """Go on with some of the active members only (positions among them)."""
        self.members = self.members[stay.cpu().numpy()]
        self.values = self.values[stay]
        self._attach()

    def _attach(self) -> None:
        for parameter, part, shape in self._parts(self.values):
            parameter.data = part.unflatten(1, shape) if len(shape) else part[:, 0]
        place = torch.from_numpy(self.members).to(self.values.device)
        for parameter, data in self.frozen:
            parameter.data = data[place]
        for module, name, buffer in self.buffers:
            setattr(module, name, buffer[place])

    def _parts(self, values: Tensor):
        return zip(self.parameters, values.split(self.sizes, 1), self.shapes, strict=True)


class Adam:
    """Adam with decoupled weight decay (AdamW), row by row.

    References:
        Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015. Loshchilov and
        Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """

    def __init__(self, values: Tensor, decays: Tensor, beta1=0.9, beta2=0.999, eps=1e-8):
        self.first, self.second = torch.zeros_like(values), torch.zeros_like(values)
        self.steps = values.new_zeros(len(values), 1)
        self.decays, self.beta1, self.beta2, self.eps = decays, beta1, beta2, eps

    def step(
        self, values: Tensor, gradient: Tensor, rate: Tensor, decay: Tensor | None, moves: Tensor
    ) -> None:
        """Change ``values`` (m, P) in place; rows with ``moves`` (m, 1) of 0 stay as they are."""
        self.steps += moves
        self.first.lerp_(gradient, (1 - self.beta1) * moves)
        self.second.lerp_(gradient * gradient, (1 - self.beta2) * moves)
        rate = rate * moves
        if decay is not None:
            values *= 1 - rate * decay * self.decays
        spread = self.second.sqrt().div_((1 - self.beta2**self.steps).sqrt()).add_(self.eps)
        values -= (self.first / spread).mul_(rate / (1 - self.beta1**self.steps))

    def drop(self, stay: Tensor) -> None:
        """Go on with some of the rows only."""
        self.first, self.second, self.steps = self.first[stay], self.second[stay], self.steps[stay]
