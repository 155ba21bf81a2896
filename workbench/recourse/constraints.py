"""Linear couplings between features: ``"years_employed <= age - 15"`` as a row of numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..core.errors import DataError, ParameterError, did_you_mean
from ..core.results import number
from ..core.saving import saveable
from .space import Space

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)"
    r"|`(?P<quoted>[^`]+)`|(?P<name>[^\W\d][\w.]*)|(?P<sign>>=|<=|==|[-+*<>=]))"
)


@saveable
@dataclass(frozen=True)
class Coupling:
    """A linear condition on what a person becomes: ``low <= sum_j c_j z_j <= high``.

    Args:
        coefficients: Feature -> coefficient, in units of the features; numbers only.
        low, high: The range; either may be infinite.

    Raises:
        ParameterError: No feature, a number that is not finite, an empty range.

    Example:
        >>> Coupling.read("income - 2*rent >= 100")
        Coupling(income - 2*rent >= 100)
    """

    coefficients: tuple[tuple[str, float], ...]
    low: float = -math.inf
    high: float = math.inf
    text: str = field(default="", compare=False)

    def __init__(
        self,
        coefficients: Mapping[str, float] | Iterable[tuple[str, float]],
        low: float = -math.inf,
        high: float = math.inf,
    ):
        pairs = tuple((str(n), float(c)) for n, c in sorted(dict(coefficients).items()) if c != 0)
        if not pairs or not all(math.isfinite(c) for _, c in pairs):
            raise ParameterError(
                "a coupling needs at least one feature with a finite coefficient",
                column="constraints",
                value=coefficients,
            )
        if not low <= high:
            raise ParameterError(
                "a coupling's range is empty", column="constraints", value=(low, high)
            )
        for name, value in (("coefficients", pairs), ("low", float(low)), ("high", float(high))):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "text", _write(pairs, self.low, self.high))

    @classmethod
    def read(cls, text: str) -> Coupling:
        """From text: sums of ``number * name`` on both sides of ``>=``, ``<=`` or ``==``.

        A name that is not an identifier goes between backticks. Nothing is evaluated.
        """
        terms: dict[str, float] = {}
        tokens, constant, side, relation = _tokens(text), 0.0, 1.0, ""
        at = 0
        while at < len(tokens):
            kind, token = tokens[at]
            if kind == "sign" and token in (">=", "<=", "==", "=", "<", ">"):
                if relation or token in ("<", ">"):
                    _refuse(text, f"{token!r} can't be read")
                relation, side, at = token, -1.0, at + 1
                continue
            sign = 1.0
            while at < len(tokens) and tokens[at][1] in ("+", "-") and tokens[at][0] == "sign":
                sign, at = -sign if tokens[at][1] == "-" else sign, at + 1
            factor, name, at = _term(tokens, at, text)
            if name is None:
                constant += side * sign * factor
            else:
                terms[name] = terms.get(name, 0.0) + side * sign * factor
        if not relation or side > 0 or not tokens or tokens[-1][1] == relation:
            _refuse(text, "it has no '>=', '<=' or '==' between two sides")
        low = 0.0 - constant if relation in (">=", "==", "=") else -math.inf
        high = 0.0 - constant if relation in ("<=", "==", "=") else math.inf
        return cls(terms, low, high)

    def __repr__(self) -> str:
        return f"Coupling({self.text})"


class Couplings:
    """Several couplings as one matrix over codes: ``low <= C z <= high``."""

    def __init__(self, constraints: Iterable[str | Coupling], space: Space):
        if isinstance(constraints, str | Coupling):
            constraints = (constraints,)
        self.items = tuple(
            c if isinstance(c, Coupling) else Coupling.read(_text(c)) for c in constraints
        )
        self.matrix = np.zeros((len(self.items), len(space)))
        for i, item in enumerate(self.items):
            for name, coefficient in item.coefficients:
                if name not in space.names:
                    raise ParameterError(
                        f"{item.text!r} names {name!r}, which is no feature of the problem",
                        column="constraints",
                        advice=did_you_mean(name, space.names),
                    )
                feature = space.features[space.place(name)]
                if feature.is_discrete:
                    raise DataError(
                        f"is {feature.kind}, and {item.text!r} needs a number",
                        column=name,
                        advice="A column of 0 and 1 may be a count with bounds (0, 1)."
                        if feature.kind == "binary"
                        else "",
                    )
                self.matrix[i, space.place(name)] = coefficient
        self.low = np.array([c.low for c in self.items])
        self.high = np.array([c.high for c in self.items])

    def __len__(self) -> int:
        return len(self.items)

    def hold(self, z: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Whether codes ``(..., F)`` satisfy every coupling, up to 1e-9 of the features' scales."""
        if not self.items:
            return np.ones(z.shape[:-1], dtype=bool)
        values = z @ self.matrix.T
        slack = 1e-9 * (np.abs(self.matrix) @ scale)
        return ((values >= self.low - slack) & (values <= self.high + slack)).all(axis=-1)

    def project(
        self, z: np.ndarray, low: np.ndarray, high: np.ndarray, scale: np.ndarray, rounds: int = 20
    ) -> np.ndarray:
        """Move codes toward the couplings and into the box by cyclic projections.

        Steps are measured in ``scale``, so that units don't matter; a feature that can't move
        (``low == high``) stays where it is.
        """
        z = np.clip(z, low, high)
        for _ in range(rounds if self.items else 0):
            for row, floor, ceiling in zip(self.matrix, self.low, self.high, strict=True):
                weight = np.where(high > low, row * scale**2, 0.0)
                norm = weight @ row
                value = z @ row
                gap = np.clip(value, floor, ceiling) - value
                step = np.divide(gap, norm, out=np.zeros_like(gap), where=norm > 0)
                z = np.clip(z + step[..., None] * weight, low, high)
        return z


def _text(constraint: Any) -> str:
    if not isinstance(constraint, str):
        raise ParameterError(
            "must be texts such as 'a >= b' or Coupling objects",
            column="constraints",
            value=constraint,
        )
    return constraint


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, at, text = [], 0, text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            _refuse(text, f"{text[at:].strip()[:10]!r} can't be read")
        kind = match.lastgroup
        tokens.append(("name" if kind == "quoted" else kind, match.group(kind)))
        at = match.end()
    return tokens


def _term(tokens: list, at: int, text: str) -> tuple[float, str | None, int]:
    """``number``, ``name``, ``number * name`` or ``name * number``."""
    factor, name, expect = 1.0, None, True
    while at < len(tokens):
        kind, token = tokens[at]
        if expect and kind == "number":
            factor *= float(token)
        elif expect and kind == "name" and name is None:
            name = token
        elif not expect and token == "*":
            pass
        else:
            break
        expect, at = not expect, at + 1
    if expect:
        _refuse(text, "a number or a name is missing")
    return factor, name, at


def _refuse(text: str, why: str) -> None:
    raise ParameterError(
        f"{text!r} is no linear condition: {why}",
        column="constraints",
        advice="Write e.g. 'a >= b' or '2*a - b <= 10'; put odd names between backticks.",
    )


def _write(pairs: tuple[tuple[str, float], ...], low: float, high: float) -> str:
    text = ""
    for name, c in pairs:
        sign = "-" if c < 0 else "+" if text else ""
        size = "" if abs(c) == 1 else f"{number(abs(c))}*"
        text += (f" {sign} " if text else sign) + size + name
    if low == high:
        return f"{text} == {number(low)}"
    if math.isinf(low):
        return f"{text} <= {number(high)}"
    return f"{text} >= {number(low)}" + ("" if math.isinf(high) else f" and <= {number(high)}")
