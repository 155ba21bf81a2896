"""What the columns mean: kind, role, bounds, unit, and what a person can change."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from decimal import Decimal
from functools import cached_property
from numbers import Real
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..core.errors import DataError, did_you_mean
from ..core.saving import saveable

Kind = Literal["continuous", "binary", "categorical", "ordinal", "count"]
Role = Literal["id", "time", "cluster", "weight"]

KINDS = ("continuous", "binary", "categorical", "ordinal", "count")
ROLES = ("id", "time", "cluster", "weight")
DIRECTIONS = (True, False, "increase", "decrease")
MISSING = ("indicate", "drop", "refuse")
_NUMERIC = ("continuous", "count")


@saveable
@dataclass(frozen=True)
class Feature:
    """One column.

    Args:
        name: Column name.
        kind: ``"continuous"``, ``"count"`` (non-negative integers), ``"binary"``,
            ``"categorical"`` or ``"ordinal"`` (ordered levels).
        role: None for an ordinary column, or ``"id"`` (names a unit), ``"time"``, ``"cluster"``
            (rows that belong together: governs folds and standard errors), ``"weight"``.
        bounds: Lowest and highest legal value of a number; either may be None (or infinite).
        levels: Legal values of a binary, categorical or ordinal column, in order.
        unit: Unit of measurement, shown with every number.
        actionable: Whether a person can change it: True, False, ``"increase"``, ``"decrease"``.
        cost: Relative cost of changing it by one unit of the problem's scale; positive.
        drift: Change of a number per unit of time when a person merely waits, e.g. 1 for months
            since an event where time is in months; see :class:`~workbench.recourse.Waiting`.
        missing: What to do with empty cells: ``"indicate"`` (fill with the median, or an own
            level, and add an indicator; says so), ``"drop"`` the row, or ``"refuse"``.

    Raises:
        DataError: A value that contradicts the kind; the column is named.

    Example:
        >>> Feature("age", bounds=(0, 120), unit="years", actionable="increase").kind
        'continuous'
    """

    name: str
    kind: Kind = "continuous"
    role: Role | None = None
    bounds: tuple[float | None, float | None] | None = None
    levels: tuple[Any, ...] | None = None
    unit: str | None = None
    actionable: bool | Literal["increase", "decrease"] = True
    cost: float = 1.0
    missing: Literal["indicate", "drop", "refuse"] = "indicate"
    drift: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise DataError("a feature's name must be a non-empty text", value=self.name)
        self._one_of("kind", KINDS)
        self._one_of("role", (None, *ROLES))
        self._one_of("actionable", DIRECTIONS)
        self._one_of("missing", MISSING)
        if self.bounds is not None:
            object.__setattr__(self, "bounds", self._checked_bounds())
        if self.levels is not None:
            object.__setattr__(self, "levels", self._checked_levels())
        cost = self.cost
        if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 < cost < math.inf:
            raise DataError(
                "cost must be a positive number",
                column=self.name,
                value=cost,
                advice="Use actionable=False for what can't be changed.",
            )
        self._check_drift()

    def _check_drift(self) -> None:
        drift = self.drift
        is_number = isinstance(drift, int | float) and not isinstance(drift, bool)
        if not is_number or not math.isfinite(drift):
            raise DataError("drift must be a number", column=self.name, value=drift)
        if drift and not self.is_numeric:
            raise DataError(f"is {self.kind}, so it has no drift", column=self.name, value=drift)
        if self.kind == "count" and drift != int(drift):
            raise DataError(
                "is a count, so its drift is a whole number",
                column=self.name,
                value=drift,
                advice="Count time in another unit, or make it continuous.",
            )

    def _one_of(self, field: str, allowed: tuple) -> None:
        value = getattr(self, field)
        if not any(value is a or (isinstance(a, str) and value == a) for a in allowed):
            raise DataError(
                f"{field} must be one of {', '.join(map(repr, allowed))}",
                column=self.name,
                value=value,
                advice=did_you_mean(value, [a for a in allowed if isinstance(a, str)]),
            )

    def _checked_bounds(self) -> tuple[float | None, float | None]:
        try:
            ends = [None if b is None else float(b) for b in self.bounds]
            low, high = (None if b in (-math.inf, math.inf) else b for b in ends)
        except (TypeError, ValueError) as error:
            raise DataError(
                "bounds must be a pair (low, high)", column=self.name, value=self.bounds
            ) from error
        if not self.is_numeric:
            raise DataError(
                f"bounds are for numbers, not for a {self.kind} column",
                column=self.name,
                advice="Use levels.",
            )
        if low is not None and high is not None and not low <= high:
            raise DataError("bounds are in the wrong order", column=self.name, value=self.bounds)
        return low, high

    def _checked_levels(self) -> tuple[Any, ...]:
        if self.is_numeric:
            raise DataError(f"levels are not for a {self.kind} column", column=self.name)
        levels = tuple(v.item() if isinstance(v, np.generic) else v for v in self.levels)
        if len(set(levels)) != len(levels):
            raise DataError("has a level twice", column=self.name, value=levels)
        if self.kind == "binary" and len(levels) > 2:
            raise DataError(
                "is binary but has more than two levels", column=self.name, value=levels
            )
        return levels

    @property
    def is_numeric(self) -> bool:
        """Whether values are numbers on a scale (continuous or count)."""
        return self.kind in _NUMERIC

    @property
    def is_discrete(self) -> bool:
        """Whether values are levels (binary, categorical, ordinal)."""
        return not self.is_numeric


BY_USER = "set by the user"


@saveable
class Schema:
    """The columns of a table and what they mean; an immutable, ordered mapping by name.

    What is treatment or outcome belongs to the question, not to the schema.

    Args:
        features: One :class:`Feature` per column.
        reasons: Why each kind was guessed, by column.

    Example:
        >>> df = pd.DataFrame({"age": [31.5, 40.25, 22.0], "sex": ["f", "m", "f"]})
        >>> schema = Schema.infer(df).correct(age={"unit": "years", "bounds": (0, 120)})
        >>> schema["sex"].kind, schema["age"].unit
        ('binary', 'years')
    """

    def __init__(self, features: Iterable[Feature], reasons: Mapping[str, str] | None = None):
        self.features = tuple(features)
        self.reasons = dict(reasons or {})
        names = [f.name for f in self.features]
        for name in names:
            if names.count(name) > 1:
                raise DataError("is described twice in the schema", column=name)
        for role in ("time", "cluster", "weight"):
            holders = [f.name for f in self.features if f.role == role]
            if len(holders) > 1:
                raise DataError(f"role {role!r} is taken by {holders[0]!r}", column=holders[1])

    @classmethod
    def infer(cls, df: pd.DataFrame) -> Schema:
        """Guess each column's kind and role; look at ``to_frame()`` and ``correct`` what is off.

        Two distinct values are binary; text and unordered categories categorical; ordered
        categories ordinal; whole numbers from 0 count; dates have role ``"time"`` (the first
        such column; later ones are ids); a text or integer column called like an id with a
        different value in (nearly) every row has role ``"id"``. Anything else is continuous.
        """
        features, reasons, has_time = [], {}, False
        for name in df.columns:
            feature, why = _guess(str(name), df[name], has_time)
            has_time |= feature.role == "time"
            features.append(feature)
            reasons[feature.name] = why
        return cls(features, reasons)

    def correct(
        self, changes: Mapping[str, Mapping[str, Any]] | None = None, **more: Mapping[str, Any]
    ) -> Schema:
        """A new schema with some fields of some columns replaced.

        Args:
            changes: Column -> {field: value}; keyword arguments do the same for columns whose
                names are identifiers.
        """
        features = {f.name: f for f in self.features}
        reasons = dict(self.reasons)
        allowed = [f.name for f in fields(Feature)]
        for name, change in {**(changes or {}), **more}.items():
            old = self[name]
            for field in change:
                if field not in allowed:
                    raise DataError(
                        f"a feature has no field {field!r}",
                        column=name,
                        advice=did_you_mean(field, allowed),
                    )
            change = dict(change)
            new_kind = change.get("kind", old.kind)
            # Levels and bounds that were guessed for the old kind don't survive a new one.
            if new_kind in _NUMERIC or change.get("role") in ("id", "time"):
                change.setdefault("levels", None)
            else:
                change.setdefault("bounds", None)
                if new_kind == "binary" and old.levels and len(old.levels) > 2:
                    change.setdefault("levels", None)
            features[name] = replace(old, **change)
            reasons[name] = BY_USER
        return Schema(features.values(), reasons)

    def select(self, names: Iterable[str]) -> Schema:
        """The schema of some columns, in the order given."""
        chosen = [self[n] for n in names]
        return Schema(
            chosen, {f.name: self.reasons[f.name] for f in chosen if f.name in self.reasons}
        )

    @cached_property
    def _by_name(self) -> dict[str, Feature]:
        return {f.name: f for f in self.features}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.features)

    @property
    def variables(self) -> tuple[str, ...]:
        """Columns without a structural role: what models may use."""
        return tuple(f.name for f in self.features if f.role is None)

    def role(self, role: Role) -> str | None:
        """The (first) column with a role, or None."""
        return next((f.name for f in self.features if f.role == role), None)

    def __getitem__(self, name: str) -> Feature:
        if name not in self._by_name:
            raise DataError(
                "is not in the schema", column=str(name), advice=did_you_mean(name, self.names)
            )
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Feature]:
        return iter(self.features)

    def __len__(self) -> int:
        return len(self.features)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and self.features == other.features

    def __hash__(self) -> int:
        return hash(self.features)

    def to_frame(self) -> pd.DataFrame:
        """One row per column of the table."""
        rows = [asdict(f) | {"reason": self.reasons.get(f.name, "")} for f in self.features]
        columns = [*(f.name for f in fields(Feature)), "reason"]
        return pd.DataFrame(rows, columns=columns).set_index("name")

    def to_json(self) -> str:
        """As JSON text; ``from_json`` reads it back."""
        return json.dumps({"features": [asdict(f) for f in self.features]}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Schema:
        """From the text of :meth:`to_json`; unknown fields are an error."""
        try:
            entries = json.loads(text)["features"]
            return cls([Feature(**{k: _tuples(v) for k, v in e.items()}) for e in entries])
        except DataError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(f"this is not a schema: {error}") from error

    def _state(self) -> dict[str, Any]:
        return {"features": list(self.features), "reasons": self.reasons}

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> Schema:
        return cls(**state)

    def __repr__(self) -> str:
        shown = [
            f"{f.name}: {f.kind}" + (f" ({f.role})" if f.role else "") for f in self.features[:8]
        ]
        more = f", ... {len(self) - 8} more" if len(self) > 8 else ""
        return f"Schema({', '.join(shown)}{more})"

    def _repr_html_(self) -> str:
        frame = self.to_frame()
        told = [c for c in frame if frame[c].notna().any() and frame[c].nunique(dropna=False) > 1]
        shown = frame[list(dict.fromkeys(["kind", *told]))].astype(object)
        return shown.where(shown.notna(), "").to_html(escape=True, border=0)


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _guess(name: str, column: pd.Series, has_time: bool) -> tuple[Feature, str]:
    """A feature and the reason for the guess, for one column."""
    if holds_numbers(column):
        column = column.astype(float)
    dtype = column.dtype
    values = column.dropna()
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return Feature(name, role="id" if has_time else "time"), "holds dates"
    if isinstance(dtype, pd.CategoricalDtype):
        levels = tuple(dtype.categories)
        if len(levels) <= 2:
            return Feature(name, "binary", levels=levels), "category with two levels"
        kind = "ordinal" if dtype.ordered else "categorical"
        return Feature(name, kind, levels=levels), f"category with {len(levels)} levels"
    if pd.api.types.is_bool_dtype(dtype):
        return Feature(name, "binary", levels=(False, True)), "true or false"
    if pd.api.types.is_timedelta64_dtype(dtype):
        return Feature(name), "durations"
    if not pd.api.types.is_numeric_dtype(dtype):
        return _guess_text(name, values)
    if pd.api.types.is_complex_dtype(dtype):
        return Feature(name), "complex numbers"
    distinct = values.unique()
    if len(distinct) <= 2 and len(values) > 2:
        return Feature(name, "binary", levels=tuple(np.sort(distinct).tolist())), "two values"
    numbers = values.to_numpy(dtype=float)
    whole = bool(len(numbers)) and bool(
        np.all(np.isfinite(numbers) & (numbers == np.floor(numbers)))
    )
    if whole and looks_like_id(name) and len(distinct) > max(0.2 * len(values), 2):
        return Feature(name, role="id", actionable=False), "called like an id, many values"
    if whole and numbers.min() >= 0 and pd.api.types.is_integer_dtype(dtype):
        return Feature(name, "count"), "whole numbers from 0"
    return Feature(name), "numbers"


def holds_numbers(column: pd.Series) -> bool:
    """Whether a column of objects holds nothing but numbers (``Decimal`` included) and gaps.

    Example:
        >>> holds_numbers(pd.Series([1.5, None, 2], dtype=object))
        True
    """
    if column.dtype != object:
        return False
    values = column[column.notna().to_numpy()]
    return bool(len(values)) and all(
        isinstance(v, Real | Decimal) and not isinstance(v, bool | np.bool_) for v in values
    )


def _guess_text(name: str, values: pd.Series) -> tuple[Feature, str]:
    try:
        distinct = values.unique()
        levels = tuple(sorted(distinct.tolist(), key=lambda v: (str(type(v)), str(v))))
    except TypeError:  # unhashable cells, e.g. lists: the gate refuses them with their row
        return Feature(name, "categorical"), "objects"
    if len(values) and all(isinstance(v, bool) for v in levels):
        return Feature(name, "binary", levels=(False, True)), "true or false"
    if looks_like_id(name) and len(levels) > max(0.2 * len(values), 2):
        return Feature(name, "categorical", role="id", actionable=False), "called like an id"
    if len(levels) <= 2:
        return Feature(name, "binary", levels=levels), "text with two values"
    return Feature(name, "categorical", levels=levels), f"text with {len(levels)} values"


def looks_like_id(name: str) -> bool:
    """Whether a column is called like an identifier, e.g. ``patient_id``, ``orderID``."""
    # "body mass index" is a measurement; "index" and "row_index" number the rows.
    return bool(
        re.search(r"(^|[_\s\-.])(id|uuid|key)$", name, re.IGNORECASE)
        or re.search(r"^((row|record|unnamed)[_\s\-.:]*)?index$", name, re.IGNORECASE)
        or re.search(r"[a-z](ID|Id)$", name)
    )
