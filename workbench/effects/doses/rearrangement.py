"""Curves that are known to be monotone: their values sorted along the doses received."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...core.saving import saveable

_STEPS, _QUANTILES = 65, 65
_APART = 1e-6  # doses nearer than this are one


@saveable
@dataclass(frozen=True, eq=False)
class Rearrangement:
    """Increasing rearrangement of curves with respect to the doses received.

    A curve is read as a function of the share of people whose dose is lower, and its values are
    sorted. It becomes monotone, and comes nearer to any monotone truth in mean square over the
    doses received; a curve that is monotone stays. Sorting along the dose axis itself would let a
    long stretch with hardly anybody in it displace what was learned where people are.

    Attributes:
        dose: Doses at which curves are sorted, from 0 to 1: equal steps and quantiles, (G,).
        mass: Share of people that each stands for, (G,).

    References:
        Chernozhukov, Fernández-Val and Galichon, "Improving point and interval estimators of
        monotone functions by rearrangement", Biometrika 96(3), 2009.

    Example:
        >>> rule = Rearrangement.of(np.linspace(0, 1, 50), np.ones(50))
        >>> curve = rule.dose[None] ** 2
        >>> bool(np.allclose(rule.sorted(curve, "increasing"), curve))
        True
        >>> bool(np.allclose(rule.sorted(curve[:, ::-1], "increasing"), curve, atol=0.03))
        True
    """

    dose: np.ndarray
    mass: np.ndarray

    @classmethod
    def of(cls, t: np.ndarray, weight: np.ndarray) -> Rearrangement:
        """From doses in [0, 1], both ends received, and their weights."""
        doses, place = np.unique(t, return_inverse=True)
        mass = np.bincount(place, weight)
        below = np.cumsum(mass) - mass / 2
        below = (below - below[0]) / (below[-1] - below[0])
        quantiles = np.interp(np.linspace(0, 1, _QUANTILES), below, doses)
        fine = np.unique(np.concatenate([np.linspace(0, 1, _STEPS), quantiles]))
        fine = fine[np.concatenate([[True], np.diff(fine) > _APART])]
        share = np.interp(fine, doses, below)
        return cls(fine, np.diff(np.concatenate([[0.0], (share[1:] + share[:-1]) / 2, [1.0]])))

    def sorted(
        self, curves: np.ndarray, direction: Literal["increasing", "decreasing"]
    ) -> np.ndarray:
        """Curves at ``dose``, (m, G), made monotone."""
        sign = 1.0 if direction == "increasing" else -1.0
        order = np.argsort(sign * curves, axis=1, kind="stable")
        mass = self.mass[order]
        places = np.cumsum(mass, axis=1) - mass / 2
        asked = np.cumsum(self.mass) - self.mass / 2
        values = np.take_along_axis(sign * curves, order, axis=1)
        found = np.empty(curves.shape)
        for i, (at, value) in enumerate(zip(places, values, strict=True)):
            found[i] = np.interp(asked, at, value)
        return sign * found

    def step(self, t: np.ndarray) -> np.ndarray:
        """Half the distance of the two doses around each of t: over it the slope is taken."""
        piece = np.clip(np.searchsorted(self.dose, t, side="right") - 1, 0, len(self.dose) - 2)
        return np.diff(self.dose)[piece] / 2
