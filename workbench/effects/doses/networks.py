"""Networks of a dose-response surface: an inside of the covariates, then a head in the dose.

Every network here has the same three parts: ``represent(x)`` (M, n, d), ``features(t)`` of doses
(..., k), which holds no parameters, and ``outcome(phi, features)``. There is one head, so that the
outcome at the dose received and at any other dose can't be two different functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.saving import saveable
from ...core.seeding import Seed
from ...nets.layers import BatchedLinear, BatchedMLP
from ...nets.members import BatchedModule, Seeds, member_seeds, split_seeds
from ...nets.splines import SplineBasis

_WAVES = 4  # of the residual network
_TILT_KNOTS = tuple(k / 10 for k in range(1, 10))
_LEAST_DENSITY = 0.1  # added to densities that divide: the correction stays finite


class DoseNet(BatchedModule):
    """Base: ``net(x, t)`` is ``outcome(represent(x), features(t))``.

    Shapes: x (M, n, p); t (M, n) or (M, n, J) for J doses of each row; the outcome like t.
    """

    def represent(self, x: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} must define represent")

    def features(self, t: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} must define features")

    def outcome(self, phi: Tensor, features: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} must define outcome")

    def predict(self, phi: Tensor, t: Tensor) -> Tensor:
        """The outcome as it is answered; a correction learned beside the head is added here."""
        return self.outcome(phi, self.features(t))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.predict(self.represent(x), t)

    def with_slope(self, phi: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """mu and d mu / d t in one forward pass (a Jacobian-vector product)."""
        return torch.func.jvp(lambda dose: self.predict(phi, dose), (t,), (torch.ones_like(t),))


@saveable
class CurveNet(DoseNet):
    """A spline in the dose whose coefficients are few combinations of gated covariates.

    mu(x, t) = sum_k B_k(t) c_k(phi(g * x)), phi of ``rank`` units: all curves are mixtures of
    ``rank`` common ones. Quadratic B-splines with equally spaced knots.

    Args:
        members: M.
        n_in: Covariates.
        hidden: Widths of hidden layers.
        rank: Units of the representation.
        knots: Inner knots in (0, 1).
        random_state: A seed, or a list of M seed sequences.
        dtype: ``torch.float32`` or ``torch.float64``.
    """

    def __init__(
        self,
        members: int,
        n_in: int,
        hidden: Sequence[int] = (48, 48),
        rank: int = 8,
        knots: Sequence[float] = (),
        random_state: Seed | Seeds = 0,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        self.n_in, self.hidden, self.rank, self.knots = n_in, list(hidden), rank, list(knots)
        body, head = split_seeds(member_seeds(random_state, members), 2)
        self.gate = nn.Parameter(torch.ones(members, n_in, dtype=dtype))
        self.body = BatchedMLP(
            members, [n_in, *hidden, rank], activation="silu", random_state=body, dtype=dtype
        )
        self.basis = SplineBasis(knots, 2, dtype=dtype)
        self.coefficients = BatchedLinear(
            members, rank, self.basis.n_basis, random_state=head, dtype=dtype
        )

    def represent(self, x: Tensor) -> Tensor:
        return self.body(x * self.gate[:, None])

    def features(self, t: Tensor) -> Tensor:
        return self.basis(t)

    def outcome(self, phi: Tensor, features: Tensor) -> Tensor:
        return _mix(self.coefficients(phi), features)


@saveable
class VaryingNet(DoseNet):
    """VCNet: every weight of the head is a spline of the dose.

    Two varying-coefficient layers h_o(t) = sum_k B_k(t) (sum_i h_i W_iok + b_ok), on the truncated
    powers 1, t, t^2, (t - k)_+^2.

    Args:
        members: M.
        n_in: Covariates.
        hidden: Widths of the trunk.
        head: Width of the hidden varying-coefficient layer.
        knots: Inner knots in (0, 1).
        bins: Doses at which the density head has a mass.
        targeted: Whether predictions have the correction tilt(t) / g(t | x), a spline over the
            density of the dose.
        random_state: A seed, or a list of M seed sequences.
        dtype: ``torch.float32`` or ``torch.float64``.

    References:
        Nie, Ye, Liu and Nicolae, "VCNet and functional targeted regularization for learning
        causal effects of continuous treatments", ICLR 2021.
    """

    def __init__(
        self,
        members: int,
        n_in: int,
        hidden: Sequence[int] = (50, 50),
        head: int = 50,
        knots: Sequence[float] = (1 / 3, 2 / 3),
        bins: int = 11,
        targeted: bool = False,
        random_state: Seed | Seeds = 0,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        self.n_in, self.hidden, self.head = n_in, list(hidden), head
        self.knots, self.bins, self.targeted = list(knots), bins, targeted
        seeds = split_seeds(member_seeds(random_state, members), 4)
        self.trunk = BatchedMLP(
            members,
            [n_in, *hidden],
            activation="relu",
            activate_last=True,
            random_state=seeds[0],
            dtype=dtype,
        )
        self.basis = SplineBasis(knots, 2, kind="power", dtype=dtype)
        k, d = self.basis.n_basis, self.hidden[-1]
        self.first = BatchedLinear(members, d, head * k, random_state=seeds[1], dtype=dtype)
        self.last = BatchedLinear(members, head, k, random_state=seeds[2], dtype=dtype)
        self.density = BatchedLinear(members, d, bins, random_state=seeds[3], dtype=dtype)
        self.bend = SplineBasis(_TILT_KNOTS, 2, dtype=dtype) if targeted else None
        self.tilt = (
            nn.Parameter(torch.zeros(members, self.bend.n_basis, dtype=dtype)) if targeted else None
        )

    def represent(self, x: Tensor) -> Tensor:
        return self.trunk(x)

    def features(self, t: Tensor) -> Tensor:
        return self.basis(t)

    def outcome(self, phi: Tensor, features: Tensor) -> Tensor:
        weights = self.first(phi).unflatten(-1, (self.head, features.shape[-1]))
        many = features if features.ndim == 4 else features[..., None, :]
        hidden = F.relu(torch.einsum("mnhk,mnjk->mnjh", weights, many))
        found = (self.last(hidden) * many).sum(-1)
        return found if features.ndim == 4 else found[..., 0]

    def predict(self, phi: Tensor, t: Tensor) -> Tensor:
        level = super().predict(phi, t)
        return level + self.correction(phi, t) if self.targeted else level

    def correction(self, phi: Tensor, t: Tensor) -> Tensor:
        """tilt(t) / g(t | x), like t."""
        tilt = self.tilt.reshape(-1, *[1] * (t.ndim - 1), self.tilt.shape[-1])
        return (self.bend(t) * tilt).sum(-1) / (self.propensity(phi, t) + _LEAST_DENSITY)

    def propensity(self, phi: Tensor, t: Tensor) -> Tensor:
        """Density of the dose t given phi: masses at equal steps, interpolated; like t."""
        mass = torch.softmax(self.density(phi), -1)
        area = (1 - (mass[..., :1] + mass[..., -1:]) / 2) / (self.bins - 1)  # under the polygon
        mass = mass / area
        mass = mass[..., None, :] if t.ndim == 3 else mass
        place = t.clamp(0, 1) * (self.bins - 1)
        below = place.detach().floor().clamp(max=self.bins - 2)
        share = (place - below)[..., None]
        grid = torch.arange(self.bins, device=t.device)
        low = (grid == below[..., None]).to(mass.dtype)
        high = (grid == below[..., None] + 1).to(mass.dtype)
        return (mass * (low * (1 - share) + high * share)).sum(-1)


@saveable
class StrataNet(DoseNet):
    """DRNet and TARNet for doses: one head for each of several equal strata of the dose.

    The dose enters every layer of a head (DRNet) or only its first (TARNet). Curves jump where
    strata meet; the highest dose belongs to the last stratum.

    Args:
        members: M.
        n_in: Covariates.
        hidden: Widths of the trunk.
        head: Width of the heads.
        strata: Number of strata.
        every_layer: Whether the dose enters every layer of a head.
        random_state: A seed, or a list of M seed sequences.
        dtype: ``torch.float32`` or ``torch.float64``.

    References:
        Schwab, Linhardt, Bauer, Buhmann and Karlen, "Learning counterfactual representations for
        estimating individual dose-response curves", AAAI 2020.
    """

    def __init__(
        self,
        members: int,
        n_in: int,
        hidden: Sequence[int] = (50, 50),
        head: int = 50,
        strata: int = 5,
        every_layer: bool = True,
        random_state: Seed | Seeds = 0,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        self.n_in, self.hidden, self.head = n_in, list(hidden), head
        self.strata, self.every_layer = strata, every_layer
        seeds = split_seeds(member_seeds(random_state, members), 3)
        self.trunk = BatchedMLP(
            members,
            [n_in, *hidden],
            activation="relu",
            activate_last=True,
            random_state=seeds[0],
            dtype=dtype,
        )
        wide = 1 if every_layer else 0
        self.first = BatchedLinear(
            members, self.hidden[-1] + 1, head * strata, random_state=seeds[1], dtype=dtype
        )
        self.last = BatchedLinear(
            members, head * strata + wide, strata, random_state=seeds[2], dtype=dtype
        )

    def represent(self, x: Tensor) -> Tensor:
        return self.trunk(x)

    def features(self, t: Tensor) -> Tensor:
        """The dose and the indicator of its stratum, (..., 1 + strata)."""
        place = (t.detach() * self.strata).floor().clamp(0, self.strata - 1)
        inside = place[..., None] == torch.arange(self.strata, device=t.device)
        return torch.cat([t[..., None], inside.to(t.dtype)], -1)

    def outcome(self, phi: Tensor, features: Tensor) -> Tensor:
        many = features if features.ndim == 4 else features[..., None, :]
        dose, inside = many[..., :1], many[..., 1:]
        shape = torch.broadcast_shapes(phi.shape[:-1] + (1,), many.shape[:-1])
        dose, inside = dose.expand(*shape, 1), inside.expand(*shape, self.strata)
        wide = phi[..., None, :].expand(*shape, phi.shape[-1])
        hidden = F.relu(self.first(torch.cat([wide, dose], -1)))
        hidden = hidden.unflatten(-1, (self.head, self.strata)) * inside[..., None, :]
        hidden = hidden.flatten(-2)
        found = self.last(torch.cat([hidden, dose], -1) if self.every_layer else hidden)
        found = (found * inside).sum(-1)
        return found if features.ndim == 4 else found[..., 0]


@saveable
class WaveNet(DoseNet):
    """A residual network on gated covariates and sines and cosines of the dose.

    Args:
        members: M.
        n_in: Covariates.
        width: Units of each layer.
        blocks: Residual blocks of two layers.
        random_state: A seed, or a list of M seed sequences.
        dtype: ``torch.float32`` or ``torch.float64``.
    """

    def __init__(
        self,
        members: int,
        n_in: int,
        width: int = 64,
        blocks: int = 2,
        random_state: Seed | Seeds = 0,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        self.n_in, self.width, self.blocks = n_in, width, blocks
        seeds = split_seeds(member_seeds(random_state, members), blocks + 3)
        self.gate = nn.Parameter(torch.ones(members, n_in, dtype=dtype))
        self.enter = BatchedLinear(members, n_in, width, random_state=seeds[0], dtype=dtype)
        self.dose = BatchedLinear(
            members, 1 + 2 * _WAVES, width, bias=False, random_state=seeds[1], dtype=dtype
        )
        self.block = nn.ModuleList(
            BatchedMLP(
                members, [width, width, width], activation="silu", random_state=own, dtype=dtype
            )
            for own in seeds[2:-1]
        )
        self.leave = BatchedLinear(members, width, 1, random_state=seeds[-1], dtype=dtype)

    def represent(self, x: Tensor) -> Tensor:
        return self.enter(x * self.gate[:, None])

    def features(self, t: Tensor) -> Tensor:
        turns = t[..., None] * torch.arange(1, _WAVES + 1, device=t.device) * math.pi
        return torch.cat([t[..., None], torch.sin(turns), torch.cos(turns)], -1)

    def outcome(self, phi: Tensor, features: Tensor) -> Tensor:
        wide = phi[..., None, :] if features.ndim == 4 else phi
        hidden = wide + self.dose(features)
        for block in self.block:
            hidden = hidden + block(F.silu(hidden))
        return self.leave(F.silu(hidden))[..., 0]


def _mix(coefficients: Tensor, features: Tensor) -> Tensor:
    """sum_k c_k B_k at one dose of each row, or at J of them."""
    if features.ndim == 4:
        return torch.einsum("mnk,mnjk->mnj", coefficients, features)
    return (coefficients * features).sum(-1)


def _mix(coefficients: Tensor, features: Tensor) -> Tensor:
    """sum_k c_k B_k at one dose of each row, or at J of them."""
    if features.ndim == 4:
        return torch.einsum("mnk,mnjk->mnj", coefficients, features)
    return (coefficients * features).sum(-1)
