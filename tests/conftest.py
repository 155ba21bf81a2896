"""Shared fixtures: real data, and the promise that nobody's table is ever changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with the public data sets; tests that need it are skipped where it is absent."""
    folder = os.environ.get("WORKBENCH_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("real data not available: WORKBENCH_DATA is not set to its folder")
    return Path(folder)


@pytest.fixture
def measured(tmp_path):
    """``measured(name)``: the records of a whole benchmark, run in a process of its own."""

    def records(name: str) -> list[dict]:
        file = tmp_path / "records.json"
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(file)]
        subprocess.run(command, cwd=Path(__file__).parents[1], check=True, capture_output=True)
        return json.loads(file.read_text())

    return records


@pytest.fixture
def untouched():
    """Register tables; at the end of the test each must be byte-identical to what it was."""
    kept: list[tuple[pd.DataFrame, pd.DataFrame, int]] = []

    def register(df: pd.DataFrame) -> pd.DataFrame:
        kept.append((df, df.copy(deep=True), _fingerprint(df)))
        return df

    yield register
    for now, before, mark in kept:
        pd.testing.assert_frame_equal(now, before, check_exact=True)
        assert _fingerprint(now) == mark


def _fingerprint(df: pd.DataFrame) -> int:
    hashed = pd.util.hash_pandas_object(df, index=True).to_numpy()
    return hash((hashed.tobytes(), tuple(df.columns), tuple(map(str, df.dtypes)), len(df.attrs)))


@pytest.fixture
def people() -> pd.DataFrame:
    """A small mixed table: numbers, counts, levels, a binary treatment, a numeric outcome."""
    r = np.random.default_rng(7)
    n = 60
    age = r.normal(50, 8, n)
    treated = (r.random(n) < 1 / (1 + np.exp(-(age - 50) / 8))).astype(int)
    return pd.DataFrame(
        {
            "age": age,
            "sex": r.choice(["f", "m"], n),
            "visits": r.integers(0, 9, n),
            "region": pd.Categorical(r.choice(["north", "south", "west"], n)),
            "treated": treated,
            "score": 2.0 * treated + 0.1 * age + r.normal(size=n),
        }
    )
