"""Spline bases of a dose: smooth functions with as much bend as there are knots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor

from ..core.errors import ParameterError
from ..core.saving import saveable
from .members import BatchedModule


@saveable
class SplineBasis(BatchedModule):
    """Basis functions of the splines of a degree with given inner knots.

    ``"bspline"``: the local basis of de Boor's recursion, which sums to one; well conditioned.
    ``"power"``: ``1, t, ..., t^p, max(t - k, 0)^p`` for each inner knot k, with t scaled to
    [0, 1]; the basis of varying-coefficient networks. Both span the same functions. Outside
    [low, high] the first and the last polynomial piece go on; clip the dose to hold them constant.

    Derivatives exist in reverse and forward mode, up to order ``degree - 1`` without jumps.

    Args:
        knots: Inner knots, increasing, strictly between low and high.
        degree: 0 to 5.
        kind: ``"bspline"`` or ``"power"``.
        low: Lower end of the dose.
        high: Upper end of the dose.
        dtype: ``torch.float32`` or ``torch.float64``.

    Shapes: (...) -> (..., n_basis), with ``n_basis = len(knots) + degree + 1``.

    References:
        de Boor, "A Practical Guide to Splines", Springer, 1978. Nie, Ye, Liu and Nicolae, "VCNet
        and functional targeted regularization for learning causal effects of continuous
        treatments", ICLR 2021.

    Example:
        >>> basis = SplineBasis([1 / 3, 2 / 3], degree=2)
        >>> print(basis(torch.tensor([0.0, 0.5])))
        tensor([[1.0000, 0.0000, 0.0000, 0.0000, 0.0000],
                [0.0000, 0.1250, 0.7500, 0.1250, 0.0000]])
    """

    def __init__(
        self,
        knots: Sequence[float] = (),
        degree: int = 2,
        kind: Literal["bspline", "power"] = "bspline",
        low: float = 0.0,
        high: float = 1.0,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        self.knots = [float(k) for k in knots]
        self.degree, self.kind, self.low, self.high = degree, kind, float(low), float(high)
        if kind not in ("bspline", "power"):
            raise ParameterError("must be 'bspline' or 'power'", column="kind", value=kind)
        if degree not in range(6):
            raise ParameterError("must be an integer from 0 to 5", column="degree", value=degree)
        ends = np.array([self.low, *self.knots, self.high])
        if not np.all(np.isfinite(ends)) or not np.all(np.diff(ends) > 0):
            raise ParameterError(
                f"must increase strictly between low {low} and high {high}",
                column="knots",
                value=self.knots,
                advice="Quantiles of a dose with few levels coincide: use fewer knots.",
            )
        # Shared by all members: a leading axis of length one.
        grid = [*[self.low] * degree, *ends, *[self.high] * degree]
        self.register_buffer("grid", torch.tensor([grid], dtype=torch.float64).to(dtype))

    @classmethod
    def from_quantiles(
        cls,
        dose: Tensor | np.ndarray,
        n_knots: int,
        degree: int = 2,
        kind: Literal["bspline", "power"] = "bspline",
        dtype: torch.dtype = torch.float32,
    ) -> Self:
        """Knots at equally spaced quantiles of the observed doses, ends at their range."""
        dose = np.asarray(dose, dtype=float).ravel()
        if not dose.size or not np.all(np.isfinite(dose)):
            raise ParameterError("must hold finite numbers", column="dose")
        low, *knots, high = np.quantile(dose, np.linspace(0, 1, n_knots + 2))
        return cls(knots, degree, kind, low, high, dtype=dtype)

    @property
    def n_basis(self) -> int:
        """Number of basis functions."""
        return len(self.knots) + self.degree + 1

    def forward(self, dose: Tensor) -> Tensor:
        return self._power(dose) if self.kind == "power" else self._local(dose)

    def _power(self, dose: Tensor) -> Tensor:
        t = (dose - self.low) / (self.high - self.low)
        columns = [torch.ones_like(t)]
        for _ in range(self.degree):
            columns.append(columns[-1] * t)
        inner = self.grid[0, self.degree + 1 : self.degree + 1 + len(self.knots)]
        scaled = (inner - self.low) / (self.high - self.low)
        above = t[..., None] - scaled
        step = (above >= 0).to(t.dtype)
        return torch.cat([torch.stack(columns, -1), step * above**self.degree], -1)

    def _local(self, dose: Tensor) -> Tensor:
        grid, p, t = self.grid[0], self.degree, dose[..., None]
        inner = grid[p + 1 : p + 1 + len(self.knots)].contiguous()
        piece = p + torch.bucketize(dose.detach(), inner, right=True)
        # The indicator of the piece; the recursion raises the degree one at a time.
        basis = (piece[..., None] == torch.arange(len(grid) - 1, device=grid.device)).to(t.dtype)
        for q in range(1, p + 1):
            width = grid[q:] - grid[:-q]
            inverse = torch.where(width > 0, 1 / width.where(width > 0, 1.0), 0.0)
            rising = (t - grid[: -q - 1]) * inverse[:-1] * basis[..., :-1]
            falling = (grid[q + 1 :] - t) * inverse[1:] * basis[..., 1:]
            basis = rising + falling
        return basis
