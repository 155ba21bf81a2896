"""Jobs: what would a rule for job training achieve? Policy risk and the effect on the treated.

722 men of a randomised trial (297 trained) and 2,490 men of a survey who were not trained; the
outcome is employment. Ten published splits. Rules are learned from all rows of the training part
and judged on the trial's rows of the test part alone, about 144: the rule's risk is

    1 - P(rule) mean(y | trained, rule) - P(no rule) mean(y | not trained, no rule).

The splits are drawn from the same rows, so their results are not independent: standard errors are
those of Nadeau and Bengio (Machine Learning 52, 2003), sd sqrt(1/splits + test rows/training rows).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd

from ._effects import Method, Replicate, data_folder, network, ours, told_by_all_rows
from ._runner import Record, main

EVERYBODY, NOBODY = "treat everybody", "treat nobody"
# Shalit, Johansson and Sontag, ICML 2017, out of sample, to two digits.
PUBLISHED = {
    "OLS per arm, published (ICML 2017)": 0.23,
    "BART, published there": 0.25,
    "causal forest, published there": 0.20,
    "TARNet, published there": 0.21,
    "CFRNet, published there": 0.21,
}


def methods(quick: bool, seed: int) -> dict[str, Method]:
    """Who decides; the quick run has a stack without networks, and leaves out the network."""
    from workbench.effects import AIPW, CausalForestDML, CausalStack, TARNet, TLearner, XLearner

    stack = CausalStack(progress=False, random_state=seed)
    if quick:
        stack.set_params(families=("trees", "spline"), n_folds=3)
    found = {
        f"CausalStack{', trees and splines, 3 folds' * quick}": ours(stack),
        "AIPW, effects linear in x": ours(AIPW(random_state=seed)),
        "TLearner, LightGBM": ours(TLearner(random_state=seed)),
        "XLearner, LightGBM": ours(XLearner(random_state=seed)),
        "CausalForestDML (econml)": ours(CausalForestDML(random_state=seed)),
    }
    return found if quick else found | {"TARNet": network(TARNet, random_state=seed)}


def splits(most: int) -> Iterator[tuple[Replicate, pd.DataFrame]]:
    """The published splits: rows to learn from, and of the test rows t, y and e (in the trial)."""
    with np.load(data_folder("jobs") / "jobs_full.npz") as file:
        jobs = dict(file)
    x = pd.DataFrame(jobs["x"], columns=jobs["feature_names"])
    schema = told_by_all_rows(x)
    rows = pd.DataFrame({name: jobs[name].astype(int) for name in ("t", "yf", "e")})
    for k in range(most):
        learn, test = jobs["train_index"][:, k], jobs["test_index"][:, k]
        replicate = Replicate(
            name=f"split {k + 1}",
            x=jobs["x"][learn],
            t=rows["t"].to_numpy()[learn],
            y=rows["yf"].to_numpy()[learn],
            x_test=jobs["x"][test],
            effect_test=np.full(len(test), np.nan),  # nobody knows
            schema=schema,
        )
        yield replicate, rows.iloc[test].reset_index(drop=True)


def policy_risk(rule: np.ndarray, test: pd.DataFrame) -> float:
    """One less the share in work under a rule, on the trial's rows; an empty cell counts as 0."""
    trial = test["e"] == 1
    rule, t, y = rule[trial], test["t"][trial] == 1, test["yf"][trial]
    value = 0.0
    for chosen, agree in ((rule, rule & t), (~rule, ~rule & ~t)):
        value += chosen.mean() * (y[agree].mean() if agree.any() else 0.0)
    return float(1 - value)


def att_error(effect: np.ndarray, test: pd.DataFrame) -> float:
    """|mean estimated effect of the treated - difference of means in the trial|."""
    treated = (test["t"] == 1).to_numpy()
    control = (test["t"] == 0) & (test["e"] == 1)
    truth = test["yf"][treated].mean() - test["yf"][control].mean()
    return float(abs(effect[treated].mean() - truth))


def run(quick: bool, seed: int) -> Iterator[Record]:
    parts = list(splits(2 if quick else 10))
    learn, test = len(parts[0][0].y), len(parts[0][1])
    stretch = np.sqrt(1 / len(parts) + test / learn)  # an sd into a standard error
    risks = {
        name: np.array([policy_risk(np.full(len(rows), everybody), rows) for _, rows in parts])
        for name, everybody in ((EVERYBODY, True), (NOBODY, False))
    }
    errors, seconds = {}, dict.fromkeys(risks, 0.0)
    for name, method in methods(quick, seed).items():
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            effects = [method(replicate) for replicate, _ in parts]
        seconds[name] = (time.process_time() - start) / len(parts)
        found = list(zip(effects, (rows for _, rows in parts), strict=True))
        risks[name] = np.array([policy_risk(effect > 0, rows) for effect, rows in found])
        errors[name] = np.array([att_error(effect, rows) for effect, rows in found])

    def record(name: str, metric: str, values: np.ndarray) -> Record:
        se = float(values.std(ddof=1) * stretch)
        return Record(
            "jobs", "Jobs", name, metric, float(values.mean()), se, len(values), seconds[name]
        )

    for name, risk in risks.items():
        yield record(name, "policy risk", risk)
        if name != EVERYBODY:
            yield record(name, f"policy risk less that of {EVERYBODY}", risk - risks[EVERYBODY])
        if name in errors:
            yield record(name, "ATT error", errors[name])
    for name, value in PUBLISHED.items():
        yield Record("jobs", "Jobs", name, "policy risk", value, n=10, source="published")


if __name__ == "__main__":
    main("jobs", __doc__.split("\n")[0], run)
