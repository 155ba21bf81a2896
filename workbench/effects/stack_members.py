"""The outcome models of a causal stack: networks, boosted trees, ridge on splines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.saving import saveable
from ..core.seeding import integer, spawn
from .base_learners import base_learner
from .folded import FoldedRows, FoldModels
from .metalearners import ArmOutcomes, OutcomeModels, fit_arms, with_arm
from .nuisance import Basis, Linear, candidates

if TYPE_CHECKING:
    from .stack import CausalStack

FAMILIES = ("net", "trees", "spline")
_FEW = 2000  # rows below which narrow representations are tried
_EPOCHS = 300


@saveable
@dataclass(frozen=True, eq=False)
class OutcomeMember:
    """A named outcome model, one fit per fold left out."""

    name: str
    models: FoldModels


def fit_outcomes(
    stack: CausalStack, rows: FoldedRows, seed: np.random.SeedSequence
) -> list[OutcomeMember]:
    """Every outcome model of the families asked for; rows are in the order of their content."""
    found: list[OutcomeMember] = []
    for family, child in zip(FAMILIES, spawn(seed, len(FAMILIES)), strict=True):
        if family in stack.families:
            found += _FIT[family](stack, rows, child)
    return found


def _nets(stack: CausalStack, rows: FoldedRows, seed: np.random.SeedSequence) -> list:
    from .representation import TARNet

    few = len(rows.y) < _FEW
    net = TARNet(
        hidden=(),
        phi_dim=list(stack.widths or ((1, 2, 8) if few else (8, 32))),
        heads=(24, 24),
        epochs=_EPOCHS if few else None,
        patience=None if few else 40,
        device=stack.device,
        progress=stack.progress,
    )
    return [
        OutcomeMember(f"network, width {width}", models)
        for width, models in net.fit_each_width(rows, seed).items()
    ]


def _trees(stack: CausalStack, rows: FoldedRows, seed: np.random.SeedSequence) -> list:
    """Boosted trees, one model per arm and one that sees the arm as a column."""
    learner = base_learner("lightgbm")
    apart, together = [], []
    codes = np.eye(rows.n_arms)[rows.arm, 1:]
    for f, child in enumerate(spawn(seed, rows.n_folds)):
        learn, (one, two) = rows.learning(f), spawn(child, 2)
        apart.append(fit_arms(learner, rows, learn, one))
        z = with_arm(rows.z[learn], codes[learn])
        model = learner.fit(z, rows.y[learn], rows.weight[learn], two, rows.binary)
        together.append(ArmOutcomes((model,), rows.n_arms, rows.binary))
    return [
        OutcomeMember("trees by arm", OutcomeModels(tuple(apart))),
        OutcomeMember("trees for all arms", OutcomeModels(tuple(together))),
    ]


def _spline(stack: CausalStack, rows: FoldedRows, seed: np.random.SeedSequence) -> list:
    """Ridge, plain or on splines, whichever predicts an arm's held-out outcomes better."""
    basis, by_arm = Basis.fit(rows.z), []
    for arm, child in enumerate(spawn(seed, rows.n_arms)):
        by_fold = [_lines(rows, f, arm, basis, integer(child)) for f in range(rows.n_folds)]
        names = [name for name in by_fold[0] if all(name in fits for fits in by_fold)]
        losses = {name: _held_out_error([f[name] for f in by_fold], rows, arm) for name in names}
        chosen = min(names, key=losses.__getitem__)
        by_arm.append([fits[chosen] for fits in by_fold])
    folds = [ArmOutcomes(tuple(a[f] for a in by_arm), rows.n_arms, rows.binary)
             for f in range(rows.n_folds)]  # fmt: skip
    return [OutcomeMember("ridge", OutcomeModels(tuple(folds)))]


def _lines(rows: FoldedRows, fold: int, arm: int, basis: Basis, seed: int) -> dict[str, Any]:
    """What can be fitted to an arm's rows outside a fold; to all arms' where it has none there."""
    learn = rows.learning(fold)
    at = learn & (rows.arm == arm)
    at = at if at.any() else learn
    part = (rows.z[at], rows.y[at], rows.weight[at], rows.binary, basis, seed)
    return candidates(*part, "linear") | candidates(*part, "spline")


def _held_out_error(fits: list[Linear], rows: FoldedRows, arm: int) -> float:
    total = 0.0
    for f, fit in enumerate(fits):
        at = (rows.fold == f) & (rows.arm == arm)
        total += rows.weight[at] @ (rows.y[at] - fit(rows.z[at])) ** 2
    return float(total)


_FIT = {"net": _nets, "trees": _trees, "spline": _spline}
