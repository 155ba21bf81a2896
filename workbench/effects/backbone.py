"""What all representation networks share: gated inputs, a representation, one head per arm."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.saving import saveable
from ..core.seeding import Seed
from ..nets.batches import Batch
from ..nets.layers import BatchedMLP, MultiHead
from ..nets.members import BatchedModule, Seeds, member_seeds, split_seeds


@saveable
class RepresentationNet(BatchedModule):
    """mu_t(x) = head_t(phi(g * x)) for M members: gates g, representation phi, a head per arm.

    Each input has one gate that starts at 1; an L1 penalty on the gates closes those of inputs
    that nothing depends on. ``phi`` ends in a linear layer, so that a narrow one is a bottleneck:
    with no hidden layer and one unit both heads see the same linear index.

    Args:
        members: M.
        n_in: Inputs, p.
        arms: K.
        hidden: Widths of the hidden layers of the representation.
        phi_dim: Units of the representation, d.
        heads: Widths of the hidden layers of each head.
        propensity: Whether a linear layer ``arm`` on phi predicts the arm (logits), and there is
            a coefficient ``tilt`` per contrast for targeted regularisation.
        random_state: A seed from which each member's is spawned, or a list of M seed sequences.
        dtype: ``torch.float32`` or ``torch.float64``.

    Shapes: (M, n, p) or (n, p) -> (M, n, K); logits for a binary outcome.

    Example:
        >>> net = RepresentationNet(5, 3, 2, (16,), 4, (8,))
        >>> net(torch.zeros(7, 3)).shape, net.represent(torch.zeros(7, 3)).shape
        (torch.Size([5, 7, 2]), torch.Size([5, 7, 4]))
    """

    def __init__(
        self,
        members: int,
        n_in: int,
        arms: int,
        hidden: Sequence[int],
        phi_dim: int,
        heads: Sequence[int],
        propensity: bool = False,
        random_state: Seed | Seeds = 0,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        self.n_in, self.arms, self.hidden = n_in, arms, list(hidden)
        self.phi_dim, self.heads, self.propensity = phi_dim, list(heads), propensity
        seeds = split_seeds(member_seeds(random_state, members), 3)
        self.gate = nn.Parameter(torch.ones(members, n_in, dtype=dtype))
        self.body = BatchedMLP(
            members, [n_in, *hidden, phi_dim], random_state=seeds[0], dtype=dtype
        )
        self.outcome = MultiHead(
            members, arms, [phi_dim, *heads, 1], random_state=seeds[1], dtype=dtype
        )
        self.arm = (
            BatchedMLP(members, [phi_dim, arms], random_state=seeds[2], dtype=dtype)
            if propensity
            else None
        )
        tilt = torch.zeros(members, arms - 1, dtype=dtype)
        self.tilt = nn.Parameter(tilt) if propensity else None
        # Units of phi that a member has: narrower members train beside wider ones.
        self.register_buffer("units", torch.ones(members, phi_dim, dtype=dtype))

    def narrow(self, dims: Sequence[int]) -> None:
        """Give member m only the first ``dims[m]`` units of the representation."""
        place = torch.arange(self.phi_dim, device=self.units.device)
        wanted = torch.tensor(list(dims), device=self.units.device)
        self.units = (place < wanted[:, None]).to(self.units.dtype)

    def represent(self, x: Tensor) -> Tensor:
        """phi(x), (M, n, d); units that a member lacks are 0."""
        x = x[None] if x.ndim == 2 else x
        phi = self.body(x * self.gate[:, None])
        return phi if self.phi_dim == 1 else phi * self.units[:, None]

    def forward(self, x: Tensor) -> Tensor:
        return self.outcome(self.represent(x))


def outcome_loss(predicted: Tensor, y: Tensor, binary: bool) -> Tensor:
    """Squared error, or the log-loss of logits, element by element."""
    if binary:
        return F.binary_cross_entropy_with_logits(predicted, y, reduction="none")
    return (predicted - y) ** 2


def gate_penalty(net: RepresentationNet, batch: Batch, strength: float) -> Tensor | float:
    """strength * sum_j |g_j| per member; 0 on validation rows."""
    return strength * net.gate.abs().sum(1) if batch.training and strength else 0.0
