"""What a learner of dose-response curves sees, and what it must answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ...core.saving import saveable
from ...tables.effect_data import EffectData
from ...tables.encode import Encoder
from ...tables.gate import Table
from ..design import content_rank
from ..heavy_tails import NormalScores
from ..nuisance import fold_ids

_MAX_LEVELS = 50


@dataclass(frozen=True)
class DoseRows:
    """Rows as numbers, in units of their own.

    Attributes:
        z: Covariates with mean 0 and sd 1, (n, p), columns in canonical order.
        t: Dose, 0 at the lowest one observed and 1 at the highest, (n,).
        y: Outcome with mean 0 and sd 1, (n,).
        weight: Row weights, mean one, (n,).
        groups: Cluster of each row, or None.
        fold: Fold of each row, 0 to F - 1, (n,); clusters are never divided.
        n_folds: F.
        order: Place of each row when sorted by content: what is drawn at random by position is
            drawn along this, so that the order in which rows arrive has no influence.
        center: Expected dose given the covariates, cross-fitted, (n,), in units of ``t``.
    """

    z: np.ndarray
    t: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    groups: np.ndarray | None
    fold: np.ndarray
    n_folds: int
    order: np.ndarray
    center: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    def arranged(self) -> DoseRows:
        """The same rows sorted by content, so that even rounding ignores how they arrived."""
        return self.some(np.argsort(self.order, kind="stable"))

    def some(self, rows: np.ndarray) -> DoseRows:
        """Some of the rows, in the order given."""
        names = ("z", "t", "y", "weight", "fold", "order", "center")
        groups = None if self.groups is None else self.groups[rows]
        return replace(self, groups=groups, **{n: getattr(self, n)[rows] for n in names})


class DoseModel(Protocol):
    """A fitted dose-response surface mu(z, t) in the units of :class:`DoseRows`; saveable.

    Doses are (m, G), one row per unit, or (1, G) where all units are asked for the same ones.
    """

    def levels(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """mu(z, t), (m, G)."""

    def slopes(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """d mu / d t, (m, G)."""

    def errors(self, z: np.ndarray, t: np.ndarray, base: np.ndarray | None) -> np.ndarray:
        """Standard errors of mu(z, t), or of mu(z, t) - mu(z, base) for base (m, 1), (m, G)."""

    def mean_errors(
        self, z: np.ndarray, weight: np.ndarray, t: np.ndarray, base: float | None
    ) -> np.ndarray:
        """Standard errors of the weighted mean of levels (or contrasts) over rows, (G,)."""


@saveable
@dataclass(frozen=True)
class Scales:
    """How doses and outcomes are turned into the units of :class:`DoseRows` and back."""

    dose_low: float
    dose_width: float
    y_center: float
    y_width: float

    def dose(self, t: np.ndarray) -> np.ndarray:
        return (t - self.dose_low) / self.dose_width


@saveable
@dataclass(frozen=True, eq=False)
class CovariateScales:
    """How modifiers are turned into the covariates of :class:`DoseRows`.

    Attributes:
        encoder: Columns to numbers.
        center, width: Of the numbers, (p,).
        scores: Ranks beside the values of columns with heavy tails.
    """

    encoder: Encoder
    center: np.ndarray
    width: np.ndarray
    scores: NormalScores

    @classmethod
    def fit(cls, x: Table) -> CovariateScales:
        encoder = Encoder(max_levels=_MAX_LEVELS).fit(x)
        z = encoder.transform(x)
        center, width = z.mean(axis=0), z.std(axis=0)
        width = np.where(width > 1e-9, width, 1.0)
        return cls(encoder, center, width, NormalScores.fit((z - center) / width))

    def transform(self, x: Table) -> np.ndarray:
        """Covariates with mean 0 and sd 1 on the rows fitted, (m, p)."""
        return self.scores.transform((self.encoder.transform(x) - self.center) / self.width)


def dose_rows(
    data: EffectData, n_folds: int, center: np.ndarray, seed: np.random.SeedSequence
) -> tuple[DoseRows, CovariateScales, Scales]:
    """Checked data as numbers, and how its covariates, doses and outcomes became numbers.

    Args:
        data: Checked data with a dose and modifiers.
        n_folds: Folds wanted.
        center: Cross-fitted prediction of the dose from the covariates, (n,).
        seed: Of the folds.
    """
    covariates = CovariateScales.fit(data.x)
    rank = content_rank(data)
    fold = fold_ids(len(data), n_folds, seed, groups=data.groups, rank=rank)
    spread = float(data.y.std())
    scales = Scales(
        float(data.t.min()),
        float(data.t.max() - data.t.min()),
        float(data.y.mean()),
        spread if spread > 0 else 1.0,
    )
    weight = np.ones(len(data)) if data.weight is None else data.weight / data.weight.mean()
    rows = DoseRows(
        z=covariates.transform(data.x),
        t=scales.dose(data.t),
        y=(data.y - scales.y_center) / scales.y_width,
        weight=weight,
        groups=data.groups,
        fold=fold,
        n_folds=int(fold.max()) + 1,
        order=rank,
        center=scales.dose(center),
    )
    return rows, covariates, scales
