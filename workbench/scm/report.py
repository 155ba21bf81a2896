"""What was fitted, how well, and whether the residuals look as the mechanism says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..core.errors import CausalWarning
from ..core.results import Result

COLUMNS = (
    "kind",
    "parents",
    "mechanism",
    "measure",
    "score",
    "runner_up",
    "runner_up_score",
    "noise_sd",
    "normality_p",
    "dependence_p",
    "dependence_share",
)


@dataclass(frozen=True, eq=False, repr=False)
class FitReport(Result):
    """The mechanisms of a fitted model, one row per node.

    ``score`` is the held-out R2 of a number and the held-out log-loss of levels; ``runner_up`` is
    the best of the other candidates. ``normality_p`` belongs to Jarque and Bera's test of the
    noise (nothing rests on it unless the noise is Gaussian by choice). ``dependence_p`` belongs to
    Koenker's test that the noise's size doesn't depend on the parents, which additive noise rests
    on; ``dependence_share`` is the share of the squared noise that the parents explain.
    """

    frame: pd.DataFrame
    n_rows: int
    warnings: tuple[CausalWarning, ...] = ()

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        if long:
            return self.frame.reset_index().melt("node", var_name="field")
        return self.frame.copy()

    def summary(self) -> str:
        kinds = self.frame["mechanism"].value_counts()
        listed = ", ".join(f"{n} {name}" for name, n in kinds.items())
        rows = f", fitted to {self.n_rows:,} rows" if self.n_rows else ""
        return f"Structural causal model of {len(self.frame)} nodes{rows}: {listed}"

    def verdict(self) -> str:
        doubtful = [w.columns[0] for w in self.warnings if w.code == "noise-depends-on-parents"]
        if doubtful:
            return f"doubtful: the noise is not additive at {', '.join(map(repr, doubtful))}"
        return ""


def normality(e: np.ndarray) -> float:
    """p-value of Jarque and Bera's test on skewness and kurtosis, chi-squared with 2 df."""
    sd = e.std()
    if len(e) < 20 or sd == 0:
        return float("nan")
    z = e / sd
    statistic = len(z) / 6 * (np.mean(z**3) ** 2 + (np.mean(z**4) - 3) ** 2 / 4)
    return float(np.exp(-statistic / 2))


def dependence(e: np.ndarray, X: np.ndarray) -> dict[str, float]:
    """Whether the residuals' size depends on the parents (Koenker's test): p-value and share.

    Regresses squared residuals on the parents and their squares; n R^2 is chi-squared.
    """
    from scipy.special import chdtrc

    Z = np.column_stack([X, X**2])
    Z = Z - Z.mean(axis=0)
    target = e**2 - np.mean(e**2)
    if len(e) < 5 * Z.shape[1] + 20 or not Z.shape[1] or not np.any(target):
        return {}
    fit, _, rank, _ = np.linalg.lstsq(Z, target, rcond=1e-10)
    explained = float(np.sum((Z @ fit) ** 2) / np.sum(target**2))
    p = float(chdtrc(rank, len(e) * explained)) if rank else float("nan")
    return {"dependence_p": p, "dependence_share": explained}
