"""Tables of today and of later, as published: folds, models, columns as the models read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from ._effects import data_folder

_FOLDS = 5
_LATER_CODE = {3: 5, 4: 3}  # codes of personal_status_sex in the corrected file -> the old ones
# Consequences of the outcome and what only counts years.
_LEAKS = ["ChgOffDate", "ChgOffPrinGr", "Recession", "xx", "daysterm", "Zip", "NAICS"]
_LEAKS += ["ApprovalFY", "ApprovalDate"]


@dataclass(frozen=True)
class Fold:
    """Standardised numbers and one 0/1 column per level, as the released code makes them.

    Attributes:
        today, label: Rows and labels that the model of today learns from.
        later, later_label: Those of the later model.
        people: Test rows of today.
        numbers: Columns that are numbers; the others are levels.
        moments: Mean and sd that each number was standardised with.
    """

    today: pd.DataFrame
    label: np.ndarray
    later: pd.DataFrame
    later_label: np.ndarray
    people: pd.DataFrame
    numbers: list[str]
    moments: dict[str, tuple[float, float]]


def folds(name: str) -> Iterator[Fold]:
    """The five folds of a shift in :data:`SHIFTS`."""
    first, second, label = SHIFTS[name]()
    first, second = (t.sample(frac=1.0, random_state=1) for t in (first, second))
    y1, y2 = (t.pop(label).to_numpy(dtype=int) for t in (first, second))
    numbers = [c for c in first if pd.api.types.is_numeric_dtype(first[c])]
    moments = {c: (float(first[c].mean()), float(first[c].std(ddof=0)) or 1.0) for c in numbers}
    x1, x2 = (_columns(t, numbers, moments) for t in (first, second))
    if len(x1.columns) != len(x2.columns) or name != "German, by position":
        x2 = x2.reindex(columns=x1.columns, fill_value=0.0)
    x2.columns = x1.columns
    parts1, parts2 = (np.array_split(np.arange(len(x)), _FOLDS) for x in (x1, x2))
    for part1, part2 in zip(parts1, parts2, strict=True):
        train1, train2 = (np.setdiff1d(np.arange(len(x)), p) for x, p in ((x1, part1), (x2, part2)))
        yield Fold(
            x1.iloc[train1].reset_index(drop=True),
            y1[train1],
            x2.iloc[train2].reset_index(drop=True),
            y2[train2],
            x1.iloc[part1].reset_index(drop=True),
            numbers,
            moments,
        )


def _columns(table: pd.DataFrame, numbers: list[str], moments: dict) -> pd.DataFrame:
    parts = {c: (table[c] - moments[c][0]) / moments[c][1] for c in numbers}
    levels = pd.get_dummies(table.drop(columns=numbers).astype(str), prefix_sep="=", dtype=float)
    return pd.concat([pd.DataFrame(parts), levels], axis=1).astype(float)


def _german(aligned: bool) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    folder, label = data_folder("german"), "credit_risk"
    names = ["duration", "amount", "age", "personal_status_sex", label]
    first, second = (
        pd.read_csv(folder / f"{file}.csv.gz")[names]
        for file in ("statlog_coded", "south_german_coded")
    )
    if aligned:
        second["personal_status_sex"] = second["personal_status_sex"].replace(_LATER_CODE)
    for table in (first, second):
        table["personal_status_sex"] = table["personal_status_sex"].astype(str)
    return first, second, label


def _sba(clean: bool) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    table = pd.read_csv(data_folder("sba") / "sba_case.csv.gz").fillna(-1)
    table["NoDefault"] = 1 - table["Default"]
    drop = ["Selected", "State", "Name", "BalanceGross", "LowDoc", "BankState", "LoanNr_ChkDgt"]
    drop += ["MIS_Status", "Default", "Bank", "City"] + (_LEAKS if clean else [])
    early = table["ApprovalFY"] < 2006
    kept = table.drop(columns=drop)
    if "RevLineCr" in kept:
        kept["RevLineCr"] = kept["RevLineCr"].astype(str)
    return kept[early].copy(), kept.copy(), "NoDefault"


def _student(flipped: bool) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    table = pd.read_csv(data_folder("student") / "student_por.csv.gz")
    passed = (table["G3"] >= 10).astype(int)
    table["label"] = passed if flipped else 1 - passed
    kept = table.drop(columns=["G1", "G2", "G3", "school"])
    return kept[table["school"] == "GP"].copy(), kept.copy(), "label"


SHIFTS: dict[str, Callable[[], tuple[pd.DataFrame, pd.DataFrame, str]]] = {
    "German, aligned": lambda: _german(True),
    "German, by position": lambda: _german(False),
    "SBA, with leaks": lambda: _sba(False),
    "SBA, clean": lambda: _sba(True),
    "Student, label as published (1 = fails)": lambda: _student(False),
    "Student, label flipped (1 = passes)": lambda: _student(True),
}


def logistic(x: pd.DataFrame, y: np.ndarray) -> LogisticRegression:
    """The published linear model."""
    return LogisticRegression(max_iter=1000).fit(x, y)


def network(x: pd.DataFrame, y: np.ndarray, seed: int = 0) -> nn.Sequential:
    """The published network: 50, 100 and 200 units, 100 steps of Adam on the whole table."""
    rows = torch.from_numpy(x.to_numpy()).float()
    goal = torch.from_numpy(y).float()[:, None]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        widths, layers = (x.shape[1], 50, 100, 200), []
        for n_in, n_out in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        model = nn.Sequential(*layers, nn.Linear(widths[-1], 1))
        adam = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(100):
            adam.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(model(rows), goal).backward()
            adam.step()
    return model
