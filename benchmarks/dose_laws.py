"""Dose laws with known curves: a moving optimum, strong confounding, VCNet's synthetic law."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np

from ._doses import (
    GRID,
    DoseReplicate,
    confounded,
    draws,
    moving_optimum,
    ours,
    records,
    scored,
    scored_together,
    vcnet_synthetic,
)
from ._runner import Record, main
from .ihdp_continuous import boosting, common_curve, together

ABOUT = "Curves of dose laws, 500 rows, fresh draws; CF error against noiseless curves (floor 0)."

LAWS = {
    "moving optimum": moving_optimum,
    "strong confounding": confounded,
    "VCNet synthetic": vcnet_synthetic,
}

_FIRST = 100  # draws that had no part in any choice


def regret(r: DoseReplicate, doses: np.ndarray) -> float:
    """Mean loss of doses against each person's best one, from the true curves."""
    at = np.array([np.interp(d, GRID, curve) for d, curve in zip(doses, r.truth, strict=True)])
    return float((r.truth.max(axis=1) - at).mean())


def run(quick: bool, seed: int) -> Iterator[Record]:
    from workbench.effects import DoseGP, DoseSLearner, DoseStack

    for name, law in LAWS.items():
        replicates = list(
            draws(law, name, range(_FIRST + seed, _FIRST + seed + (1 if quick else 10)))
        )
        alone = {
            "DoseGP": ours(DoseGP(random_state=seed), intervals=True),
            "S-learner, LightGBM": ours(DoseSLearner(random_state=seed)),
            "gradient boosting (scikit-learn)": boosting,
            "true average curve for everybody": common_curve,
        }
        networks = together(seed)
        if quick:
            networks = {key: networks[key] for key in ("GIKS, factual backbone",)}
        else:
            stack = DoseStack(progress=False, random_state=seed)
            alone = {"DoseStack": ours(stack, intervals=True)} | alone
        found = scored(alone, replicates)
        for key, estimator in networks.items():
            found[key] = scored_together(estimator, replicates)
        references = ("GIKS, factual backbone", "gradient boosting (scikit-learn)")
        yield from records("dose_laws", name, found, references)
        if name == "moving optimum" and not quick:
            yield from _regrets(replicates, DoseStack(progress=False, random_state=seed))


def _regrets(replicates: list[DoseReplicate], stack) -> Iterator[Record]:
    """How much is lost by the stack's personal doses and by the best common one."""
    own, common = [], []
    for r in replicates:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stack.fit(r.y, r.t, X=r.x)
            own.append(regret(r, stack.optimal_dose(r.x_test, bounds=(GRID[0], GRID[-1]))))
        best = GRID[r.truth.mean(axis=0).argmax()]
        common.append(regret(r, np.full(len(r.truth), best)))
    for name, values in (("DoseStack", own), ("best common dose, from the truth", common)):
        se = float(np.std(values, ddof=1) / np.sqrt(len(values)))
        yield Record(
            "dose_laws", "moving optimum", name, "regret of the dose", float(np.mean(values)), se,
            len(values),
        )  # fmt: skip


if __name__ == "__main__":
    main("dose_laws", ABOUT, run)
