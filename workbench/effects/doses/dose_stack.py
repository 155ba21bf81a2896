"""The default for doses: four Gaussian processes and GIKS, averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.results import number
from ...core.saving import saveable
from ...core.seeding import Seed
from .base import DoseEstimator, Monotone
from .dose_gp import FORMS, check_steps, fit_forms
from .gaussian_process import GaussianProcess, condition, rows_for_means
from .giks import GIKS, TEACHERS
from .rows import DoseRows
from .training import DoseNetworks, train_tasks

# Chosen on made-up laws (benchmarks/dose_surfaces.py), none of them those of the tables. The first
# ones are the TEACHERS of GIKS, learned once for both.
_PROCESSES = ("main", "moved", "smooth moved", "full")


@saveable
@dataclass(frozen=True, eq=False)
class StackedCurves:
    """A weighted mean of surfaces.

    Attributes:
        names: What they are.
        parts: The surfaces; processes first.
        weights: Non-negative, sum 1.
    """

    names: tuple[str, ...]
    parts: list[GaussianProcess | DoseNetworks]
    weights: tuple[float, ...]

    def each(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """mu(z, t) of each surface, (parts, m, G)."""
        return np.stack([part.levels(z, t) for part in self.parts])

    def levels(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """mu(z, t), (m, G)."""
        return np.tensordot(self.weights, self.each(z, t), 1)

    def slopes(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """d mu / d t, (m, G)."""
        found = [w * part.slopes(z, t) for w, part in zip(self.weights, self.parts, strict=True)]
        return np.sum(found, axis=0)

    def errors(self, z: np.ndarray, t: np.ndarray, base: np.ndarray | None = None) -> np.ndarray:
        """Root of the processes' mean variance plus the disagreement of all parts, (m, G)."""
        found = self.each(z, t)
        found = found if base is None else found - self.each(z, base)
        return self._with_disagreement([p.errors(z, t, base) for p in self._processes()], found)

    def mean_errors(
        self, z: np.ndarray, weight: np.ndarray, t: np.ndarray, base: float | None = None
    ) -> np.ndarray:
        """The same of the weighted mean over rows, (G,)."""
        few = rows_for_means(len(z))
        found = self.each(z[few], t)
        found = found if base is None else found - self.each(z[few], np.array([[base]]))
        means = np.einsum("n,kng->kg", weight[few] / weight[few].sum(), found)
        errors = [p.mean_errors(z, weight, t, base) for p in self._processes()]
        return self._with_disagreement(errors, means)

    def _processes(self) -> list[GaussianProcess]:
        return [part for part in self.parts if isinstance(part, GaussianProcess)]

    def _with_disagreement(self, errors: Sequence[np.ndarray], found: np.ndarray) -> np.ndarray:
        gap = found - np.tensordot(self.weights, found, 1)
        disagreement = np.tensordot(self.weights, gap**2, 1)
        return np.sqrt(np.mean(np.square(errors), axis=0) + disagreement)


@saveable
class DoseStack(DoseEstimator):
    """Dose-response by four Gaussian processes and GIKS: the default for doses.

    mu is the plain mean of five surfaces: the processes ``main``, ``moved``, ``smooth moved`` and
    ``full`` of :class:`DoseGP`, and :class:`GIKS` taught by the first two. Where forms are right
    they agree, where they are not their errors differ and the mean has less of them. On made-up
    laws the mean was better than the form with the largest marginal likelihood; held-out factual
    errors can't choose either, since they don't see doses that people like these hardly ever
    receive.

    Intervals: the mean variance of the processes plus the disagreement of the five. Their coverage
    is printed by ``python -m benchmarks.dose_laws``.

    Prefer :class:`LinearDML` for one slope with semiparametric intervals, :class:`DoseGP` for
    speed.

    Args:
        steps: Steps of the marginal likelihood.
        epochs: Of GIKS; by default 500, fewer for very many rows.
        n_folds: Networks of GIKS, each trained without one fold.
        monotone: ``"increasing"`` or ``"decreasing"`` if curves are known to be.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``, for the networks.
        progress: Show a bar.
        random_state: Seed.

    Attributes:
        model_: The :class:`StackedCurves`.

    References:
        Nagalapatti, Iyer, De and Sarawagi, AAAI 2024 (GIKS). Rasmussen and Williams, "Gaussian
        Processes for Machine Learning", MIT Press, 2006. Wolpert, "Stacked generalization",
        Neural Networks 5, 1992.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(200, 2))
        >>> dose = 1 / (1 + np.exp(-x[:, 0] - rng.normal(size=200)))
        >>> best = 0.5 + 0.2 * np.tanh(x[:, 1])
        >>> y = x[:, 0] - 4 * (dose - best) ** 2 + 0.1 * rng.normal(size=200)
        >>> stack = DoseStack(steps=20, epochs=50, progress=False).fit(y, dose, X=x)
        >>> low, high = stack.optimal_dose([[0.0, -1.0], [0.0, 1.0]])
        >>> bool(low < high)
        True
    """

    def __init__(
        self,
        steps: int = 60,
        epochs: int | None = None,
        n_folds: int = 5,
        monotone: Monotone = None,
        device: str = "auto",
        progress: bool = True,
        random_state: Seed = 0,
    ):
        self.steps = steps
        self.epochs = epochs
        self.n_folds = n_folds
        self.monotone = monotone
        self.device = device
        self.progress = progress
        self.random_state = random_state

    def _fit_doses(self, rows: DoseRows, seed: np.random.SeedSequence) -> StackedCurves:
        check_steps(self.steps)
        forms = [FORMS[name] for name in _PROCESSES]
        learned = fit_forms(rows, forms, self.steps, self.progress)
        giks = GIKS(
            steps=self.steps, epochs=self.epochs, device=self.device, progress=self.progress
        )
        task = giks.plan_with(rows, learned[: len(TEACHERS)], seed)
        parts = [*(condition(rows, *one) for one in learned), train_tasks(giks, [task])[0]]
        names = (*_PROCESSES, "GIKS")
        return StackedCurves(names, parts, (1 / len(parts),) * len(parts))

    def explain(self) -> str:
        """What the answer is made of, and how far each part is from the whole, in words."""
        self._require_fitted()
        z, t = self._inputs(None), self.scales_.dose(self.dose_grid(16))[None]
        found = self.model_.each(z, t)
        whole = np.tensordot(self.model_.weights, found, 1)
        away = np.sqrt(((found - whole) ** 2).mean(axis=(1, 2))) * self.scales_.y_width
        parts = ", ".join(
            f"{weight:.0%} {name} ({number(gap)})"
            for name, weight, gap in zip(self.model_.names, self.model_.weights, away, strict=True)
        )
        return (
            f"The curves of {self.y_name_!r} over {self.t_name_!r} are a mean of {parts}. In "
            f"brackets the root mean square distance of a part from the whole, in units of "
            f"{self.y_name_!r}: the parts are Gaussian processes of several shapes (see DoseGP) "
            "and networks (GIKS)."
        )
