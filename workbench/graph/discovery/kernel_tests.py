"""Kernel tests of conditional independence, which see dependence of any shape: KCI and RCIT."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

import numpy as np

from ...core.errors import ParameterError, warn
from ...core.seeding import Seed, foreign_generators, sequence
from .design import Design

# A conditional KCI test takes six seconds at this many rows, and grows with their cube.
MOST_ROWS = 2000
_FEW_ROWS = 400
# The libraries give 1 - F: nothing below the spacing of floats at 1 can be told apart.
_LEAST_P = 1e-16


class KernelTest:
    """x ⊥ y | S from kernels, for numbers, levels and mixtures of them.

    ``"kci"``: the statistic is the inner product of the kernel matrices of x and y after kernel
    ridge regression on S, its null a gamma distribution with the same two moments; cubic in the
    rows. ``"rcit"``: the same idea with random Fourier features (5 of x and y, up to 100 of S),
    n ||cov(x, y | S)||² against a weighted sum of chi-squares; linear in the rows.

    The features of a question are drawn from a seed of its own, so that x ⊥ y | S has one answer,
    whichever way round and whenever it is asked. Answers are kept.

    Args:
        design: A design with ``values``.
        kind: ``"kci"`` or ``"rcit"``.
        random_state: Seed of the features; KCI draws nothing.

    Raises:
        ParameterError: KCI on more than 2,000 rows.

    References:
        Zhang, Peters, Janzing, Schoelkopf, "Kernel-based conditional independence test and
        application in causal discovery", UAI 2011; Strobl, Zhang, Visweswaran, "Approximate
        kernel-based conditional independence tests for fast non-parametric causal discovery",
        Journal of Causal Inference 7, 2019.
    """

    batch = 16  # sets between two looks at the clock

    def __init__(self, design: Design, kind: Literal["kci", "rcit"], random_state: Seed = 0):
        if kind == "kci" and design.rows > MOST_ROWS:
            raise ParameterError(
                f"{design.rows:,} rows are too many: a test takes time in proportion to their cube "
                f"({MOST_ROWS:,} at most)",
                column="test",
                value=kind,
                advice="Use test='rcit', which is linear in the rows, or draw some rows.",
            )
        if kind == "rcit" and design.rows < _FEW_ROWS:
            warn(
                "few-rows",
                f"{design.rows} rows: below {_FEW_ROWS} RCIT rejects too often given several "
                "columns; test='kci' keeps its level and is fast enough",
            )
        self.size, self.kind = len(design.names), kind
        self._values, self._blocks = design.values, design.blocks
        self._features = int(np.clip(design.rows // 4, 25, 100))
        self._seed = sequence(random_state)
        self._answers: dict[tuple[int, int, tuple[int, ...]], float] = {}

    def log_p(self, x: int, targets: np.ndarray, subsets: np.ndarray) -> np.ndarray:
        """Log p-values ``(m, t)`` of x ⊥ y | S; -inf where y is in S."""
        out = np.full((len(subsets), len(targets)), -np.inf)
        for row, given in enumerate(subsets.tolist()):
            for column, y in enumerate(targets.tolist()):
                if y not in given:
                    out[row, column] = self._ask(min(x, y), max(x, y), tuple(sorted(given)))
        return out

    def _ask(self, x: int, y: int, given: tuple[int, ...]) -> float:
        question = (x, y, given)
        if question not in self._answers:
            seed = np.random.SeedSequence(
                self._seed.entropy, spawn_key=(*self._seed.spawn_key, x, y, *given)
            )
            data = [self._columns(x), self._columns(y)]
            if given:
                data.append(np.hstack([self._columns(s) for s in given]))
            with foreign_generators(seed), np.errstate(all="ignore"):
                p = float(self._tests[len(given) > 0].compute_pvalue(*data)[0])
            # No number: no answer, which never separates a pair.
            self._answers[question] = np.log(max(p, _LEAST_P)) if p == p else -np.inf
        return self._answers[question]

    def _columns(self, variable: int) -> np.ndarray:
        return self._values[:, self._blocks[variable]]

    @cached_property
    def _tests(self) -> tuple[Any, Any]:
        """Without and with a conditioning set."""
        if self.kind == "kci":
            from causallearn.utils.KCI.KCI import KCI_CInd, KCI_UInd

            return KCI_UInd(), KCI_CInd()
        from causallearn.utils.RCIT.RCIT import RCIT, RIT

        return RIT(), RCIT(num_f=self._features)
