"""How much a representation says about the dose."""

from __future__ import annotations

import torch
from torch import Tensor


def hsic(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """The Hilbert-Schmidt independence criterion with Gaussian kernels, per member.

    tr(K H L H) / n^2, K and L of the rows of a and of b, H the (weighted) centring; 0 only under
    independence. Bandwidths are the medians of the distances, taken as constants.

    Args:
        a: (M, n, d), e.g. an embedding.
        b: (M, n, q), e.g. the dose.
        weight: Row weights, (M, n).

    References:
        Gretton, Bousquet, Smola and Schölkopf, "Measuring statistical dependence with
        Hilbert-Schmidt norms", ALT 2005.

    Example:
        >>> x = torch.linspace(-1, 1, 50)[None, :, None]
        >>> round(float(hsic(x, x, torch.ones(1, 50))), 3)
        0.124
    """
    share = weight / weight.sum(1, keepdim=True)
    of_a, of_b = _centred(_gaussian(a), share), _centred(_gaussian(b), share)
    return torch.einsum("mi,mij,mij,mj->m", share, of_a, of_b, share)


def _gaussian(x: Tensor) -> Tensor:
    square = ((x[:, :, None] - x[:, None]) ** 2).sum(-1) if x.shape[-1] == 1 else _squares(x)
    width = square.detach().flatten(1).median(1).values.clamp(min=1e-6)
    return torch.exp(-square / width[:, None, None])


def _squares(x: Tensor) -> Tensor:
    size = (x**2).sum(-1)
    return (size[:, :, None] + size[:, None] - 2 * x @ x.mT).clamp(min=0)


def _centred(kernel: Tensor, share: Tensor) -> Tensor:
    by_row = torch.einsum("mij,mj->mi", kernel, share)
    mean = (by_row * share).sum(1)
    return kernel - by_row[:, :, None] - by_row[:, None] + mean[:, None, None]
