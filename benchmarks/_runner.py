"""What all benchmarks share: options, records, timing, one printed table."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Record:
    """One figure.

    Attributes:
        benchmark, dataset, method, metric: What was measured.
        value: The figure.
        se: Its standard error, or None.
        n: How many repetitions it averages.
        seconds: Time of one repetition, or None.
        source: ``"measured"`` in this run, or ``"published"``.
    """

    benchmark: str
    dataset: str
    method: str
    metric: str
    value: float
    se: float | None = None
    n: int = 1
    seconds: float | None = None
    source: str = "measured"


def main(
    name: str,
    about: str,
    run: Callable[..., Iterable[Record]],
    datasets: Sequence[str] = (),
) -> None:
    """Parse the options, run, print the table, write the JSON.

    Args:
        name: Of the benchmark.
        about: One sentence for ``--help``.
        run: Called with (quick, seed); yields records.
        datasets: Names among which ``--only`` may choose; the chosen are then a third argument.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=about)
    parser.add_argument("--quick", action="store_true", help="within a minute on two cores")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the records here")
    if datasets:
        parser.add_argument("--only", nargs="+", choices=datasets, default=list(datasets))
    options = parser.parse_args()
    chosen = [options.only] if datasets else []
    records = list(run(options.quick, options.seed, *chosen))
    show(records)
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in records], indent=1) + "\n")


def show(records: Iterable[Record]) -> None:
    """Print one line per record."""
    rows = [("dataset", "method", "metric", "value", "seconds")]
    for r in records:
        seconds = "" if r.seconds is None else f"{r.seconds:.3g}"
        rows.append((r.dataset, r.method, r.metric, _number(r), seconds))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    for row in rows:
        print("  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)).rstrip())


def _number(record: Record) -> str:
    text = f"{record.value:.4g}"
    if record.se is not None:
        text += f" ± {record.se:.2g}"
    return text + (" (published)" if record.source == "published" else "")


def best_time(call: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """The shortest of some runs in seconds, and the last result."""
    best, result = float("inf"), None
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        best = min(best, time.perf_counter() - start)
    return best, result
