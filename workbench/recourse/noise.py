"""What noise does to a decision: the noise itself, and how often it turns people down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..core.errors import ParameterError, QuestionError, did_you_mean, warn
from .problem import RecourseProblem
from .waiting import WAITING

_ROWS = 1 << 16


@dataclass(frozen=True, eq=False)
class Noise:
    """Independent Gaussian noise on numbers that people act on.

    Attributes:
        sd: ``(F,)`` in the features' own units; zero where there is none.
    """

    sd: np.ndarray

    @classmethod
    def of(cls, problem: RecourseProblem, sigma: float | Mapping[str, float]) -> Noise:
        """Noise on every actionable number that is no count.

        Args:
            sigma: Standard deviation in units of the cost's scale, or feature -> in its own unit.
        """
        space = problem.space
        noisy = problem.movable & ~space.discrete & ~space.integer
        if problem.world is not None:
            raise QuestionError(
                "is not followed through a causal model",
                column="sigma",
                advice="Leave the causal model out, or use ROAR, which follows linear ones.",
            )
        if isinstance(sigma, Mapping):
            sd = np.zeros(len(space))
            for name, value in sigma.items():
                if name not in space.names:
                    raise ParameterError(
                        f"names {name!r}, which is no feature of the problem",
                        column="sigma",
                        advice=did_you_mean(name, space.names),
                    )
                if not noisy[space.place(name)]:
                    raise ParameterError(
                        f"names {name!r}, which is no actionable continuous feature",
                        column="sigma",
                        advice="Noise is on what people do.",
                    )
                sd[space.place(name)] = _size(value)
            return cls(sd)
        if _size(sigma):
            _warn_of_counts(problem)
        return cls(np.where(noisy, sigma * problem.cost.scale, 0.0))

    def draws(self, count: int, seed: int) -> np.ndarray:
        """Scrambled Sobol points as noise, ``(count, F)``; count is rounded up to a power of 2."""
        from scipy.special import ndtri
        from scipy.stats import qmc

        at = np.flatnonzero(self.sd)
        out = np.zeros((1 << max(int(np.ceil(np.log2(count))), 0), len(self.sd)))
        if len(at):
            sobol = qmc.Sobol(len(at), scramble=True, rng=seed)
            uniform = np.clip(sobol.random(len(out)), 1e-12, 1 - 1e-12)
            out[:, at] = ndtri(uniform) * self.sd[at]
        return out


def _warn_of_counts(problem: RecourseProblem) -> None:
    """Columns of whole numbers are taken for counts, and then nothing is said of their noise."""
    counts = np.flatnonzero(problem.movable & problem.space.integer)
    names = [problem.space.names[j] for j in counts if problem.space.names[j] != WAITING]
    if names:
        warn(
            "no-noise",
            f"{', '.join(map(repr, names[:5]))}{', ...' if len(names) > 5 else ''} "
            f"{'is a count' if len(names) == 1 else 'are counts'} and taken to be carried out "
            "exactly: chances of failing leave their noise out; make them continuous in the "
            "schema to have it counted",
            names,
        )


def _size(value: float) -> float:
    if not (np.isfinite(value) and value >= 0):
        raise ParameterError("must be zero or more", column="sigma", value=value)
    return float(value)


def turned_down(problem: RecourseProblem, codes: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """How many of the noisy copies of each row ``(n, F)`` are not accepted, ``(n,)`` whole."""
    count = np.zeros(len(codes), dtype=int)
    step = max(_ROWS // max(len(noise), 1), 1)
    for at in range(0, len(codes), step):
        part = codes[at : at + step]
        noisy = (part[:, None, :] + noise[None]).reshape(-1, codes.shape[1])
        accepted = problem.accepts(problem.score(noisy)).reshape(len(part), -1)
        count[at : at + step] = (~accepted).sum(axis=1)
    return count
