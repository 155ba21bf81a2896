"""The density of the dose given the covariates: which doses do people like this one receive?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.saving import saveable
from ..nuisance import fit_best
from .rows import DoseRows

LOW_SUPPORT = 0.05  # below it a dose is one that people alike hardly ever receive
_FINE = 401
_SCORE = 2.5  # the normal score of the lowest and of the highest dose, at most
_GAP, _NEAR = 0.15, 0.05  # a stretch that nobody received, and how far its ends reach into it


@saveable
@dataclass(frozen=True, eq=False)
class DoseDensity:
    """g(t | x): the dose on a normal scale is a location that depends on x plus noise.

    The dose is put on a normal scale u(t) by its ranks; u = m(x) + noise with m chosen by
    out-of-fold loss; the noise has a kernel density estimate; g(t | x) = density of noise *
    du/dt. Doses lie in [0, 1]. It is 0 in stretches of more than 0.15 without any dose, up to 0.05
    from the doses at their ends.

    Attributes:
        predict: m, on covariates.
        dose, score: u(t) by linear interpolation.
        noise, density: Places, equally spaced, and the density of the noise there.
        gaps: Where the stretches without doses begin and end, (k, 2).

    Example:
        >>> from workbench.effects import DoseGP
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(300, 1))
        >>> dose = 1 / (1 + np.exp(-2 * x[:, 0] - 0.5 * rng.normal(size=300)))
        >>> fitted = DoseGP(steps=2).fit(x[:, 0] + dose, dose, X=x)
        >>> usual, odd = fitted.support([[2.0]], 0.95), fitted.support([[2.0]], 0.1)
        >>> bool(usual > 1 > 0.05 > odd)
        True
    """

    predict: Any
    dose: np.ndarray
    score: np.ndarray
    noise: np.ndarray
    density: np.ndarray
    gaps: np.ndarray

    @classmethod
    def fit(cls, rows: DoseRows, seed: np.random.SeedSequence) -> DoseDensity:
        from scipy.special import ndtri

        doses, place = np.unique(rows.t, return_inverse=True)
        mass = np.bincount(place, rows.weight) / rows.weight.sum()
        middle = np.clip(np.cumsum(mass) - mass / 2, 1e-9, 1 - 1e-9)
        # A scale that is smooth: ranks of few doses, not every step of the sample.
        few = np.linspace(0, 1, min(len(doses), 17))
        at = np.interp(few, np.linspace(0, 1, len(doses)), doses)
        # Its pieces end where doses do, else they would spread them over the gap.
        last = np.flatnonzero(np.diff(doses) > _GAP)
        gaps = np.column_stack([doses[last], doses[last + 1]])
        at = np.unique(np.concatenate([at, gaps.ravel()]))
        at = at[np.concatenate([[True], np.diff(at) > 1e-9])]
        score = np.clip(ndtri(np.interp(at, doses, middle)), -_SCORE, _SCORE)
        target = np.interp(rows.t, at, score)
        predict, _ = fit_best(rows.z, target, rows.weight, False, seed)
        rest = target - predict(rows.z)
        spread = max(float(np.sqrt(np.average(rest**2, weights=rows.weight))), 1e-3)
        width = 1.06 * spread * len(rest) ** -0.2
        noise = np.linspace(rest.min() - 4 * width, rest.max() + 4 * width, _FINE)
        # Of very many rows the histogram is enough.
        step = noise[1] - noise[0]
        counts = np.bincount(
            np.clip(np.rint((rest - noise[0]) / step).astype(int), 0, _FINE - 1),
            rows.weight,
            _FINE,
        )
        shape = np.exp(-0.5 * ((noise - noise[_FINE // 2]) / width) ** 2)
        density = np.convolve(counts, shape, mode="same")
        return cls(predict, at, score, noise, density / (density.sum() * step), gaps)

    def __call__(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """g(t | x) for doses (m, G) in [0, 1], (m, G); 0 outside."""
        slope = np.diff(self.score) / np.diff(self.dose)
        piece = np.clip(np.searchsorted(self.dose, t, side="right") - 1, 0, len(slope) - 1)
        rest = np.interp(t, self.dose, self.score) - self.predict(z)[:, None]
        found = np.interp(rest, self.noise, self.density, left=0, right=0) * slope[piece]
        # What the noise would put beyond the lowest and the highest dose belongs to the range.
        below = np.concatenate([[0.0], np.cumsum(self.density[:-1]) * np.diff(self.noise)])
        ends = self.score[[0, -1]] - self.predict(z)[:, None]
        within = np.diff(np.interp(ends, self.noise, below), axis=1)
        seen = (t >= 0) & (t <= 1)
        for start, end in self.gaps:
            seen &= (t <= start + _NEAR) | (t >= end - _NEAR)
        return np.where(seen, found / np.maximum(within, 1e-6), 0.0)
