"""How far apart the arms lie in a representation: maximum mean discrepancy, linear or Gaussian."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ..core.errors import ParameterError

Kernel = Literal["linear", "rbf"]

_MOST_ROWS = 256  # of a batch, for kernel matrices


def arm_distance(phi: Tensor, arm: Tensor, weight: Tensor, n_arms: int, kernel: Kernel) -> Tensor:
    """MMD^2 between each arm and the first, summed over arms, per member.

    phi is divided by the standard deviation of each unit, so that shrinking it brings the arms no
    nearer. ``"linear"`` compares means, |mean_k - mean_0|^2 / d; ``"rbf"`` whole distributions,
    with the median distance between rows as bandwidth. An arm without rows in the batch counts 0.

    Args:
        phi: Representation, (M, b, d).
        arm: Position of the arm received, (M, b).
        weight: Row weights, (M, b).
        n_arms: K.
        kernel: ``"linear"`` or ``"rbf"``.

    Returns:
        (M,).

    References:
        Gretton et al., "A kernel two-sample test", JMLR 13, 2012.

    Example:
        >>> phi, arm = torch.tensor([[[0.0], [1.0], [0.0], [1.0]]]), torch.tensor([[0, 0, 1, 1]])
        >>> arm_distance(phi, arm, torch.ones(1, 4), 2, "rbf").tolist()
        [0.0]
    """
    if kernel not in ("linear", "rbf"):
        raise ParameterError("must be 'linear' or 'rbf'", column="kernel", value=kernel)
    if kernel == "rbf":
        step = -(-phi.shape[1] // _MOST_ROWS)
        phi, arm, weight = phi[:, ::step], arm[:, ::step], weight[:, ::step]
    total = weight.sum(1, keepdim=True).clamp(min=1e-12)
    mean = (phi * weight[..., None]).sum(1, keepdim=True) / total[..., None]
    spread = ((phi - mean) ** 2 * weight[..., None]).sum(1, keepdim=True) / total[..., None]
    # A unit that never varies (or is switched off) stays 0.
    unit = (phi - mean) / (spread + 1e-8).sqrt()
    parts = []
    for k in range(n_arms):
        own = weight * (arm == k)
        parts.append(own / own.sum(1, keepdim=True).clamp(min=1e-12))
    present = [(p.sum(1) > 0).to(phi.dtype) for p in parts]
    if kernel == "linear":
        means = [(unit * p[..., None]).sum(1) for p in parts]
        gaps = [((means[k] - means[0]) ** 2).mean(1) for k in range(1, n_arms)]
    else:
        similar = _gaussian(unit)
        gaps = []
        for k in range(1, n_arms):
            lean = (parts[k] - parts[0])[..., None]
            gaps.append((lean * (similar @ lean)).sum((1, 2)))
    both = [present[k] * present[0] for k in range(1, n_arms)]
    return torch.stack([g * b for g, b in zip(gaps, both, strict=True)]).sum(0)


def _gaussian(unit: Tensor) -> Tensor:
    """exp(-|a - b|^2 / (2 h^2)) with the median squared distance as h^2, (M, b, b)."""
    size = (unit**2).sum(2)
    square = size[:, :, None] + size[:, None, :] - 2 * unit @ unit.transpose(1, 2)
    square = square.clamp(min=0)
    width = square.detach().flatten(1).median(dim=1).values.clamp(min=1e-6)
    return torch.exp(-square / (2 * width[:, None, None]))
