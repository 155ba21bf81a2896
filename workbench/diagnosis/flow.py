"""Blame flow: send blame up the graph from the target, and see where it ends."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..core.results import number
from ..core.saving import saveable
from ..core.seeding import Seed, generator, spawn
from .base import Diagnoser, Findings, check_counts
from .blame import USUAL, Anatomy, Changes, Split
from .incident import Case
from .system import System

_MARGIN = 1.1  # further out than in any fault-free window by this factor
_HOLDS = 0.05  # of the blame: who is unusual with less proves no incident
_OWN = 0.5  # of the blame: more than that ending at the target means that it began there
_LEAST = 0.01  # of the blame: less than that is not worth a name
_WINDOWS = 500  # fault-free windows that say what is usual


@saveable
class BlameFlow(Diagnoser):
    """Send one unit of blame from the target up the graph; where it ends is the cause.

    At each metric v that changed by z_v sd the blame is split: parent p gets what its slope
    explains, and its part of the rest as far as a large change may do more than the slope that
    was learned in quiet times; v keeps what no parent can explain. Metrics that share a unit
    bound each other: a callee's second is at most a second of its caller. The score of j is the
    blame that ends there, from the target and from all else that is unusual, as a share of all.

    Changes are measured against the window's own quiet rows where there are any, so that lasting
    offsets cancel. If the target is usual the alarm is taken to come from outside. A metric
    without recorded causes whose profile over the window is that of a sibling (a load balancer)
    hands its blame over.

    If most of the blame ends at the target itself, the change began there and nobody is blamed.
    Nor is anybody unless a metric that holds blame is further out than its threshold and than
    in any fault-free window of the same length (rows of the System in the order of time).

    It needs no sharp test of who is anomalous, which is where :class:`IDI` and
    :class:`Traversal` fail: a blurred cause behind a blurred parent is still seen. Prefer
    :class:`CounterfactualAttribution` for contributions that add up, :class:`IDI` for what a fix
    would do to the target, and :class:`IDICounterfactual` for several causes at once.

    Args:
        threshold: Standard deviations from which a metric is anomalous. A number is raised, per
            metric, to what fault-free windows reach; metric -> number is taken as it is.
        trust_alarm: The incident is known to be one: thresholds are taken as they are.
        n_draws: Redrawn slopes and means behind the standard error; at least 2.
        random_state: Seed.

    Example:
        >>> import numpy as np, pandas as pd
        >>> from workbench import CausalGraph
        >>> from workbench.diagnosis import Incident, System
        >>> rng = np.random.default_rng(0)
        >>> db = rng.normal(5, 1, 300)
        >>> normal = pd.DataFrame({"db": db, "api": 2 * db + rng.normal(0, 1, 300)})
        >>> system = System(CausalGraph(["db", "api"], [("db", "api")]), normal)
        >>> method = BlameFlow().fit(system)
        >>> method.rank(Incident(pd.DataFrame({"db": [15.0], "api": [30.5]}), "api")).nodes
        ('db',)
    """

    unit = "of the blame"
    scorer = "z"

    def __init__(
        self,
        threshold: float | Mapping[str, float] = 3.0,
        trust_alarm: bool = False,
        n_draws: int = 20,
        random_state: Seed = 0,
    ):
        self.threshold = threshold
        self.trust_alarm = trust_alarm
        self.n_draws = n_draws
        self.random_state = random_state

    def _fit(self, system: System) -> None:
        check_counts(self, "n_draws")
        spawn(self.random_state, 1)
        self.reach_: dict[str, dict[str, float]] = {}

    def _answer(self, case: Case) -> tuple[str, str, Findings | None]:
        """A quiet target is no reason to stop: the alarm may come from outside."""
        if case.trigger is None or case.target_is_anomalous:
            status, why, findings = super()._answer(case)
            if status == "no root cause found" and findings is not None:
                own = findings.details["blame that ends at the target"]
                if own > _OWN:
                    why = (
                        f"the change begins in {case.target!r} itself, or in what is not recorded:"
                        f" {own:.0%} of the blame ends there ({case.describe(case.target)})"
                    )
            return status, why, findings
        if case.system.candidates(case.target):
            findings = self._rank(case)
            if findings.blamed.any():
                return "found", "", findings
        status, why, findings = super()._answer(case)
        if status == "no root cause found":
            why += ", and nothing above it is further out than in fault-free rows"
        return status, why, findings

    def _rank(self, case: Case) -> Findings:
        anatomy = Anatomy(case.system, case.target)
        changes = anatomy.changes(self._windows(case, anatomy))
        share, score, split, handed = anatomy.blame(changes, self._slopes(anatomy))
        limit = self._limits(case, anatomy)
        total = score.sum(axis=1, keepdims=True)
        # What ends at the target is nobody else's: all scores and it make one.
        parts = score / np.where(total > 0, total, 1.0) * (1 - share[:, -1:])
        se = parts[1:].std(axis=0, ddof=1)
        size = np.abs(changes.z[0])
        out = size > limit
        real = bool(out[-1] or ((share[0] >= _HOLDS) & out)[:-1].any())
        nodes = case.system.nodes
        found, error = np.full(len(nodes), np.nan), np.full(len(nodes), np.nan)
        blamed, reasons = np.zeros(len(nodes), bool), ["not a cause of the target"] * len(nodes)
        place = {n: i for i, n in enumerate(nodes)}
        told = _reasons(case, anatomy, changes, split, share[0], handed)
        own = case.system.node_of[case.target]
        for i, metric in enumerate(anatomy.names):
            j = place[case.system.node_of[metric]]
            if nodes[j] == own:
                reasons[j] = f"the target: {told[i]}" if metric == case.target else reasons[j]
                continue
            part = parts[0, i]
            if not found[j] > part:  # a loop is shown by the metric that holds most
                reasons[j] = told[i]
            found[j] = part + (0.0 if np.isnan(found[j]) else found[j])
            error[j] = np.hypot(se[i], 0.0 if np.isnan(error[j]) else error[j])
            holds = share[0, i] >= _LEAST and score[0, i] > 0 and share[0, -1] <= _OWN
            blamed[j] |= real and holds and size[i] > min(USUAL, limit[i])
        return Findings(
            found,
            blamed,
            reasons,
            error,
            details={
                "row explained": str(case.labels[changes.step[0]]),
                "changes against": (
                    "the quiet rows of the window"
                    if changes.contrasted[0]
                    else "the fault-free mean"
                ),
                "blame that ends at the target": round(float(share[0, -1]), 4),
                "alarm": "from outside" if size[-1] < USUAL else "the target",
            },
        )

    def _limits(self, case: Case, anatomy: Anatomy) -> np.ndarray:
        """How far out each metric must be to prove an incident, in sd."""
        limit = case.limits[anatomy.at].copy()
        if self.trust_alarm or isinstance(self.threshold, Mapping):
            return limit
        known = self._reach(case.target, len(case.window))
        reach = _MARGIN * np.array([known.get(m, 0.0) for m in anatomy.names])
        reach[-1] /= _MARGIN  # one metric, asked about on purpose: no allowance for many looks
        return np.maximum(limit, reach)

    def _reach(self, target: str, length: int) -> dict[str, float]:
        """The largest change of each metric in fault-free windows of a length."""
        key = f"{length} rows, {target}"
        if key not in self.reach_:
            anatomy = Anatomy(self.system_, target)
            rows = _filled(self.system_.normal()[list(anatomy.names)].to_numpy())
            length = min(length, len(rows))
            starts = np.arange(len(rows) - length + 1)
            if len(starts) > _WINDOWS:
                starts = np.unique(np.linspace(0, starts[-1], _WINDOWS).astype(int))
            windows = rows[starts[:, None] + np.arange(length)]
            size = np.abs(anatomy.changes(windows).z).max(axis=0)
            self.reach_[key] = dict(zip(anatomy.names, size.tolist(), strict=True))
        return self.reach_[key]

    def _windows(self, case: Case, anatomy: Anatomy) -> np.ndarray:
        """The window, and copies as they would look had the means been estimated differently."""
        window = _filled(case.window[:, anatomy.at])
        count = np.maximum(case.system.count[anatomy.at], 1)
        error = generator(spawn(self.random_state, 2)[0]).normal(size=(self.n_draws, len(count)))
        shift = np.where(anatomy.constant, 0.0, error * anatomy.sd / np.sqrt(count))
        return np.concatenate([window[None], window + shift[:, None, :]])

    def _slopes(self, anatomy: Anatomy) -> list[np.ndarray]:
        """The slopes, and redraws from their sampling distribution."""
        rng, out = generator(spawn(self.random_state, 2)[1]), []
        for fit in anatomy.mechanisms:
            error = rng.normal(size=(self.n_draws + 1, len(fit.slopes)))
            error[0] = 0.0
            out.append(fit.slopes + error @ _root(fit.spread))
        return anatomy.slopes(out)


def _reasons(
    case: Case,
    anatomy: Anatomy,
    changes: Changes,
    split: Split,
    share: np.ndarray,
    handed: list[tuple[int, np.ndarray, np.ndarray]],
) -> list[str]:
    """Per metric of the anatomy: how it changed, what is blamed on it, and why."""
    to = {j: (anatomy.names[who[0]], part[0]) for j, who, part in handed if who[0] >= 0}
    against = "the window's quiet rows" if changes.contrasted[0] else "usual"
    texts = []
    for i, metric in enumerate(anatomy.names):
        unit = case.system.schema[metric].unit
        z, move = changes.z[0, i], changes.move[0, i]
        side = "above" if z > 0 else "below"
        text = (
            f"{number(abs(move))}{f' {unit}' if unit else ''}, {number(abs(z))} sd, {side} "
            f"{against}; {number(share[i])} of the blame ends here"
        )
        if anatomy.parents[i]:
            text += f"; its parents explain {1 - split.own[0, i]:.0%}"
        if i in to:
            name, part = to[i]
            text += f"; reports what {name!r} does, which takes {part:.0%} of its blame"
        texts.append(text)
    return texts


def _root(spread: np.ndarray) -> np.ndarray:
    """The symmetric root: that of a factor would depend on the signs of eigenvectors."""
    if len(spread) < 2:
        return np.sqrt(np.maximum(spread, 0.0))
    values, vectors = np.linalg.eigh(spread)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def _filled(window: np.ndarray) -> np.ndarray:
    """A window without gaps: the median of the metric's other rows stands in."""
    gaps = np.isnan(window)
    if not gaps.any():
        return window
    known = ~gaps.all(axis=0)
    middle = np.zeros(window.shape[1])
    middle[known] = np.nanmedian(window[:, known], axis=0)
    return np.where(gaps, middle, window)
