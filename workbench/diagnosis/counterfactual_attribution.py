"""Counterfactual attribution: whose own change made the target an outlier?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..core.errors import warn
from ..core.results import number
from ..core.saving import saveable
from ..core.seeding import Seed, generator, spawn
from .base import Diagnoser, Findings, check_counts
from .incident import Case
from .scorers import Scorer
from .shapley import MOST_EXACT, exact_shapley, permutation_shapley, subsets
from .system import System

_FLOOR = 1e-4  # least noise, in sd of the metric: a broken identity is an outlier, not infinite
_LEAST_SHARE = 0.01  # of the target's score: less than that is not worth a name


@saveable
class CounterfactualAttribution(Diagnoser):
    """Share the target's anomaly out among the noise terms that produced it.

    Abduct every metric's noise, e_j = x_j - f_j(parents). With S the set of noise terms kept as
    they were and the others drawn afresh, v(S) = log P(|Y_S - mean| >= |y - mean|). The score of
    a node is its Shapley value in v, in nats: all scores sum to -log P(the target is this far
    out). A node that merely passes an anomaly on has the score 0; the target has one too, for
    its own change. Negative scores held the anomaly back.

    Mechanisms are linear and noise is normal, so that v has a closed form and far outliers don't
    tie. Up to 12 players the Shapley values are exact, else over antithetic permutations. The
    standard error holds the estimation error of slopes, means and noise (redrawn from their
    sampling distribution) and that of the permutations. Confounded metrics and, far outside the
    fault-free range, curved mechanisms mislead it: their error appears as noise of the child.
    Prefer :class:`NSigma` without a graph.

    Args:
        threshold: Standard deviations from which a metric is anomalous; a number or
            metric -> number. With 0 any target is explained.
        scorer: How the anomaly of the target is judged.
        n_permutations: Pairs of permutations beyond 12 players; fewer beyond 500.
        n_draws: Redrawn mechanisms behind the standard error; at least 2.
        random_state: Seed.

    References:
        Budhathoki, Minorics, Blöbaum and Janzing, "Causal structure-based root cause analysis of
        outliers", ICML 2022.

    Example:
        >>> import numpy as np, pandas as pd
        >>> from workbench import CausalGraph
        >>> from workbench.diagnosis import Incident, System
        >>> rng = np.random.default_rng(0)
        >>> db = rng.normal(5, 1, 300)
        >>> normal = pd.DataFrame({"db": db, "api": 2 * db + rng.normal(0, 1, 300)})
        >>> method = CounterfactualAttribution()
        >>> _ = method.fit(System(CausalGraph(["db", "api"], [("db", "api")]), normal))
        >>> method.rank(Incident(pd.DataFrame({"db": [12.0], "api": [24.5]}), "api")).nodes
        ('db',)
        >>> method.rank(Incident(pd.DataFrame({"db": [5.0], "api": [22.5]}), "api")).nodes
        ('api',)
    """

    unit = "nats"

    def __init__(
        self,
        threshold: float | Mapping[str, float] = 3.0,
        scorer: Scorer = "z",
        n_permutations: int = 500,
        n_draws: int = 30,
        random_state: Seed = 0,
    ):
        self.threshold = threshold
        self.scorer = scorer
        self.n_permutations = n_permutations
        self.n_draws = n_draws
        self.random_state = random_state

    def _fit(self, system: System) -> None:
        check_counts(self, "n_permutations", "n_draws")
        spawn(self.random_state, 1)

    def _rank(self, case: Case) -> Findings:
        system, nodes = case.system, case.system.nodes
        at = system.position[case.target]
        blank = np.full(len(nodes), np.nan)
        if system.constant[at]:
            why = f"{case.target!r} never changed before: what moves it can't be learned"
            return Findings(blank, np.zeros(len(nodes), bool), [""] * len(nodes), abstain=why)
        draws, orders = spawn(self.random_state, 2)
        shares = decompose(case, self.n_draws, generator(draws))
        warn_of_misfit(case, shares)
        phi, se = _attribute(shares, self.n_permutations, orders)
        total = float(phi.sum())
        _warn_of_cancelling(case, phi)
        blamed = (phi > 2 * se) & (phi > _LEAST_SHARE * total)
        score, error, mask, reasons = blank, blank.copy(), np.zeros(len(nodes), bool), []
        place = {node: i for i, node in enumerate(nodes)}
        own = [place[n] for n in shares.nodes]
        score[own], error[own], mask[own] = phi, se, blamed
        known = dict(zip(shares.nodes, range(len(own)), strict=True))
        for node in nodes:
            reasons.append(
                self._reason(case, shares, known[node], score[place[node]], total)
                if node in known
                else "not a cause of the target"
            )
        abstain = (
            ""
            if blamed.any()
            else (
                f"no contribution to {case.target!r} stands out from its standard error: the "
                "fault-free rows are too few, or the values too far from them"
            )
        )
        return Findings(
            score,
            mask,
            reasons,
            error,
            abstain,
            {
                "mechanisms": "linear, normal noise",
                "players": len(own),
                "score of the target": f"{number(total)} nats",
                "target's sd by the graph": f"{number(shares.implied_sd)} of the observed",
            },
        )

    def _reason(self, case: Case, shares: Shares, k: int, score: float, total: float) -> str:
        system = case.system
        places = [system.position[m] for m in system.members(shares.nodes[k])]
        if shares.push[0, k] == 0 and system.constant[places].any():
            return "constant in the fault-free rows: its effect can't be learned"
        unit = system.schema[case.target].unit
        move = shares.push[0, k] * system.scale[system.position[case.target]]
        own = shares.noise[0, k]
        size = "" if np.isnan(own) else f" ({number(own)} sd of its noise)"
        return (
            f"own change{size} moves {case.target!r} by {number(move)}"
            f"{' ' + unit if unit else ''}: {number(score)} of {number(total)} nats"
        )


@dataclass(frozen=True, eq=False)
class Shares:
    """The target's deviation as a sum over players; row 0 is the estimate, the others redraws.

    Attributes:
        nodes: The players: the causes of the target, and itself.
        push: Each player's part of the target's deviation, in sd of the target, (B, m).
        variance: Its part of the target's fault-free variance, (B, m).
        noise: Each player's noise in its own noise's sd, (B, m); NaN for loops.
    """

    nodes: tuple[str, ...]
    push: np.ndarray
    variance: np.ndarray
    noise: np.ndarray

    @property
    def implied_sd(self) -> float:
        """The target's sd that the mechanisms imply, in units of the observed one."""
        return float(self.variance[0].sum() ** 0.5)


def decompose(case: Case, n_draws: int, rng: np.random.Generator) -> Shares:
    """Abduct the noise and follow it down to the target, for the estimate and its redraws."""
    system, z = case.system, case.z
    names = (*system.ancestors(case.target), case.target)
    rows = n_draws + 1
    slopes, noise, shift = {}, {}, {}
    for name in names:
        fit = system.mechanism(name)
        values, vectors = np.linalg.eigh(fit.spread)
        # The symmetric root: that of a factor would depend on the signs of eigenvectors.
        root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
        # Row 0 has no error: the first draw of everything is multiplied by 0.
        error = rng.normal(size=(rows, len(fit.slopes) + 1))
        error[0] = 0.0
        factor = np.sqrt(fit.dof / rng.chisquare(fit.dof, size=rows))
        factor[0] = 1.0
        slopes[name] = fit.slopes + error[:, :-1] @ root
        shift[name] = error[:, -1] * fit.noise / max(fit.n, 1) ** 0.5
        least = 0.0 if system.constant[system.position[name]] else _FLOOR
        noise[name] = np.maximum(fit.noise, least) * factor
    effect = {name: np.zeros(rows) for name in names}
    effect[case.target][:] = 1.0
    push, own = {}, {}
    for name in reversed(names):
        above = system.parents(name)
        for i, parent in enumerate(above):
            effect[parent] += effect[name] * slopes[name][:, i]
        from_above = slopes[name] @ z[[system.position[p] for p in above]] if above else 0.0
        own[name] = z[system.position[name]] - from_above - shift[name]
        push[name] = effect[name] * own[name]
    nodes = tuple(dict.fromkeys(system.node_of[n] for n in names))
    total, variance, strength = (np.empty((rows, len(nodes))) for _ in range(3))
    for k, node in enumerate(nodes):
        inside = [m for m in system.members(node) if m in effect]
        total[:, k] = sum(push[m] for m in inside)
        spread = np.stack([effect[m] * noise[m] for m in inside], axis=1)
        variance[:, k] = np.einsum(
            "bi,ij,bj->b", spread, _noise_correlation(system, inside), spread
        )
        sd = noise[inside[0]]
        single = len(inside) == 1 and sd[0] > 0
        strength[:, k] = own[inside[0]] / np.where(sd > 0, sd, 1.0) if single else np.nan
    return Shares(nodes, total, variance, strength)


def _noise_correlation(system: System, members: list[str]) -> np.ndarray:
    """Correlation of the noise of the members of a loop; 1 for a single metric."""
    if len(members) == 1:
        return np.ones((1, 1))
    residuals = np.stack([system.residuals(m) for m in members], axis=1)
    residuals = residuals[np.isfinite(residuals).all(axis=1)]
    sd = residuals.std(axis=0) if len(residuals) > 2 else np.zeros(len(members))
    matrix = np.eye(len(members))
    moving = np.flatnonzero(sd > 0)
    if len(moving) > 1:
        matrix[np.ix_(moving, moving)] = np.corrcoef(residuals[:, moving], rowvar=False)
    return matrix


def _attribute(shares: Shares, n_permutations: int, seed: Seed) -> tuple[np.ndarray, np.ndarray]:
    """Shapley values of all players and their standard errors, shape (m,) each."""
    playing = (np.abs(shares.push) + shares.variance).max(axis=0) > 0
    phi, se = np.zeros(len(playing)), np.zeros(len(playing))
    push, variance = shares.push[:, playing], shares.variance[:, playing]
    m = push.shape[1]
    if m <= MOST_EXACT:
        masks = subsets(m).T.astype(float)
        values = log_exceedance(push @ masks, variance @ (1.0 - masks), push.sum(axis=1))
        values[:, -1] = 0.0  # every noise kept: the target is where it was
        every = exact_shapley(values)
        phi[playing], se[playing] = every[0], every[1:].std(axis=0, ddof=1)
        return phi, se

    def prefixes(push: np.ndarray, variance: np.ndarray):
        def values(orders: np.ndarray) -> np.ndarray:
            gone = np.cumsum(push[:, orders], axis=-1)
            left = np.cumsum(variance[:, orders][..., ::-1], axis=-1)[..., ::-1]
            none = np.zeros((*gone.shape[:-1], 1))
            out = log_exceedance(
                np.concatenate([none, gone], axis=-1),
                np.concatenate([left, none], axis=-1),
                push.sum(axis=1)[:, None],
            )
            out[..., -1] = 0.0
            return out

        return values

    first, again = spawn(seed, 2)
    # Among a thousand players an order costs more and each player matters less.
    orders = int(np.clip(2.5e5 / m, 20, n_permutations)) if m > 500 else n_permutations
    value, error = permutation_shapley(
        prefixes(push[:1], variance[:1]), m, orders, generator(first)
    )
    # Redraws share their orders, so that only the mechanisms differ between them.
    pairs = int(np.clip(5e5 / (m * len(push)), 2, n_permutations))
    redrawn, _ = permutation_shapley(prefixes(push[1:], variance[1:]), m, pairs, generator(again))
    phi[playing] = _equal_for_equals(value[0], push[0], variance[0])
    se[playing] = np.hypot(error[0], redrawn.std(axis=0, ddof=1))
    return phi, se


def _equal_for_equals(phi: np.ndarray, push: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Interchangeable players have the same Shapley value: average what sampling set apart."""
    size = np.abs(push).max(), variance.max()
    keys = np.round(np.stack([push / (size[0] or 1.0), variance / (size[1] or 1.0)]), 12)
    _, group = np.unique(keys, axis=1, return_inverse=True)
    group = group.reshape(-1)
    return (np.bincount(group, phi) / np.bincount(group))[group]


def log_exceedance(mean: np.ndarray, variance: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """log P(|N(mean, variance)| >= |observed|); ``observed`` has no last axis."""
    from scipy.special import log_ndtr

    limit = np.abs(observed)[..., None]
    total = variance.max(axis=-1, keepdims=True)
    sd = np.sqrt(np.maximum(variance, 1e-16 * total))
    sd = np.where(sd > 0, sd, 1e-300)
    return np.logaddexp(log_ndtr((mean - limit) / sd), log_ndtr((-mean - limit) / sd))


def warn_of_misfit(case: Case, shares: Shares) -> None:
    """Say when graph and normal noise can't reproduce how the target varies in quiet times."""
    slack = max(0.1, 3 / case.system.count[case.system.position[case.target]] ** 0.5)
    if abs(shares.implied_sd - 1) > slack:
        warn(
            "graph-misfit",
            f"by the graph the sd of {case.target!r} is {number(shares.implied_sd)} times the "
            "observed one: edges are missing, or causes share a hidden cause",
            [case.target],
        )
    kurtosis = case.system.kurtosis[case.system.position[case.target]]
    if kurtosis > 9.0:
        warn(
            "heavy-tails",
            f"{case.target!r} has heavy tails in the fault-free rows (kurtosis "
            f"{number(kurtosis)}, a normal metric has 3): its score in nats is too high, the "
            "order of the nodes is not affected by that",
            [case.target],
        )


def _warn_of_cancelling(case: Case, phi: np.ndarray) -> None:
    if np.abs(phi).sum() > 10 * abs(phi.sum()):
        warn(
            "cancelling",
            f"the contributions to {case.target!r} exceed its score many times over and cancel "
            "each other: the linear mechanisms are used far outside the fault-free rows",
            [case.target],
        )
