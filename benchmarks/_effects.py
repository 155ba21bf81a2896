"""What benchmarks of individual effects share: replicates, the error, the paired table."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from workbench.core.errors import DataError
from workbench.effects import EffectEstimator
from workbench.tables.effect_data import effect_data
from workbench.tables.schema import Schema

from ._runner import Record


@dataclass(frozen=True)
class Replicate:
    """Rows to learn from and rows to be judged on, with the noiseless effect of the latter.

    ``schema`` names the columns of x and says what they mean, where the rows to learn from alone
    would tell it wrong: a column may have two values there and more of them in the other rows.
    """

    name: str
    x: np.ndarray
    t: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    effect_test: np.ndarray
    schema: Schema | None = None


Method = Callable[[Replicate], np.ndarray]  # -> effects of the test rows


def ours(estimator: EffectEstimator, held: list[float] | None = None) -> Method:
    """One of our estimators as a method: fitted on the rows, asked about the test rows.

    Args:
        estimator: Refitted to every replicate.
        held: Gets the share of true effects of test rows that their 90 % intervals hold.
    """

    def effects(r: Replicate) -> np.ndarray:
        if r.schema is None:
            x_test = r.x_test
            estimator.fit(r.y, r.t, X=r.x)
        else:
            x, x_test = (pd.DataFrame(part, columns=r.schema.names) for part in (r.x, r.x_test))
            data = effect_data(r.y, r.t, X=x, schema=r.schema, discrete_treatment=True)
            estimator.fit_data(data)
        if held is not None:
            low, high = estimator.effect_interval(x_test, alpha=0.1)
            held.append(float(((low <= r.effect_test) & (r.effect_test <= high)).mean()))
        return estimator.effect(x_test)

    return effects


def coverage_record(benchmark: str, dataset: str, method: str, held: Sequence[float]) -> Record:
    """The mean share of true effects that 90 % intervals held."""
    n = len(held)
    se = float(np.std(held, ddof=1) / np.sqrt(n)) if n > 1 else None
    name = "true effects held by 90 % intervals"
    return Record(benchmark, dataset, method, name, float(np.mean(held)), se, n)


def network(cls: type, **params) -> Method:
    """One of our networks as a method, without a bar."""
    return ours(cls(progress=False, **params))


def data_folder(name: str) -> Path:
    """A folder of the data that ``WORKBENCH_DATA`` points to."""
    folder = Path(os.environ.get("WORKBENCH_DATA", ""), name)
    if "WORKBENCH_DATA" not in os.environ or not folder.is_dir():
        raise DataError(f"needs the data set {name!r}", advice="Set WORKBENCH_DATA to its parent.")
    return folder


def ihdp(which: Sequence[int]) -> Iterator[Replicate]:
    """Replicates (from 0) of IHDP-100 in the official split; counterfactuals stay behind."""
    folder = data_folder("ihdp")
    train, test = (
        {k: v[..., list(which)] for k, v in np.load(folder / f"ihdp_npci_1-100.{part}.npz").items()}
        for part in ("train", "test")
    )
    for k, r in enumerate(which):
        yield Replicate(
            name=f"replicate {r + 1}",
            x=train["x"][..., k],
            t=train["t"][..., k].astype(int),
            y=train["yf"][..., k],
            x_test=test["x"][..., k],
            effect_test=test["mu1"][..., k] - test["mu0"][..., k],
        )


def told_by_all_rows(x: pd.DataFrame) -> Schema:
    """Columns of two values in the whole table are binary, all others are numbers."""
    few = x.nunique() == 2
    kinds = {name: {"kind": "binary" if few[name] else "continuous"} for name in x}
    return Schema.infer(x).correct(kinds)


_ACIC = "acic2016_pairnet_settings_2_7_26_sims_1-10.npz"


def acic(which: Sequence[tuple[int, int]]) -> Iterator[Replicate]:
    """Tables (setting, simulation) of ACIC 2016: settings 2, 7 and 26, simulations 1 to 10.

    As published: the first 4,000 rows teach, categories are one-hot without their first level,
    and columns are standardised over all 4,802 rows.
    """
    folder = data_folder("acic2016")
    x = pd.get_dummies(pd.read_csv(folder / "x.csv.gz").filter(like="x_"), drop_first=True)
    x = (x - x.mean()) / x.std()
    schema = told_by_all_rows(x)
    with np.load(folder / _ACIC) as file:
        tables = dict(file)
    for setting, simulation in which:
        k = np.flatnonzero((tables["setting"] == setting) & (tables["sim"] == simulation))[0]
        mu0, mu1, y = (tables[name][k].astype(float) for name in ("mu0", "mu1", "y"))
        yield Replicate(
            name=f"setting {setting}, simulation {simulation}",
            x=x.to_numpy(dtype=float)[:4000],
            t=tables["z"][k, :4000].astype(int),
            y=y[:4000],
            x_test=x.to_numpy(dtype=float)[4000:],
            effect_test=(mu1 - mu0)[4000:],
            schema=schema,
        )


def root_pehe(effect: np.ndarray, truth: np.ndarray) -> float:
    """sqrt(mean (estimated effect - effect)^2)."""
    return float(np.sqrt(np.mean((effect - truth) ** 2)))


def errors(
    methods: Mapping[str, Method], replicates: Sequence[Replicate]
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Root PEHE of each method on each replicate, and CPU seconds per replicate."""
    found = {name: np.empty(len(replicates)) for name in methods}
    seconds = dict.fromkeys(methods, 0.0)
    for k, replicate in enumerate(replicates):
        for name, method in methods.items():
            start = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                effect = method(replicate)
            seconds[name] += (time.process_time() - start) / len(replicates)
            found[name][k] = root_pehe(effect, replicate.effect_test)
    return found, seconds


def paired_records(
    benchmark: str,
    dataset: str,
    found: Mapping[str, np.ndarray],
    seconds: Mapping[str, float],
    reference: str,
) -> Iterator[Record]:
    """Mean, median, and against a reference the mean difference and Wilcoxon's two-sided p."""
    from scipy.stats import wilcoxon

    for name, error in found.items():
        n = len(error)

        def record(metric: str, value: float, se: float | None = None, name=name, n=n) -> Record:
            return Record(benchmark, dataset, name, metric, float(value), se, n, seconds[name])

        def se(values: np.ndarray, n=n) -> float | None:
            return float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else None

        yield record("root PEHE, mean", error.mean(), se(error))
        yield record("root PEHE, median", np.median(error))
        if name == reference:
            continue
        gap = error - found[reference]
        yield record(f"mean difference to {reference}", gap.mean(), se(gap))
        yield record(f"share where {reference} is better", (gap > 0).mean())
        if n > 5 and gap.any():
            yield record(f"Wilcoxon p against {reference}", wilcoxon(gap).pvalue)
