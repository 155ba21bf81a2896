"""Outcomes at doses that were not received, from people who received doses near them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...core.errors import ParameterError

_DROWNED = 1e14  # noise of rows outside the window, in units of the largest variance


class Smoothed(NamedTuple):
    """Mean and variance of what a person would have had at a dose, (..., m)."""

    mean: Tensor
    variance: Tensor


def window_posterior(
    embedding: Tensor,
    t: Tensor,
    y: Tensor,
    query: Tensor,
    dose: Tensor,
    width: float,
    prior_variance: float = 1.0,
    noise_variance: float = 1.0,
    least: int = 1,
    weight: Tensor | None = None,
) -> Smoothed:
    """Gaussian-process posteriors of many queries, each given the rows in its window of doses.

    For a query (q, s) the rows with \\|t_j - s\\| < width enter a Bayesian linear regression of
    y - mean(y) on their embeddings z: A = Z'Z / noise + I / prior, mean(y) + q' A^-1 Z'(y -
    mean(y)) / noise, variance q' A^-1 q: a Gaussian process with the linear kernel prior * z z'.
    The posteriors are one batched factorisation: of d x d systems, whose sums over windows are
    differences of running sums of rows sorted by dose, or, where windows hold fewer than d
    rows, of systems of their size.

    A window with fewer than ``least`` rows is widened to hold that many.

    Args:
        embedding: Rows' embeddings, (..., n, d); leading axes are members.
        t: Their doses, (..., n).
        y: Their outcomes, (..., n).
        query: Embeddings asked for, (..., m, d).
        dose: Doses asked for, (..., m).
        width: Half the width of the window.
        prior_variance: Of the regression's coefficients.
        noise_variance: Of outcomes around them.
        least: Fewest rows in a window.
        weight: Row weights (..., n); 0 leaves a row out.

    Raises:
        ParameterError: ``least`` is not between 1 and n, or a variance or the width is not
            positive.

    References:
        Nagalapatti, Iyer, De and Sarawagi, "Continuous treatment effect estimation using gradient
        interpolation and kernel smoothing", AAAI 2024.

    Example:
        >>> z = torch.eye(2, dtype=torch.float64)
        >>> t, y = torch.tensor([0.5, 0.5]), torch.tensor([0.0, 2.0], dtype=torch.float64)
        >>> found = window_posterior(z, t, y, z[:1], torch.tensor([0.45]), 0.1)
        >>> round(float(found.mean), 6), round(float(found.variance), 6)
        (0.5, 0.5)
    """
    n, d = embedding.shape[-2:]
    for name, value in (
        ("width", width),
        ("prior_variance", prior_variance),
        ("noise_variance", noise_variance),
    ):
        if not value > 0:
            raise ParameterError("must be positive", column=name, value=value)
    if not 1 <= least <= n:
        raise ParameterError(f"must lie between 1 and the {n} rows", column="least", value=least)
    t, dose = t.to(embedding.dtype), dose.to(embedding.dtype)
    if weight is not None:
        t = torch.where(weight > 0, t, torch.inf)
    t, order = t.sort(-1)
    embedding = embedding.gather(-2, order[..., None].expand(*order.shape, d))
    y = y.gather(-1, order)
    first = torch.searchsorted(t, dose - width, right=True)
    last = torch.searchsorted(t, dose + width)
    if bool((last - first < least).any()):
        # The least-th nearest row decides where the window itself holds too few.
        near = (t[..., None, :] - dose[..., :, None]).abs().kthvalue(least, dim=-1).values
        reach = torch.where(last - first < least, near * (1 + 1e-6) + 1e-12, width)
        first = torch.searchsorted(t, dose - reach, right=True)
        last = torch.searchsorted(t, dose + reach)
    widest = int((last - first).max())
    if widest < d:
        return _by_rows(embedding, y, query, first, last, widest, prior_variance, noise_variance)
    return _by_columns(embedding, y, query, first, last, prior_variance, noise_variance)


def _by_columns(
    embedding: Tensor,
    y: Tensor,
    query: Tensor,
    first: Tensor,
    last: Tensor,
    prior_variance: float,
    noise_variance: float,
) -> Smoothed:
    """From d x d systems, whose entries are differences of running sums over rows."""
    d = embedding.shape[-1]
    count = (last - first).to(embedding.dtype)
    outer = (embedding[..., :, None] * embedding[..., None, :]).flatten(-2)
    columns = torch.cat([y[..., None], embedding, embedding * y[..., None], outer], -1)
    sums = _between(columns, first, last)
    total, plain, with_y, gram = sums.split([1, d, d, d * d], -1)
    center = total[..., 0] / count
    gram = gram.unflatten(-1, (d, d)) / noise_variance
    gram = gram + torch.eye(d, dtype=gram.dtype, device=gram.device) / prior_variance
    right = with_y - center[..., None] * plain
    factor = torch.linalg.cholesky(gram)
    solved = torch.cholesky_solve(torch.stack([right / noise_variance, query], -1), factor)
    found = (query[..., None, :] @ solved)[..., 0, :]
    return Smoothed(center + found[..., 0], found[..., 1])


def _by_rows(
    embedding: Tensor,
    y: Tensor,
    query: Tensor,
    first: Tensor,
    last: Tensor,
    widest: int,
    prior_variance: float,
    noise_variance: float,
) -> Smoothed:
    """From systems as large as the widest window, whose entries are products of rows."""
    n = y.shape[-1]
    # Blocks along the diagonal of all products; what a block has beyond its window is drowned.
    start = torch.minimum(first, torch.full_like(first, n - widest))
    place = start[..., None] + torch.arange(widest, device=y.device)
    own = ((place >= first[..., None]) & (place < last[..., None])).to(y.dtype)
    seen = torch.take_along_dim(y[..., None, :], place, -1) * own
    center = seen.sum(-1) / own.sum(-1)
    products = (prior_variance * embedding @ embedding.mT).contiguous()
    blocks = products.view(-1, n, n).as_strided(
        (products.numel() // n**2, n - widest + 1, widest, widest), (n * n, n + 1, n, 1)
    )
    member = torch.arange(len(blocks), device=y.device)[:, None]
    gram = blocks[member, start.reshape(len(blocks), -1)].view(*place.shape, widest)
    drowned = (1 - own) * (_DROWNED * float(products.diagonal(dim1=-2, dim2=-1).amax() + 1))
    gram.diagonal(dim1=-2, dim2=-1).add_(noise_variance + drowned)
    cross = torch.take_along_dim(prior_variance * query @ embedding.mT, place, -1) * own
    factor = torch.linalg.cholesky(gram)
    right = torch.stack([(seen - center[..., None]) * own, cross], -1)
    rest, reach = torch.linalg.solve_triangular(factor, right, upper=False).unbind(-1)
    prior = prior_variance * (query**2).sum(-1)
    return Smoothed(center + (rest * reach).sum(-1), prior - (reach**2).sum(-1))


def _between(columns: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """Sums of rows first to last - 1 of (..., n, k), for each of (..., m): (..., m, k)."""
    running = torch.cat([torch.zeros_like(columns[..., :1, :]), columns.cumsum(-2)], -2)

    def at(place: Tensor) -> Tensor:
        return running.gather(-2, place[..., None].expand(*place.shape, columns.shape[-1]))

    return at(last) - at(first)


def far_doses(t: np.ndarray, width: float, uniform: np.ndarray) -> np.ndarray:
    """Doses in [0, 1] outside (t - width, t + width), uniform where ``uniform`` is on [0, 1).

    Args:
        t: Doses received, broadcast with ``uniform``.
        width: Half the width of the window that is left out.
        uniform: Uniform draws.

    Raises:
        ParameterError: The window leaves nothing of the range.

    Example:
        >>> far_doses(np.array([0.5]), 0.1, np.array([0.0, 0.49, 0.51]))
        array([0.   , 0.392, 0.608])
    """
    low, high = np.clip(t - width, 0, 1), np.clip(t + width, 0, 1)
    room = 1 - (high - low)
    if not (room > 0).all():
        raise ParameterError("leaves no dose outside the window", column="width", value=width)
    drawn = uniform * room
    return np.where(drawn < low, drawn, np.minimum(drawn + (high - low), 1.0))
