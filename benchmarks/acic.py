"""ACIC 2016: individual effects on the settings and the split of the published tables."""

from __future__ import annotations

from collections.abc import Iterator

from ._effects import Method, acic, coverage_record, errors, ours, paired_records
from ._runner import Record, main
from .ihdp import peers

ABOUT = "Individual effects on ACIC 2016, settings 2, 7, 26 x 10; root PEHE out of sample."

# Setting 2 has the same effect for everybody: there any difference between units is error, and
# shrinking wins. So each setting stands for itself.
SETTINGS = (2, 7, 26)
# Ten other simulations of the same three settings, so comparable in level only.
PUBLISHED = {
    "PairNet, published (ICML 2024)": 2.46,
    "T-learner, published there": 4.29,
    "R-learner, published there": 3.94,
    "DR-learner, published there": 3.33,
    "X-learner, published there": 3.31,
    "TARNet, published there": 2.71,
    "CFRNet, published there": 3.45,
    "DragonNet, published there": 2.72,
}
OURS = "CausalStack"


def methods(quick: bool, seed: int, held: list[float]) -> dict[str, Method]:
    """The default for individual effects, meta-learners averaged over folds, and peers.

    The quick run has a stack without networks and fewer folds, another method and named as such,
    and leaves out the forest.
    """
    from workbench.effects import CausalStack, TLearner, XLearner

    stack = CausalStack(progress=False, random_state=seed)
    found = {OURS: ours(stack, held)}
    if quick:
        few = stack.set_params(families=("trees", "spline"), n_folds=3)
        found = {f"{OURS}, trees and splines, 3 folds": ours(few, held)}
    for kind in (XLearner, TLearner):
        averaged = kind(n_folds=3 if quick else 5, random_state=seed)
        found[f"{kind.__name__}, fits averaged over folds"] = ours(averaged)
    found |= peers()
    if quick:
        del found["CausalForestDML (econml)"]
    return found


def run(quick: bool, seed: int) -> Iterator[Record]:
    tables = list(acic([(s, k) for s in SETTINGS for k in range(1, 2 if quick else 11)]))
    held: list[float] = []
    chosen = methods(quick, seed, held)
    found, seconds = errors(chosen, tables)
    reference = next(iter(chosen))
    for name, error in found.items():
        for table, value in zip(tables, error, strict=True):
            yield Record("acic", table.name, name, "root PEHE", float(value), seconds=seconds[name])
    for setting in () if quick else SETTINGS:  # one table each: there is nothing to average
        at = [t.name.startswith(f"setting {setting},") for t in tables]
        part = {name: error[at] for name, error in found.items()}
        yield from paired_records("acic", f"setting {setting}", part, seconds, reference)
    yield from paired_records("acic", "all settings", found, seconds, reference)
    yield coverage_record("acic", "all settings", reference, held)
    for name, value in PUBLISHED.items():
        yield Record(
            "acic", "all settings", name, "root PEHE, mean", value, n=30, source="published"
        )


if __name__ == "__main__":
    main("acic", ABOUT, run)
