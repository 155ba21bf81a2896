"""Odd tables and what every entry must make of them: the cases as data.

A clean table with known answers is made odd in one way at a time. Beside every oddity stands, per
entry, what has to come out: the right answer, a refusal that names the place, or an answer with a
named warning.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..core.seeding import Seed, generator

EFFECT = 2.0  # of t on y in the clean table
TOLERANCE = 0.5  # some five standard errors of a good estimator on the clean table
ENTRIES = ("effects", "discovery", "recourse", "diagnosis", "study")
EDGES = frozenset({("b", "t"), ("b", "y"), ("t", "y"), ("a", "y")})  # cause, effect


@dataclass(frozen=True)
class Expected:
    """What has to come out of one entry.

    Attributes:
        outcome: ``"answer"``, ``"refusal"`` or ``"warning"`` (an answer with a named warning).
        places: Texts that a refusal must contain: the column and, where there is one, the row or
            value.
        codes: Codes of which one must be attached to the answer.
        right: Whether the number of a warned answer must be right (False where the data can't
            tell); after ``"refusal"``, whether the right number is as good.
        without: Roles whose edges a discovered graph is not held to.
    """

    outcome: Literal["answer", "refusal", "warning"] = "answer"
    places: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    right: bool = True
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class OddInput:
    """One oddity.

    Attributes:
        name: A few words.
        change: Makes the clean table odd; returns a new table.
        expected: Entry (``effects``, ``discovery``, ``recourse``, ``diagnosis``, ``study``) ->
            :class:`Expected`.
        problem: Words (a regular expression) by one of which an error names the problem.
        names: Role (``a``, ``b``, ``t``, ``y``) -> the column that plays it in the odd table.
        arms: Control and treated level in the odd table.
    """

    name: str
    change: Callable[[pd.DataFrame], pd.DataFrame]
    expected: Mapping[str, Expected]
    problem: str = ""
    names: Mapping[str, Any] = field(default_factory=dict)
    arms: tuple[Any, Any] = (0, 1)

    def column(self, role: str) -> Any:
        """The column that plays a role."""
        return self.names.get(role, role)


def answer(without: str = "") -> Expected:
    """The right answer."""
    return Expected(without=tuple(without))


def refusal(*places: str, unless_right: bool = False) -> Expected:
    """A refusal that contains all these texts; or, where one may guess, the right answer."""
    return Expected("refusal", places, right=unless_right)


def warning(*codes: str, right: bool = True, without: str = "") -> Expected:
    """An answer with one of these warnings attached."""
    return Expected("warning", (), codes, right, tuple(without))


def clean_table(n: int = 300, random_state: Seed = 0) -> pd.DataFrame:
    """b raises the chance of treatment t; y = 2 t + b + a + noise of sd 0.5.

    Example:
        >>> list(clean_table(5))
        ['b', 'a', 't', 'y']
    """
    rng = generator(random_state)
    b, a, noise = rng.normal(size=(3, n))
    t = (rng.random(n) < 1 / (1 + np.exp(-0.8 * b))).astype(int)
    return pd.DataFrame({"b": b, "a": a, "t": t, "y": EFFECT * t + b + a + 0.5 * noise})


def put(column: str, row: int, value: Any, dtype: Any = float) -> Callable:
    """A change that overwrites one cell."""

    def change(df: pd.DataFrame) -> pd.DataFrame:
        out = df.copy()
        out[column] = out[column].astype(dtype)
        out.loc[row, column] = value
        return out

    return change


def turn(column: str, function: Callable[[pd.Series], Any]) -> Callable:
    """A change that replaces one column by a function of it."""
    return lambda df: df.assign(**{column: function(df[column])})


def rename(**names: Any) -> Callable:
    """A change of column names."""
    return lambda df: df.rename(columns=names)


def odd(
    name: str,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    everywhere: Expected | None = None,
    *,
    problem: str = "",
    names: Mapping[str, Any] | None = None,
    arms: tuple[Any, Any] = (0, 1),
    **entries: Expected,
) -> OddInput:
    """An oddity; the study expects what effects expect unless it says otherwise."""
    common = everywhere or answer()
    expected = {e: entries.get(e, common) for e in ENTRIES}
    expected["study"] = entries.get("study", expected["effects"])
    return OddInput(name, change, expected, problem, names or {}, arms)


def _renamed(label: str, **names: Any) -> OddInput:
    return odd(f"column called {label}", rename(**names), names=names)


def _levels(n: int) -> Callable[[pd.Series], Any]:
    return lambda s: [f"v{i % n}" for i in range(len(s))]


def _cut(s: pd.Series, cells: tuple[str, ...] = ("low", "mid", "top")) -> np.ndarray:
    return np.array(cells, dtype=object)[np.digitize(s.to_numpy(dtype=float), [-0.5, 0.5])]


def _objects(s: pd.Series, kind: Callable[[float], Any]) -> pd.Series:
    return pd.Series([kind(v) for v in s], index=s.index, dtype=object)


def _with_na(s: pd.Series, dtype: str) -> pd.Series:
    out = s.round().astype(dtype) if dtype == "Int64" else (s > 0).astype(dtype)
    out.iloc[3] = pd.NA
    return out


def _flagged(df: pd.DataFrame) -> pd.DataFrame:
    out = df.copy().set_flags(allows_duplicate_labels=False)
    out.attrs["source"] = "a survey"
    return out


_MANY = 120
_GAP = {
    "effects": warning("missing-values"),
    "discovery": warning("missing-values"),
    "diagnosis": answer(),
}

TABLES: tuple[OddInput, ...] = (
    odd("clean table", lambda df: df.copy()),
    # Cells that are empty or no numbers
    odd(
        "empty cell in X",
        put("b", 3, np.nan),
        problem="nan|missing|empty",
        recourse=refusal("'b'", "row 3"),
        **_GAP,
    ),
    odd(
        "empty cell in W",
        put("a", 3, np.nan),
        problem="nan|missing|empty",
        recourse=refusal("'a'", "row 3"),
        **_GAP,
    ),
    odd(
        "empty cell in T",
        put("t", 3, np.nan),
        refusal("'t'", "row 3"),
        problem="nan|missing|empty",
        discovery=warning("missing-values"),
        diagnosis=answer(),
    ),
    odd(
        "empty cell in Y",
        put("y", 4, np.nan),
        refusal("'y'", "row 4"),
        problem="nan|missing|empty",
        discovery=warning("missing-values"),
        diagnosis=answer(),
    ),
    odd("infinite cell in W", put("a", 5, np.inf), refusal("'a'", "row 5"), problem="inf"),
    odd("minus infinite cell in X", put("b", 6, -np.inf), refusal("'b'", "row 6"), problem="inf"),
    odd("infinite outcome", put("y", 5, np.inf), refusal("'y'", "row 5"), problem="inf"),
    odd(
        "column without a value",
        lambda df: df.assign(a=np.nan),
        refusal("'a'"),
        problem="nan|missing|empty|no value",
        diagnosis=warning("marginalised"),
    ),
    odd(
        "nullable Int64 with NA",
        turn("a", lambda s: _with_na(s, "Int64")),
        problem="nan|missing|empty|NA",
        recourse=refusal("'a'", "row 3"),
        **_GAP,
    ),
    odd(
        "boolean with NA",
        turn("a", lambda s: _with_na(s, "boolean")),
        problem="nan|missing|empty|NA",
        recourse=refusal("'a'", "row 3"),
        **_GAP,
    ),
    # Columns that say nothing, or the same twice
    odd(
        "constant column",
        lambda df: df.assign(a=1.0),
        warning("rank"),
        problem="constant|rank",
        discovery=warning("constant-column", without="a"),
        recourse=answer(),
        diagnosis=warning("constant"),
    ),
    odd(
        "column three times another",
        lambda df: df.assign(a=3 * df.b),
        warning("rank"),
        problem="collinear|rank|singular",
        discovery=warning("collinear-column", without="ab"),
        recourse=answer(),
        diagnosis=answer(),
    ),
    odd(
        "duplicated rows",
        lambda df: pd.concat([df, df], ignore_index=True),
        warning("duplicate-rows"),
        problem="duplicate|repeat",
        recourse=warning("duplicate-rows", right=False),
        diagnosis=answer(),
    ),
    odd(
        "column names repeated",
        lambda df: df.assign(c=df.a).set_axis([*df, "a"], axis=1),
        refusal("'a'", unless_right=True),
        problem="duplicate|twice|2 times",
    ),
    # Treatments
    odd(
        "all treated",
        lambda df: df.assign(t=1),
        refusal("'t'", "1"),
        problem="treated|one|class|level|constant|same value",
        discovery=warning("constant-column", without="t"),
        recourse=answer(),
        diagnosis=warning("constant"),
    ),
    odd(
        "one treated row",
        lambda df: df.assign(t=(np.arange(len(df)) == 7).astype(int)),
        refusal("'t'", "row 7"),
        problem="treated|few|class|least|rows with",
        discovery=answer(without="t"),
        recourse=answer(),
        diagnosis=answer(),
    ),
    odd(
        "treatment a step of a covariate",
        lambda df: df.assign(t=(df.b > 0).astype(int)),
        problem="overlap",
        effects=warning("overlap", right=False),
        discovery=answer(without="bty"),
        recourse=answer(),
        diagnosis=answer(),
    ),
    odd(
        "treatment as a category of numbers in text",
        turn("t", lambda s: pd.Categorical(s.astype(str))),
        arms=("0", "1"),
    ),
    odd("text treatment", turn("t", lambda s: s.map({0: "no", 1: "yes"})), arms=("no", "yes")),
    odd("true or false treatment", turn("t", lambda s: s.astype(bool)), arms=(False, True)),
    odd("treatment coded 1 and 2", turn("t", lambda s: s + 1), arms=(1, 2)),
    odd("treatment in uint8", turn("t", lambda s: s.astype("uint8"))),
    odd(
        "treatment in uint8 coded 0 and 255",
        turn("t", lambda s: (s * 255).astype("uint8")),
        arms=(0, 255),
    ),
    odd(
        "treatment as numbers in text",
        turn("t", lambda s: s.astype(str)),
        refusal("'t'", "row 0", unless_right=True),
        problem="text|str|convert",
        arms=("0", "1"),
    ),
    # Outcomes
    odd(
        "outcome of many texts",
        turn("y", lambda s: [f"v{v:.1f}" for v in s]),
        refusal("'y'"),
        problem="text|str|convert|level|number",
        discovery=answer(without="y"),
    ),
    odd(
        "outcome as numbers in text",
        turn("y", lambda s: s.astype(str)),
        refusal("'y'", "row 0", unless_right=True),
        problem="text|str|convert",
    ),
    odd(
        "constant outcome",
        lambda df: df.assign(y=0.0),
        refusal("'y'"),
        problem="constant|same value",
        discovery=warning("constant-column", without="y"),
        recourse=answer(),
        diagnosis=warning("constant", right=False),
    ),
    odd("outcome around 1e15", turn("y", lambda s: s + 2.0**20)),
    # Levels and types of covariates
    odd("text column", turn("a", _cut), discovery=answer(without="a"), diagnosis=answer()),
    odd(
        "category column",
        turn("a", lambda s: pd.Categorical(_cut(s))),
        discovery=answer(without="a"),
    ),
    odd(
        "ordered category column",
        turn("a", lambda s: pd.Categorical(_cut(s), ["low", "mid", "top"], ordered=True)),
        discovery=answer(without="a"),
    ),
    odd(
        "category with unused and empty levels",
        turn("a", lambda s: pd.Categorical(_cut(s), ["", "low", "mid", "top", "never"])),
        discovery=answer(without="a"),
    ),
    odd(
        "levels called None, NA and nan",
        turn("a", lambda s: _cut(s, ("None", "NA", "nan"))),
        discovery=answer(without="a"),
    ),
    odd(
        f"text column of {_MANY} levels",
        turn("a", _levels(_MANY)),
        problem="level",
        effects=warning("pooled-levels"),
        discovery=warning("pooled-levels", without="a"),
    ),
    odd(
        "numbers as text",
        turn("a", lambda s: s.astype(str)),
        refusal("'a'", "row 0", unless_right=True),
        problem="text|str|convert",
    ),
    odd(
        "one word among numbers in text",
        turn("a", lambda s: ["n/a" if i == 7 else str(v) for i, v in enumerate(s)]),
        refusal("'a'", "row 7", "n/a"),
        problem="text|str|convert",
    ),
    odd(
        "mixed object column",
        put("a", 6, "x", object),
        refusal("'a'", "row 6"),
        problem="text|str|convert|mix",
    ),
    odd(
        "category of numbers in text",
        turn("a", lambda s: pd.Categorical((s > 0).astype(int).astype(str))),
    ),
    odd("numbers as objects", turn("a", lambda s: s.astype(object))),
    odd("Decimal objects", turn("a", lambda s: _objects(s, lambda v: Decimal(str(round(v, 6)))))),
    odd(
        "lists in cells",
        turn("a", lambda s: _objects(s, lambda v: [v])),
        refusal("'a'", "row 0"),
        problem="list|object|sequence",
    ),
    odd(
        "dates with a time zone",
        lambda df: df.assign(a=pd.date_range("2020", periods=len(df), tz="Europe/Berlin")),
        problem="date|time",
        effects=warning("structural-columns"),
        discovery=warning("dependent-rows", without="a"),
        recourse=refusal("'a'"),
        diagnosis=warning("marginalised"),
    ),
    odd(
        "durations",
        turn("a", lambda s: pd.to_timedelta(s, unit="D")),
        refusal("'a'", "row 0", unless_right=True),
        problem="timedelta|duration|date|convert",
    ),
    odd("complex numbers", turn("a", lambda s: s + 1j), refusal("'a'", "row 0"), problem="complex"),
    odd("float16", turn("a", lambda s: s.astype("float16"))),
    odd("float32", lambda df: df.astype({"a": "float32", "b": "float32", "y": "float32"})),
    odd("sparse column", turn("a", lambda s: pd.arrays.SparseArray(s.clip(lower=0)))),
    odd(
        "pandas text type",
        turn("a", lambda s: pd.array(_cut(s), dtype="string")),
        discovery=answer(without="a"),
    ),
    odd("pyarrow types", lambda df: df.convert_dtypes(dtype_backend="pyarrow")),
    odd("nullable types", lambda df: df.convert_dtypes()),
    odd(
        "pyarrow text with NA",
        turn("a", lambda s: pd.array([None, *_cut(s)[1:]], dtype="string[pyarrow]")),
        problem="nan|missing|empty|NA",
        effects=warning("missing-values"),
        discovery=warning("missing-values", without="a"),
        recourse=refusal("'a'", "row 0"),
        diagnosis=warning("marginalised"),
    ),
    # Scales
    odd("column of scale 1e9 around 1e15", turn("a", lambda s: 1e15 + 1e9 * s)),
    odd("column of scale 1e-3 around 1e6", turn("b", lambda s: 1e6 + 1e-3 * s)),
    odd("column of scale 1e300", turn("a", lambda s: s * 1e300), recourse=refusal("'a'")),
    odd("column of scale 1e-300", turn("a", lambda s: s * 1e-300), recourse=refusal("'a'")),
    odd("confounder of scale 1e-200", turn("b", lambda s: s * 1e-200), recourse=refusal("'b'")),
    odd(
        "outcome of scale 1e300",
        turn("y", lambda s: s * 1e300),
        refusal("'y'", "e+"),
        problem="scale|large|overflow",
        discovery=answer(),
        diagnosis=answer(),
    ),
    odd(
        "outcome of scale 1e-300",
        turn("y", lambda s: s * 1e-300),
        refusal("'y'", "e-"),
        problem="scale|small",
        discovery=answer(),
        diagnosis=answer(),
    ),
    odd(
        "single value of 1e12 in a confounder",
        put("b", 8, 1e12),
        warning("outlier", right=False),
        problem="outlier|extreme",
        discovery=warning("outlier", right=False, without="bty"),
    ),
    odd(
        "single value of 1e12 in the outcome",
        put("y", 8, 1e12),
        warning("outlier", right=False),
        problem="outlier|extreme",
        discovery=warning("outlier", right=False, without="baty"),
    ),
    odd(
        "gaps of a confounder filled with -999",
        turn("b", lambda s: s.where(s.index % 7 > 0, -999.0)),
        warning("fill-in", right=False, without="bty"),
        problem="999|missing|outlier",
    ),
    # Sizes
    odd("empty table", lambda df: df.iloc[:0], refusal("0 rows"), problem="0 rows|empty|samples"),
    odd("one row", lambda df: df.iloc[:1], refusal("1 row"), problem="1 row|few|samples"),
    odd("three rows", lambda df: df.iloc[:3], refusal("3 rows"), problem="3 rows|few|samples"),
    # Rows and their labels
    odd("index all zeros", lambda df: df.set_axis(np.zeros(len(df), dtype=int))),
    odd("index of two levels", lambda df: df.set_index([df.index % 7, df.index])),
    odd("index of dates", lambda df: df.set_axis(pd.date_range("2020", periods=len(df), tz="UTC"))),
    odd("rows in reverse", lambda df: df.iloc[::-1]),
    odd("columns in reverse", lambda df: df[df.columns[::-1]]),
    odd("attributes and flags", _flagged),
    # Names
    _renamed("propensity_score", a="propensity_score"),
    _renamed("intercept", b="intercept"),
    _renamed("like econml's own", a="X0", b="T0", t="T", y="Y"),
    _renamed("like ours", a="(missing)", b="score", t="index", y="effect"),
    _renamed("with blanks", a="body mass index", t=" treated ", y="out come"),
    _renamed("with quotes", a="o'clock", b='the "b"', t="`t`", y="y\\"),
    _renamed("with arrows and semicolons", a="a -> y", b="b; c", t="t<-b", y="y--t"),
    _renamed("with umlauts", a="größe", b="前", t="Тип", y="é"),
    _renamed("with HTML", a="<b>a</b>", y="<script>alert(1)</script>&amp;"),
    _renamed("with $ and _", a="$\\alpha$", b="_b_", t="__t", y="y_$1$"),
    _renamed("with line breaks and tabs", a="a\nb", b="\t"),
    _renamed("with operators", a="a == 1", b="x = 2", y="y <= 3"),
    _renamed("by numbers", a=7, b=3),
)
