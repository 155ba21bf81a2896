"""Odd questions to the curve of a dose: grids, slopes, best doses, support."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from .odd_inputs import EFFECT, refusal, warning
from .odd_questions import EffectQuestion, OddQuestion, plain

_BEST = 0.2  # how far off a best dose may be that lies at an end of its bounds


def nobody() -> float:
    """What is no answer."""
    return float("nan")


def curve_questions(case: Callable[..., OddQuestion]) -> list[OddQuestion]:
    """What only a curve can be asked; an estimator without the method is not asked."""
    return [
        # Curves at doses
        _curve(case, "curve of each person", lambda e, q: _rise(e.dose_response(q.at, [0, 1]))),
        _curve(
            case,
            "curve of nobody",
            lambda e, q: (
                EFFECT if e.dose_response(q.at.iloc[:0], [0, 1]).shape == (0, 2) else nobody()
            ),
        ),
        _curve(
            case,
            "average curve",
            lambda e, q: _rise(e.average_dose_response([0, 1], q.at)),
            needs="average_dose_response",
        ),
        _curve(
            case,
            "average curve of nobody",
            lambda e, q: _rise(e.average_dose_response([0, 1], q.at.iloc[:0])),
            refusal("X", "0 rows"),
            needs="average_dose_response",
        ),
        _curve(
            case,
            "dose beyond the data on a grid",
            lambda e, q: _rise(e.dose_response(q.at, [0, 50])),
            warning("extrapolation", right=False),
        ),
        _grid(case, "empty cell on a grid", [0, np.nan], "nan"),
        _grid(case, "infinite dose on a grid", [0, np.inf], "inf"),
        _grid(case, "word on a grid", ["low", "high"]),
        _grid(case, "grid without a dose", []),
        _grid(case, "grid of two dimensions", [[0, 1], [1, 2]], "(2, 2)"),
        # Slopes
        _slope(case, "slope at a dose", 0.5),
        _slope(case, "slope at as many doses as people", lambda at: np.full(len(at), 0.5)),
        _slope(case, "slope beyond the data", 50.0, warning("extrapolation", right=False)),
        _slope(case, "slope at an empty cell", np.nan, refusal("'t'", "nan")),
        _slope(case, "slope at a word", "high", refusal("'t'", "high")),
        _slope(case, "slope at no dose", [], refusal("'t'", "0")),
        _slope(case, "slope at two doses of many people", [0.0, 1.0], refusal("'t'", "2")),
        # Best doses
        _best(case, "best dose", 1.0, bounds=(-1, 1)),
        _best(case, "least dose", -1.0, bounds=(-1, 1), maximise=False),
        _best(case, "best dose of nobody", 1.0, none=True, bounds=(-1, 1)),
        _best(
            case,
            "bounds beyond the data",
            50.0,
            warning("extrapolation", right=False),
            bounds=(-1, 50),
        ),
        _best(case, "bounds upside down", 1.0, refusal("'bounds'", "(1, -1)"), bounds=(1, -1)),
        _best(case, "bounds in words", 1.0, refusal("'bounds'", "low"), bounds=("low", "high")),
        _best(case, "one bound", 1.0, refusal("'bounds'", "1"), bounds=1.0),
        _best(case, "empty bound", 1.0, refusal("'bounds'", "nan"), bounds=(0, np.nan)),
        _best(
            case,
            "support that is no number",
            1.0,
            refusal("'min_support'", "much"),
            bounds=(-1, 1),
            min_support="much",
        ),
        _best(
            case,
            "support that nobody has",
            1.0,
            warning("unsupported-dose", right=False),
            bounds=(-1, 1),
            min_support=1e6,
        ),
        # Support
        _support(case, "support beyond the data", 50.0),
        _support(case, "support of an empty cell", np.nan, refusal("'t'", "nan")),
        _support(case, "support of a word", "high", refusal("'t'", "high")),
        _support(case, "support of two doses of many people", [0.0, 1.0], refusal("'t'", "2")),
    ]


def _curve(
    case: Callable[..., OddQuestion],
    name: str,
    read: Callable[[Any, EffectQuestion], Any],
    expected: Any = None,
    needs: str = "dose_response",
    problem: str = "dose|grid|rows|empty",
    **more: Any,
) -> OddQuestion:
    def ask(df: pd.DataFrame) -> EffectQuestion:
        x = df[["b", "a"]]
        return plain(df, X=x, W=None, at=x, read=lambda e, q: float(read(e, q)), **more)

    return case(name, ask, expected, problem, needs=needs)


def _rise(curve: Any) -> float:
    """How much higher the second dose is than the first, on average."""
    return float(np.mean(np.diff(np.asarray(curve, dtype=float))))


def _grid(case: Callable[..., OddQuestion], name: str, grid: Any, *places: str) -> OddQuestion:
    return _curve(
        case, name, lambda e, q: _rise(e.dose_response(q.at, grid)), refusal("'grid'", *places)
    )


def _slope(
    case: Callable[..., OddQuestion], name: str, dose: Any, expected: Any = None
) -> OddQuestion:
    def read(e: Any, q: EffectQuestion) -> float:
        found = e.marginal_effect(dose(q.at) if callable(dose) else dose, q.at)
        return np.mean(found) if np.shape(found) == (len(q.at),) else nobody()

    return _curve(case, name, read, expected, needs="marginal_effect", tolerance=0.7)


def _best(
    case: Callable[..., OddQuestion],
    name: str,
    truth: float,
    expected: Any = None,
    none: bool = False,
    **asked: Any,
) -> OddQuestion:
    def read(e: Any, q: EffectQuestion) -> float:
        found = e.optimal_dose(q.at.iloc[:0] if none else q.at, **asked)
        return truth if none and found.shape == (0,) else np.mean(found)

    return _curve(case, name, read, expected, needs="optimal_dose", truth=truth, tolerance=_BEST)


def _support(
    case: Callable[..., OddQuestion], name: str, dose: Any, expected: Any = None
) -> OddQuestion:
    return _curve(
        case,
        name,
        lambda e, q: np.mean(e.support(q.at, dose)),
        expected,
        needs="support",
        truth=0.0,
        tolerance=0.0,
    )
