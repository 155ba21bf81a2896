"""People as numbers: one code per feature, and one design column per number or level.

Codes, ``(n, F)``: a number in its own unit, or the position of a level. Design, ``(n, D)``: a
number as it is, a level as one 0/1 column per level. Any function that is additive over features
and affine in numbers is linear in the design, which is why linear models, splits and first layers
are written in it. Features are in the order of their names, so that the caller's order has no
influence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import DataError
from ..tables.gate import as_frame, table
from ..tables.schema import Schema


class Space:
    """Codes and design of the features that a problem is about.

    Args:
        schema: The features; discrete ones need their levels.
        dtypes: Column types to give back, by name.
        today: Features that people's tables don't have, and the value they have today.

    Attributes:
        names: Feature names, sorted.
        discrete: ``(F,)``, whether a code is the position of a level.
        integer: ``(F,)``, whether a number must be whole.
        slots: Design columns of each feature.
        width: Number D of design columns.
    """

    def __init__(
        self,
        schema: Schema,
        dtypes: Mapping[str, Any] | None = None,
        today: Mapping[str, float] | None = None,
    ):
        self.features = tuple(sorted(schema, key=lambda f: f.name))
        for feature in self.features:
            if feature.is_discrete and not feature.levels:
                raise DataError(
                    f"is {feature.kind} but its levels are not known",
                    column=feature.name,
                    advice="Give levels in the schema, or pass data=.",
                )
        self.schema = Schema(self.features)
        self.names = [f.name for f in self.features]
        self.dtypes, self._today = dict(dtypes or {}), dict(today or {})
        self.discrete = np.array([f.is_discrete for f in self.features], dtype=bool)
        self.ordered = np.array([f.kind != "categorical" for f in self.features], dtype=bool)
        self.integer = np.array([f.kind == "count" for f in self.features], dtype=bool)
        sizes = [len(f.levels) if f.is_discrete else 1 for f in self.features]
        ends = np.cumsum(sizes, dtype=int).tolist()
        self.slots = [slice(e - s, e) for e, s in zip(ends, sizes, strict=True)]
        self.width = ends[-1] if ends else 0
        self.owner = np.repeat(np.arange(len(sizes)), sizes)
        self._place = {n: j for j, n in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.features)

    def place(self, name: str) -> int:
        """Position of a feature."""
        return self._place[name]

    def codes(self, df: pd.DataFrame, what: str = "people") -> np.ndarray:
        """Codes of a caller's table, which passes the gate; NaN for an empty cell."""
        checked = table(
            self.today(df),
            schema=self.schema,
            columns=self.names,
            what=what,
            min_rows=0,
            drop=False,
        )
        return self.read(checked.frame)

    def today(self, df: pd.DataFrame) -> pd.DataFrame:
        """A table with the features that only the problem knows, at their value of today."""
        df = as_frame(df, "people", "x")[0] if self._today else df
        for name, value in self._today.items():
            if name not in df.columns:
                df = df.assign(**{name: value})
            elif not (df[name] == value).all():
                raise DataError(
                    f"is {value:g} for everybody before anything is done",
                    column=name,
                    row=df.index[int((df[name] != value).to_numpy().argmax())],
                    advice="Leave the column out.",
                )
        return df

    def read(self, frame: pd.DataFrame) -> np.ndarray:
        """Codes of a table whose values are known to be legal."""
        out = np.empty((len(frame), len(self)))
        for j, feature in enumerate(self.features):
            column = frame[feature.name]
            if feature.is_numeric:
                out[:, j] = column.to_numpy(dtype=float, na_value=np.nan)
            else:
                categories = pd.Categorical(column.astype(object), categories=feature.levels)
                out[:, j] = np.where(categories.codes < 0, np.nan, categories.codes)
        return out

    def frame(self, codes: np.ndarray, index: pd.Index | None = None) -> pd.DataFrame:
        """The table that a model is shown for these codes."""
        parts = {n: self.cells(j, codes[:, j]) for j, n in enumerate(self.names)}
        frame = pd.DataFrame(parts, columns=self.names)
        return frame if index is None else frame.set_axis(index)

    def cells(self, j: int, codes: np.ndarray) -> pd.Series:
        """The values of one feature, in the type that the data had."""
        feature = self.features[j]
        dtype = self.dtypes.get(feature.name)
        if feature.is_numeric:
            whole = feature.kind == "count" and dtype is not None and dtype.kind in "iu"
            return pd.Series(np.rint(codes).astype(dtype) if whole else codes.astype(float))
        levels = np.empty(len(feature.levels), dtype=object)
        levels[:] = feature.levels
        values = pd.Series(levels[codes.astype(int)], dtype=object)
        return values.infer_objects() if dtype is None else values.astype(dtype)

    def value(self, j: int, code: float) -> Any:
        """One value as the caller would write it."""
        feature = self.features[j]
        if np.isnan(code):
            return None
        return feature.levels[int(code)] if feature.is_discrete else float(code)

    def design(self, codes: np.ndarray) -> np.ndarray:
        """Design rows ``(n, D)`` of codes ``(n, F)``."""
        out = np.empty((len(codes), self.width))
        for j, slot in enumerate(self.slots):
            if self.discrete[j]:
                out[:, slot] = codes[:, j, None] == np.arange(slot.stop - slot.start)
            else:
                out[:, slot.start] = codes[:, j]
        return out

    def undo_design(self, design: np.ndarray) -> np.ndarray:
        """Codes of design rows; of several levels the largest column counts."""
        out = np.empty((len(design), len(self)))
        for j, slot in enumerate(self.slots):
            part = design[:, slot]
            out[:, j] = part.argmax(axis=1) if self.discrete[j] else part[:, 0]
        return out

    def draw(
        self, n: int, center: np.ndarray, spread: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """Random codes around a centre, levels uniformly: rows to try a model on."""
        out = center + spread * rng.normal(size=(n, len(self)))
        for j, feature in enumerate(self.features):
            if feature.is_numeric and feature.bounds:  # encoders refuse what lies outside
                low, high = feature.bounds
                low, high = -np.inf if low is None else low, np.inf if high is None else high
                out[:, j] = np.clip(out[:, j], low, high)
        out[:, self.integer] = np.abs(np.rint(out[:, self.integer]))
        for j in np.flatnonzero(self.discrete):
            out[:, j] = rng.integers(len(self.features[j].levels), size=n)
        return out
