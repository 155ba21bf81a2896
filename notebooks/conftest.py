"""Notebooks on public data sets are skipped where these are absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

NEEDS_DATA = ("02_discovery_on_proteins.ipynb",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = os.environ.get("WORKBENCH_DATA")
    if folder and Path(folder).is_dir():
        return
    absent = pytest.mark.skip(reason="WORKBENCH_DATA is not set to the folder of real data")
    for item in items:
        if item.path.parent == Path(__file__).parent and item.path.name in NEEDS_DATA:
            item.add_marker(absent)
