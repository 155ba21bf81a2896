"""The loss of pairs of observed outcomes, from one forward pass per batch."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..nets.batches import Batch
from ..nets.layers import MultiHead
from .backbone import RepresentationNet, outcome_loss

_LEAST = 1e-6  # smallest probability of a class


class PairLoss:
    """factual_weight * mean loss of outcomes + pair_weight * mean loss of pairs.

    A pair costs (r_i - r_j)^2 with r = y - mu_t(x), each member at its own covariates; for a
    binary outcome it costs -log P(y_i - y_j), see :func:`difference_chances`. Batches carry
    ``x, y, arm`` and ``partner`` (m, b, C), row numbers or -1. A batch of all rows of a member
    holds all partners; in a smaller one each row is compared with one partner, another one in
    each epoch.

    Args:
        x, y, arm: Inputs, outcomes and arms of all rows, to look partners up in small batches.
        binary: Whether outputs are logits.
        pair_weight, factual_weight: Weights of the terms.
        whole: Whether training batches hold all rows.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        arm: np.ndarray,
        binary: bool,
        pair_weight: float,
        factual_weight: float,
        whole: bool,
    ):
        self.x, self.y, self.arm = torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(arm)
        self.binary, self.whole = binary, whole
        self.pair_weight, self.factual_weight = pair_weight, factual_weight
        self.places: dict[bool, tuple[Tensor, Tensor]] = {}

    def __call__(self, net: RepresentationNet, batch: Batch) -> Tensor:
        if self.whole or not batch.training:
            own = MultiHead.received(net(batch.x), batch.arm)
            other, other_y = self._within(own, batch)
        else:
            own, other, other_y = self._looked_up(net, batch)
        there = (batch.partner[..., : other.shape[-1]] >= 0).to(own.dtype)
        pairs = pair_losses(own[..., None], batch.y[..., None], other, other_y, self.binary)
        pairs = (pairs * there).sum(-1) / there.sum(-1).clamp(min=1)
        loss = self.pair_weight * batch.mean(pairs, among=there[..., 0])
        if self.factual_weight:
            loss = loss + self.factual_weight * batch.mean(outcome_loss(own, batch.y, self.binary))
        return loss

    def _within(self, own: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Predictions and outcomes of the partners, all of which are in the batch."""
        m, b = batch.rows.shape
        rows, at = self.places.get(batch.training, (None, None))
        if rows is not batch.rows:  # the same until a member stops
            place = torch.arange(b, device=own.device).expand(m, b)
            where = torch.zeros(m, len(self.y), dtype=torch.long, device=own.device)
            where.scatter_(1, batch.rows, place)
            at = where.gather(1, batch.partner.clamp(min=0).flatten(1))
            at = at + b * torch.arange(m, device=own.device)[:, None]
            self.places[batch.training] = batch.rows, at
        # Indexing has a deterministic gradient on every device, gather does not.
        other, other_y = (v.reshape(-1)[at].view(m, b, -1) for v in (own, batch.y))
        return other, other_y

    def _looked_up(self, net: RepresentationNet, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Predictions of a batch and of one partner of each row, and the partners' outcomes."""
        if self.x.device != batch.x.device or self.x.dtype != batch.x.dtype:
            self.x, self.y = self.x.to(batch.x), self.y.to(batch.x)
            self.arm = self.arm.to(batch.x.device)
        slot = batch.epoch % batch.partner.shape[-1]
        rows = batch.partner[..., slot].clamp(min=0)
        both = net(torch.cat([batch.x, self.x[rows]], 1))
        received = MultiHead.received(both, torch.cat([batch.arm, self.arm[rows]], 1))
        own, other = received.split(rows.shape[1], 1)
        return own, other[..., None], self.y[rows][..., None]


def pair_losses(own: Tensor, y: Tensor, other: Tensor, other_y: Tensor, binary: bool) -> Tensor:
    """Loss of each pair from the members' predictions (logits if ``binary``) and outcomes."""
    if not binary:
        return ((y - own) - (other_y - other)) ** 2
    chances = difference_chances(own, other)
    position = (y - other_y).round().long() + 1
    seen = (chances * F.one_hot(position, 3).to(chances.dtype)).sum(-1)
    return -torch.log(seen.clamp(min=_LEAST))


def difference_chances(own: Tensor, other: Tensor) -> Tensor:
    """P(y_i - y_j = -1, 0, 1) for independent outcomes with these logits, (..., 3).

    With a = P(y_i = 1) and b = P(y_j = 1): (1 - a) b, a b + (1 - a)(1 - b), a (1 - b).

    Example:
        >>> difference_chances(torch.zeros(()), torch.zeros(())).tolist()
        [0.25, 0.5, 0.25]
    """
    own, other = torch.broadcast_tensors(own, other)
    a, b = torch.sigmoid(own), torch.sigmoid(other)
    not_a, not_b = torch.sigmoid(-own), torch.sigmoid(-other)
    return torch.stack([not_a * b, a * b + not_a * not_b, a * not_b], -1)
