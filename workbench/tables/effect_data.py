"""The gate of effect estimation: treatment, outcome and covariates, checked and aligned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import DataError, QuestionError, warn
from .gate import (
    Table,
    align,
    as_frame,
    count,
    numbers,
    refuse_missing,
    refuse_scale,
    table,
    warn_of_lone_values,
)
from .giveaways import warn_of_giveaways
from .repeats import warn_of_repeats, warn_of_units_seen_again
from .schema import Feature, Schema
from .sentinels import warn_of_fill_ins


@dataclass(frozen=True, eq=False)
class EffectData:
    """What an effect estimator is fitted on: checked, aligned, in canonical order.

    Attributes:
        y: Outcome, float (n,).
        t: Treatment: index of the arm (int) for a discrete one, value (float) for a dose; (n,).
        arms: The arms in order, for a discrete treatment; else None. ``arms[0]`` is control.
        x: Effect modifiers, or None.
        w: Further columns to adjust for, or None.
        weight: Row weights (n,), or None.
        groups: Integer cluster of each row (n,), or None.
        y_name, t_name: Names for messages and results.
        index: The rows' labels.
        z: Instruments, or None.
        labelled: Whether the labels are the caller's; else rows are known by position only.
    """

    y: np.ndarray
    t: np.ndarray
    arms: tuple[Any, ...] | None
    x: Table | None
    w: Table | None
    weight: np.ndarray | None
    groups: np.ndarray | None
    y_name: str
    t_name: str
    index: pd.Index
    z: Table | None = None
    labelled: bool = True

    def __len__(self) -> int:
        return len(self.y)


def effect_data(
    Y: Any,
    T: Any,
    *,
    X: Any = None,
    W: Any = None,
    Z: Any = None,
    sample_weight: Any = None,
    groups: Any = None,
    schema: Schema | None = None,
    discrete_treatment: bool | None = None,
    max_arms: int = 20,
    min_rows: int = 10,
    min_arm: int = 2,
) -> EffectData:
    """Check the inputs of an effect estimator.

    Args:
        Y: Outcome: numbers, or two levels (the second is 1).
        T: Treatment: numbers, true/false, or levels.
        X: Effect modifiers; W: further columns to adjust for; Z: instruments; DataFrames, Series
            or arrays.
        sample_weight: Non-negative, one per row.
        groups: Cluster of each row: any labels.
        schema: What the columns mean.
        discrete_treatment: Whether T has arms; guessed (levels, or at most two numbers) if None.
        max_arms: Most arms a discrete treatment may have.
        min_rows: Fewest rows.
        min_arm: Fewest rows in each arm.

    Raises:
        DataError: As :func:`table`; empty cells in Y or T; an arm that is too small; a constant
            outcome or treatment.
        QuestionError: Y or T also among X or W; a dose declared discrete.
    """
    y_table = _question_table(Y, schema, "outcome", "Y", min_rows)
    t_table = _question_table(T, schema, "treatment", "T", min_rows)
    for name, part in (("outcome", y_table), ("treatment", t_table)):
        if part.frame.shape[1] != 1:
            raise DataError(
                f"the {name} has {part.frame.shape[1]} columns, one is needed",
                column=part.names[1],
            )
    x_table = _optional_table(X, schema, "effect modifiers X", "X", min_rows)
    w_table = _optional_table(W, schema, "adjustment columns W", "W", min_rows)
    z_table = _optional_table(Z, schema, "instruments Z", "Z", min_rows)
    # A DataFrame's labels beat positions: the first labelled input leads.
    parts = {"T": t_table.frame, "Y": y_table.frame}
    if x_table is not None:
        parts["X"] = x_table.frame
    if w_table is not None:
        parts["W"] = w_table.frame
    if z_table is not None:
        parts["Z"] = z_table.frame
    for key, value in (("sample_weight", sample_weight), ("groups", groups)):
        if value is not None:
            parts[key] = as_frame(value, key, key)[0]
    labelled = {
        "Y": Y,
        "T": T,
        "X": X,
        "W": W,
        "Z": Z,
        "sample_weight": sample_weight,
        "groups": groups,
    }
    labelled = [k for k in parts if isinstance(labelled[k], pd.DataFrame | pd.Series)]
    lead = labelled[0] if labelled else "T"
    for key in parts:
        if key in labelled:
            parts[key] = align(parts[lead], parts[key], key, lead)
        elif len(parts[key]) != len(parts[lead]):
            align(parts[lead], parts[key], key, lead)  # raises, naming both lengths
        else:
            parts[key] = parts[key].set_axis(parts[lead].index)
    y_name, t_name = y_table.names[0], t_table.names[0]
    covariates = {"X": x_table, "W": w_table, "Z": z_table}
    _refuse_overlap(y_name, t_name, y_table.named, t_table.named, covariates)
    y = _outcome(parts["Y"][y_name], y_table.schema[y_name])
    t, arms = _treatment(
        parts["T"][t_name], t_table.schema[t_name], discrete_treatment, max_arms, min_arm
    )
    if schema is None:
        column = parts["Y"][y_name]
        levels = column.cat.categories[::-1] if y_table.schema[y_name].is_discrete else ()
        _tell_alphabet(Y, levels, y_name, "the effect is on the share of", "counts as 0")
        _tell_alphabet(T, arms or (), t_name, "effects are against", "comes next")
    x = None if x_table is None else Table(parts["X"], x_table.schema, x_table.named)
    w = None if w_table is None else Table(parts["W"], w_table.schema, w_table.named)
    z = None if z_table is None else Table(parts["Z"], z_table.schema, z_table.named)
    _refuse_copies(parts["T"][t_name], parts["Y"][y_name], {"X": x, "W": w, "Z": z})
    if z is not None:
        _check_instruments(z)
    warn_of_giveaways(y, y_name, (x, w))
    if groups is None:
        joined, beside = (
            pd.concat([parts[k] for k in kinds if k in parts], axis=1)
            for kinds in (("Y", "T", "X", "W", "Z"), ("T", "X", "W"))
        )
        if not warn_of_repeats(joined):
            warn_of_units_seen_again(beside.iloc[:, 1:])
    return EffectData(
        y=y,
        t=t,
        arms=arms,
        x=x,
        w=w,
        weight=_weights(parts.get("sample_weight")),
        groups=_groups(parts.get("groups")),
        y_name=y_name,
        t_name=t_name,
        index=parts[lead].index,
        z=z,
        labelled=bool(labelled),
    )


def _question_table(
    data: Any, schema: Schema | None, what: str, prefix: str, min_rows: int
) -> Table:
    """Outcome or treatment: whatever role its name or type suggests, it is part of the question."""
    frame, _ = as_frame(data, what, prefix)
    guessed = Schema.infer(frame)
    sources = [schema if schema is not None and n in schema else guessed for n in frame.columns]
    known = [s[n] for s, n in zip(sources, frame.columns, strict=True)]
    reasons = {
        f.name: why
        for s, f in zip(sources, known, strict=True)
        if (why := s.reasons.get(f.name)) is not None
    }
    plain = Schema([replace(f, role=None) for f in known], reasons)
    return table(data, schema=plain, what=what, prefix=prefix, min_rows=min_rows, drop=False)


def _optional_table(
    data: Any, schema: Schema | None, what: str, prefix: str, min_rows: int
) -> Table | None:
    if data is None or getattr(data, "shape", (0, 1))[-1:] == (0,) and np.ndim(data) == 2:
        return None
    checked = table(
        data,
        schema=schema,
        what=what,
        prefix=prefix,
        canonical=True,
        min_rows=min_rows,
        drop=False,
    )
    structural = [f.name for f in checked.schema if f.role is not None]
    kept = [n for n in checked.names if n not in structural]
    if structural:
        warn(
            "structural-columns",
            f"{', '.join(map(repr, structural))} in the {what} name units, times or clusters and "
            "were not used as covariates",
            structural,
        )
        if not kept:
            return None
    return Table(checked.frame[kept], checked.schema.select(kept), checked.named)


def _refuse_overlap(
    y_name: str, t_name: str, y_named: bool, t_named: bool, parts: dict[str, Table | None]
) -> None:
    if y_named and t_named and y_name == t_name:
        raise QuestionError("is both treatment and outcome", column=t_name)
    seen: dict[str, str] = {}
    for key, part in parts.items():
        if part is None or not part.named:
            continue
        for role, name, named in (("outcome", y_name, y_named), ("treatment", t_name, t_named)):
            if named and name in part.names:
                raise QuestionError(
                    f"is the {role} and also in {key}",
                    column=name,
                    advice=f"Leave it out of {key}.",
                )
        for name in part.names:
            if name in seen:
                raise QuestionError(
                    f"is in {seen[name]} and in {key}",
                    column=name,
                    advice="X is adjusted for anyway; drop it from W."
                    if key == "W"
                    else "What is adjusted for can't be an instrument; choose one.",
                )
        seen |= dict.fromkeys(part.names, key)


def _check_instruments(z: Table) -> None:
    for name in z.names:
        refuse_missing(z.frame[name])
        values = z.frame[name]
        if values.nunique() < 2:
            raise DataError(
                "in Z has the same value in every row: it can't move the treatment",
                column=name,
                value=values.iloc[0],
                advice="Leave it out.",
            )


def _refuse_copies(t: pd.Series, y: pd.Series, parts: dict[str, Table | None]) -> None:
    """A covariate that equals the treatment or outcome up to units makes the answer void.

    An instrument that equals the treatment is one that everybody follows.
    """
    for role, target in (("treatment", t), ("outcome", y)):
        codes = _centred(_plain(target))
        size = np.linalg.norm(codes)
        for key, part in parts.items():
            if part is None or not size or key == "Z" and role == "treatment":
                continue
            for name in part.names:
                values = _plain(part.frame[name])
                if np.isnan(values).any():
                    continue
                values = _centred(values)
                other = np.linalg.norm(values)
                if other and abs(codes @ values) >= (1 - 1e-12) * size * other:
                    raise QuestionError(
                        f"in {key} is a copy of the {role} {str(target.name)!r}"
                        " (up to units or coding)",
                        column=name,
                        advice="Leave it out.",
                    )


def _centred(values: np.ndarray) -> np.ndarray:
    """Centred, in a unit in which squares are finite."""
    values = values / (np.abs(values).max() or 1.0)
    return values - values.mean()


def _plain(column: pd.Series) -> np.ndarray:
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes = column.cat.codes.to_numpy().astype(float)
        return np.where(codes < 0, np.nan, codes)
    return column.to_numpy(dtype=float)


def _outcome(column: pd.Series, feature: Feature) -> np.ndarray:
    refuse_missing(column)
    if feature.kind in ("categorical", "ordinal") and len(column.cat.categories) > 2:
        numeric = all(isinstance(v, int | float) for v in column.cat.categories)
        if not numeric:
            raise DataError(
                f"the outcome has {len(column.cat.categories)} levels; a number or two levels "
                "are needed",
                column=str(column.name),
                row=column.index[0],
                value=column.iloc[0],
                advice="Choose one level: df[name] == level.",
            )
        values = column.astype(float).to_numpy()
    elif feature.is_discrete:
        levels = list(column.cat.categories)
        numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in levels)
        values = column.astype(float).to_numpy() if numeric else _plain(column)
    else:
        values = column.to_numpy(dtype=float)
    if values.min() == values.max():
        raise DataError(
            "the outcome has the same value in every row", column=str(column.name), value=values[0]
        )
    if not feature.is_discrete:
        refuse_scale(column)
        warn_of_lone_values({str(column.name): column})
        warn_of_fill_ins({str(column.name): column})
    return values


def _tell_alphabet(given: Any, levels: Sequence[Any], name: str, first: str, second: str) -> None:
    """Say which level plays which part where nobody has put levels of text in order."""
    ordered = isinstance(getattr(given, "dtype", None), pd.CategoricalDtype)
    if isinstance(given, pd.DataFrame) or ordered or len(levels) < 2:
        return
    if all(isinstance(level, str) for level in levels[:2]):
        warn(
            "level-order",
            f"{first} {name!r} = {levels[0]!r} ({levels[1]!r} {second}), by the alphabet; pass an "
            "ordered pd.Categorical to choose",
            [name],
        )


def _treatment(
    column: pd.Series,
    feature: Feature,
    discrete: bool | None,
    max_arms: int,
    min_arm: int,
) -> tuple[np.ndarray, tuple[Any, ...] | None]:
    refuse_missing(column)
    name = str(column.name)
    if discrete is None:
        discrete = feature.is_discrete or column.nunique() <= 2
    if not discrete:
        if feature.is_discrete:
            values = [v for v in column.cat.categories]
            if not all(isinstance(v, int | float) for v in values):
                raise QuestionError(
                    "has levels, a dose must be a number",
                    column=name,
                    value=values[0],
                    advice="Use an estimator for discrete treatments.",
                )
        values = column.astype(float).to_numpy()
        if values.min() == values.max():
            raise DataError(
                "the treatment has the same value in every row", column=name, value=values[0]
            )
        refuse_scale(column)
        warn_of_lone_values({name: column.astype(float)})
        warn_of_fill_ins({name: values})
        return values, None
    if feature.is_discrete:
        arms = [a for a in column.cat.categories if (column == a).any()]
    else:
        found = np.sort(column.unique())
        arms = [int(v) if float(v).is_integer() else float(v) for v in found]
    if len(arms) > max_arms:
        raise QuestionError(
            f"has {len(arms)} different values, where arms are compared (at most {max_arms})"
            if feature.is_numeric
            else f"has {len(arms)} arms, at most {max_arms} are compared",
            column=name,
            value=arms[0],
            advice="Use an estimator for doses, or group the values."
            if feature.is_numeric
            else "Group them, or leave out the rows of some.",
        )
    if len(arms) < 2:
        raise DataError(
            f"every row has treatment {arms[0]!r}: there is nothing to compare with",
            column=name,
            value=arms[0],
            advice="Both treated and untreated rows are needed.",
        )
    values = column.astype(object).to_numpy()
    codes = np.select([values == a for a in arms], range(len(arms))).astype(int)
    sizes = np.bincount(codes, minlength=len(arms))
    if sizes.min() < min_arm:
        small = int(sizes.argmin())
        raise DataError(
            f"only {count(int(sizes[small]), 'row')} with treatment {arms[small]!r}, at least "
            f"{min_arm} are needed",
            column=name,
            row=column.index[int((codes == small).argmax())],
            value=arms[small],
            advice="Drop this arm or merge it with another.",
        )
    return codes, tuple(arms)


def arm(arms: Sequence[Any], value: Any, name: str) -> int:
    """Index of an arm; an arm that is not in the data is an error."""
    for i, known in enumerate(arms):
        if known == value and isinstance(known, bool) >= isinstance(value, bool):
            return i
        if isinstance(known, bool | np.bool_) and value in (0, 1) and known == bool(value):
            return i
    raise QuestionError(
        "has no such arm in the data",
        column=name,
        value=value,
        advice=f"Arms: {', '.join(repr(a) for a in arms)}.",
    )


def two_arms(arms: Sequence[Any], T0: Any, T1: Any, name: str) -> tuple[int, int]:
    """Indices of the arms of a contrast, T1 against T0.

    By default the first arm and the second; beside one that is given, the first of the others.
    """
    t0 = None if T0 is None else arm(arms, T0, name)
    t1 = None if T1 is None else arm(arms, T1, name)
    t0 = int(t1 == 0) if t0 is None else t0
    return t0, int(t0 == 0) if t1 is None else t1


def _weights(frame: pd.DataFrame | None) -> np.ndarray | None:
    if frame is None:
        return None
    checked = numbers(frame.iloc[:, 0], Feature("sample_weight"))
    refuse_missing(checked)
    values = checked.to_numpy()
    if (values < 0).any() or values.sum() == 0:
        raise DataError(
            "weights must be non-negative and not all zero",
            column="sample_weight",
            row=checked.index[int(values.argmin())],
            value=values.min(),
        )
    return values


def _groups(frame: pd.DataFrame | None) -> np.ndarray | None:
    if frame is None:
        return None
    column = frame.iloc[:, 0].rename("groups")
    refuse_missing(column)
    return pd.factorize(column)[0]
