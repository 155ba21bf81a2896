"""The default for doses: four Gaussian processes, GIKS and a free network, averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.results import number
from ...core.saving import saveable
from ...core.seeding import Seed, spawn
from .base import DoseEstimator, Monotone
from .dose_gp import FORMS, check_steps, fit_forms
from .gaussian_process import GaussianProcess, condition, rows_for_means
from .giks import GIKS, TEACHERS
from .networks import DoseNet, WaveNet
from .rows import DoseRows
from .training import DoseNetworkLearner, DoseNetworks, train_tasks

# Forms chosen on made-up laws (benchmarks/dose_surfaces.py), none of them those of the tables. The
# first ones are the TEACHERS of GIKS, learned once for both.
_PROCESSES = ("main", "moved", "smooth moved", "full")
# Shares of all processes, of GIKS and of the free network. The last one costs 3 % of root mean
# square error over the made-up laws; it is there for laws where no process has the right form.
_SHARES = (0.6, 0.2, 0.2)


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
        """Root of the mean sampling variance plus the disagreement of all parts, (m, G).

        Sampling variance is the mean of two: the processes' own, which take their parameters for
        known, and the jackknife of GIKS, which learns everything anew.
        """
        found = self.each(z, t)
        found = found if base is None else found - self.each(z, base)
        return self._with_disagreement([p.errors(z, t, base) for p in self._judges()], found)

    def mean_errors(
        self, z: np.ndarray, weight: np.ndarray, t: np.ndarray, base: float | None = None
    ) -> np.ndarray:
        """The same of the weighted mean over rows, (G,)."""
        few = rows_for_means(len(z))
        found = self.each(z[few], t)
        found = found if base is None else found - self.each(z[few], np.array([[base]]))
        means = np.einsum("n,kng->kg", weight[few] / weight[few].sum(), found)
        errors = [p.mean_errors(z, weight, t, base) for p in self._judges()]
        return self._with_disagreement(errors, means)

    def _judges(self) -> list[GaussianProcess | DoseNetworks]:
        """The processes, and GIKS last: parts whose sampling variance is asked for."""
        return self.parts[: self.names.index("GIKS") + 1]

    def _with_disagreement(self, errors: Sequence[np.ndarray], found: np.ndarray) -> np.ndarray:
        *processes, giks = np.square(errors)
        gap = found - np.tensordot(self.weights, found, 1)
        disagreement = np.tensordot(self.weights, gap**2, 1)
        return np.sqrt(0.5 * (np.mean(processes, axis=0) + giks) + disagreement)


@saveable
class DoseStack(DoseEstimator):
    """Dose-response by four Gaussian processes, GIKS and a free network: the default for doses.

    mu = .6 times the mean of the processes ``main``, ``moved``, ``smooth moved`` and ``full`` of
    :class:`DoseGP`, .2 :class:`GIKS` taught by the first two, .2 a residual network on waves of the
    dose. Where forms are right they agree; where they are not their errors differ and the mean has
    less of them, and the free network, which shares none of their assumptions, guards against
    errors that they have in common. On made-up laws the mean was better than the form with the
    largest marginal likelihood; held-out factual errors can't choose either, since they don't see
    doses that people like these hardly ever receive.

    Intervals: the mean of the processes' variance and of the jackknife of GIKS, plus the
    disagreement of all parts. Their coverage is printed by ``python -m benchmarks.dose_laws``.

    Prefer :class:`LinearDML` for one slope with semiparametric intervals, :class:`DoseGP` for
    speed.

    Args:
        steps: Steps of the marginal likelihood.
        epochs: Of the networks; by default 500, fewer for very many rows.
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
        forms = [FORMS[name] for name in _PROCESSES]
        learned = fit_forms(rows, forms, self.steps, self.progress)
        ours, theirs = spawn(seed, 2)
        shared = {"device": self.device, "progress": self.progress}
        giks = GIKS(steps=self.steps, epochs=self.epochs, **shared)
        waves = _Waves(self.epochs, **shared)
        parts = [
            *(condition(rows, *one) for one in learned),
            train_tasks(giks, [giks.plan_with(rows, learned[: len(TEACHERS)], ours)])[0],
            train_tasks(waves, [waves._plan(rows, theirs)])[0],
        ]
        processes, *networks = _SHARES
        weights = (*(processes / len(learned),) * len(learned), *networks)
        return StackedCurves((*_PROCESSES, "GIKS", "free network"), parts, weights)

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
            "and networks (GIKS, and one that is free of any shape)."
        )


class _Waves(DoseNetworkLearner):
    """The free network of the stack."""

    gate_penalty, weight_decay, learning_rate, batch_size = 0.02, 0.3, 0.005, None

    def __init__(self, epochs: int | None, device: str, progress: bool):
        self.epochs = epochs
        self.device = device
        self.progress = progress

    def _network(self, members: int, n_in: int, seeds: Sequence[np.random.SeedSequence]) -> DoseNet:
        return WaveNet(members, n_in, random_state=list(seeds))
