"""What is odd about a table, before anything is estimated from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import CausalWarning, DataError
from ..core.results import Result, number
from ..core.saving import saveable
from ..tables.gate import table
from ..tables.giveaways import giveaways, near_copies
from ..tables.schema import Schema
from ..tables.sentinels import fill_ins
from .leaks import leaks

_ONLY_AFTER = "Leave it out if it is known only when the outcome is."
_SEVERITIES = ("refused", "doubtful", "note")


@saveable
@dataclass(frozen=True)
class Finding:
    """One odd thing.

    Attributes:
        severity: ``"refused"`` (no method takes the column as it is), ``"doubtful"`` (answers
            may be wrong) or ``"note"``.
        code: Short stable name.
        column: The column, or None for the whole table.
        message: One sentence.
        advice: What to do.
    """

    severity: str
    code: str
    column: str | None
    message: str
    advice: str = ""


@saveable
@dataclass(frozen=True, repr=False)
class TableReport(Result):
    """What :func:`check_table` found; ``ok`` when there is nothing that needs a decision."""

    rows: int
    columns: int
    findings: tuple[Finding, ...]
    schema: Schema
    warnings: tuple[CausalWarning, ...] = ()

    @property
    def ok(self) -> bool:
        return all(f.severity == "note" for f in self.findings)

    def summary(self) -> str:
        counts = [(s, sum(f.severity == s for f in self.findings)) for s in _SEVERITIES]
        many = "s" if counts[-1][1] > 1 else ""  # the others are adjectives
        found = ", ".join(f"{n} {s}{many * (s == 'note')}" for s, n in counts if n)
        found = found or "nothing odd"
        return f"{self.rows:,} rows, {self.columns} columns: {found}."

    def verdict(self) -> str:
        worst = next((f for f in self.findings if f.severity != "note"), None)
        if worst is None:
            return ""
        where = f"{worst.column!r} " if worst.column else ""
        return f"First: {where}{worst.message}"

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """One row per finding, the most severe first."""
        fields = ["severity", "column", "code", "message", "advice"]
        rows = [[getattr(f, name) for name in fields] for f in self.findings]
        return pd.DataFrame(rows, columns=fields)


def check_table(
    df: pd.DataFrame, schema: Schema | None = None, outcome: str | None = None
) -> TableReport:
    """Say what is odd about a table: types, gaps, constants, copies, ids, leaks.

    Args:
        df: The table; it is not changed.
        schema: What the columns mean; guessed when left out.
        outcome: Column to look for leaks of. Without it, fill-in constants are looked for that
            give any binary column away.

    Raises:
        DataError: It is no table at all.

    When to use something else: how well treatment groups overlap is a matter of the question;
    :meth:`workbench.Study.effect` reports it.

    Example:
        >>> df = pd.DataFrame({"a": [1.5, 2.5, 3.5], "b": [7, 7, 7]})
        >>> [f.code for f in check_table(df).findings]
        ['constant', 'few-rows']
    """
    if not isinstance(df, pd.DataFrame):
        raise DataError("check_table needs a DataFrame", value=type(df).__name__)
    if not df.columns.is_unique or not len(df) or not len(df.columns):
        table(df)  # raises, naming what is wrong with the whole
    df = df.set_axis([str(c) for c in df.columns], axis=1)
    schema = schema or Schema.infer(df)
    findings: list[Finding] = []
    clean: dict[str, pd.Series] = {}
    kinds = {}
    for name in df.columns:
        part = schema.select([name]) if name in schema else None
        if part is not None and part[name].missing != "indicate":
            part = part.correct({name: {"missing": "indicate"}})
        try:
            checked = table(df[[name]], schema=part)
        except DataError as error:
            problem = str(error).removeprefix(f"column {name!r}: ").removesuffix(error.advice)
            findings.append(Finding("refused", "type", name, problem.strip(), error.advice))
            continue
        clean[name] = checked.frame[name]
        kinds[name] = checked.schema[name]
        findings += _look_at(clean[name], kinds[name])
    findings += _ids(df, schema)
    findings += _copies(clean, kinds)
    findings += _determined(clean, kinds)
    findings += _leaks(df, clean, kinds, outcome)
    if len(df) < 10 * len(df.columns):
        message = f"{len(df)} rows for {len(df.columns)} columns: few for any estimate"
        findings.append(Finding("note", "few-rows", None, message))
    repeated = int(df.duplicated().sum()) if not _unhashable(df) else 0
    if repeated:
        message = f"{repeated:,} rows repeat an earlier row exactly"
        findings.append(
            Finding("note", "duplicate-rows", None, message, "Drop them if by mistake.")
        )
    findings.sort(key=lambda f: _SEVERITIES.index(f.severity))
    return TableReport(len(df), len(df.columns), tuple(findings), schema)


def _leaks(
    df: pd.DataFrame, clean: dict[str, pd.Series], kinds: dict[str, Any], outcome: str | None
) -> Iterator[Finding]:
    if outcome is not None:
        if outcome not in df.columns:
            table(df, columns=[outcome])  # raises with a suggestion
        found = leaks(clean, kinds, outcome) if outcome in clean else []
        for leak in found:
            message, advice = leak.message, "Leave it out or repair it."
            yield Finding("doubtful", "leak", leak.column, message, advice)
        if len(found) > 1:
            share = np.logical_or.reduce([leak.rows for leak in found]).mean()
            message = f"single values give {outcome!r} away in {share:.0%} of the rows"
            advice = "Accuracy on these rows is worth nothing."
            yield Finding("doubtful", "leak", None, message, advice)
        if outcome in clean and kinds[outcome].is_numeric:
            y = clean[outcome].to_numpy(dtype=float)
            known = ~np.isnan(y)
            others = [n for n, f in kinds.items() if f.is_numeric and f.role is None]
            told = {leak.column for leak in found} | {outcome}
            columns = {n: clean[n].to_numpy(float)[known] for n in others if n not in told}
            for giveaway in giveaways(y[known], columns):
                message = giveaway.sentence(outcome)
                yield Finding("doubtful", "leak", giveaway.column, message, _ONLY_AFTER)
            for name in near_copies(y[known], columns):
                message = f"tells {outcome!r} nearly without error"
                yield Finding("doubtful", "leak", name, message, _ONLY_AFTER)
        return
    # Without a question, a level that excludes another (one-hot columns) is no surprise; a
    # constant that fills gaps of a number is.
    numbers = {n for n, f in kinds.items() if f.is_numeric and clean[n].nunique() > 10}
    for target in [n for n, f in kinds.items() if f.kind == "binary"]:
        parts = {n: f for n, f in kinds.items() if n in numbers or n == target}
        for leak in leaks({n: clean[n] for n in parts}, parts, target):
            advice = f"Check it again with outcome={target!r}."
            yield Finding("doubtful", "leak", leak.column, leak.message, advice)


def _unhashable(df: pd.DataFrame) -> bool:
    return any(df[c].dtype == object and not df[c].map(pd.api.types.is_hashable).all() for c in df)


def _look_at(column: pd.Series, feature: Any) -> Iterator[Finding]:
    """Oddities of one column that can be used."""
    name = str(column.name)
    empty = int(column.isna().sum())
    if empty == len(column):
        yield Finding("refused", "empty", name, "has no values at all", "Leave it out.")
        return
    if empty:
        share = empty / len(column)
        severity = "doubtful" if share > 0.3 else "note"
        message = f"{empty:,} of {len(column):,} cells empty ({share:.1%})"
        yield Finding(severity, "missing", name, message, "Choose a policy: Feature(missing=...).")
    if feature.role in ("id", "time"):
        return
    counts = column.value_counts()
    if (counts > 0).sum() == 1 and not empty:
        yield Finding("doubtful", "constant", name, "has one value in every row", "Leave it out.")
        return
    if feature.is_discrete and feature.role is None:
        yield from _look_at_levels(column, name, counts)
    elif feature.is_numeric:
        yield from _look_at_numbers(column.dropna().to_numpy(), name)


def _look_at_levels(column: pd.Series, name: str, counts: pd.Series) -> Iterator[Finding]:
    levels = [v for v in column.cat.categories if counts.get(v, 0)]
    if len(levels) == counts.sum() > 20:
        advice = f"If it names units: schema.correct({{{name!r}: {{'role': 'id'}}}})."
        yield Finding("note", "many-levels", name, "differs in every row", advice)
    elif len(levels) > 50:
        message = f"has {len(levels)} levels"
        yield Finding("note", "many-levels", name, message, "Group rare ones.")
    texts: dict[str, list[str]] = {}
    for level in levels:
        if isinstance(level, str):
            texts.setdefault(" ".join(level.split()).casefold(), []).append(level)
    alike = [group for group in texts.values() if len(group) > 1]
    if alike:
        more = f", and {len(alike) - 1} more such groups" if len(alike) > 1 else ""
        shown = " and ".join(map(repr, alike[0][:2]))
        message = f"levels {shown} differ in case or blanks only{more}"
        yield Finding("doubtful", "spelling", name, message, "Make them one level.")


def _look_at_numbers(values: np.ndarray, name: str) -> Iterator[Finding]:
    if len(np.unique(values)) < 3:
        return
    for code, times, _ in fill_ins(values):
        message = f"{number(code)} appears {times:,} times away from the other values"
        advice = "If it stands for a gap, make it one."
        yield Finding("doubtful", "sentinel", name, message, advice)
    spread = values.std()
    if spread and abs(values.mean()) > 1e7 * spread:
        message = f"varies by {number(spread)} around {number(values.mean())}"
        yield Finding("note", "offset", name, message, "Subtract the offset to keep precision.")


def _ids(df: pd.DataFrame, schema: Schema) -> Iterator[Finding]:
    """Units that repeat make rows dependent: standard errors need to know."""
    if schema.role("cluster"):
        return
    for feature in schema:
        if feature.role != "id" or feature.name not in df:
            continue
        column = df[feature.name].dropna()
        if pd.api.types.is_datetime64_any_dtype(column.dtype):
            continue
        repeats = len(column) - column.nunique()
        if repeats:
            message = f"{column.nunique():,} units in {len(column):,} rows: rows of a unit depend"
            advice = f"Set role='cluster' for {feature.name!r}."
            yield Finding("doubtful", "repeated-id", feature.name, message, advice)


def _determined(clean: dict[str, pd.Series], kinds: dict[str, Any]) -> Iterator[Finding]:
    """Numbers that the other numbers all but fix: their separate effects can't be told apart."""
    names = [n for n, f in kinds.items() if f.is_numeric and f.role is None]
    columns = [clean[n].fillna(clean[n].mean()).to_numpy(dtype=float) for n in names]
    kept = [i for i, c in enumerate(columns) if np.isfinite(c).all() and np.ptp(c) > 0]
    if len(kept) < 3 or len(columns[0]) < 3 * len(kept):
        return
    names = [names[i] for i in kept]
    # Each column over its largest value: squares of huge numbers overflow.
    values = np.column_stack([columns[i] / np.abs(columns[i]).max() for i in kept])
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.corrcoef(values, rowvar=False)
    if not np.isfinite(correlation).all() or np.linalg.eigvalsh(correlation)[0] < 1e-10:
        return  # exact copies and sums, which are told one by one
    explained = 1 - 1 / np.diag(np.linalg.inv(correlation))
    for i in np.flatnonzero(explained > 0.98):
        message = f"the other numbers explain {explained[i]:.1%} of its variance"
        advice = "Effects of such columns can't be told apart; keep one of each family."
        yield Finding("note", "determined", names[i], message, advice)


def _copies(clean: dict[str, pd.Series], kinds: dict[str, Any]) -> Iterator[Finding]:
    """Columns that say (nearly) the same thing."""
    names, rows = [], []
    for name, column in clean.items():
        if kinds[name].role is not None or kinds[name].kind == "categorical":
            continue
        if column.isna().all():
            continue
        values = (
            column.cat.codes.to_numpy().astype(float)
            if kinds[name].is_discrete
            else column.to_numpy(dtype=float)
        )
        values = np.where(np.isnan(values), np.nanmean(values), values)
        values = values - values.mean()
        length = np.linalg.norm(values)
        if length:
            names.append(name)
            rows.append(values / length)
    if len(rows) < 2:
        return
    alike = np.abs(np.array(rows) @ np.array(rows).T)
    for i, j in zip(*np.nonzero(np.triu(alike > 0.999, 1)), strict=True):
        exact = "is a copy of" if alike[i, j] > 1 - 1e-12 else "says almost the same as"
        message = f"{exact} {names[i]!r} up to units (correlation {alike[i, j]:.4f})"
        yield Finding("doubtful", "copy", names[j], message, "Keep one of them.")
