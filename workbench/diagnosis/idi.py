"""IDI: who, had it stayed usual, would have left the target usual?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from ..core.errors import ParameterError
from ..core.results import number
from ..core.saving import saveable
from ..core.seeding import Seed, generator, spawn
from .base import Diagnoser, Findings, check_counts, leaders
from .incident import Case
from .mechanisms import Mechanisms, Network, fit_networks
from .scorers import Scorer, deviations
from .shapley import MOST_EXACT, exact_shapley, permutation_shapley, subsets
from .system import System

_LEAST = 1e-3  # sd; a reduction below that is rounding
_ROUNDING = 1e-12  # of the target's deviation; fixes that don't vary leave no more behind
_CHUNK = 400_000  # simulated values of one metric held at a time


@saveable
class IDI(Diagnoser):
    """In-distribution interventions: first anomalies upstream, and what fixing them does.

    A node is a candidate if it is anomalous and none of its parents is. Its fix is what it would
    usually be, a draw from P(X_j | its observed parents), the mean for a root. After the fix its
    descendants are simulated with noise drawn from the fault-free rows, so that mechanisms are
    used where they were learned; all else stays as observed. Score: by how many sd the target's
    deviation shrinks, the mean over draws shared by all candidates.

    With ``mode="multiple"`` the score is the Shapley value of that reduction over all sets of
    candidates: for several causes at once. It is exact up to 12 candidates, else over antithetic
    permutations.

    A cause behind an anomalous parent is missed; a slow caller that slows its database down is
    not told from a slow database. Prefer :class:`IDICounterfactual` when mechanisms are linear
    and noisy, :class:`BlameFlow` when a window has quiet rows or causes may be blurred.

    Args:
        threshold: Standard deviations from which a metric is anomalous; a number or
            metric -> number.
        scorer: How anomalies are judged.
        mode: ``"unique"`` (one cause) or ``"multiple"``.
        mechanisms: ``"linear"``, or ``"network"``: linear plus a cross-fitted network for the
            curvature, at its best with hundreds of fault-free rows.
        n_draws: Draws of noise and fixes.
        n_permutations: Pairs of permutations beyond 12 candidates.
        random_state: Seed.

    The standard error is that of the draws; the estimation error of the mechanisms is not in it.

    References:
        Nagalapatti, Srivastava, Sarawagi and Sharma, "Robust root cause diagnosis using
        in-distribution interventions", ICLR 2025.

    Example:
        >>> import numpy as np, pandas as pd
        >>> from workbench import CausalGraph
        >>> from workbench.diagnosis import Incident, System
        >>> rng = np.random.default_rng(0)
        >>> db = rng.normal(5, 1, 300)
        >>> normal = pd.DataFrame({"db": db, "api": 2 * db + rng.normal(0, 1, 300)})
        >>> system = System(CausalGraph(["db", "api"], [("db", "api")]), normal)
        >>> method = IDI().fit(system)
        >>> method.rank(Incident(pd.DataFrame({"db": [15.0], "api": [30.5]}), "api")).nodes
        ('db',)
    """

    def __init__(
        self,
        threshold: float | Mapping[str, float] = 5.0,
        scorer: Scorer = "z",
        mode: Literal["unique", "multiple"] = "unique",
        mechanisms: Literal["linear", "network"] = "linear",
        n_draws: int = 500,
        n_permutations: int = 500,
        random_state: Seed = 0,
    ):
        self.threshold = threshold
        self.scorer = scorer
        self.mode = mode
        self.mechanisms = mechanisms
        self.n_draws = n_draws
        self.n_permutations = n_permutations
        self.random_state = random_state

    def _fit(self, system: System) -> None:
        for name, choices in (("mode", ("unique", "multiple")), ("mechanisms", _MECHANISMS)):
            if getattr(self, name) not in choices:
                raise ParameterError(
                    f"must be one of {', '.join(map(repr, choices))}",
                    column=name,
                    value=getattr(self, name),
                )
        check_counts(self, "n_permutations", "n_draws")
        spawn(self.random_state, 1)
        self.networks_: dict[str, Network | None] = {}
        if self.mechanisms == "network":
            self._learn(system)

    def _learn(self, system: System) -> dict[str, Network]:
        """The networks of a system; those whose parents an incident has changed are new."""
        keys = {m: "\n".join([m, *system.parents(m)]) for m in system.metrics}
        new = [m for m in system.metrics if keys[m] not in self.networks_]
        if new:
            found = fit_networks(system, new, spawn(self.random_state, 4)[3])
            self.networks_ |= {keys[m]: found.get(m) for m in new}
        known = {m: self.networks_[keys[m]] for m in system.metrics}
        return {m: net for m, net in known.items() if net is not None}

    def _rank(self, case: Case) -> Findings:
        system, nodes = case.system, case.system.nodes
        players, reasons = self._candidates(case)
        score, se = np.full(len(nodes), np.nan), np.full(len(nodes), np.nan)
        blamed = np.zeros(len(nodes), dtype=bool)
        details = {"mode": self.mode, "mechanisms": self.mechanisms, "candidates": len(players)}
        if not players:
            return Findings(score, blamed, reasons, se, details=details)
        networks = self._learn(system) if self.mechanisms == "network" else {}
        world = Intervention(
            case,
            [system.members(n) for n in players],
            Mechanisms(system, networks),
            self.n_draws,
            spawn(self.random_state, 3)[0],
            abduct=self._abducts,
        )
        alone = world.target(np.eye(len(players), dtype=bool))
        limit = case.limits[system.position[case.target]]
        healed = (alone <= limit).mean(axis=1)
        observed = float(world.target(np.zeros((1, len(players)), dtype=bool)).mean())
        gain, error = self._scores(world, alone, observed)
        error = np.where(error > _ROUNDING * max(observed, 1.0), error, 0.0)
        place = {n: i for i, n in enumerate(nodes)}
        for k, node in enumerate(players):
            i = place[node]
            score[i], se[i], blamed[i] = gain[k], error[k], gain[k] > _LEAST
            reasons[i] = (
                f"{reasons[i]}; had it been usual {case.target!r} would be at "
                f"{number(alone[k].mean())} sd instead of {number(observed)}, usual in "
                f"{healed[k]:.0%} of {self.n_draws} draws"
            )
        details["healed share"] = {n: float(h) for n, h in zip(players, healed, strict=True)}
        return Findings(score, blamed, reasons, se, details=details)

    _abducts = False

    def _candidates(self, case: Case) -> tuple[list[str], list[str]]:
        """Nodes that are anomalous without an anomalous parent, and a reason per node."""
        system, players, reasons = case.system, [], []
        may = set(system.candidates(case.target))
        for node, j in zip(system.nodes, leaders(case), strict=True):
            members = system.members(node)
            above = dict.fromkeys(p for m in members for p in system.parents(m))
            odd = [p for p in above if case.anomalous[system.position[p]]]
            text = case.describe(system.metrics[j])
            if node not in may:
                reasons.append("not a cause of the target")
            elif not any(case.anomalous[system.position[m]] for m in members):
                reasons.append(f"usual: {text}")
            elif odd:
                reasons.append(f"{text}; downstream of anomalous {', '.join(map(repr, odd[:3]))}")
            else:
                players.append(node)
                reasons.append(f"{text}, no anomalous parent")
        return players, reasons

    def _scores(
        self, world: Intervention, alone: np.ndarray, observed: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Reductions of the target's deviation and their standard errors."""
        m, root = len(alone), self.n_draws**0.5
        if self.mode == "unique" or m == 1:
            gain = observed - alone
            return gain.mean(axis=1), gain.std(axis=1, ddof=1) / root
        if m <= MOST_EXACT:
            value = observed - world.target(subsets(m))  # (2^m, draws)
            phi = exact_shapley(value.T)  # (draws, m)
            return phi.mean(axis=0), phi.std(axis=0, ddof=1) / root

        def prefixes(orders: np.ndarray) -> np.ndarray:
            rank = np.argsort(orders, axis=1)
            masks = rank[:, None, :] < np.arange(m + 1)[None, :, None]
            value = observed - world.target(masks.reshape(-1, m)).mean(axis=1)
            return value.reshape(len(orders), m + 1)

        rng = generator(spawn(self.random_state, 3)[1])
        phi, error = permutation_shapley(prefixes, m, self.n_permutations, rng)
        spread = (observed - alone).std(axis=1, ddof=1) / root
        return phi, np.hypot(error, spread)


_MECHANISMS = ("linear", "network")


@saveable
class IDICounterfactual(IDI):
    """IDI with abducted noise: the descendants of a fix keep the noise of the incident.

    As :class:`IDI`, but x_i = f_i(parents after the fix) + (x_i - f_i(observed parents)). That
    is the counterfactual itself, so it wins where mechanisms extrapolate well and noise is
    large; where they don't, abduction takes their error far from the fault-free rows for noise,
    and :class:`IDI` wins.

    Args:
        threshold, scorer, mode, mechanisms, n_draws, n_permutations, random_state: As in
            :class:`IDI`; the draws are of fixes only.

    References:
        Nagalapatti et al., ICLR 2025, where it is called IDI(CF).

    Example:
        >>> IDICounterfactual(mode="multiple")
        IDICounterfactual(mode='multiple')
    """

    _abducts = True


class Intervention:
    """Many worlds at once: every set of fixes x every draw, in topological order.

    Args:
        case: What was observed.
        players: The metrics of each candidate.
        mechanisms: Of the case's system.
        n_draws: Draws, shared by all sets.
        seed: Of the draws.
        abduct: Keep the noise of the incident instead of drawing it.
    """

    def __init__(
        self,
        case: Case,
        players: Sequence[Sequence[str]],
        mechanisms: Mechanisms,
        n_draws: int,
        seed: Seed,
        abduct: bool,
    ):
        system = case.system
        self.case, self.mechanisms, self.n_draws = case, mechanisms, n_draws
        self.order = (*system.ancestors(case.target), case.target)
        self.player = {m: k for k, metrics in enumerate(players) for m in metrics}
        self.z = dict(zip(system.metrics, case.z.tolist(), strict=True))
        rng = generator(seed)
        self.noise, self.fix = {}, {}
        touched: set[str] = set()
        for metric in self.order:
            above = system.parents(metric)
            downstream = any(p in touched for p in above)
            if downstream or metric in self.player:
                touched.add(metric)
            else:
                continue
            usual = mechanisms.predict(metric, [np.asarray(self.z[p]) for p in above])
            if metric in self.player:
                drawn = self._drawn(metric, rng)
                self.fix[metric] = usual + drawn if above else np.zeros(n_draws)
            if downstream:
                drawn = self._drawn(metric, rng)
                kept = np.full(n_draws, self.z[metric] - usual)
                self.noise[metric] = kept if abduct else drawn
        self._alone = None
        if case.scorer != "z":
            others = [m for m in system.metrics if m != case.target]
            self._alone = system.without(others)

    def _drawn(self, metric: str, rng: np.random.Generator) -> np.ndarray:
        """One noise value per draw, stratified over the quantiles of the fault-free noise."""
        pool, n = self.mechanisms.noise(metric), self.n_draws
        share = (rng.permutation(n) + rng.random(n)) / n
        return pool[np.minimum((share * len(pool)).astype(int), len(pool) - 1)]

    def target(self, masks: np.ndarray) -> np.ndarray:
        """The target's anomaly score under sets of fixes: masks (S, m) -> (S, draws)."""
        step = max(1, _CHUNK // self.n_draws)
        return np.concatenate([self._run(masks[i : i + step]) for i in range(0, len(masks), step)])

    def _run(self, masks: np.ndarray) -> np.ndarray:
        system = self.case.system
        world: dict[str, np.ndarray] = {}
        changed: dict[str, np.ndarray] = {}
        for metric in self.order:
            above = system.parents(metric)
            value, moved = np.asarray(self.z[metric]), np.zeros((len(masks), 1), dtype=bool)
            if metric in self.noise:
                for p in above:
                    moved = moved | changed[p]
                guess = self.mechanisms.predict(metric, [world[p] for p in above])
                value = np.where(moved, guess + self.noise[metric], value)
            if metric in self.fix:
                mine = masks[:, [self.player[metric]]]
                value, moved = np.where(mine, self.fix[metric], value), moved | mine
            world[metric], changed[metric] = value, moved
        z = np.broadcast_to(world[self.case.target], (len(masks), self.n_draws))
        if self._alone is None:
            return np.abs(z)
        values = self._alone.mean + self._alone.scale * z[..., None]
        return np.abs(deviations(self._alone, values, self.case.scorer))[..., 0]
