"""Nuisance functions: E[Y | ...] and P(T | ...), chosen by out-of-fold loss and cross-fitted.

The candidates are ridge regression on the covariates, ridge on restricted cubic splines with
pairwise products, and gradient-boosted trees. All are fast enough to be tried in every fold, so
the predictions that decide which candidate wins are the cross-fitted predictions themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..core.saving import saveable
from ..core.seeding import Seed, generator, integer, spawn

Predict = Callable[[np.ndarray], np.ndarray]

_RIDGE = (1e-6, 1e-3, 1e-2, 1e-1, 1.0)
_LOGISTIC = (1.0, 1e-1, 1e-2, 1e-3)
_FEWEST_FOR_TREES = 100
_MOST_FOR_PRODUCTS = 12
_MOST_FOR_SPLINES = 60
_ONE_FOLD_DECIDES = 4000  # training rows from which the first fold picks the family for all
_INNER_FOLDS = 4
_ROWS_FOR_ALL_TREES = 20_000
_ROWS_OF_CURVATURE = 10_000
_WIDE = 300  # columns from which a Newton step is dear and fewer penalties are tried


def fold_ids(
    n: int,
    k: int,
    random_state: Seed,
    *,
    groups: np.ndarray | None = None,
    strata: np.ndarray | None = None,
    rank: np.ndarray | None = None,
) -> np.ndarray:
    """Fold of each row, (n,): groups stay together, strata (arms) are spread evenly.

    There are as many folds as the smallest stratum (or the number of groups) allows, at most k.
    With ``rank`` (a place for each row that depends on its content alone) the order in which rows
    arrive has no influence.
    """
    rng = generator(random_state)
    units = np.arange(n) if groups is None else np.asarray(groups)
    labels, unit = np.unique(units, return_inverse=True)
    layer = np.zeros(len(labels), dtype=int)
    if strata is not None:
        tally = np.zeros((len(labels), int(strata.max()) + 1))
        np.add.at(tally, (unit, strata), 1)
        layer = tally.argmax(axis=1)
    sizes = np.bincount(layer)
    k = max(2, min(k, int(sizes[sizes > 0].min())))
    place = np.full(len(labels), n)
    np.minimum.at(place, unit, np.arange(n) if rank is None else rank)
    order = np.argsort(place)[rng.permutation(len(labels))]
    order = order[np.argsort(layer[order], kind="stable")]
    fold = np.empty(len(labels), dtype=int)
    fold[order] = np.arange(len(labels)) % k
    return fold[unit]


@saveable
@dataclass(frozen=True)
class Basis:
    """Standardised covariates, their restricted cubic splines and pairwise products."""

    knots: tuple[tuple[int, np.ndarray], ...]
    pairs: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    @classmethod
    def fit(cls, z: np.ndarray) -> Basis:
        p = z.shape[1]
        knots = []
        for j in range(p) if p <= _MOST_FOR_SPLINES else ():
            places = np.unique(np.quantile(z[:, j], [0.05, 0.35, 0.65, 0.95]))
            if len(places) == 4 and len(np.unique(z[:, j])) > 8:
                knots.append((j, places))
        first, second = np.triu_indices(p, 1)
        pairs = np.stack([first, second]) if p <= _MOST_FOR_PRODUCTS else np.empty((2, 0), int)
        if not knots and not pairs.size:
            return cls((), pairs, np.zeros(p), np.ones(p))
        raw = cls(tuple(knots), pairs, np.zeros(1), np.ones(1)).transform(z)
        spread = raw.std(axis=0)
        center, scale = raw.mean(axis=0), np.where(spread > 1e-9, spread, 1.0)
        # A product that hardly varies would throw a row of a rare level far out: bends and
        # products stay in the range they were fitted on, the covariates themselves may leave it.
        low, high = raw.min(axis=0), raw.max(axis=0)
        low[:p], high[:p] = -np.inf, np.inf
        return cls(tuple(knots), pairs, center, scale, low, high)

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing beyond the covariates themselves."""
        return not self.knots and not self.pairs.size

    def transform(self, z: np.ndarray) -> np.ndarray:
        parts = [z]
        for j, (a, b, c, d) in self.knots:
            last = _cube(z[:, j] - c) - _cube(z[:, j] - d)
            for knot, width in ((a, d - a), (b, d - b)):
                bend = (_cube(z[:, j] - knot) - _cube(z[:, j] - d)) / width - last / (d - c)
                parts.append((bend / (d - a)).reshape(-1, 1))
        if self.pairs.size:
            parts.append(z[:, self.pairs[0]] * z[:, self.pairs[1]])
        raw = np.hstack(parts)
        raw = raw if self.low is None else np.clip(raw, self.low, self.high)
        return (raw - self.center) / self.scale


def _cube(value: np.ndarray) -> np.ndarray:
    return np.maximum(value, 0.0) ** 3


@saveable
@dataclass(frozen=True)
class Linear:
    """intercept + z @ coef, on the plain covariates or on a basis, through a link."""

    basis: Basis | None
    intercept: float
    coef: np.ndarray
    logistic: bool

    def __call__(self, z: np.ndarray) -> np.ndarray:
        score = self.intercept + (z if self.basis is None else self.basis.transform(z)) @ self.coef
        return _expit(score) if self.logistic else score


@saveable
@dataclass(frozen=True)
class Trees:
    """The first ``rounds`` trees of a LightGBM booster; saved as its text."""

    booster: object
    rounds: int

    def __call__(self, z: np.ndarray) -> np.ndarray:
        return self.booster.predict(z, num_iteration=self.rounds, num_threads=1)

    def _state(self) -> dict:
        text = self.booster.model_to_string(num_iteration=self.rounds)
        return {"text": text, "rounds": self.rounds}

    @classmethod
    def _from_state(cls, state: dict) -> Trees:
        import lightgbm

        booster = lightgbm.Booster(model_str=state["text"])
        return cls(booster, state["rounds"])


def _expit(score: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(score, -30, 30)))


def candidates(
    z: np.ndarray,
    y: np.ndarray,
    w: np.ndarray,
    binary: bool,
    basis: Basis,
    seed: int,
    family: str | None = None,
) -> dict[str, Predict]:
    """Every candidate fitted to the rows given: name -> prediction function.

    Args:
        z: Covariates, standardised, (n, p).
        y: Target (n,); 0/1 if ``binary``.
        w: Weights (n,).
        binary: Predict a probability.
        basis: The spline basis, fitted on covariates alone.
        seed: For the trees.
        family: ``"linear"``, ``"spline"`` or ``"trees"``: fit only these.
    """
    level = float(np.average(y, weights=w))
    flat = Linear(None, level, np.zeros(z.shape[1]), False)
    if len(y) < 3 or y.min() == y.max() or not z.shape[1]:
        return {"constant": flat}
    found: dict[str, Predict] = {"constant": flat}
    for name, design in (("linear", None), ("spline", basis)):
        if family not in (None, name) or design is not None and design.is_plain:
            continue
        features = z if design is None else design.transform(z)
        solve = _logistic_path if binary else _ridge_path
        for penalty, intercept, coef in solve(features, y, w):
            found[f"{name}, penalty {penalty:g}"] = Linear(design, intercept, coef, binary)
    if family in (None, "trees") and len(y) >= _FEWEST_FOR_TREES:
        booster, rounds = _boost(z, y, w, binary, seed)
        found |= {f"trees, {r} rounds": Trees(booster, r) for r in rounds}
    return found


def _ridge_path(x: np.ndarray, y: np.ndarray, w: np.ndarray):
    w = w / w.sum()
    x_mean, y_mean = w @ x, w @ y
    root = np.sqrt(w)[:, None]
    centred, target = (x - x_mean) * root, (y - y_mean) * root[:, 0]
    if x.shape[1] <= len(y):
        values, vectors = np.linalg.eigh(centred.T @ centred)
        values, projected = np.maximum(values, 0), vectors.T @ (centred.T @ target)
    else:
        left, singular, right = np.linalg.svd(centred, full_matrices=False)
        values, vectors = singular**2, right.T
        projected = singular * (left.T @ target)
    for penalty in _RIDGE:
        coef = vectors @ (projected / (values + penalty))
        yield penalty, float(y_mean - x_mean @ coef), coef


def _logistic_path(x: np.ndarray, y: np.ndarray, w: np.ndarray):
    """Ridge-penalised logistic regression by Newton steps, warm-started along the path."""
    w = w / w.sum()
    design = np.hstack([np.ones((len(y), 1)), x])
    level = w @ y
    # The gradient comes from all rows; for the curvature some of very many are enough.
    step_over = max(1, len(y) // _ROWS_OF_CURVATURE)
    some, close = slice(None, None, step_over), 1e-6 if step_over == 1 else 1e-4
    share = w[some].sum()
    coef = np.zeros(design.shape[1])
    coef[0] = np.log(level / (1 - level))
    for penalty in _LOGISTIC if x.shape[1] <= _WIDE else _LOGISTIC[1:3]:
        ridge = np.full(design.shape[1], penalty)
        ridge[0] = 1e-9
        for _ in range(25):
            chance = _expit(design @ coef)
            gradient = design.T @ (w * (y - chance)) - ridge * coef
            curvature = np.maximum(chance * (1 - chance), 1e-9)[some] * w[some] / share
            hessian = (design[some] * curvature[:, None]).T @ design[some]
            hessian[np.diag_indices_from(hessian)] += ridge
            step = np.linalg.solve(hessian, gradient)
            step *= min(1.0, 5.0 / max(np.abs(step).max(), 1e-12))
            coef = coef + step
            if np.abs(step).max() < close:
                break
        yield penalty, float(coef[0]), coef[1:].copy()


def _boost(z: np.ndarray, y: np.ndarray, w: np.ndarray, binary: bool, seed: int):
    import lightgbm

    n = len(y)
    rounds = (20, 60) if n < 2000 else (50, 200)
    options = {
        "objective": "binary" if binary else "regression",
        "num_leaves": 6 if n < 2000 else 16,
        "learning_rate": 0.1,
        "min_data_in_leaf": max(8, min(50, n // 25)),
        "lambda_l2": 1.0,
        "max_bin": 63,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    if n > _ROWS_FOR_ALL_TREES:  # each tree sees the rows that are predicted worst, and some more
        options |= {"data_sample_strategy": "goss", "top_rate": 0.15, "other_rate": 0.1}
    rows = lightgbm.Dataset(z, y, weight=w / w.mean(), free_raw_data=True)
    return lightgbm.train(options, rows, num_boost_round=rounds[-1]), rounds


@dataclass(frozen=True)
class CrossFit:
    """Cross-fitted predictions for all rows, and the candidate whose out-of-fold loss was least."""

    values: np.ndarray
    chosen: str
    loss: float


def cross_fit(
    z: np.ndarray,
    y: np.ndarray,
    fold: np.ndarray,
    *,
    weight: np.ndarray | None = None,
    rows: np.ndarray | None = None,
    binary: bool = False,
    basis: Basis | None = None,
    random_state: Seed = 0,
    family: str | None = None,
) -> CrossFit:
    """Predict y for every row from models that never saw the row's fold.

    Args:
        z: Covariates, standardised, (n, p).
        y: Target (n,).
        fold: Fold of each row, (n,).
        weight: Row weights.
        rows: Rows to learn from and to be judged on, e.g. one arm; all by default.
        binary: Predict a probability; the loss is the log-loss instead of the square.
        basis: The spline basis of ``z``, if it was computed before.
        random_state: Seed of the trees.
        family: Compare only the candidates of this family.
    """
    weight = np.ones(len(y)) if weight is None else weight
    rows = np.ones(len(y), dtype=bool) if rows is None else rows
    basis = Basis.fit(z) if basis is None else basis
    seed = integer(random_state)
    found: dict[str, np.ndarray] = {}
    for k in np.unique(fold):
        learn, answer = rows & (fold != k), fold == k
        models = candidates(z[learn], y[learn], weight[learn], binary, basis, seed, family)
        for name, predict in models.items():
            found.setdefault(name, np.full(len(y), np.nan))[answer] = predict(z[answer])
        if family is None and learn.sum() > _ONE_FOLD_DECIDES:
            here = {name: v for name, v in found.items() if name in models}
            family = _best(y, here, weight * (rows & answer), binary)[0].partition(",")[0]
    complete = {name: v for name, v in found.items() if not np.isnan(v).any()}
    chosen, loss = _best(y, complete, weight * rows, binary)
    return CrossFit(complete[chosen], chosen, loss)


def fit_best(
    z: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    binary: bool,
    random_state: Seed,
    *,
    chosen: str | None = None,
    family: str | None = None,
    strata: np.ndarray | None = None,
) -> tuple[Predict, str]:
    """The best candidate by inner cross-validation (or the one told), fitted to all rows.

    Args:
        z, y, weight: As for :func:`cross_fit`.
        binary: Predict a probability.
        random_state: Seed of inner folds and trees.
        chosen: The candidate to fit.
        family: Choose among this family only.
        strata: What the inner folds spread evenly, (n,).
    """
    fold_seed, model_seed = spawn(random_state, 2)
    basis = Basis.fit(z)
    if family == "spline" and basis.is_plain:
        family = "linear"
    if chosen is None:
        fold = fold_ids(len(y), _INNER_FOLDS, fold_seed, strata=strata)
        options = {"weight": weight, "binary": binary, "basis": basis, "family": family}
        chosen = cross_fit(z, y, fold, random_state=model_seed, **options).chosen
    family = chosen.partition(",")[0]
    fitted = candidates(z, y, weight, binary, basis, integer(model_seed), family)
    # Fewer rows may rule a candidate out (no trees): its simplest relative stands in.
    if chosen not in fitted and family == "trees":
        fitted |= candidates(z, y, weight, binary, basis, integer(model_seed), "linear")
        chosen = "linear, penalty 0.01"
    return fitted.get(chosen, fitted["constant"]), chosen


def _best(
    y: np.ndarray, found: dict[str, np.ndarray], weight: np.ndarray, binary: bool
) -> tuple[str, float]:
    """The candidate with the least loss over the rows that weigh, and that loss."""
    judged = weight > 0
    share = weight[judged] / weight[judged].sum()
    losses = {n: float(share @ _loss(y[judged], v[judged], binary)) for n, v in found.items()}
    chosen = min(losses, key=losses.__getitem__)
    return chosen, losses[chosen]


def _loss(y: np.ndarray, prediction: np.ndarray, binary: bool) -> np.ndarray:
    if not binary:
        return (y - prediction) ** 2
    chance = np.clip(prediction, 1e-6, 1 - 1e-6)
    return -np.where(y > 0.5, np.log(chance), np.log1p(-chance))


def propensities(
    z: np.ndarray,
    arm: np.ndarray,
    n_arms: int,
    fold: np.ndarray,
    *,
    weight: np.ndarray | None = None,
    basis: Basis | None = None,
    random_state: Seed = 0,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Cross-fitted P(arm | z), (n, n_arms), one arm against the rest, and what was chosen."""
    fits = [
        cross_fit(
            z,
            (arm == k).astype(float),
            fold,
            weight=weight,
            binary=True,
            basis=basis,
            random_state=random_state,
        )
        for k in (range(n_arms) if n_arms > 2 else (1,))
    ]
    if n_arms == 2:
        chance = np.column_stack([1 - fits[0].values, fits[0].values])
    else:
        chance = np.column_stack([f.values for f in fits])
    chance = np.clip(chance, 1e-6, 1 - 1e-6)
    return chance / chance.sum(axis=1, keepdims=True), tuple(f.chosen for f in fits)
