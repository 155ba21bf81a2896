"""The default for doses: two Gaussian processes and two networks, averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.results import number
from ...core.saving import saveable
from ...core.seeding import Seed, spawn
from .base import DoseEstimator, Monotone
from .dose_gp import check_steps, fit_forms
from .gaussian_process import GaussianProcess, condition
from .giks import GIKS, TEACHERS
from .networks import DoseNet, WaveNet
from .rows import DoseRows
from .training import DoseNetworkLearner, DoseNetworks, train_tasks

# Chosen on seven made-up laws (benchmarks/dose_surfaces.py), none of them those of the tables.
_WEIGHTS = {"common curves": 0.35, "shifted curves": 0.35, "GIKS": 0.2, "residual network": 0.1}
_INFLATION = 1.5  # of the processes' variance, which takes their covariance for known
_WAVE_EPOCHS, _WHOLE = 300, 4000  # with more rows epochs have several steps and are fewer


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
        """Root of the processes' (inflated) variance and the disagreement of all parts, (m, G)."""
        found = self.each(z, t)
        found = found if base is None else found - self.each(z, base)
        return self._with_disagreement([p.errors(z, t, base) for p in self._processes()], found)

    def mean_errors(
        self, z: np.ndarray, weight: np.ndarray, t: np.ndarray, base: float | None = None
    ) -> np.ndarray:
        """The same of the weighted mean over rows, (G,)."""
        found = self.each(z, t)
        found = found if base is None else found - self.each(z, np.array([[base]]))
        means = np.einsum("n,kng->kg", weight / weight.sum(), found)
        errors = [p.mean_errors(z, weight, t, base) for p in self._processes()]
        return self._with_disagreement(errors, means)

    def _processes(self) -> list[GaussianProcess]:
        return [part for part in self.parts if isinstance(part, GaussianProcess)]

    def _with_disagreement(self, errors: Sequence[np.ndarray], found: np.ndarray) -> np.ndarray:
        gap = found - np.tensordot(self.weights, found, 1)
        disagreement = np.tensordot(self.weights, gap**2, 1)
        return np.sqrt(_INFLATION * np.mean(np.square(errors), axis=0) + disagreement)


@saveable
class DoseStack(DoseEstimator):
    """Dose-response by two Gaussian processes and two networks: the default for doses.

    mu = .35 process with common curves + .35 process with curves shifted between people + .2
    :class:`GIKS` (taught by the two) + .1 residual network on waves of the dose. The processes are
    best where their form is right, the networks where it is not; the mean loses little in the
    first case and gains much in the second. The weights were chosen on made-up laws; held-out
    factual errors can't choose them, since they don't see doses that people like these hardly
    ever receive.

    Intervals: variance of the processes (times 1.5, since their covariance is learned too) plus
    the disagreement of the four. Their coverage is printed by ``python -m benchmarks.dose_laws``.

    Prefer :class:`LinearDML` for one slope with semiparametric intervals, :class:`DoseGP` for
    speed.

    Args:
        steps: Steps of the marginal likelihood.
        epochs: Of the networks; by default 500 of GIKS (fewer for very many rows), 300 of the
            residual network.
        n_folds: Networks of each kind, each trained without one fold.
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
        taught, other = spawn(seed, 2)
        learned = fit_forms(rows, TEACHERS, self.steps)
        shared = {"device": self.device, "progress": self.progress}
        giks = GIKS(steps=self.steps, epochs=self.epochs, **shared)
        whole = self.epochs or (_WAVE_EPOCHS if len(rows) <= _WHOLE else None)
        waves = _Waves(epochs=whole, **shared)
        parts = [
            *(condition(rows, *one) for one in learned),
            train_tasks(giks, [giks.plan_with(rows, learned, taught)])[0],
            train_tasks(waves, [waves._plan(rows, other)])[0],
        ]
        return StackedCurves(tuple(_WEIGHTS), parts, tuple(_WEIGHTS.values()))

    def explain(self) -> str:
        """What the answer is made of, and how far each part is from the whole, in words."""
        self._require_fitted()
        z, t = self._inputs(None), self.scales_.dose(self.dose_grid(16))[None]
        found = self.model_.each(z, t)
        whole = np.tensordot(self.model_.weights, found, 1)
        away = np.sqrt(((found - whole) ** 2).mean(axis=(1, 2))) * self.scales_.y_width
        parts = ", ".join(
            f"{weight:.0%} {name} ({number(gap)} from the whole)"
            for name, weight, gap in zip(self.model_.names, self.model_.weights, away, strict=True)
        )
        return f"The curves of {self.y_name_!r} over {self.t_name_!r} are a mean of {parts}."


class _Waves(DoseNetworkLearner):
    """The residual network of the stack."""

    gate_penalty, weight_decay, learning_rate, batch_size = 0.02, 0.3, 0.005, None

    def __init__(self, epochs: int | None, device: str, progress: bool):
        self.epochs = epochs
        self.device = device
        self.progress = progress

    def _network(self, members: int, n_in: int, seeds: Sequence[np.random.SeedSequence]) -> DoseNet:
        return WaveNet(members, n_in, random_state=list(seeds))
