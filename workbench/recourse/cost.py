"""What a change costs: the size of each move in the problem's scale, and how moves add up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.errors import ParameterError, did_you_mean
from ..core.parameters import require_one_of
from .space import Space

NORMS = ("l1", "l2", "l0", "linf", "carma")
SCALES = ("sd", "range", "mad", "percentile")
_QUANTILES = 1001


class Cost:
    """Cost of acting on features: a norm of weighted moves.

    The move of a number or ordinal level is its change over the feature's scale; the move of a
    binary or categorical feature is 1 when it changes. ``Feature.cost`` weights the moves. Only
    features that are acted on are charged: what follows through causes is free.

    - ``"l1"``: sum of moves. ``"l2"``: Euclidean length. ``"l0"``: (weighted) number of changed
      features. ``"linf"``: largest move.
    - ``"carma"``: mean over the actionable features of weight · change² / (sd · range), the cost
      of Majumdar and Valera; its scale is its own.

    Scales: ``"sd"``; ``"range"`` of the data, else of the bounds; ``"mad"`` (median absolute
    deviation from the median); ``"percentile"`` (share of people passed on the way, linear beyond
    the data); or a dictionary feature -> number. ``units`` are the sizes of features that have
    their own, whatever the scale.

    Raises:
        ParameterError: Unknown norm or scale; a scale that can't be computed, with the feature.
    """

    def __init__(
        self,
        norm: str,
        scale: str | Mapping[str, float],
        space: Space,
        data: np.ndarray | None,
        movable: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
        units: Mapping[str, float] | None = None,
    ):
        require_one_of("cost", norm, NORMS)
        self.norm, self.space = norm, space
        self.weights = np.array([f.cost for f in space.features])
        self.by_level = np.array([f.kind in ("binary", "categorical") for f in space.features])
        self.actionable = max(int(movable.sum()), 1)
        self.curves: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.scale = np.ones(len(space))
        self.name = scale if isinstance(scale, str) else "given"
        if norm == "carma":
            self.name = "carma"
        elif not isinstance(scale, Mapping) and scale not in SCALES:
            raise ParameterError(
                f"must be one of {', '.join(map(repr, SCALES))} or a dictionary",
                column="scale",
                value=scale,
                advice=did_you_mean(scale, SCALES),
            )
        if isinstance(scale, Mapping):
            for name in scale:
                if name not in space.names:
                    raise ParameterError(
                        f"names {name!r}, which is no feature of the problem",
                        column="scale",
                        advice=did_you_mean(name, space.names),
                    )
        known = {space.place(name): size for name, size in (units or {}).items()}
        for j in np.flatnonzero(~self.by_level):
            if j in known:
                self.scale[j] = known[j]
                continue
            spread = self._spread(j, scale, data, low[j], high[j])
            if spread is not None and np.isfinite(spread) and spread > 0:
                self.scale[j] = spread
            elif movable[j]:
                self._refuse(j, scale, spread)
            elif data is not None:  # not charged, but steps and tolerances still need a size
                self.scale[j] = np.std(data[:, j]) or 1.0
            if self.name == "percentile" and data is not None:
                self.curves[j] = _curve(data[:, j])

    def _spread(
        self, j: int, scale: Any, data: np.ndarray | None, low: float, high: float
    ) -> float | None:
        name = self.space.names[j]
        if isinstance(scale, Mapping) and self.norm != "carma":
            given = scale.get(name)
            return None if given is None else float(given)
        if data is None:
            return high - low if scale == "range" and self.norm != "carma" else None
        values = data[:, j]
        reach, sd = float(np.ptp(values)), float(values.std(ddof=1)) if len(values) > 1 else 0.0
        if self.norm == "carma":
            return float(np.sqrt(sd * reach))
        if scale == "mad":
            return float(np.median(np.abs(values - np.median(values))))
        return sd if scale == "sd" else reach

    def _refuse(self, j: int, scale: Any, spread: float | None) -> None:
        name = self.space.names[j]
        if isinstance(scale, Mapping):
            problem = f"needs a positive number for {name!r}"
        elif spread is None:
            problem = f"{self.name!r} can't be computed for {name!r} without data"
        else:
            problem = f"{self.name!r} of {name!r} is {spread:g}, so no change can be measured"
        raise ParameterError(
            problem,
            column="scale",
            advice="Pass data=, another scale, or a dictionary {feature: size of one unit}.",
        )

    @property
    def unit(self) -> str:
        """What one unit of cost is, as text."""
        if self.norm == "carma":
            return "mean squared change over sd times range"
        size = {"given": "given units", "percentile": "share of people passed"}.get(
            self.name, self.name
        )
        return {
            "l1": f"sum of changes in {size}",
            "l2": f"length of the change in {size}",
            "l0": "number of changed features",
            "linf": f"largest change in {size}",
        }[self.norm]

    def moves(self, x: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Weighted size of the move from ``x`` to ``values``, feature by feature."""
        out = np.abs(values - x) / self.scale
        for j, (points, shares) in self.curves.items():
            out[..., j] = np.abs(
                _share(values[..., j], points, shares) - _share(x[..., j], points, shares)
            )
        out[..., self.by_level] = (values != x)[..., self.by_level]
        return out * (self.weights**0.5 if self.norm == "carma" else self.weights)

    def total(self, moves: Any) -> Any:
        """Cost of moves ``(..., F)``, a numpy array or, but for ``"l0"``, a torch tensor."""
        if self.norm == "l1":
            return moves.sum(-1)
        if self.norm == "l2":
            return (moves**2).sum(-1) ** 0.5
        if self.norm == "l0":
            return ((moves > 0) * self.weights).sum(-1)
        if self.norm == "linf":
            return moves.max(-1) if isinstance(moves, np.ndarray) else moves.amax(-1)
        return (moves**2).sum(-1) / self.actionable

    def __call__(self, x: np.ndarray, mask: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Cost of acting on ``mask`` with ``values``; all arrays ``(..., F)``."""
        return self.total(np.where(mask, self.moves(x, np.where(mask, values, x)), 0.0))


def _curve(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct quantiles of a column and the share of people up to each."""
    points, counts = np.unique(values, return_counts=True)
    shares = (np.cumsum(counts) - 0.5 * counts) / len(values)
    if len(points) > _QUANTILES:
        picks = np.unique(np.linspace(0, len(points) - 1, _QUANTILES).round().astype(int))
        points, shares = points[picks], shares[picks]
    return points, shares


def _share(values: np.ndarray, points: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Share of people below; beyond the data a straight line, so that no move is free."""
    slope = 1.0 / max(points[-1] - points[0], 1e-300)
    inside = np.interp(values, points, shares)
    beyond = np.maximum(values - points[-1], 0) - np.maximum(points[0] - values, 0)
    return inside + slope * beyond
