"""The RAND Health Insurance Experiment: families were given plans at random, for three or five
years, and their care was counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ..tables.read import read_table
from ..tables.schema import Schema

if TYPE_CHECKING:
    from .catalogue import Dataset

_BEFORE = {  # known before a plan was given
    "zper": "person",
    "site": "site",
    "year": "year",
    "plan": "plan",
    "xage": "age",
    "female": "female",
    "black": "black",
    "income": "income",
    "educdec": "education",
    "num": "family_size",
    "xghindx": "general_health",
    "mhi": "mental_health",
    "disea": "chronic_conditions",
    "physlm": "limitation",
}
_AFTER = {  # follows from what the plan made people do
    "mdvis": "visits",
    "outpdol": "outpatient_spending",
    "drugdol": "drug_spending",
    "inpdol": "hospital_spending",
    "totadm": "admissions",
}
_WHOLE = ("zper", "site", "year", "plan", "female", "black", "num", "mdvis", "totadm")


def health_insurance() -> Dataset:
    """20,190 person-years of 5,912 people, as they lie in statsmodels with all columns.

    ``statsmodels.datasets.randhie.load_pandas()`` leaves out plan, site, year, person and
    spending; the whole table lies beside it. Plans are told by their codes: 11 is free care, 14
    to 16 pay 95 % of each bill up to a limit, 13 (like 1 to 4) has a deductible per person and
    counts as 0 % in the table's own coinsurance column, which is therefore not read here.
    """
    from importlib.resources import as_file, files

    from .catalogue import Dataset

    names = _BEFORE | _AFTER
    with as_file(files("statsmodels.datasets.randhie") / "src" / "randhie.csv") as path:
        frame = read_table(path)[list(names)]
    frame = frame.astype(dict.fromkeys(_WHOLE, int)).rename(columns=names)
    changes: dict[str, dict] = {n: {"unit": "$ a year"} for n in names.values() if "spend" in n}
    changes |= {n: {"kind": "categorical"} for n in ("site", "year", "plan")}
    changes |= {
        "person": {"role": "cluster"},
        "visits": {"kind": "count", "unit": "visits a year"},
        "admissions": {"kind": "count", "unit": "a year"},
        "age": {"unit": "years"},
        "education": {"unit": "years"},
        "income": {"unit": "$ a year"},
        "family_size": {"kind": "count"},
    }
    return Dataset(
        name="health_insurance",
        frame=frame,
        schema=Schema.infer(frame).correct(changes),
        source="RAND Health Insurance Experiment; Newhouse and others, Free for All?, 1993; from "
        "Cameron and Trivedi, Microeconometrics, 2005; shipped with statsmodels.",
    )


def families(frame: pd.DataFrame) -> pd.Series:
    """Who seems to belong to one family: a number for each row, guessed from the codes.

    Families were enrolled whole, and no column says who belongs to which. Neighbours in the order
    of the person codes are taken for one family if their codes are less than ten apart and site,
    plan and income agree.

    Args:
        frame: Rows of :func:`health_insurance`, all of them or some.

    Example:
        >>> frame = health_insurance().frame
        >>> families(frame).nunique() < frame["person"].nunique() / 2
        True
    """
    people = frame.sort_values(["person", "year"]).drop_duplicates("person")
    same = people[["site", "plan", "income"]]
    new = (same != same.shift()).any(axis=1) | (people["person"].diff() >= 10)
    number = pd.Series(new.cumsum().to_numpy(), index=people["person"].to_numpy())
    return frame["person"].map(number).rename("family")
