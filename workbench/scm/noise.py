"""Noise: what a node's equation does not explain, drawn from data or from a known law.

A noise distribution has ``draw(rng, n) -> (n,)`` and ``log_density(e) -> (n,)`` or None where it
has no density. The second half of the file gives every row of a table its own reproducible
uniforms, for mechanisms whose noise is not determined by the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import ParameterError, QuestionError
from ..core.saving import saveable
from ..core.seeding import Seed, sequence
from ..tables.schema import Feature


@saveable
@dataclass(frozen=True, eq=False)
class Empirical:
    """Noise drawn with replacement from observed values (residuals).

    Args:
        values: ``(m,)`` observed noise.

    Example:
        >>> noise = Empirical(np.array([-1.0, 1.0]))
        >>> sorted(set(noise.draw(np.random.default_rng(0), 50).tolist()))
        [-1.0, 1.0]
    """

    values: np.ndarray

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return self.values[rng.integers(len(self.values), size=n)]

    def log_density(self, e: np.ndarray) -> np.ndarray | None:
        return None

    @property
    def sd(self) -> float:
        return float(np.std(self.values))


@saveable
@dataclass(frozen=True)
class Gaussian:
    """Normal noise.

    Args:
        sd: Standard deviation, 0 allowed.
        mean: Expectation.

    Example:
        >>> round(float(Gaussian(2.0).log_density(np.array([0.0]))[0]), 4)
        -1.6121
    """

    sd: float
    mean: float = 0.0

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return self.mean + self.sd * rng.standard_normal(n)

    def log_density(self, e: np.ndarray) -> np.ndarray | None:
        if self.sd == 0:
            return None
        z = (e - self.mean) / self.sd
        return -0.5 * z * z - np.log(self.sd * np.sqrt(2 * np.pi))


def learned(kind: Any, values: np.ndarray) -> Any:
    """The distribution that a user's word stands for, or the one given."""
    if kind == "empirical":
        return Empirical(np.array(values, dtype=float))
    if kind == "gaussian":
        return Gaussian(float(values.std()), float(values.mean()))
    if isinstance(kind, str):
        raise ParameterError(
            f"{kind!r} is not known", column="noise", advice="Use 'empirical' or 'gaussian'."
        )
    return kind


def drawn(law: Any, rng: np.random.Generator, n: int) -> np.ndarray:
    """``n`` numbers from a distribution or from a callable ``(rng, n)``."""
    out = np.asarray(law.draw(rng, n) if hasattr(law, "draw") else law(rng, n), dtype=float)
    if out.shape != (n,):
        raise ParameterError(f"must give {n} numbers", column="noise", value=out.shape)
    return out


def density(law: Any, e: np.ndarray, feature: Feature | None) -> np.ndarray:
    """Log density of noise, or a refusal that names the node."""
    log_density = getattr(law, "log_density", None)
    out = None if log_density is None else log_density(e)
    if out is None:
        raise no_density(feature, "its noise is a set of observed values, which has no density")
    return out


def no_density(feature: Feature | None, why: str) -> QuestionError:
    """The refusal of ``log_prob``."""
    return QuestionError(
        f"has no log_prob: {why}",
        column=None if feature is None else feature.name,
        advice="Give it a mechanism with noise='gaussian', if that is justified.",
    )


class RowUniforms:
    """Uniform numbers that belong to a row's content rather than to its position.

    Repeated calls, sub-tables and reordered tables give a row the same numbers; the k-th of
    several identical rows gets numbers of its own, so that a table of levels only is not reduced
    to a handful of draws.

    Args:
        values: ``(n, d)`` finite numbers; the content of the rows, columns in a canonical order.
        random_state: Seed of the whole family.

    Example:
        >>> rows = np.array([[1.0, 2.0], [3.0, 4.0]])
        >>> first = RowUniforms(rows, 0).take(5, 2)
        >>> bool((RowUniforms(rows[::-1], 0).take(5, 2) == first[::-1]).all())
        True
    """

    def __init__(self, values: np.ndarray, random_state: Seed):
        bits = np.ascontiguousarray(values + 0.0).view(np.uint64)  # + 0.0: -0.0 equals 0.0
        seed = sequence(random_state).generate_state(1, np.uint64)[0]
        key = np.full(len(values), seed, dtype=np.uint64)
        for column in bits.T:
            key = _mix(key ^ column)
        twin = pd.Series(key).groupby(key).cumcount().to_numpy().astype(np.uint64)
        self._key = _mix(key + twin * _STEP)

    def take(self, stream: int, width: int) -> np.ndarray:
        """``(n, width)`` uniforms in (0, 1); another ``stream`` gives independent ones."""
        place = np.arange(width, dtype=np.uint64) + np.uint64(stream << 20)
        mixed = _mix(self._key[:, None] ^ _mix(place * _STEP + _STEP))
        return ((mixed >> np.uint64(11)).astype(float) + 0.5) / 2.0**53


_STEP = np.uint64(0x9E3779B97F4A7C15)


def _mix(x: np.ndarray) -> np.ndarray:
    """A bijection of 64-bit integers that scatters neighbours (finaliser of splitmix64).

    Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
