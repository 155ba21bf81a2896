"""Columns of levels: texts, numbers or true/false as categories in a known order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import DataError, did_you_mean
from ..core.results import count
from .schema import Feature

_NUMBERS = 10  # different numbers in a column of texts from which the other texts are slips


def as_levels(column: pd.Series, feature: Feature, declared: bool) -> pd.Series:
    """A column of levels as categories in the order known; what is no level is refused.

    ``declared``: the kind is the user's word, so that numbers stored as text may be levels.
    """
    name, dtype = feature.name, column.dtype
    if _canonical(dtype, feature):
        return column
    if isinstance(dtype, pd.CategoricalDtype):
        column, declared = column.astype(object), True
    values = column[column.notna()]
    if values.dtype == object or isinstance(values.dtype, pd.StringDtype):
        _refuse_mixed(values, name)
        if not declared:
            _refuse_numbers_as_text(values, feature)
    known = feature.levels
    if known is None:
        known = tuple(sorted(values.unique().tolist(), key=lambda v: (str(type(v)), v)))
    if pd.api.types.is_float_dtype(values.dtype):
        infinite = np.isinf(values.to_numpy(dtype=float))
        if infinite.any():
            raise DataError(
                "has an infinite value",
                column=name,
                row=values.index[int(infinite.argmax())],
                value=float("inf"),
                advice="Replace it or drop the row.",
            )
    unknown = ~values.isin(known)
    if unknown.any():
        label = values.index[int(unknown.to_numpy().argmax())]
        value = values[unknown].iloc[0]
        raise DataError(
            "has a level that is not known",
            column=name,
            row=label,
            value=value,
            advice=did_you_mean(value, known),
        )
    categories = pd.CategoricalDtype(list(known), ordered=feature.kind == "ordinal")
    # By equality, which pandas does not go by: True and 1.0 are the level 1.
    codes, found = pd.factorize(column)
    place = {level: k for k, level in enumerate(known)}
    places = np.array([*(place[value] for value in found), -1])  # the last is for empty cells
    levels = pd.Categorical.from_codes(places[codes], dtype=categories)
    return pd.Series(levels, index=column.index, name=column.name)


def _canonical(dtype: Any, feature: Feature) -> bool:
    """Whether a column holds the known levels, all texts, in order: it has been here before."""
    return (
        isinstance(dtype, pd.CategoricalDtype)
        and feature.levels is not None
        and tuple(dtype.categories) == tuple(feature.levels)
        and bool(dtype.ordered) == (feature.kind == "ordinal")
        and all(type(level) is str for level in feature.levels)
        and dtype.categories.dtype == pd.CategoricalDtype(list(feature.levels)).categories.dtype
    )


def _refuse_mixed(values: pd.Series, name: str) -> None:
    kinds = values.map(type)
    plain = str | bool | int | float | np.generic
    if kinds.nunique() == 1 and issubclass(kinds.iloc[0], plain):
        return
    odd = [i for i, kind in enumerate(kinds) if not issubclass(kind, plain)]
    if odd:
        raise DataError(
            f"holds {kinds.iloc[odd[0]].__name__} objects",
            column=name,
            row=values.index[odd[0]],
            value=values.iloc[odd[0]],
            advice="Turn them into numbers or texts.",
        )
    if kinds.nunique() > 1:
        texts = kinds.map(lambda k: issubclass(k, str))
        if texts.any() and not texts.all():
            minority = texts if texts.sum() * 2 <= len(texts) else ~texts
            at = int(minority.to_numpy().argmax())
            raise DataError(
                "mixes texts and numbers",
                column=name,
                row=values.index[at],
                value=values.iloc[at],
                advice="Make the column one type.",
            )


def _refuse_numbers_as_text(values: pd.Series, feature: Feature) -> None:
    """A handful of rows may show number-like levels only: all known levels must look like it."""
    levels = values.unique() if feature.levels is None else feature.levels
    if len(values) and all(isinstance(v, str) and _is_number(v) for v in levels):
        raise DataError(
            "holds numbers stored as text",
            column=feature.name,
            row=values.index[0],
            value=values.iloc[0],
            advice="Convert it with pandas.to_numeric, or declare levels in the schema.",
        )
    _refuse_decimal_commas(values, feature, levels)
    texts = [v for v in levels if isinstance(v, str)]
    alike = sum(map(_is_number, texts))
    if alike >= _NUMBERS and alike >= 0.8 * len(levels):
        odd = ~values.map(_is_number).to_numpy()
        if odd.any():
            raise DataError(
                f"holds numbers stored as text and {count(len(texts) - alike, 'text')} among them",
                column=feature.name,
                row=values.index[int(odd.argmax())],
                value=values.iloc[int(odd.argmax())],
                advice="Correct it and use pandas.to_numeric, or declare levels in the schema.",
            )


def _refuse_decimal_commas(values: pd.Series, feature: Feature, levels: Iterable[Any]) -> None:
    """Many texts like "0,126" are numbers of a file that was read with the wrong decimal mark."""
    texts = [v for v in levels if isinstance(v, str)]
    if len(texts) < _NUMBERS or len(texts) < len(list(levels)):
        return
    if any("," in v for v in texts) and all(_is_number(v.replace(",", ".", 1)) for v in texts):
        at = int(values.map(lambda v: "," in v).to_numpy().argmax())
        raise DataError(
            "holds numbers with a decimal comma, stored as text",
            column=feature.name,
            row=values.index[at],
            value=values.iloc[at],
            advice="Read the file with decimal=',', or replace the comma by a point and use "
            "pandas.to_numeric; if they are levels, declare them in the schema.",
        )


def _is_number(text: str) -> bool:
    if not any(c.isdigit() for c in text):  # "nan" and "inf" are words as well
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def with_levels(feature: Feature, column: pd.Series) -> Feature:
    """The feature with the levels that its column has shown, if it had none."""
    if feature.is_discrete and feature.levels is None and feature.role is None:
        return replace(feature, levels=tuple(column.cat.categories))
    return feature
