"""Layers that draw random numbers: each member its own, the same alone or in company.

The numbers are a function of (seed of the member, counter, row, unit), not the next output of a
generator. So they do not depend on the other members, on padding, or on the device, and one
vectorised expression draws them for all members.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import ParameterError
from ..core.saving import saveable
from ..core.seeding import Seed
from .members import BatchedModule, Seeds, member_seeds

CALLS_PER_STEP = 4096  # counters of successive training steps are this far apart
_FIRST, _SECOND = 0x7FEB352D, 0x119DE1F3  # odd multipliers that fit in int32


def seed_words(seeds: Seeds) -> Tensor:
    """Two 32-bit words per member: (M, 2), int32."""
    return torch.from_numpy(np.stack([s.generate_state(2) for s in seeds]).view(np.int32))


def random_bits(words: Tensor, counter: Tensor, rows: int, units: int) -> Tensor:
    """Random 32-bit integers (signed) that depend on (member, counter, row, unit) only.

    Args:
        words: Seeds, (M, 2), int32.
        counter: (M,), int32.
        rows: Number of rows.
        units: Number of units.

    Returns:
        (M, rows, units), int32.
    """
    key = _mix(_mix(_mix(words[:, 0].clone()) ^ words[:, 1]) ^ counter)
    row = torch.arange(rows, dtype=torch.int32, device=words.device)
    unit = torch.arange(1, units + 1, dtype=torch.int32, device=words.device)
    by_row = _mix(_mix(row) ^ key[:, None])
    # Both sides are mixed already: one more round makes the table nonlinear in row and unit.
    bits = by_row[..., None] ^ _mix(unit)
    bits *= _FIRST
    bits ^= (bits >> 15) & 0x1FFFF
    bits *= _SECOND
    return bits


def _mix(x: Tensor) -> Tensor:
    """A bijection of 32-bit integers that spreads every bit (in place; products wrap around)."""
    x ^= (x >> 16) & 0xFFFF  # the mask makes the shift of a signed integer a logical one
    x *= _FIRST
    x ^= (x >> 15) & 0x1FFFF
    x *= _SECOND
    x ^= (x >> 16) & 0xFFFF
    return x


def standard_normal(bits: Tensor, dtype: torch.dtype) -> Tensor:
    """Random bits to standard normal numbers, by the inverse distribution function."""
    # The upper 23 bits and a half: exact in float32 and never at an end of (-1, 1).
    uniform = ((bits >> 9).to(dtype) + 0.5) * 2.0**-22
    return torch.erfinv(uniform) * math.sqrt(2)


class Stochastic(BatchedModule):
    """A layer with a seed and a counter per member; the training loop sets the counter."""

    def __init__(self, members: int, random_state: Seed | Seeds):
        super().__init__()
        self.register_buffer("words", seed_words(member_seeds(random_state, members)))
        self.register_buffer("counter", torch.zeros(members, dtype=torch.int32))

    @property
    def members(self) -> int:
        return self.words.shape[0]

    def _bits(self, x: Tensor) -> Tensor:
        bits = random_bits(self.words, self.counter, math.prod(x.shape[1:-1]), x.shape[-1])
        self.counter = self.counter + 1
        return bits.view(-1, *x.shape[1:])


@saveable
class Dropout(Stochastic):
    """Dropout whose masks belong to the member: in training ``x * Bernoulli(1 - p) / (1 - p)``.

    References:
        Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting",
        JMLR 15, 2014.
    """

    def __init__(self, members: int, p: float, random_state: Seed | Seeds = 0):
        super().__init__(members, random_state)
        if not 0 <= p < 1:
            raise ParameterError("must be at least 0 and below 1", column="dropout", value=p)
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.p:
            return x
        x = x[None] if x.ndim == 2 else x
        kept = self._bits(x) >= round((self.p - 0.5) * 2**32)
        return x * kept.to(x.dtype).mul_(1 / (1 - self.p))


@saveable
class InputGate(Stochastic):
    """Stochastic gates that learn which inputs a network needs.

    In training input j is multiplied by ``clip(mu_j + sd * noise, 0, 1)``, afterwards by
    ``clip(mu_j, 0, 1)``, which may be exactly 0. :meth:`penalty` is the expected number of open
    gates, ``sum_j Phi(mu_j / sd)``; add a multiple of it to the loss.

    Args:
        members: M.
        n_in: Inputs.
        sd: Standard deviation of the noise.
        random_state: A seed from which each member's is spawned, or a list of M seed sequences.
        dtype: ``torch.float32`` or ``torch.float64``.

    Shapes: (M, n, n_in) or (n, n_in) -> (M, n, n_in).

    References:
        Yamada, Lindenbaum, Negahban and Kluger, "Feature selection using stochastic gates",
        ICML 2020.

    Example:
        >>> gate = InputGate(2, 3).eval()
        >>> gate(torch.ones(1, 3)).tolist()
        [[[0.5, 0.5, 0.5]], [[0.5, 0.5, 0.5]]]
        >>> gate.penalty().shape
        torch.Size([2])
    """

    def __init__(
        self,
        members: int,
        n_in: int,
        sd: float = 0.5,
        random_state: Seed | Seeds = 0,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__(members, random_state)
        if not sd > 0:
            raise ParameterError("must be positive", column="sd", value=sd)
        self.n_in, self.sd = n_in, sd
        self.mu = nn.Parameter(torch.full((members, n_in), 0.5, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        x = x[None] if x.ndim == 2 else x
        gate = self.mu.view(-1, *[1] * (x.ndim - 2), self.n_in)
        if self.training:
            gate = gate + self.sd * standard_normal(self._bits(x), self.mu.dtype)
        return x * gate.clamp(0, 1)

    def penalty(self) -> Tensor:
        """Expected number of open gates per member, (M,)."""
        return torch.special.ndtr(self.mu / self.sd).sum(1)
