"""Layers with a member axis: M networks computed by one batched matrix product per layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import ParameterError, did_you_mean
from ..core.saving import saveable
from ..core.seeding import Seed, generator
from .members import BatchedModule, Seeds, member_seeds, split_seeds
from .stochastic import Dropout

ACTIVATIONS = {
    "relu": F.relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
}


@saveable
class BatchedLinear(BatchedModule):
    """Linear layers of M members in one product: ``y[m] = x[m] @ weight[m] + bias[m]``.

    Weights and biases start uniform in ±1/sqrt(n_in), each member from its own generator, so that
    member m of M starts bit for bit as a lone network with the same seed.

    Args:
        members: M.
        n_in: Inputs.
        n_out: Outputs.
        bias: Whether to add a bias.
        random_state: A seed from which each member's is spawned, or a list of M seed sequences.
        dtype: ``torch.float32`` or ``torch.float64``.

    Shapes: ``x`` (M, n, n_in), or (n, n_in) for the same input to all members, or with more axes
    between rows and features (M, n, ..., n_in); the output has n_out in place of n_in.

    Example:
        >>> layer = BatchedLinear(4, 3, 2)
        >>> layer(torch.zeros(10, 3)).shape
        torch.Size([4, 10, 2])
    """

    def __init__(
        self,
        members: int,
        n_in: int,
        n_out: int,
        bias: bool = True,
        random_state: Seed | Seeds = 0,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        for name, value in (("n_in", n_in), ("n_out", n_out)):
            if value < 1:
                raise ParameterError("must be at least 1", column=name, value=value)
        self.n_in, self.n_out = n_in, n_out
        bound = 1 / math.sqrt(n_in)
        draws = [
            generator(seed).uniform(-bound, bound, (n_in + bool(bias), n_out))
            for seed in member_seeds(random_state, members)
        ]
        start = torch.from_numpy(np.stack(draws)).to(dtype)
        self.weight = nn.Parameter(start[:, :n_in].clone())
        self.offset = nn.Parameter(start[:, n_in].clone()) if bias else None

    @property
    def bias(self) -> bool:
        """Whether there is a bias (its values are in ``offset``, (M, n_out))."""
        return self.offset is not None

    def forward(self, x: Tensor) -> Tensor:
        members = self.weight.shape[0]
        rows = x[None] if x.ndim == 2 else x.flatten(1, -2)
        if rows.shape[0] != members:
            rows = rows.expand(members, -1, -1)
        if self.offset is None:
            y = torch.bmm(rows, self.weight)
        else:
            y = torch.baddbmm(self.offset[:, None], rows, self.weight)
        return y if x.ndim < 4 else y.unflatten(1, x.shape[1:-1])


@saveable
class LayerNorm(BatchedModule):
    """Layer normalisation: each row to mean 0 and sd 1 over its features, then scaled by member.

    It looks at one row at a time, so batches of any size, padded or weighted, leave it the same;
    batch normalisation does not have this property and is not offered.

    References:
        Ba, Kiros and Hinton, "Layer normalization", arXiv 1607.06450, 2016.
    """

    def __init__(self, members: int, width: int, dtype: torch.dtype = torch.float32):
        super().__init__()
        self.width = width
        self.scale = nn.Parameter(torch.ones(members, width, dtype=dtype))
        self.shift = nn.Parameter(torch.zeros(members, width, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        x = x[None] if x.ndim == 2 else x
        per_member = (-1, *[1] * (x.ndim - 2), self.width)
        normal = F.layer_norm(x, (self.width,))
        return normal * self.scale.view(per_member) + self.shift.view(per_member)


@saveable
class BatchedMLP(BatchedModule):
    """Multilayer perceptrons of M members, trained and evaluated as one.

    Args:
        members: M.
        widths: Sizes from the input to the output, e.g. ``[25, 64, 64, 1]``.
        activation: ``relu, elu, gelu, silu, tanh, sigmoid`` or ``softplus``, after each hidden
            layer.
        dropout: Share of hidden units dropped in training.
        norm: ``"layer"`` normalises before each activation.
        activate_last: Treat the last layer like a hidden one (for a representation).
        random_state: A seed from which each member's is spawned, or a list of M seed sequences.
        dtype: ``torch.float32`` or ``torch.float64``.

    Shapes: (M, n, widths[0]) or (n, widths[0]) -> (M, n, widths[-1]).

    Example:
        >>> net = BatchedMLP(5, [3, 16, 1], dropout=0.1)
        >>> net.eval()(torch.zeros(7, 3)).shape
        torch.Size([5, 7, 1])
    """

    def __init__(
        self,
        members: int,
        widths: Sequence[int],
        activation: str = "elu",
        dropout: float = 0.0,
        norm: Literal["layer"] | None = None,
        activate_last: bool = False,
        random_state: Seed | Seeds = 0,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        if len(widths) < 2:
            raise ParameterError(
                "needs at least input and output", column="widths", value=list(widths)
            )
        if activation not in ACTIVATIONS:
            raise ParameterError(
                "is unknown",
                column="activation",
                value=activation,
                advice=did_you_mean(activation, ACTIVATIONS),
            )
        if norm not in (None, "layer"):
            raise ParameterError("must be None or 'layer'", column="norm", value=norm)
        self.widths, self.activation, self.dropout = list(widths), activation, dropout
        self.norm, self.activate_last = norm, activate_last
        depth = len(widths) - 1
        hidden = depth if activate_last else depth - 1
        seeds = split_seeds(member_seeds(random_state, members), 2 * depth)
        self.linear = nn.ModuleList(
            BatchedLinear(members, widths[i], widths[i + 1], random_state=seeds[i], dtype=dtype)
            for i in range(depth)
        )
        self.normal = nn.ModuleList(
            LayerNorm(members, widths[i + 1], dtype=dtype) for i in range(hidden if norm else 0)
        )
        self.drop = nn.ModuleList(
            Dropout(members, dropout, random_state=seeds[depth + i])
            for i in range(hidden if dropout else 0)
        )

    def forward(self, x: Tensor) -> Tensor:
        activate = ACTIVATIONS[self.activation]
        hidden = len(self.linear) if self.activate_last else len(self.linear) - 1
        for i, linear in enumerate(self.linear):
            x = linear(x)
            if i < hidden:
                x = activate(self.normal[i](x) if self.norm else x)
                x = self.drop[i](x) if self.dropout else x
        return x


@saveable
class MultiHead(BatchedModule):
    """One head per arm of the treatment on a shared representation (TARNet's two heads).

    Args:
        members: M.
        arms: Number of arms.
        widths: Sizes of each head, from the representation to 1.
        **options: As for :class:`BatchedMLP`.

    Shapes: (M, n, widths[0]) -> (M, n, arms): the outcome predicted under each arm.

    References:
        Shalit, Johansson and Sontag, "Estimating individual treatment effect: generalization
        bounds and algorithms", ICML 2017.

    Example:
        >>> heads = MultiHead(3, 2, [8, 4, 1])
        >>> outcomes = heads(torch.zeros(3, 5, 8))
        >>> outcomes.shape, MultiHead.received(outcomes, torch.tensor([0, 1, 1, 0, 0])).shape
        (torch.Size([3, 5, 2]), torch.Size([3, 5]))
    """

    def __init__(
        self,
        members: int,
        arms: int,
        widths: Sequence[int],
        activation: str = "elu",
        dropout: float = 0.0,
        norm: Literal["layer"] | None = None,
        random_state: Seed | Seeds = 0,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        if widths[-1] != 1:
            raise ParameterError("must end in 1", column="widths", value=list(widths))
        self.arms, self.widths, self.activation = arms, list(widths), activation
        self.dropout, self.norm = dropout, norm
        self.heads = nn.ModuleList(
            BatchedMLP(members, widths, activation, dropout, norm, random_state=seeds, dtype=dtype)
            for seeds in split_seeds(member_seeds(random_state, members), arms)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([head(x) for head in self.heads], dim=-1)

    @staticmethod
    def received(outcomes: Tensor, arm: Tensor) -> Tensor:
        """The outcome under the received arm: (M, n, arms), (M, n) or (n,) -> (M, n)."""
        # A product with the indicator: gather's backward is not deterministic on a GPU.
        indicator = F.one_hot(arm.long(), outcomes.shape[-1]).to(outcomes.dtype)
        return (outcomes * indicator).sum(-1)
