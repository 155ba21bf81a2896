"""A large mixed table through the front door of effects: seconds of CPU and peak memory.

Numbers, counts and categories of up to 30 levels, 5 % of the cells empty, a confounded treatment
of two arms with a known average effect. Asked are effect, interval and quick refutations.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from time import process_time

import numpy as np
import pandas as pd

from benchmarks._runner import Record, main

EFFECT = 1.0


def large_table(n: int, seed: int = 0, columns: int = 60) -> pd.DataFrame:
    """A third numbers, a third counts, a third categories; the first of each kind confounds."""
    rng = np.random.default_rng(seed)
    third = columns // 3
    parts: dict[str, np.ndarray] = {}
    for j in range(columns - 2 * third):
        parts[f"number {j}"] = rng.normal(size=n)
    for j in range(third):
        parts[f"count {j}"] = rng.poisson(2 + j % 5, n).astype(float)
    levels = [np.array([f"level {i}" for i in range(2 + (j * 28) // third)]) for j in range(third)]
    codes = [rng.integers(0, len(names), n) for names in levels]
    pull = parts["number 0"] + 0.3 * (parts["count 0"] - 2) + 0.5 * (codes[0] - 0.5)
    t = (rng.random(n) < 1 / (1 + np.exp(-0.5 * pull))).astype(int)
    lift = EFFECT + 0.5 * parts["number 1"]
    y = lift * t + pull + np.sin(2 * parts["number 0"]) + rng.normal(size=n)
    frame = pd.DataFrame(parts)
    # What confounds is complete: the true effect must be there to be found.
    complete = ("number 0", "count 0")
    for name in frame.columns.difference(complete):
        frame.loc[rng.random(n) < 0.05, name] = np.nan
    for j, (names, code) in enumerate(zip(levels, codes, strict=True)):
        column = pd.Series(names[code]).astype(object)
        frame[f"category {j}"] = column.where((rng.random(n) > 0.05) | (j == 0))
    return frame.assign(t=t, y=y)


def run(quick: bool, seed: int) -> Iterator[Record]:
    from workbench.effects import estimate

    n = 10_000 if quick else 200_000
    df = large_table(n, seed)
    started = process_time()
    found = estimate(
        df,
        [c for c in df.columns if c not in ("t", "y")],
        treatment="t",
        outcome="y",
        refute=True,
        simulations=2,
        random_state=seed,
    )
    seconds = process_time() - started
    values = {
        "effect (true 1)": found.value,
        "lower end": found.low,
        "upper end": found.high,
        "refutations passed": sum(r.outcome == "passed" for r in found.refutations),
        "CPU seconds": seconds,
        "peak GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    for metric, value in values.items():
        yield Record("effects_scale", f"{n:,} x 60 mixed", found.method, metric, float(value))


if __name__ == "__main__":
    main("effects_scale", __doc__.split("\n")[0], run)
