"""The contract of dose-response estimators: curves, contrasts, slopes, best doses, support."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from ...core.errors import ParameterError, QuestionError, warn
from ...core.results import number
from ...core.seeding import spawn
from ...tables.effect_data import EffectData
from ...tables.gate import Table, count
from ..asked import better_is, doses_of_rows, finite_doses, in_order_of, refuse_nobody
from ..base import EffectEstimator, Estimate, quantile
from ..sandwich import covariance
from .density import LOW_SUPPORT, DoseDensity
from .rearrangement import Rearrangement
from .rows import DoseModel, DoseRows, dose_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEW_DOSES, _FEW_ROWS = 5, 100
_CHUNK = 4000  # rows answered at once
_SURELY = 4.0  # standard errors: the steepest of many stretches is looked for
_SMALL = 0.01  # sds of the outcome: what no reader would see

Monotone = Literal["increasing", "decreasing"] | None


class DoseEstimator(EffectEstimator):
    """Base of all learners of mu(x, t) = E[Y(t) | X = x] for a dose t.

    All covariates are effect modifiers X. Beside the methods of every effect estimator there are
    :meth:`dose_response`, :meth:`average_dose_response`, their intervals, :meth:`optimal_dose` and
    :meth:`support`. Doses are in the units of the column; doses outside the observed range give an
    ``extrapolation`` warning, curves that surely run against ``monotone`` a ``not-monotone`` one.

    A method defines ``_fit_doses(rows, seed)``, which returns a
    :class:`~workbench.effects.doses.rows.DoseModel`. The constructor has ``n_folds``, ``monotone``
    and ``random_state``.

    Attributes:
        model_: The fitted surface.
        density_: The density of the dose given the covariates.
        doses_: The doses received, (n,).
    """

    treatment = "continuous"
    needs_modifiers = True
    adjusts_for_w = False
    assumes = "no hidden confounder, and people like each one at every dose asked for"

    n_folds: int
    monotone: Monotone

    def _fit_doses(self, rows: DoseRows, seed: np.random.SeedSequence) -> DoseModel:
        raise TypeError(f"{type(self).__name__} must define _fit_doses")

    def _fit(self, data: EffectData, seed: np.random.SeedSequence) -> None:
        rows, seed = self._prepare(data, seed)
        self.model_ = self._fit_doses(rows, seed)

    def _prepare(
        self, data: EffectData, seed: np.random.SeedSequence
    ) -> tuple[DoseRows, np.random.SeedSequence]:
        """Rows as numbers, sorted by content, and the seed of what is learned from them."""
        self._check_doses(data)
        fold_seed, model_seed = spawn(seed, 2)
        rows, self.covariates_, self.scales_ = dose_rows(
            data, self._folds(), self.overlap_.score[:, 0], fold_seed
        )
        self.doses_ = data.t
        self.y_range_ = (float(data.y.min()), float(data.y.max()))
        self.two_levels_ = bool(np.isin(data.y, self.y_range_).all())
        rows = rows.arranged()
        self.rearrangement_ = Rearrangement.of(rows.t, rows.weight)
        self.density_ = DoseDensity.fit(rows, model_seed)
        return rows, model_seed

    def _end(self, data: EffectData) -> None:
        super()._end(data)
        if self.monotone is not None:
            self._tell_direction(-1.0 if self.monotone == "increasing" else 1.0)

    def _tell_direction(self, wrong: float) -> None:
        """Say so where the average curve, before it is sorted, surely runs the other way."""
        z = self._inputs(None)
        weight = np.ones(len(z)) if self.weight_ is None else self.weight_
        # Between the first and the last decile: the ends of a curve are its least sure part.
        doses = np.quantile(self.scales_.dose(self.doses_), np.linspace(0.1, 0.9, 17))
        curves = _in_parts(self.model_.levels, z, doses[None])
        level = wrong * np.average(curves, axis=0, weights=weight)
        gap = np.triu(level[None] - level[:, None])
        start, end = np.unravel_index(gap.argmax(), gap.shape)
        if gap[start, end] < _SMALL:
            return
        error = self.model_.mean_errors(z, weight, doses[[end]][None], float(doses[start]))[0]
        if gap[start, end] > _SURELY * error:
            low, high = self.scales_.dose_low + self.scales_.dose_width * doses[[start, end]]
            warn(
                "not-monotone",
                f"from dose {number(low)} to {number(high)} of {self.t_name_!r} the average curve "
                f"{'rises' if wrong > 0 else 'falls'} by "
                f"{number(gap[start, end] * self.scales_.y_width)} (standard error "
                f"{number(error * self.scales_.y_width)}), which monotone={self.monotone!r} rules "
                "out: curves are sorted on your word, and intervals don't count the contradiction",
                [self.t_name_],
            )

    def for_refuting(self) -> EffectEstimator:
        """One process of few steps, which sees curves too and takes about a second."""
        from .dose_gp import DoseGP

        return DoseGP(["main"], steps=15, progress=False, random_state=self.random_state)

    def _folds(self) -> int:
        if not isinstance(self.n_folds, int) or isinstance(self.n_folds, bool) or self.n_folds < 2:
            raise ParameterError("must be an integer from 2", column="n_folds", value=self.n_folds)
        return self.n_folds

    def _check_doses(self, data: EffectData) -> None:
        if self.monotone not in (None, "increasing", "decreasing"):
            raise ParameterError(
                "must be None, 'increasing' or 'decreasing'",
                column="monotone",
                value=self.monotone,
            )
        rows, what = len(data), "row"
        if data.groups is not None:
            pairs = np.unique(np.column_stack([data.groups, data.t]), axis=0)
            clusters = len(np.unique(data.groups))
            if len(pairs) == clusters:  # a dose was given to a cluster, not to its rows
                rows, what = clusters, "cluster"
        if rows < _FEW_ROWS:
            warn(
                "sample-size",
                f"{count(rows, what)} can't tell curves of {data.t_name!r} from noise: they "
                "are drawn towards a common one, and intervals are too narrow",
            )
        doses = np.unique(data.t)
        if len(doses) < 3:
            raise QuestionError(
                f"has {count(len(doses), 'value')}: there is no curve to learn",
                column=data.t_name,
                value=float(doses[-1]),
                advice="Use an estimator for arms, e.g. AIPW.",
            )
        if len(doses) <= _FEW_DOSES:
            warn(
                "few-doses",
                f"{data.t_name!r} has {len(doses)} distinct doses: what lies between them is the "
                "learner's guess",
                [data.t_name],
            )

    # ---- questions

    def dose_response(self, X: Any = None, grid: Any = None) -> np.ndarray:
        """E[Y(t) | X] for each row of X and each dose of the grid, (m, G).

        Args:
            X: Rows; None: those that were fitted.
            grid: Doses (G,); by default 64 over the observed range (see :meth:`dose_grid`).

        Raises:
            QuestionError: The estimator gives contrasts only.
        """
        return self._levels(self._inputs(X), self._grid(grid)[None])

    def dose_response_interval(
        self, X: Any = None, grid: Any = None, *, alpha: float = 0.05
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pointwise (1 - alpha) interval of :meth:`dose_response`: low and high, each (m, G)."""
        self._check_interval(alpha)
        z, t = self._inputs(X), self._grid(grid)[None]
        center, reach = self._levels(z, t), self._errors(z, t) * self._quantile(alpha)
        return self._within_range(center - reach), self._within_range(center + reach)

    def average_dose_response(self, grid: Any = None, X: Any = None) -> np.ndarray:
        """The mean of :meth:`dose_response` over the rows of X (None: those fitted), (G,)."""
        t, weight = self._grid(grid)[None], self.weight_ if X is None else None
        x = self._modifiers(X)
        refuse_nobody(x)
        return np.average(self._levels(self._encoded(x), t), axis=0, weights=weight)

    def average_dose_response_interval(
        self, grid: Any = None, X: Any = None, *, alpha: float = 0.05
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pointwise (1 - alpha) interval of :meth:`average_dose_response`, each (G,).

        With X=None the rows are taken for a sample, whose variation (by cluster) is counted.
        """
        self._check_interval(alpha)
        t, x = self._grid(grid)[None], self._modifiers(X)
        refuse_nobody(x)
        levels = self._levels(self._encoded(x), t)
        center = np.average(levels, axis=0, weights=self.weight_ if X is None else None)
        reach = self._mean_errors(X, t, None, levels=levels) * self._quantile(alpha)
        return self._within_range(center - reach), self._within_range(center + reach)

    def dose_grid(self, n: int = 64) -> np.ndarray:
        """Equally spaced doses over the observed range, (n,)."""
        self._require_fitted()
        if not isinstance(n, int) or isinstance(n, bool) or n < 2:
            raise ParameterError("must be an integer from 2", column="n", value=n)
        return np.linspace(*self.dose_range_, n)

    def marginal_effect(self, T: Any, X: Any = None) -> np.ndarray:
        """d E[Y(t) | X] / d t at T (one dose, or one per row of X), (m,)."""
        z = self._inputs(X)
        doses = doses_of_rows(self, T, X, len(z))
        return self._slopes(z, np.broadcast_to(doses, (len(z),))[:, None])

    def _slopes(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Slopes at a dose for each row, (m, 1), in units of the columns, (m,)."""
        width = self.scales_.dose_width
        if self.monotone is not None:  # of the curve that is shown, not of the one before
            step = self.rearrangement_.step(self.scales_.dose(t)) * width
            low, high = self.dose_range_  # beyond it the curve that is shown is level
            inside = (t >= low) & (t <= high)
            down = np.where(inside, np.maximum(t - step, low), t - step)
            up = np.where(inside, np.minimum(t + step, high), t + step)
            return ((self._levels(z, up) - self._levels(z, down)) / (up - down))[:, 0]
        return self.model_.slopes(z, self.scales_.dose(t))[:, 0] * (self.scales_.y_width / width)

    def optimal_dose(
        self,
        X: Any = None,
        bounds: tuple[float, float] | None = None,
        maximise: bool = True,
        *,
        min_support: float = 0.0,
    ) -> np.ndarray:
        """The dose with the best expected outcome for each row of X, (m,).

        A search over 201 doses, refined by a parabola.

        Args:
            X: Rows; None: those that were fitted.
            bounds: Lowest and highest dose allowed; by default the observed range.
            maximise: Whether more of the outcome is better.
            min_support: Only doses of at least this :meth:`support` are considered; a row without
                any gets NaN, with a warning.
        """
        z, sign = self._inputs(X), better_is(maximise)
        low, high = self.dose_range_ if bounds is None else _two_doses(bounds)
        if not _is_number(min_support) or not min_support >= 0:
            raise ParameterError("must be a number from 0", column="min_support", value=min_support)
        grid = np.linspace(low, high, 201)
        self._mark_extrapolation(low, high)
        values = self._levels(z, grid[None]) * sign
        support = self._support(z, grid[None])
        if min_support > 0:
            values = np.where(support >= min_support, values, -np.inf)
        place = values.argmax(axis=1)
        best = _refined(grid, values, place)
        self._mark_bound(place, values, low, high)
        none = ~np.isfinite(values.max(axis=1, initial=-np.inf))
        best[none] = np.nan
        rare = support[np.arange(len(z)), place] < LOW_SUPPORT
        if none.any():
            warn(
                "unsupported-dose",
                f"{count(int(none.sum()), 'row')} of {len(z)} have no dose with a support of "
                f"{min_support:g}: their best dose is unknown",
                [self.t_name_],
            )
        elif rare.any():
            warn(
                "unsupported-dose",
                f"for {count(int(rare.sum()), 'row')} of {len(z)} the best dose is one that people "
                f"like them hardly ever receive (support below {LOW_SUPPORT:g}): it rests on "
                "others; see support, and min_support",
                [self.t_name_],
            )
        return best

    def _mark_bound(self, place: np.ndarray, values: np.ndarray, low: float, high: float) -> None:
        known = np.isfinite(values.max(axis=1, initial=-np.inf))
        for bound, at, where in ((low, 0, "lower"), (high, values.shape[1] - 1, "upper")):
            rows = int((known & (place == at)).sum())
            if rows:
                warn(
                    "dose-at-bound",
                    f"for {count(rows, 'row')} of {len(place)} the best dose is {bound:g}, the "
                    f"{where} bound: beyond it may be a better one",
                    [self.t_name_],
                )

    def support(self, X: Any, T: Any) -> np.ndarray:
        """How usual doses are for people like each row: density of T given X, times the range.

        1 means as usual as if everybody's doses were spread evenly over the observed range, 0 that
        the answer is extrapolation, or lies between doses far apart with nobody in between.

        Args:
            X: Rows (m, ...); None: those that were fitted.
            T: One dose, one per row (m,), or doses for every row, (m, G) or (1, G).

        Returns:
            (m,), or (m, G) for a two-dimensional T.
        """
        z, doses = self._inputs(X), finite_doses(in_order_of(T, X, self), self.t_name_)
        if doses.ndim > 2 or (doses.ndim and doses.shape[0] not in (1, len(z))):
            raise QuestionError(
                f"needs one dose, or one or more per row of X ({len(z)})",
                column=self.t_name_,
                value=doses.shape,
            )
        t = doses if doses.ndim == 2 else np.broadcast_to(doses, (len(z),))[:, None]
        found = self._support(z, t)
        return found if doses.ndim == 2 else found[:, 0]

    def plot(self, X: Any = None, ax: Axes | None = None, *, alpha: float = 0.05) -> Axes:
        """The average curve with its interval; for up to eight rows of X the curve of each.

        A grey strip shows the doses that were received. The curve of a row is dashed where its
        :meth:`support` is below 0.05: what it says there rests on other people. With more than
        eight rows the curve is their average.
        """
        from .pictures import draw_curves

        self._check_interval(alpha)
        return draw_curves(self, X, ax, alpha)

    # ---- hooks of the base

    def _effect(self, x: Table | None, t0: float, t1: float) -> np.ndarray:
        return np.diff(self._levels(self._encoded(x), np.array([[t0, t1]])), axis=1)[:, 0]

    def _effect_error(self, x: Table | None, t0: float, t1: float) -> tuple[np.ndarray, float]:
        error = self._errors(self._encoded(x), np.array([[t1]]), t0)
        return error[:, 0], self._freedom()

    def _ate(self, x: Table | None, t0: float, t1: float, weight=None) -> Estimate:
        value = super()._ate(x, t0, t1, weight).value
        if not self.intervals:
            return Estimate(value)
        error = self._mean_errors(x, np.array([[t1]]), t0, weight)
        return Estimate(value, float(error[0]), self._freedom())

    def _freedom(self) -> float:
        """Degrees of freedom behind the standard errors."""
        return float("inf")

    # ---- in units of the columns

    def _encoded(self, x: Table | None) -> np.ndarray:
        x = self._modifiers(None) if x is None else x
        return self.covariates_.transform(x)

    def _inputs(self, X: Any) -> np.ndarray:
        return self._encoded(self._modifiers(X))

    def _grid(self, grid: Any) -> np.ndarray:
        if grid is None:
            return self.dose_grid()
        self._require_fitted()
        if isinstance(grid, pd.DataFrame):
            raise QuestionError(
                "is a table",
                column="grid",
                advice="Pass doses: dose_response(X, grid), average_dose_response(grid, X).",
            )
        doses = finite_doses(grid, "grid")
        if max(doses.shape, default=1) < doses.size:
            raise QuestionError(
                f"has shape {doses.shape}: every row is asked for the same doses",
                column="grid",
                advice="Pass one list of doses; for doses of each row's own use effect or support.",
            )
        doses = doses.reshape(-1)
        self._mark_extrapolation(float(doses.min()), float(doses.max()))
        return doses

    def _levels(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """mu in units of the outcome at doses (m, G) or (1, G), monotone if that was asked for."""
        doses = self.scales_.dose(t)
        if self.monotone is None:
            found = _in_parts(self.model_.levels, z, doses)
        else:
            fine = self.rearrangement_.dose
            curves = _in_parts(self.model_.levels, z, fine[None])
            curves = self.rearrangement_.sorted(curves, self.monotone)
            asked = np.broadcast_to(doses, (len(z), doses.shape[1]))
            found = np.empty(asked.shape)
            for i, (at, curve) in enumerate(zip(asked, curves, strict=True)):
                found[i] = np.interp(at, fine, curve)
        return self._within_range(found * self.scales_.y_width + self.scales_.y_center)

    def _within_range(self, levels: np.ndarray) -> np.ndarray:
        """Shares stay between 0 and 1 (or whatever the two levels of the outcome are)."""
        return np.clip(levels, *self.y_range_) if self.two_levels_ else levels

    def _errors(self, z: np.ndarray, t: np.ndarray, base: float | None = None) -> np.ndarray:
        start = None if base is None else np.array([[self.scales_.dose(base)]])

        def answer(part: np.ndarray, doses: np.ndarray) -> np.ndarray:
            return self.model_.errors(part, doses, start)

        return _in_parts(answer, z, self.scales_.dose(t)) * self.scales_.y_width

    def _mean_errors(
        self,
        X: Any,
        t: np.ndarray,
        base: float | None,
        weight: np.ndarray | None = None,
        levels: np.ndarray | None = None,
    ) -> np.ndarray:
        """Standard errors of mean levels, or of mean contrasts with a base dose, (G,)."""
        z = self._encoded(X) if X is None or isinstance(X, Table) else self._inputs(X)
        weight = self.weight_ if X is None else weight
        weight = np.ones(len(z)) if weight is None else weight
        start = None if base is None else float(self.scales_.dose(base))
        model = self.model_.mean_errors(z, weight, self.scales_.dose(t), start)
        variance = (model * self.scales_.y_width) ** 2
        if X is None:
            levels = self._levels(z, t) if levels is None else levels
            if base is not None:
                levels = levels - self._levels(z, np.array([[base]]))
            share = weight / weight.sum()
            influence = (levels - share @ levels) * share[:, None]
            variance = variance + np.diag(covariance(influence, self.groups_))
        return np.sqrt(variance)

    def _support(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        doses = np.broadcast_to(self.scales_.dose(t), (len(z), t.shape[1]))
        return self.density_(z, doses)

    def _quantile(self, alpha: float) -> float:
        return quantile(alpha, self._freedom())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _two_doses(bounds: Any) -> tuple[float, float]:
    """Lowest and highest dose, or a refusal."""
    given = list(bounds) if isinstance(bounds, Iterable) else []
    good = len(given) == 2 and all(_is_number(b) and np.isfinite(b) for b in given)
    if not good or not given[0] < given[1]:
        raise ParameterError(
            "must be two finite doses, the lower one first", column="bounds", value=bounds
        )
    return float(given[0]), float(given[1])


def _refined(grid: np.ndarray, values: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The top of the parabola through the best grid point and its neighbours."""
    best, rows = grid[place].copy(), np.arange(len(place))
    inner = (place > 0) & (place < len(grid) - 1)
    at, i = place[inner], rows[inner]
    left, top, right = values[i, at - 1], values[i, at], values[i, at + 1]
    with np.errstate(invalid="ignore"):
        bend = left - 2 * top + right
        move = np.where(np.isfinite(bend) & (bend < 0), (left - right) / (2 * bend), 0.0)
    best[inner] += np.clip(move, -0.5, 0.5) * (grid[1] - grid[0])
    return best


def _in_parts(answer, z: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Answers for many rows, some at a time."""
    if not len(z):
        return np.empty((0, t.shape[1]))
    parts = np.array_split(np.arange(len(z)), -(-len(z) // _CHUNK))
    return np.concatenate([answer(z[p], t if len(t) == 1 else t[p]) for p in parts])
