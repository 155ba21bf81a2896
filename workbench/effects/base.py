"""The contract of effect estimators: one front door that checks, one vocabulary of answers."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple, Self, final

import numpy as np
import pandas as pd

from ..core.errors import DataError, NotFittedError, ParameterError, QuestionError, recording, warn
from ..core.parameters import Parameterised
from ..core.results import number
from ..core.seeding import Seed, sequence, spawn
from ..tables.effect_data import EffectData, effect_data, two_arms
from ..tables.gate import Table, table
from .asked import doses_of_rows, refuse_nobody, scalar
from .conditions import (
    check_clusters,
    rows_that_weigh,
    tell_extrapolation,
    tell_size_and_rank,
    tell_strength,
)
from .overlap import diagnose


class Estimate(NamedTuple):
    """A number, its standard error (NaN if there is none) and the degrees of freedom behind it."""

    value: float
    se: float = float("nan")
    df: float = float("inf")

    def interval(self, alpha: float) -> tuple[float, float]:
        """value -+ t quantile * se."""
        reach = quantile(alpha, self.df) * self.se
        return self.value - reach, self.value + reach


def quantile(alpha: float, df: float = float("inf")) -> float:
    """The two-sided t quantile at level 1 - alpha (normal for infinite df)."""
    from scipy.special import ndtri, stdtrit

    return float(ndtri(1 - alpha / 2) if np.isinf(df) else stdtrit(max(df, 1), 1 - alpha / 2))


def check_target(target: Any) -> None:
    """Refuse what is neither the average effect nor that on the treated."""
    if target not in ("ATE", "ATT"):
        raise ParameterError("must be 'ATE' or 'ATT'", column="target", value=target)


class EffectEstimator(Parameterised):
    """Base of all effect estimators: ``fit`` checks and diagnoses, then calls ``_fit``.

    A method implements ``_fit(data, seed)`` and ``_effect(x, t0, t1)``; the other hooks
    (``_effect_error``, ``_effect_interval``, ``_ate``, ``_att``) are for methods that know more.
    Hooks get ``x`` as a checked :class:`Table` (or None) and the contrast as positions of arms, or
    as doses. Constructors store their parameters; every method has ``random_state=0``.

    Tags (class attributes):
        treatment: ``"discrete"``, ``"continuous"`` or ``"any"`` (then the parameter
            ``discrete_treatment`` decides, or the data if it is None).
        intervals: Whether ``effect_interval`` and ``ate_interval`` exist.
        defines_att: Whether ``att`` exists.
        linear_in_treatment: Whether the effect of a dose is proportional to T1 - T0.
        needs_modifiers: Whether X must be given.
        adjusts_for_w: Whether W is used; a method whose answers depend on every covariate refuses
            W and wants them all in X.
        needs_received_treatment: Whether ``effect`` also takes the treatment received, T.
        most_arms: Most arms that are compared in one fit, or None.
        needs_instrument: Whether ``fit`` needs an instrument, Z; others refuse one.
        assumes: What the number rests on beyond identification, as a phrase.

    Attributes:
        warnings_: Conditions under which the answers must be read with care.
        overlap_: The :class:`~workbench.effects.overlap.Overlap` of the table.
        arms_: Arms in order, or None for a dose; dose_range_: lowest and highest dose, or None.
        n_: Rows; y_name_, t_name_: names of outcome and treatment.
    """

    treatment: ClassVar[Literal["discrete", "continuous", "any"]] = "discrete"
    intervals: ClassVar[bool] = True
    defines_att: ClassVar[bool] = False
    linear_in_treatment: ClassVar[bool] = False
    needs_modifiers: ClassVar[bool] = False
    adjusts_for_w: ClassVar[bool] = True
    needs_received_treatment: ClassVar[bool] = False
    most_arms: ClassVar[int | None] = None
    needs_instrument: ClassVar[bool] = False
    assumes: ClassVar[str] = ""

    random_state: Seed

    # ---- fitting

    @final
    def fit(
        self,
        Y: Any,
        T: Any,
        *,
        X: Any = None,
        W: Any = None,
        Z: Any = None,
        sample_weight: Any = None,
        groups: Any = None,
    ) -> Self:
        """Learn from a table; labelled inputs are aligned by name and index.

        Args:
            Y: Outcome (n,): numbers, or two levels (effects are on the share of the second).
            T: Treatment (n,): arms or doses. Levels are in the order of a ``pd.Categorical``, else
                alphabetical, ``"active"`` before ``"placebo"``: say what is compared with T0, T1.
            X: Effect modifiers (n, d), adjusted for as well.
            W: Further columns to adjust for (n, q).
            Z: Instruments (n, r), for estimators with the tag ``needs_instrument``: columns that
                move T and reach Y only through it.
            sample_weight: Non-negative row weights (n,).
            groups: Cluster of each row (n,): governs folds and standard errors.

        Raises:
            DataError, QuestionError: As :func:`workbench.tables.effect_data.effect_data`.
        """
        with recording() as notes:
            self._learn(
                effect_data(
                    Y,
                    T,
                    X=X,
                    W=W,
                    Z=Z,
                    sample_weight=sample_weight,
                    groups=groups,
                    discrete_treatment=self.takes_arms(),
                )
            )
        self.warnings_ = tuple(notes)
        return self

    @final
    def fit_data(self, data: EffectData) -> Self:
        """``fit`` on data that have passed the gate, e.g. with a schema."""
        with recording() as notes:
            self._learn(data)
        self.warnings_ = tuple(notes)
        return self

    def takes_arms(self) -> bool | None:
        """Whether the treatment is read as arms; None leaves it to the data."""
        if self.treatment == "any":
            return getattr(self, "discrete_treatment", None)
        return self.treatment == "discrete"

    def _learn(self, data: EffectData) -> None:
        data, seed = self._begin(data)
        try:
            self._fit(data, seed)
        except BaseException:
            self._forget()
            raise
        self._end(data)

    def _begin(self, data: EffectData) -> tuple[EffectData, np.random.SeedSequence]:
        """Check and diagnose; the rows to learn from, and the seed of the fit."""
        sequence(self.random_state)
        if self.takes_arms() is not None and self.takes_arms() != (data.arms is not None):
            wanted = "arms" if self.takes_arms() else "a dose"
            raise QuestionError(f"{type(self).__name__} needs {wanted}", column=data.t_name)
        if self.most_arms is not None and data.arms and len(data.arms) > self.most_arms:
            raise QuestionError(
                f"has {len(data.arms)} arms, {type(self).__name__} compares {self.most_arms}",
                column=data.t_name,
                value=data.arms[self.most_arms],
                advice="Leave out the rows of the others.",
            )
        if self.needs_modifiers and data.x is None:
            raise QuestionError(
                f"{type(self).__name__} needs effect modifiers",
                column="X",
                advice="Pass covariates as X.",
            )
        if not self.adjusts_for_w and data.w is not None:
            raise QuestionError(
                f"{type(self).__name__} has no use for columns that only need adjustment",
                column=data.w.names[0],
                advice="Pass all covariates as X.",
            )
        if self.needs_instrument != (data.z is not None):
            raise QuestionError(
                f"{type(self).__name__} "
                f"{'needs an instrument' if self.needs_instrument else 'takes no instrument'}",
                column="Z" if data.z is None else data.z.names[0],
                advice="Pass what moves the treatment and reaches the outcome only through it."
                if self.needs_instrument
                else "Leave Z out, or use OrthoIV.",
            )
        self._forget()
        diagnosis, fitting = spawn(self.random_state, 2)
        data = rows_that_weigh(data)
        check_clusters(data)
        tell_size_and_rank(data)
        if data.z is not None:
            tell_strength(data, data.z)
        overlap = diagnose(data, diagnosis)
        # Nothing is kept until the fit has succeeded: a failed refit leaves no half state.
        self.overlap_ = overlap
        return data, fitting

    def _end(self, data: EffectData) -> None:
        """Keep what answers need of the rows that were fitted."""
        self.arms_ = data.arms
        self.dose_range_ = (
            None if data.arms is not None else (float(data.t.min()), float(data.t.max()))
        )
        self.n_, self.y_name_, self.t_name_ = len(data), data.y_name, data.t_name
        self.x_ = None if data.x is None else data.x.frame
        self.weight_, self.groups_ = data.weight, data.groups
        self.x_schema_ = None if data.x is None else data.x.schema
        self.x_named_ = data.x is not None and data.x.named
        self.labelled_ = data.labelled

    def _forget(self) -> None:
        for name in [k for k in vars(self) if k.endswith("_") and not k.startswith("_")]:
            delattr(self, name)

    def _fit(self, data: EffectData, seed: np.random.SeedSequence) -> None:
        raise TypeError(f"{type(self).__name__} must define _fit")

    # ---- answers

    def effect(self, X: Any = None, *, T0: Any = None, T1: Any = None) -> np.ndarray:
        """E[Y(T1) - Y(T0) | X] for each row of X, (m,); X=None: the rows fitted.

        Without modifiers the answer is one number, (1,). T0 and T1 default to the first and the
        second arm of ``arms_`` (one given alone to the first that is another), or to doses 0 and
        1. Columns are matched by name; rows far outside those fitted are named in a warning.
        """
        t0, t1 = self._contrast(T0, T1)
        x = self._modifiers(X)
        return np.empty(0) if _nobody(x) else self._effect(x, t0, t1)

    def effect_interval(
        self, X: Any = None, *, T0: Any = None, T1: Any = None, alpha: float = 0.05
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends of the (1 - alpha) interval of :meth:`effect`, each (m,)."""
        self._check_interval(alpha)
        t0, t1 = self._contrast(T0, T1)
        x = self._modifiers(X)
        none = np.empty(0), np.empty(0)
        return none if _nobody(x) else self._effect_interval(x, t0, t1, alpha)

    def ate(self, X: Any = None, *, T0: Any = None, T1: Any = None) -> float:
        """The average effect, over the rows of X or (None) over the population fitted."""
        return self.average_effect(X, T0=T0, T1=T1).value

    def ate_interval(
        self, X: Any = None, *, T0: Any = None, T1: Any = None, alpha: float = 0.05
    ) -> tuple[float, float]:
        """The (1 - alpha) interval of :meth:`ate`."""
        self._check_interval(alpha)
        return self._with_error(self.average_effect(X, T0=T0, T1=T1)).interval(alpha)

    def average_effect(self, X: Any = None, *, T0: Any = None, T1: Any = None) -> Estimate:
        """:meth:`ate` with its standard error and degrees of freedom."""
        t0, t1 = self._contrast(T0, T1)
        x = None if X is None else self._modifiers(X)
        refuse_nobody(x)
        return self._ate(x, t0, t1)

    def att(self, *, T0: Any = None, T1: Any = None) -> float:
        """E[Y(T1) - Y(T0) | T = T1]: the average effect among those who received T1."""
        return self.average_effect_on_treated(T0=T0, T1=T1).value

    def att_interval(
        self, *, T0: Any = None, T1: Any = None, alpha: float = 0.05
    ) -> tuple[float, float]:
        """The (1 - alpha) interval of :meth:`att`."""
        self._check_interval(alpha)
        return self._with_error(self.average_effect_on_treated(T0=T0, T1=T1)).interval(alpha)

    def average_effect_on_treated(self, *, T0: Any = None, T1: Any = None) -> Estimate:
        """:meth:`att` with its standard error and degrees of freedom."""
        t0, t1 = self._contrast(T0, T1)
        if not self.defines_att:
            raise QuestionError(
                f"{type(self).__name__} does not estimate the effect on the treated",
                column=self.t_name_,
                advice="Use AIPW." if self.arms_ else "Ask for ate(X) over the rows meant.",
            )
        return self._att(t0, t1)

    def average_effect_within(
        self, inside: np.ndarray, *, T0: Any = None, T1: Any = None, target: str = "ATE"
    ) -> Estimate:
        """The average effect among some of the rows that were fitted, with their weights.

        Args:
            inside: Mask over the fitted rows.
            T0, T1: The contrast.
            target: ``"ATE"`` or ``"ATT"`` among those rows.

        Raises:
            QuestionError: The estimator has no such average.
            ParameterError: Another target.
        """
        check_target(target)
        t0, t1 = self._contrast(T0, T1)
        if target == "ATT" and not self.defines_att:
            raise QuestionError(
                f"{type(self).__name__} does not estimate the effect on the treated",
                column=self.t_name_,
                advice="Use AIPW.",
            )
        return self._within(np.asarray(inside, dtype=bool), t0, t1, target)

    def const_marginal_effect(self, X: Any = None) -> np.ndarray:
        """Effects of each arm against the first, (m, arms - 1); for a dose the slope, (m,).

        Raises:
            QuestionError: The effect of the dose is not linear.
        """
        self._require_fitted()
        x = self._modifiers(X)
        if self.arms_ is not None:
            return np.column_stack([self._effect(x, 0, k) for k in range(1, len(self.arms_))])
        if not self.linear_in_treatment:
            raise QuestionError(
                f"the effect in {type(self).__name__} is not proportional to the dose",
                column=self.t_name_,
                advice="Ask for effect(X, T0=..., T1=...).",
            )
        return self._effect(x, 0.0, 1.0)

    def marginal_effect(self, T: Any, X: Any = None) -> np.ndarray:
        """Slope of the outcome in the dose at T (one dose, or one per row of X), (m,).

        For arms the same as :meth:`const_marginal_effect`.
        """
        slope = self.const_marginal_effect(X)
        if self.arms_ is None:
            doses = doses_of_rows(self, T, X, None if len(slope) == 1 else len(slope))
            return np.broadcast_to(slope, np.broadcast_shapes(slope.shape, doses.shape)).copy()
        return slope

    def for_refuting(self) -> EffectEstimator:
        """The estimator of the same average that refuters fit over and over: itself.

        A method that takes seconds gives a faster one here.
        """
        return self

    # ---- what methods may define

    def _effect(self, x: Table | None, t0: Any, t1: Any) -> np.ndarray:
        raise TypeError(f"{type(self).__name__} must define _effect")

    def _effect_error(self, x: Table | None, t0: Any, t1: Any) -> tuple[np.ndarray, float]:
        raise QuestionError(f"{type(self).__name__} has no intervals", column=self.t_name_)

    def _effect_interval(
        self, x: Table | None, t0: Any, t1: Any, alpha: float
    ) -> tuple[np.ndarray, np.ndarray]:
        center = self._effect(x, t0, t1)
        error, df = self._effect_error(x, t0, t1)
        reach = quantile(alpha, df) * error
        return center - reach, center + reach

    def _ate(self, x: Table | None, t0: Any, t1: Any, weight: np.ndarray | None = None) -> Estimate:
        """Average over rows (the fitted ones for None), with weights if they have any."""
        if x is None:
            x, weight = self._modifiers(None), self.weight_
        effects = self._effect(x, t0, t1)
        return Estimate(float(np.average(effects, weights=weight if x is not None else None)))

    def _within(self, inside: np.ndarray, t0: Any, t1: Any, target: str) -> Estimate:
        rows = Table(self.x_[inside], self.x_schema_, self.x_named_)
        weight = None if self.weight_ is None else self.weight_[inside]
        return self._ate(rows, t0, t1, weight)

    def _att(self, t0: Any, t1: Any) -> Estimate:
        raise TypeError(f"{type(self).__name__} must define _att")

    # ---- checks of questions

    def _modifiers(self, X: Any) -> Table | None:
        """The rows of X as a checked table in the order fitted; the rows fitted for None."""
        self._require_fitted()
        if self.x_ is None:
            if X is not None and np.shape(X)[-1:] != (0,):
                raise QuestionError(
                    "was given, but the estimator was fitted without effect modifiers",
                    column="X",
                    advice="Fit with X, or leave it out here.",
                )
            return None
        if X is None:
            return Table(self.x_, self.x_schema_, self.x_named_)
        names = self.x_schema_.names
        is_frame = isinstance(X, pd.DataFrame | pd.Series | Table)
        if not is_frame:
            if self.x_named_:
                raise DataError(
                    "an array has no column names to match those that were fitted",
                    column=names[0],
                    advice="Pass a DataFrame.",
                )
            hidden = np.ma.isMaskedArray(X)  # what lies under a mask is an empty cell
            array = np.ma.filled(X.astype(float), np.nan) if hidden else np.asarray(X)
            if array.ndim != 2 or array.shape[1] != len(names):
                raise DataError(
                    f"the effect modifiers have shape {array.shape}, not (rows, {len(names)})",
                    column=names[-1],
                )
            X = pd.DataFrame(array, columns=list(names))
        elif not self.x_named_ and isinstance(X, pd.DataFrame) and X.shape[1] == len(names):
            X = X.set_axis(list(names), axis=1)
        asked = table(
            X,
            schema=self.x_schema_,
            columns=names,
            what="effect modifiers X",
            min_rows=0,
            drop=False,
        )
        tell_extrapolation(self.x_, asked.frame)
        return asked

    def _contrast(self, T0: Any, T1: Any) -> tuple[Any, Any]:
        self._require_fitted()
        if self.arms_ is not None:
            return two_arms(self.arms_, scalar(T0), scalar(T1), self.t_name_)
        doses = []
        for label, given, default in (("T0", T0, 0.0), ("T1", T1, 1.0)):
            value = scalar(default if given is None else given)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not np.isfinite(value):
                raise QuestionError(
                    f"{label} must be a finite dose", column=self.t_name_, value=value
                )
            doses.append(float(value))
        self._mark_extrapolation(*doses)
        return doses[0], doses[1]

    def _mark_extrapolation(self, *doses: float) -> None:
        low, high = self.dose_range_
        beyond = [d for d in doses if d < low or d > high]
        if beyond:
            warn(
                "extrapolation",
                f"dose {number(beyond[0])} lies outside the observed range of {self.t_name_!r}, "
                f"{number(low)} to {number(high)}",
                [self.t_name_],
            )

    def _check_interval(self, alpha: float) -> None:
        self._require_fitted()
        if not isinstance(alpha, int | float) or not 0 < alpha < 1:
            raise ParameterError("must lie between 0 and 1", column="alpha", value=alpha)
        if not self.intervals:
            raise QuestionError(
                f"{type(self).__name__} has no intervals",
                column=self.t_name_,
                advice="Use AIPW, or bootstrap the fit.",
            )

    def _with_error(self, found: Estimate) -> Estimate:
        if np.isnan(found.se):
            raise QuestionError(
                f"{type(self).__name__} has no standard error for this answer",
                column=self.t_name_,
                advice="Use AIPW." if self.arms_ else "Use LinearDML or DoseGP.",
            )
        return found

    def _require_fitted(self) -> None:
        if getattr(self, "saved_hash", None) is not None and not self.__sklearn_is_fitted__():
            raise NotFittedError(
                f"this {type(self).__name__} was saved as a recipe",
                advice="Call fit again with the same data.",
            )
        super()._require_fitted()


def _nobody(x: Table | None) -> bool:
    return x is not None and not len(x)


def fresh(estimator: EffectEstimator) -> EffectEstimator:
    """An unfitted copy without a progress bar of its own, for those who fit it many times."""
    from sklearn.base import clone

    copy = clone(estimator)
    return copy.set_params(progress=False) if "progress" in copy.get_params() else copy
