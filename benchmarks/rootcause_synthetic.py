"""Root causes in simulated systems: every method on the same incidents, with paired tests."""

from __future__ import annotations

import inspect
import time
import warnings
from collections.abc import Callable, Iterator

import numpy as np

import workbench.diagnosis as diagnosis
from workbench.datasets import (
    SimulatedIncident,
    linear_incident,
    noninvertible_incident,
    nonlinear_incident,
    services_incident,
)
from workbench.diagnosis import BlameFlow, Diagnoser, NSigma, evaluate

from ._runner import Record, main

NAME = "rootcause_synthetic"
_FIRST = 1_000_000  # seeds from here on were used for no choice
_OURS = "BlameFlow"

# name -> (generator, its arguments, number of causes)
SETTINGS: dict[str, tuple[Callable, dict, int]] = {
    "linear/1": (linear_incident, {}, 1),
    "linear/3": (linear_incident, {}, 3),
    "noninvertible/1": (noninvertible_incident, {}, 1),
    "noninvertible/3": (noninvertible_incident, {}, 3),
    "nonlinear/1": (nonlinear_incident, {"n_rows": 200}, 1),
    "nonlinear/1, 50 rows": (nonlinear_incident, {"n_rows": 50}, 1),
    "nonlinear/3": (nonlinear_incident, {"n_rows": 200}, 3),
    "services/latency": (services_incident, {"metric": "latency"}, 1),
    "services/availability": (services_incident, {"metric": "availability"}, 1),
}

# ICLR 2025, Table 2: recall@1 and @3 on its ten cases per setting (other distractors, see
# workbench.datasets.linear_incident).
PUBLISHED = {
    "linear/1": {"IDI": (1.0, 1.0), "Traversal": (0.5, 1.0), "CIRCA": (0.8, 1.0)},
    "linear/3": {"IDI": (1.0, 1.0), "Traversal": (0.4, 0.67), "CIRCA": (0.33, 0.33)},
    "noninvertible/1": {"IDI": (0.6, 0.8), "Traversal": (0.0, 0.8), "CIRCA": (0.4, 0.7)},
    "noninvertible/3": {"IDI": (0.63, 0.83), "Traversal": (0.0, 0.33), "CIRCA": (0.03, 0.03)},
}


def methods(n_causes: int) -> dict[str, Diagnoser]:
    """All that the package exports, with the settings that suit a known alarm."""
    found = {}
    for name in diagnosis.__all__:
        cls = getattr(diagnosis, name)
        if not (inspect.isclass(cls) and issubclass(cls, Diagnoser)) or cls is Diagnoser:
            continue
        known = inspect.signature(cls).parameters
        wanted = {"threshold": 2.0, "trust_alarm": True, "n_permutations": 50}
        method = cls(**{k: v for k, v in wanted.items() if k in known})
        found[name] = method
        if n_causes > 1 and "mode" in known:
            found[f"{name} multiple"] = cls(
                threshold=2.0, mode="multiple", n_draws=100, n_permutations=50
            )
    return found


def incidents(setting: str, n: int, seed: int) -> list[SimulatedIncident]:
    make, arguments, n_causes = SETTINGS[setting]
    more = {} if make is services_incident else {"n_causes": n_causes}
    first = _FIRST + 10_000 * seed
    return [make(**arguments, **more, random_state=first + i) for i in range(n)]


def run(quick: bool, seed: int) -> Iterator[Record]:
    warnings.simplefilter("ignore")  # the conditions of single answers
    n = 8 if quick else 100
    for setting in SETTINGS:
        cases = incidents(setting, n, seed)
        hits: dict[str, np.ndarray] = {}
        for name, method in methods(SETTINGS[setting][2]).items():
            start = time.process_time()
            rankings = [method.fit(c.system).rank(c.incident) for c in cases]
            seconds = (time.process_time() - start) / n
            result = evaluate(rankings, [c.causes for c in cases])
            hits[name] = result.cases["recall@1"].to_numpy(dtype=float)
            for metric in ("recall@1", "recall@3"):
                value, se, _ = result.table.loc[metric]
                yield Record(NAME, setting, name, metric, value, se, n, seconds)
        for name, other in hits.items():
            if name != _OURS:
                for test, p in paired_tests(hits[_OURS], other).items():
                    yield Record(NAME, setting, f"{_OURS} against {name}", test, p, n=n)
        for name, pair in PUBLISHED.get(setting, {}).items():
            for metric, value in zip(("recall@1", "recall@3"), pair, strict=True):
                yield Record(NAME, setting, name, metric, value, n=10, source="published")
    yield from empty_answers(quick, seed)


def empty_answers(quick: bool, seed: int) -> Iterator[Record]:
    """Share of fault-free windows of the shop in which nobody is blamed."""
    n = 8 if quick else 100
    for metric in ("latency", "availability"):
        first = _FIRST + 10_000 * seed
        cases = [services_incident(metric, fault=False, random_state=first + i) for i in range(n)]
        for method in (BlameFlow(), NSigma()):
            rankings = [method.fit(c.system).rank(c.incident) for c in cases]
            result = evaluate(rankings, [()] * n)
            value, se, _ = result.table.loc["specificity"]
            name = type(method).__name__
            yield Record(NAME, f"services/{metric}, no fault", name, "specificity", value, se, n)


def paired_tests(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Difference of the mean recall@1 and two-sided p values of the sign and Wilcoxon tests."""
    from scipy.stats import binomtest, wilcoxon

    difference = ours - theirs
    better, worse = int((difference > 0).sum()), int((difference < 0).sum())
    if better + worse == 0:
        return {"difference of recall@1": 0.0, "sign test p": 1.0, "Wilcoxon p": 1.0}
    return {
        "difference of recall@1": float(difference.mean()),
        "sign test p": float(binomtest(better, better + worse).pvalue),
        "Wilcoxon p": float(wilcoxon(difference).pvalue),
    }


if __name__ == "__main__":
    main(NAME, "Root causes in simulated systems with known truth.", run)
