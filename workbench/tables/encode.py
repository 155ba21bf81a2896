"""DataFrame to numbers and back: the only place that scales or one-hots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import pandas as pd

from ..core.errors import DataError, ParameterError, did_you_mean, warn
from ..core.parameters import Parameterised
from ..core.saving import saveable
from .gate import Table, table, warn_of_lone_values
from .schema import Feature, Schema
from .sentinels import warn_of_fill_ins

if TYPE_CHECKING:
    import torch

_EMPTY = "(missing)"
_OTHER = "(other)"


@saveable
@dataclass(frozen=True)
class Block:
    """The encoded columns of one feature.

    Attributes:
        feature: The feature.
        start, stop: Encoded columns ``start:stop``.
        center, scale: ``encoded = (value - center) / scale`` for a single column.
        levels: Levels of the columns, in order; empty for a number.
        fill: What replaces an empty cell of a number.
        indicator: Whether the last column says that the cell was empty.
        dropped: Levels without a column of their own: the reference level, if there is one.
        pooled: Whether rare levels share the column ``(other)``.
    """

    feature: Feature
    start: int
    stop: int
    center: float = 0.0
    scale: float = 1.0
    levels: tuple = ()
    fill: float = 0.0
    indicator: bool = False
    dropped: tuple = ()
    pooled: bool = False

    @property
    def columns(self) -> slice:
        return slice(self.start, self.stop)


@saveable
class Encoder(Parameterised):
    """Encode a table as a float matrix, and decode it again.

    Numbers and ordinal codes are scaled; a binary feature is one 0/1 column (1 is its second
    level); a categorical feature has one 0/1 column per level. Empty cells are filled with the
    median (or an own level) and marked in an extra column, if there were any when fitted.

    Args:
        scale: ``"standard"`` (mean 0, sd 1), ``"minmax"`` (0 to 1) or None (raw units).
        drop_first: Leave out each categorical feature's first level (for linear models with an
            intercept).
        max_levels: Pool all but the most frequent levels of a categorical feature; says so.

    Raises:
        DataError: At ``transform``: missing columns, unknown levels, empty cells in a column that
            had none when fitted.

    Example:
        >>> df = pd.DataFrame({"age": [30.0, 40.0, 50.0], "team": ["a", "b", "c"]})
        >>> encoder = Encoder().fit(df)
        >>> encoder.columns_
        ('age', 'team=a', 'team=b', 'team=c')
        >>> bool((encoder.inverse(encoder.transform(df)) == df).all(axis=None))
        True
    """

    def __init__(
        self,
        scale: Literal["standard", "minmax"] | None = "standard",
        drop_first: bool = False,
        max_levels: int | None = None,
    ):
        self.scale = scale
        self.drop_first = drop_first
        self.max_levels = max_levels

    def fit(self, data: pd.DataFrame | Table, schema: Schema | None = None) -> Self:
        """Learn levels, centres, scales and which columns have empty cells."""
        if self.scale not in ("standard", "minmax", None):
            raise ParameterError(
                "must be 'standard', 'minmax' or None", column="scale", value=self.scale
            )
        checked = data if isinstance(data, Table) else table(data, schema=schema)
        self.schema_ = checked.schema
        self.named_ = checked.named
        blocks, start, filled = [], 0, []
        for feature in checked.schema:
            column = checked.frame[feature.name]
            block = (
                self._fit_number(feature, column, start)
                if feature.is_numeric
                else self._fit_levels(feature, column, start)
            )
            if block.indicator or _EMPTY in block.levels:
                filled.append(feature.name)
            blocks.append(block)
            start = block.stop
        self.blocks_ = tuple(blocks)
        self.columns_ = tuple(name for block in blocks for name in _names(block))
        measured = {
            b.feature.name: checked.frame[b.feature.name] for b in blocks if b.feature.is_numeric
        }
        warn_of_lone_values(measured)
        warn_of_fill_ins(measured)
        if filled:
            warn(
                "missing-values",
                f"empty cells in {', '.join(map(repr, filled))} were filled and marked with an "
                "indicator: the answer assumes that being empty tells nothing more",
                filled,
            )
        return self

    def transform(self, data: pd.DataFrame | Table | np.ndarray) -> np.ndarray:
        """Encode rows, matched by column name: ``(n, len(columns_))`` float64."""
        self._require_fitted()
        frame = self._matched(data)
        out = np.empty((len(frame), len(self.columns_)))
        for block in self.blocks_:
            column = frame[block.feature.name]
            if column.isna().any() and not (block.indicator or _EMPTY in block.levels):
                self._refuse_new_gap(column)
            if block.feature.is_numeric:
                out[:, block.columns] = _encode_number(block, column.to_numpy(dtype=float))
            else:
                codes, levels = column.cat.codes.to_numpy(), tuple(column.cat.categories)
                out[:, block.columns] = _encode_levels(block, codes, levels)
        return out

    def encode_values(self, name: str, values: np.ndarray) -> np.ndarray:
        """Encode values of one feature that are clean already, without passing the gate.

        For inner loops that compute columns as arrays.

        Args:
            name: The feature.
            values: ``(n,)`` numbers in their unit, or positions in ``feature.levels``; no NaN.

        Returns:
            ``(n, width of the feature's block)``, equal to what ``transform`` gives.

        Example:
            >>> encoder = Encoder(scale=None).fit(pd.DataFrame({"team": ["a", "b", "c"]}))
            >>> encoder.encode_values("team", np.array([2, 0]))
            array([[0., 0., 1.], [1., 0., 0.]])
        """
        block = self.block(name)
        if block.feature.is_numeric:
            return _encode_number(block, np.asarray(values, dtype=float))
        codes = np.asarray(values).astype(int)
        return _encode_levels(block, codes, block.feature.levels or ())

    def fit_transform(self, data: pd.DataFrame | Table, schema: Schema | None = None) -> np.ndarray:
        """``fit`` and ``transform`` in one call."""
        checked = data if isinstance(data, Table) else table(data, schema=schema)
        return self.fit(checked).transform(checked)

    def tensor(self, data: pd.DataFrame | Table, dtype: torch.dtype | None = None) -> torch.Tensor:
        """``transform`` as a torch tensor (float32 unless ``dtype`` says otherwise)."""
        import torch

        return torch.from_numpy(self.transform(data)).to(dtype or torch.float32)

    def inverse(self, encoded: np.ndarray, index: pd.Index | None = None) -> pd.DataFrame:
        """Decode rows: numbers in their units, levels as given, empty cells as NaN."""
        self._require_fitted()
        encoded = np.asarray(encoded, dtype=float)
        if encoded.ndim != 2 or encoded.shape[1] != len(self.columns_):
            raise DataError(
                f"encoded rows must have {len(self.columns_)} columns", value=encoded.shape
            )
        parts = {b.feature.name: _decode(b, encoded[:, b.columns]) for b in self.blocks_}
        frame = pd.DataFrame(parts, columns=[b.feature.name for b in self.blocks_])
        return frame if index is None else frame.set_axis(index)

    def block(self, name: str) -> Block:
        """The block of one feature."""
        self._require_fitted()
        for block in self.blocks_:
            if block.feature.name == name:
                return block
        raise DataError(
            "was not encoded", column=name, advice=did_you_mean(name, self.schema_.names)
        )

    def _matched(self, data: pd.DataFrame | Table | np.ndarray) -> pd.DataFrame:
        if isinstance(data, Table):
            frame = data.frame
            missing = [n for n in self.schema_.names if n not in frame.columns]
            if not missing:
                return frame
            raise DataError(
                "is missing", column=missing[0], advice=did_you_mean(missing[0], frame.columns)
            )
        if not isinstance(data, pd.DataFrame):
            array = np.asarray(data)
            array = array.reshape(len(array), -1)
            if array.shape[1] != len(self.schema_):
                raise DataError(
                    f"the array has {array.shape[1]} columns, {len(self.schema_)} were fitted",
                    column=self.schema_.names[min(array.shape[1], len(self.schema_) - 1)],
                )
            if self.named_:
                raise DataError(
                    "an array has no column names to match those that were fitted",
                    column=self.schema_.names[0],
                    advice="Pass a DataFrame.",
                )
            data = pd.DataFrame(array, columns=list(self.schema_.names))
        return table(
            data, schema=self.schema_, columns=self.schema_.names, min_rows=0, drop=False
        ).frame

    def _fit_number(self, feature: Feature, column: pd.Series, start: int) -> Block:
        values = column.to_numpy(dtype=float)
        seen = values[~np.isnan(values)]
        if not len(seen):
            raise DataError(
                "has no values at all", column=feature.name, advice="Leave the column out."
            )
        center, scale = self._location(seen)
        indicator = len(seen) < len(values)
        return Block(
            feature,
            start,
            start + 1 + indicator,
            center=center,
            scale=scale,
            fill=float(np.median(seen)),
            indicator=indicator,
        )

    def _location(self, values: np.ndarray) -> tuple[float, float]:
        if self.scale is None:
            return 0.0, 1.0
        if self.scale == "minmax":
            low, high = float(values.min()), float(values.max())
            return low, (high - low) or 1.0
        # In units of a power of two (exact), so that squares neither overflow nor vanish.
        unit = float(np.ldexp(1.0, int(np.frexp(np.abs(values).max())[1]) - 1))
        values = values / unit
        center, spread = float(values.mean()), float(values.std())
        # A constant column far from zero has a rounding-error sd; don't blow it up.
        varies = spread > 1e-12 * abs(center) and spread * unit > 0
        return center * unit, spread * unit if varies else 1.0

    def _fit_levels(self, feature: Feature, column: pd.Series, start: int) -> Block:
        levels = tuple(feature.levels or column.cat.categories)
        empty = bool(column.isna().any())
        if feature.kind == "ordinal" and not empty:
            codes = column.cat.codes.to_numpy().astype(float)
            center, scale = self._location(codes)
            return Block(feature, start, start + 1, center=center, scale=scale, levels=levels)
        if feature.kind == "binary" and len(levels) == 2 and not empty:
            return Block(feature, start, start + 1, levels=levels[1:], dropped=levels[:1])
        pooled = self.max_levels is not None and len(levels) > self.max_levels
        if pooled:
            counts = column.value_counts().sort_index(kind="stable")
            ranked = counts.sort_values(ascending=False, kind="stable").index
            common = set(ranked[: self.max_levels])
            warn(
                "pooled-levels",
                f"{len(levels) - len(common)} rare levels of {feature.name!r} share one column",
                [feature.name],
            )
            levels = (*(v for v in levels if v in common), _OTHER)
        if empty:
            levels = (*levels, _EMPTY)
        dropped = levels[:1] if self.drop_first or len(levels) == 1 else ()
        levels = levels[len(dropped) :]
        return Block(
            feature, start, start + len(levels), levels=levels, dropped=dropped, pooled=pooled
        )

    def _refuse_new_gap(self, column: pd.Series) -> None:
        at = int(column.isna().to_numpy().argmax())
        raise DataError(
            "has an empty cell, and had none when fitted",
            column=str(column.name),
            row=column.index[at],
            advice="Fill it or drop the row.",
        )


def _encode_number(block: Block, values: np.ndarray) -> np.ndarray:
    empty = np.isnan(values)
    scaled = (np.where(empty, block.fill, values) - block.center) / block.scale
    return np.column_stack([scaled, empty]) if block.indicator else scaled[:, None]


def _encode_levels(block: Block, codes: np.ndarray, levels: tuple) -> np.ndarray:
    """One-hot (or scaled ordinal) columns of positions in ``levels``; -1 is an empty cell."""
    if block.feature.kind == "ordinal" and block.stop == block.start + 1 and not block.dropped:
        return (codes[:, None] - block.center) / block.scale
    place = {v: i for i, v in enumerate(block.levels)}
    other = place.get(_OTHER, -1) if block.pooled else -1
    lookup = np.array([place.get(v, -1 if v in block.dropped else other) for v in levels] or [-1])
    position = np.where(codes < 0, place.get(_EMPTY, -1), lookup[np.maximum(codes, 0)])
    return (position[:, None] == np.arange(block.stop - block.start)).astype(float)


def _names(block: Block) -> list[str]:
    name = block.feature.name
    if block.feature.is_numeric:
        return [name, f"{name}={_EMPTY}"] if block.indicator else [name]
    if block.feature.kind == "ordinal" and block.stop == block.start + 1 and not block.dropped:
        return [name]
    return [f"{name}={level}" for level in block.levels]


def _decode(block: Block, encoded: np.ndarray) -> np.ndarray | pd.Series:
    feature = block.feature
    if feature.is_numeric:
        values = encoded[:, 0] * block.scale + block.center
        if feature.kind == "count":
            values = np.rint(values)
        return np.where(encoded[:, 1] > 0.5, np.nan, values) if block.indicator else values
    if feature.kind == "ordinal" and len(_names(block)) == 1 and not block.dropped:
        codes = np.rint(encoded[:, 0] * block.scale + block.center)
        picks = np.clip(codes, 0, len(block.levels) - 1).astype(int)
        levels = block.levels
    elif block.dropped:
        best = encoded.argmax(axis=1) if encoded.shape[1] else np.zeros(len(encoded), int)
        chosen = encoded[np.arange(len(encoded)), best] > 0.5 if encoded.shape[1] else False
        picks, levels = np.where(chosen, best + 1, 0), (*block.dropped, *block.levels)
    else:
        picks, levels = encoded.argmax(axis=1), block.levels
    values = np.empty(len(levels), dtype=object)
    values[:] = [None if v == _EMPTY else v for v in levels]
    return pd.Series(values[picks]).infer_objects()
