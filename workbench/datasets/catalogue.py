"""``load(name)`` and ``available()``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from ..core.errors import QuestionError, did_you_mean
from ..tables.schema import Schema

if TYPE_CHECKING:
    from ..graph.causal_graph import CausalGraph
    from ..graph.knowledge import Knowledge


@dataclass(frozen=True, eq=False)
class Dataset:
    """A table with what is known about it.

    Attributes:
        name: Its name.
        frame: The table.
        schema: What the columns mean.
        source: Where it comes from.
        knowledge: What is known about causes, or None.
        graph: A causal graph, or None.
        truth: Known true numbers of simulated data, by name.
    """

    name: str
    frame: pd.DataFrame
    schema: Schema
    source: str
    knowledge: Knowledge | None = None
    graph: CausalGraph | None = None
    truth: dict[str, float] | None = None

    def __repr__(self) -> str:
        rows, columns = self.frame.shape
        return f"Dataset({self.name!r}: {rows:,} rows, {columns} columns; {self.source})"


def load(name: str) -> Dataset:
    """Load a data set by name.

    Raises:
        QuestionError: There is no such data set; the closest names are listed.

    Example:
        >>> load("diabetes").frame.shape
        (442, 11)
    """
    if name not in _MAKERS:
        raise QuestionError(
            "there is no data set of this name", value=name, advice=did_you_mean(name, _MAKERS)
        )
    return _MAKERS[name][0]()


def available() -> pd.DataFrame:
    """The data sets by name: rows, columns, what they are."""
    rows = {name: (what, size) for name, (_, what, size) in _MAKERS.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["what", "size"]).rename_axis(
        "name"
    )


def shipped(kind: str, name: str) -> Path:
    """Path of a file that ships with the project; ``kind`` is ``"data"`` or ``"graphs"``."""
    package = Path(__file__).parent.parent
    installed = package / "_files" / kind / name
    return installed if installed.exists() else package.parent / kind / name


def _diabetes() -> Dataset:
    from sklearn.datasets import load_diabetes

    from ..graph.knowledge import Knowledge

    bunch = load_diabetes(scaled=False, as_frame=True)
    names = {
        "s1": "total_cholesterol",
        "s2": "ldl",
        "s3": "hdl",
        "s4": "cholesterol_ratio",
        "s5": "log_triglycerides",
        "s6": "glucose",
        "target": "progression",
    }
    frame = bunch.frame.rename(columns=names)
    frame["sex"] = frame["sex"].astype(int)
    serum = [*names.values()][:-1]
    units = {
        "age": "years",
        "bmi": "kg/m²",
        "bp": "mmHg",
        "total_cholesterol": "mg/dl",
        "ldl": "mg/dl",
        "hdl": "mg/dl",
        "glucose": "mg/dl",
        "progression": "points",
    }
    changes: dict[str, dict] = {name: {"unit": unit} for name, unit in units.items()}
    for name in ("age", "sex"):
        changes.setdefault(name, {})["actionable"] = False
    for name in (*serum, "progression"):
        # Nobody sets a serum value or the progression by hand; they follow from their causes.
        changes.setdefault(name, {})["actionable"] = False
    return Dataset(
        name="diabetes",
        frame=frame,
        schema=Schema.infer(frame).correct(changes),
        source="Efron, Hastie, Johnstone, Tibshirani, Annals of Statistics 32(2), 2004; shipped "
        "with scikit-learn. sex is coded 1 and 2 there without saying which is which.",
        knowledge=Knowledge(tiers=[["age", "sex"], ["bmi", "bp", *serum], ["progression"]]),
    )


def _clinic() -> Dataset:
    from ..graph.files import read_graph
    from ..tables.read import read_table

    frame = read_table(shipped("data", "clinic.csv"))
    fixed = {"actionable": False}
    schema = Schema.infer(frame).correct(
        clinic={"role": "cluster", **fixed},
        age={"unit": "years", **fixed},
        sex=fixed,
        severity=fixed,
        smoker={"levels": ("no", "yes")},
        drug={"levels": ("old", "new")},
        blood_pressure={"unit": "mmHg", **fixed},
        hospital_days={"unit": "days", **fixed},
    )
    smoking = (frame["smoker"] == "yes").mean()
    return Dataset(
        name="clinic",
        frame=frame,
        schema=schema,
        source="Simulated; the law is written in data/make_clinic.py.",
        graph=read_graph(shipped("graphs", "clinic.dot")),
        truth={"ATE of drug on blood_pressure": float(-12 * smoking - 6 * (1 - smoking))},
    )


def _health_insurance() -> Dataset:
    from .health_insurance import health_insurance

    return health_insurance()


_MAKERS: dict[str, tuple[Callable[[], Dataset], str, str]] = {
    "diabetes": (_diabetes, "442 patients, ten baseline measurements, progression", "442 x 11"),
    "clinic": (_clinic, "simulated drug trial with confounding and known effect", "600 x 8"),
    "health_insurance": (
        _health_insurance,
        "5,912 people with health plans drawn at random, and the care they used",
        "20190 x 19",
    ),
}
