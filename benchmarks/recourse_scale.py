"""Recourse for many people: seconds of CPU and peak memory on a made-up table of 21 numbers.

Correlated numbers, outcomes drawn from a logistic law, a logistic model that learned them. What is
asked: robust recourse for a million rows in one call, ten samples of the generator for a thousand
people (its training counts apart), trimmed targets, and the exact answer.
"""

from __future__ import annotations

import resource
import warnings
from collections.abc import Iterator
from time import process_time

import numpy as np
import pandas as pd

from ._runner import Record, main

NAME, COLUMNS = "recourse_scale", 21
_FACTORS = 4
_KNOWN = 5_000  # rows that model and methods learn from


def table(n: int, seed: int) -> pd.DataFrame:
    """Numbers of variance one that share four factors."""
    rng = np.random.default_rng(seed)
    loads = np.random.default_rng(7).normal(size=(_FACTORS, COLUMNS))
    loads *= np.sqrt(0.5) / np.linalg.norm(loads, axis=0)
    rows = rng.normal(size=(n, _FACTORS)) @ loads + np.sqrt(0.5) * rng.normal(size=(n, COLUMNS))
    return pd.DataFrame(rows, columns=[f"x{j:02d}" for j in range(COLUMNS)])


def run(quick: bool, seed: int) -> Iterator[Record]:
    from sklearn.linear_model import LogisticRegression

    from workbench.recourse import ROAR, ExactRecourse, GenRe, RecourseProblem, TrimmedTarget

    warnings.simplefilter("ignore")  # the conditions of single answers
    known, rng = table(_KNOWN, seed), np.random.default_rng(seed)
    pull = known.to_numpy() @ np.random.default_rng(8).normal(size=COLUMNS) / COLUMNS**0.5
    happened = pd.Series(rng.random(_KNOWN) < 1 / (1 + np.exp(-2 * pull)))
    model = LogisticRegression().fit(known, happened)
    problem = RecourseProblem(model, data=known, scale=dict.fromkeys(known, 1.0))

    def timed(method: str, metric: str, call, per: int) -> Iterator[Record]:
        start = process_time()
        call()
        seconds = process_time() - start
        yield Record(NAME, f"{per:,} rows", method, metric, seconds, seconds=seconds / per)

    n = 20_000 if quick else 1_000_000
    people, robust = table(n, seed + 1), ROAR(0.01).fit(problem)
    yield from timed("ROAR", "CPU seconds", lambda: robust.recommend(people, progress=False), n)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    yield Record(NAME, f"{n:,} rows", "ROAR", "peak GiB", peak)
    turned_down = people[model.predict_proba(people)[:, 1] <= 0.5]
    some = turned_down.head(20 if quick else 200)
    for method in (ExactRecourse(), TrimmedTarget()):
        method.fit(problem, *([happened] if isinstance(method, TrimmedTarget) else []))
        method.recommend(some.head(2), progress=False)  # what is loaded or compiled once
        ask = lambda method=method: method.recommend(some, progress=False)  # noqa: E731
        yield from timed(type(method).__name__, "CPU seconds", ask, len(some))
    generator = GenRe(epochs=1 if quick else 5).fit(problem, happened)
    some = turned_down.head(100 if quick else 1_000)
    generator.sample(some.head(2), 10)
    metric = "CPU seconds for ten samples each"
    yield from timed("GenRe", metric, lambda: generator.sample(some, 10), len(some))


if __name__ == "__main__":
    main(NAME, "Recourse for many people: seconds and memory.", run)
