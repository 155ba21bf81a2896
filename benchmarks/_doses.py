"""What benchmarks of doses share: replicates, laws with known curves, errors, the paired table."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from workbench.effects import DoseEstimator, dose_response_error

from ._effects import data_folder
from ._runner import Record

GRID = 0.01 + np.arange(64) / 64  # the doses at which published tables are evaluated


@dataclass(frozen=True)
class DoseReplicate:
    """Rows to learn from, rows to be judged on, and the noiseless curves of the latter."""

    name: str
    x: np.ndarray
    t: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    truth: np.ndarray
    grid: np.ndarray = field(default_factory=lambda: GRID)


@dataclass(frozen=True)
class Curves:
    """Curves (m, G), and 90 % intervals where there are any."""

    level: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


DoseMethod = Callable[[DoseReplicate], Curves]
Law = Callable[[np.random.Generator, int], tuple]


def ours(estimator: DoseEstimator, intervals: bool = False) -> DoseMethod:
    """One of our estimators as a method."""

    def curves(r: DoseReplicate) -> Curves:
        estimator.fit(r.y, r.t, X=r.x)
        level = estimator.dose_response(r.x_test, r.grid)
        if not intervals:
            return Curves(level)
        return Curves(level, *estimator.dose_response_interval(r.x_test, r.grid, alpha=0.1))

    return curves


def ihdp_continuous(splits: Sequence[int]) -> Iterator[DoseReplicate]:
    """Splits (0 to 99) of IHDP with a continuous dose; the published tables use 0 to 49."""
    folder = data_folder("ihdp_continuous")
    table = pd.read_parquet(folder / "ihdp_continuous.parquet")
    x = table[[f"x{j}" for j in range(25)]].to_numpy(dtype=float)
    with np.load(folder / "ihdp_response_grid64.npz") as file:
        grid, response = file["t_grid"].astype(float), file["response"].astype(float)
    with np.load(folder / "splits_100.npz") as file:
        train, test = (file[part].astype(int) for part in ("train", "test"))
    for k in splits:
        a, b = train[k], test[k]
        t, y = (table[name].to_numpy(dtype=float)[a] for name in ("t", "y"))
        yield DoseReplicate(f"split {k}", x[a], t, y, x[b], response[b], grid)


def sigmoid(value: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-value))."""
    return 1 / (1 + np.exp(-value))


def moving_optimum(rng: np.random.Generator, n: int) -> tuple:
    """A peak whose dose differs between people: x, t, and mu(x, t) as a function."""
    x = rng.normal(size=(n, 12))
    x[:, 10:] = x[:, 10:] > 0
    t = sigmoid(0.8 * (x[:, 0] - x[:, 4] / 2) + 0.8 * rng.normal(size=n))

    def mu(x: np.ndarray, t: np.ndarray) -> np.ndarray:
        place = sigmoid(x[:, 0] + x[:, 1] * x[:, 2] / 2)[:, None]
        peak = 4 * (1 + np.tanh(x[:, [3]]) / 2) * np.exp(-((t - place) ** 2) / (2 * 0.15**2))
        return peak + 2 * x[:, [4]] * t + np.sin(x[:, [5]]) * np.cos(4 * np.pi * t) + x[:, [6]]

    return x, t, mu


def confounded(rng: np.random.Generator, n: int) -> tuple:
    """Doses that follow what raises the outcome, so that the naive curve has the wrong sign."""
    x = rng.normal(size=(n, 12))
    x[:, 10:] = x[:, 10:] > 0
    s = (x[:, 0] + x[:, 1]) / np.sqrt(2)
    t = sigmoid(2 * s + 0.6 * rng.normal(size=n))

    def mu(x: np.ndarray, t: np.ndarray) -> np.ndarray:
        level = 3 * (x[:, [0]] + x[:, [1]]) / np.sqrt(2)
        bent = 1.5 * np.sin(3 * t) * x[:, [3]] + 2 * x[:, [2]] * t
        return level - 4 * t + bent + 4 * x[:, [10]] * (t - 0.5) ** 2

    return x, t, mu


def vcnet_synthetic(rng: np.random.Generator, n: int) -> tuple:
    """The synthetic law of Nie and others, ICLR 2021."""
    x = rng.random((n, 6))
    x1, _, x3, x4, x5, _ = x.T
    s = (10 * np.sin(x[:, :3].max(axis=1)) + x[:, 2:5].max(axis=1) ** 3) / (1 + (x1 + x5) ** 2)
    s = s + np.sin(0.5 * x3) * (1 + np.exp(x4 - 0.5 * x3)) + x3**2 + 2 * np.sin(x4) + 2 * x5 - 6.5
    t = sigmoid(s + 0.5 * rng.normal(size=n))

    def mu(x: np.ndarray, t: np.ndarray) -> np.ndarray:
        x1, _, x3, x4, _, x6 = (x[:, [j]] for j in range(6))
        size = 4 * np.maximum(x1, x6) ** 3 / (1 + 2 * x3**2) * np.sin(x4)
        return np.cos(2 * np.pi * (t - 0.5)) * (t**2 + size)

    return x, t, mu


def draws(
    law: Law, name: str, seeds: Sequence[int], n: int = 500, n_test: int = 250
) -> Iterator[DoseReplicate]:
    """Fresh draws of a law, noise of sd 0.5."""
    for seed in seeds:
        rng = np.random.default_rng([sum(map(ord, name)), seed])
        x, t, mu = law(rng, n + n_test)
        y = mu(x, t[:, None])[:, 0] + 0.5 * rng.normal(size=len(t))
        yield DoseReplicate(
            f"{name}, draw {seed}", x[:n], t[:n], y[:n], x[n:], mu(x[n:], GRID[None])
        )


@dataclass
class Scores:
    """CF errors of one method by replicate, what its intervals held, CPU seconds a replicate.

    Attributes:
        error: (replicates,).
        held: Whether the interval holds the truth, (units, G), one array per replicate.
        seconds: CPU seconds of a replicate.
    """

    error: list[float] = field(default_factory=list)
    held: list[np.ndarray] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, r: DoseReplicate, found: Curves) -> None:
        self.error.append(dose_response_error(found.level, r.truth, "cf"))
        if found.low is not None:
            self.held.append((found.low <= r.truth) & (r.truth <= found.high))


def scored(
    methods: Mapping[str, DoseMethod], replicates: Sequence[DoseReplicate]
) -> dict[str, Scores]:
    """Every method on every replicate."""
    found = {name: Scores() for name in methods}
    for r in replicates:
        for name, method in methods.items():
            start = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                curves = method(r)
            found[name].seconds += (time.process_time() - start) / len(replicates)
            found[name].add(r, curves)
    return found


def scored_together(
    estimator: DoseEstimator, replicates: Sequence[DoseReplicate], intervals: bool = False
) -> Scores:
    """A network learner on all replicates at once."""
    from workbench.effects import fit_together

    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = fit_together(estimator, [{"Y": r.y, "T": r.t, "X": r.x} for r in replicates])
        scores = Scores()
        for one, r in zip(fitted, replicates, strict=True):
            scores.add(r, Curves(one.dose_response(r.x_test, r.grid)))
    scores.seconds = (time.process_time() - start) / len(replicates)
    return scores


def records(
    benchmark: str, dataset: str, found: Mapping[str, Scores], references: Sequence[str] = ()
) -> Iterator[Record]:
    """Mean and standard error, coverage by decile of dose, and paired tests with references."""
    from scipy.stats import wilcoxon

    for name, scores in found.items():
        error = np.array(scores.error)
        n = len(error)

        def record(metric: str, value: float, se: float | None = None, name=name, n=n) -> Record:
            return Record(
                benchmark, dataset, name, metric, float(value), se, n, found[name].seconds
            )

        def se(values: np.ndarray, n=n) -> float | None:
            return float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else None

        yield record("CF error", error.mean(), se(error))
        if scores.held:
            by_dose = np.mean([h.mean(axis=0) for h in scores.held], axis=0)
            deciles = [part.mean() for part in np.array_split(by_dose, 10)]
            yield record("90 % intervals hold", by_dose.mean())
            yield record("the same, worst decile of dose", min(deciles))
        for other in references:
            if other not in found or other == name or len(found[other].error) != n:
                continue
            gap = error - np.array(found[other].error)
            yield record(f"mean difference to {other}", gap.mean(), se(gap))
            if n > 5 and gap.any():
                yield record(f"Wilcoxon p against {other}", wilcoxon(gap).pvalue)
