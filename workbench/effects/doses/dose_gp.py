"""A Gaussian process over covariates and dose, its shape chosen by marginal likelihood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...core.errors import ParameterError, did_you_mean
from ...core.saving import saveable
from ...core.seeding import Seed
from .base import DoseEstimator, Monotone
from .gaussian_process import GaussianProcess, condition, learn
from .kernel import KernelForm, Parameters
from .rows import DoseRows

FORMS = {
    "product": KernelForm(waves=0, linear=False, main=False),
    "waves": KernelForm(linear=False, main=False),
    "main": KernelForm(linear=False, second=True),
    "smooth": KernelForm(waves=0, linear=False, second=True),
    "moved": KernelForm(linear=False, second=True, shift=True),
    "smooth moved": KernelForm(waves=0, linear=False, second=True, shift=True),
    "full": KernelForm(second=True),
    "shifted": KernelForm(second=True, shift=True),
}

_SHIFT_STEPS = 0.4  # of the steps of a form without shifts

Learned = tuple[KernelForm, Parameters, float]


@saveable
class DoseGP(DoseEstimator):
    """Gaussian-process regression of the outcome on (x, dose), with relevance per covariate.

    k((x, t), (x', t')) = k_dose(t, t') * k_x(x, x') + k_0(x, x'); which parts there are (damped
    waves in the dose, a second product with covariates of its own, terms linear in x, a part that
    no dose changes, curves that lie at different doses for different people) is decided by
    marginal likelihood with priors that favour few covariates. Intervals are the posterior's; with
    ``groups`` a cluster has a level of its own. Exact up to 2,500 rows, on 1,000 inducing points
    beyond (500 from 20,000 rows). ``sample_weight`` divides the noise of a row.

    Intervals take the covariance for known and are too narrow for that; ``python -m
    benchmarks.dose_laws`` prints what they hold. Prefer :class:`DoseStack`, which counts the
    disagreement of several forms.

    Args:
        kernels: Shapes to choose from: ``"product"``, ``"waves"``, ``"main"``, ``"smooth"``
            (``main`` without waves), ``"moved"`` and ``"smooth moved"`` (the last two with
            shifted curves), ``"full"``, ``"shifted"`` (``full`` with shifted curves).
        steps: Steps of the marginal likelihood.
        n_folds: Folds of the diagnosis; the process itself needs none.
        monotone: ``"increasing"`` or ``"decreasing"`` if curves are known to be.
        progress: Show a bar.
        random_state: Seed of the diagnosis; the process draws nothing.

    Attributes:
        kernel_: The shape chosen.
        losses_: Minus the log marginal likelihood (with priors) per row of each shape.
        model_: The :class:`~workbench.effects.doses.gaussian_process.GaussianProcess`.

    References:
        Rasmussen and Williams, "Gaussian Processes for Machine Learning", MIT Press, 2006. Wilson
        and Adams, "Gaussian process kernels for pattern discovery and extrapolation", ICML 2013
        (waves).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(150, 2))
        >>> dose = 1 / (1 + np.exp(-x[:, 0] - rng.normal(size=150)))
        >>> y = x[:, 0] + np.sin(3 * dose) + 0.1 * rng.normal(size=150)
        >>> curve = DoseGP(kernels=["main"]).fit(y, dose, X=x).average_dose_response([0.1, 0.5])
        >>> bool(abs(np.diff(curve)[0] - np.sin(1.5) + np.sin(0.3)) < 0.15)
        True
    """

    def __init__(
        self,
        kernels: Sequence[str] = ("main", "moved", "smooth moved"),
        steps: int = 60,
        n_folds: int = 5,
        monotone: Monotone = None,
        progress: bool = True,
        random_state: Seed = 0,
    ):
        self.kernels = kernels
        self.steps = steps
        self.n_folds = n_folds
        self.monotone = monotone
        self.progress = progress
        self.random_state = random_state

    def _fit_doses(self, rows: DoseRows, seed: np.random.SeedSequence) -> GaussianProcess:
        check_steps(self.steps)
        names = [self.kernels] if isinstance(self.kernels, str) else list(self.kernels)
        for name in names:
            if name not in FORMS:
                raise ParameterError(
                    "is no kernel",
                    column="kernels",
                    value=name,
                    advice=did_you_mean(str(name), FORMS),
                )
        if not names:
            raise ParameterError("must name at least one", column="kernels", value=self.kernels)
        forms = [FORMS[name] for name in names]
        learned = fit_forms(rows, forms, self.steps, self.progress)
        losses = [loss for *_, loss in learned]
        best = int(np.argmin(losses))
        self.kernel_, self.losses_ = names[best], dict(zip(names, losses, strict=True))
        return condition(rows, *learned[best])


def fit_forms(
    rows: DoseRows, forms: Sequence[KernelForm], steps: int, progress: bool
) -> list[Learned]:
    """The parameters of each form by marginal likelihood; a bar if it takes over two seconds.

    Shifted curves start from what is learned of common ones: with every shift free from the start
    the likelihood has poor optima.
    """
    from tqdm import tqdm

    found: dict[KernelForm, tuple[Parameters, float]] = {}
    for form in tqdm(forms, desc="Gaussian processes", delay=2, leave=False, disable=not progress):
        common = replace(form, shift=False)
        if common not in found:
            found[common] = learn(rows, common, steps)
        if form.shift:
            few = max(1, round(_SHIFT_STEPS * steps))
            found[form] = learn(rows, form, few, found[common][0])
    return [(form, *found[form]) for form in forms]


def check_steps(steps: int) -> None:
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise ParameterError("must be a positive integer", column="steps", value=steps)
