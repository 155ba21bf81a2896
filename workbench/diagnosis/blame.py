"""How blame flows: what changed at each metric, and who above can have made it change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .baseline import CONSTANT_JUMP, CONSTANT_SHARE
from .system import System

USUAL = 2.0  # sd; closer than this a change needs no explanation
_CALM = 1.0  # sd; closer than this nothing is there to be explained by anybody
_SOFT = 2.0  # sd at which half of a change counts as one
_BLUR = 0.2  # sd of the child that one unusual sd of a parent may cause beyond its slope
_FLAT = 0.001  # a metric with mostly one value and a smaller sd than this share of it: constant
_ALIKE = 0.7  # correlation within the window of a metric and the one that it only reports
_HANDED = 0.9  # share of its blame that such a metric hands over


@dataclass(frozen=True, eq=False)
class Changes:
    """How far metrics moved in R windows; all arrays (R, n) but ``step`` and ``contrasted``.

    Attributes:
        z: Change in sd.
        move: Change in units.
        sd: One standard deviation in units.
        profile: Values over the window, centred and of length one, (R, T, n); 0 if all agree.
        step: The row explained, (R,).
        contrasted: Whether the change is against the window's own quiet rows, (R,).
    """

    z: np.ndarray
    move: np.ndarray
    sd: np.ndarray
    profile: np.ndarray
    step: np.ndarray
    contrasted: np.ndarray

    @property
    def real(self) -> np.ndarray:
        """How much of a change each is, z² / (z² + 4): 0 for usual values, 1 far out."""
        return _soft(self.z)


@dataclass(frozen=True, eq=False)
class Split:
    """Where blame goes from each metric: nothing is lost on the way.

    Attributes:
        own: Share that ends here, (R, n).
        passed: Per metric the shares of its parents, (R, k).
    """

    own: np.ndarray
    passed: list[np.ndarray]

    def flow(self, start: np.ndarray, parents: Sequence[Sequence[int]]) -> np.ndarray:
        """Send blame up from where it starts, (R, n), to where it ends, (R, n)."""
        here = np.array(start, dtype=float)
        for v in reversed(range(len(parents))):
            if parents[v]:
                for i, p in enumerate(parents[v]):
                    here[:, p] += here[:, v] * self.passed[v][:, i]
                here[:, v] = here[:, v] * self.own[:, v]
        return here


class Anatomy:
    """What a system says about the ancestors of a target; the target is the last metric."""

    def __init__(self, system: System, target: str):
        self.names = (*system.ancestors(target), target)
        self.at = np.array([system.position[m] for m in self.names])
        place = {m: i for i, m in enumerate(self.names)}
        self.parents = [[place[p] for p in system.parents(m)] for m in self.names]
        self.mean, sd = system.mean[self.at], system.sd[self.at]
        level = np.abs(self.mean)
        # A percentage that nearly always reads 100 has no sd to speak of; a metric that truly
        # varies on a high level has.
        rare = (sd < _FLAT * level) & (system.iqr[self.at] == 0)
        self.constant = rare | (sd == 0)
        self.sd = np.where(self.constant, CONSTANT_SHARE * level, sd)
        self.mechanisms = [system.mechanism(m) for m in self.names]
        units = [system.schema[m].unit for m in self.names]
        self.same_unit = [
            np.array([units[p] is not None and units[p] == units[v] for p in above], dtype=bool)
            for v, above in enumerate(self.parents)
        ]
        self.reporters = self._reporters()

    def _reporters(self) -> list[tuple[int, list[int]]]:
        """Metrics without recorded causes, and those that they may only report on.

        A load balancer shows what the service behind it does, but call graphs often lack that
        edge; both then have the same caller. The service has causes of its own and is not
        already an effect of the reporter.
        """
        children: list[set[int]] = [set() for _ in self.names]
        for v, above in enumerate(self.parents):
            for p in above:
                children[p].add(v)
        out = []
        for j, above in enumerate(self.parents[:-1]):
            if above:
                continue
            siblings = {p for c in children[j] for p in self.parents[c]}
            below, stack = set(), [j]
            while stack:
                new = children[stack.pop()] - below
                below |= new
                stack.extend(new)
            behind = sorted(p for p in siblings - below if self.parents[p])
            if behind:
                out.append((j, behind))
        return out

    def changes(self, windows: np.ndarray) -> Changes:
        """Changes of the ancestors and the target in windows (R, T, n) without gaps.

        The row explained is the one in which the target is furthest from usual; if it is usual
        in all of them (the alarm came from outside), the one in which most metrics are unusual.
        Rows with less than half of that are quiet; what differs from their median is the change,
        so that lasting offsets cancel. Without quiet rows it is the difference from the mean.
        """
        scale = np.where(self.sd > 0, self.sd, 1.0)
        z = (windows - self.mean) / scale
        alarm = np.abs(z[..., -1])
        bulk = _soft(z).sum(axis=-1)
        quiet_target = alarm.max(axis=1, keepdims=True) < USUAL
        alarm = np.where(quiet_target, bulk - bulk.min(axis=1, keepdims=True), alarm)
        rows = np.arange(len(windows))
        step = alarm.argmax(axis=1)
        calm = alarm < 0.5 * alarm[rows, step][:, None]
        contrasted = calm.any(axis=1) & (windows.shape[1] >= 3)
        usual = np.broadcast_to(self.mean, (len(windows), len(self.mean))).copy()
        if contrasted.any():
            usual[contrasted] = _median(windows[contrasted], calm[contrasted])
        move = windows[rows, step] - usual
        sd = np.broadcast_to(self.sd, move.shape)
        jump = np.where(move != 0, np.abs(move) / CONSTANT_JUMP, 1.0)
        sd = np.where(sd > 0, sd, jump)
        profile = z - z.mean(axis=1, keepdims=True)
        size = np.sqrt((profile**2).sum(axis=1, keepdims=True))
        profile = np.where(size > 1e-9, profile / np.where(size > 0, size, 1.0), 0.0)
        return Changes(move / sd, move, sd, profile, step, contrasted)

    def slopes(self, estimates: Sequence[np.ndarray] | None = None) -> list[np.ndarray]:
        """Standardised slopes per metric, (R, k); constants neither act nor react."""
        if estimates is None:
            estimates = [fit.slopes[None] for fit in self.mechanisms]
        return [
            np.where(self.constant[above] | self.constant[v], 0.0, slopes)
            for v, (above, slopes) in enumerate(zip(self.parents, estimates, strict=True))
        ]

    def split(self, changes: Changes, slopes: list[np.ndarray]) -> Split:
        """Split each metric's change into its own and what came from each parent."""
        z, real = changes.z, changes.real
        own, passed = np.ones_like(z), []
        for v, above in enumerate(self.parents):
            if not above:
                passed.append(np.zeros((len(z), 0)))
                continue
            zp = z[:, above]
            sign = np.where(z[:, v] < 0, -1.0, 1.0)[:, None]
            caused = sign * slopes[v] * zp
            left = np.abs(z[:, v]) - caused.sum(axis=1)
            spread = np.zeros(len(z))
            fit = self.mechanisms[v]
            if not self.constant[v]:
                estimation = np.einsum("ri,ij,rj->r", zp, fit.spread, zp)
                spread = np.sqrt(fit.noise**2 * (1 + 1 / max(fit.n, 1)) + estimation)
            left = left - USUAL * spread
            more = self._more(v, changes, np.abs(caused), zp)
            room = more.sum(axis=1)
            mine = np.maximum(left - room, 0.0)
            used = np.clip(left / np.where(room > 0, room, 1.0), 0.0, 1.0)[:, None]
            theirs = (np.maximum(caused, 0.0) + used * more) * real[:, above]
            if v == len(self.parents) - 1:  # an alarm from outside is not the target's own doing
                outside = np.abs(z[:, v]) < USUAL
                mine = np.where(outside, 0.0, mine)
                either = (np.abs(caused) + more) * real[:, above]  # a quiet target hides which way
                theirs = np.where(outside[:, None], either, theirs)
            total = mine + theirs.sum(axis=1)
            some = total > 0
            total = np.where(some, total, 1.0)
            own[:, v] = np.where(some, mine / total, 1.0)
            passed.append(np.where(some[:, None], theirs / total[:, None], 0.0))
        return Split(own, passed)

    def _more(self, v: int, changes: Changes, caused: np.ndarray, zp: np.ndarray) -> np.ndarray:
        """Change of v beyond the slopes that its parents may still have caused, in sd, (R, k).

        Slopes learned in quiet times understate what a large change does: beyond the usual range
        as much again is allowed, and a little for any unusual parent. In the same unit physics
        says more: a second in a callee can be a second in its caller, and hardly more.
        """
        above = self.parents[v]
        beyond = np.maximum(np.abs(zp) - USUAL, 0.0)
        blur = np.where(self.constant[above], 1.0, _BLUR) * beyond
        line = np.abs(changes.move[:, above]) / changes.sd[:, [v]] * (np.abs(zp) > USUAL)
        caused = caused * beyond / np.maximum(np.abs(zp), 1e-9)
        return np.where(self.same_unit[v], np.maximum(caused, line), caused + blur)

    def hand_over(self, changes: Changes) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """Reporter, the metric that it reports on in each window (-1 for none), and the share."""
        out = []
        z, real, profile = changes.z, changes.real, changes.profile
        for j, behind in self.reporters:
            alike = np.abs(np.einsum("rt,rtk->rk", profile[..., j], profile[..., behind]))
            fits = (np.abs(z[:, behind]) > USUAL) & (np.abs(z[:, [j]]) > USUAL)
            alike = np.where(fits & (alike >= _ALIKE), alike, -1.0)
            best = alike.argmax(axis=1)
            rows = np.arange(len(z))
            found = alike[rows, best] > 0
            who = np.where(found, np.array(behind)[best], -1)
            out.append((j, who, np.where(found, _HANDED * real[rows, who], 0.0)))
        return out

    def blame(
        self, changes: Changes, slopes: list[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, Split, list]:
        """Share of the target's blame that ends at each metric and the score, (R, n) each; the
        split; and who handed blame over.

        score_j = share_j x real_j x sum over the other metrics v of (how unusual v is) x (share of
        v's blame that ends at j): a cause explains all that is unusual, not the target alone.
        """
        split = self.split(changes, slopes)
        start = np.zeros_like(changes.z)
        start[:, -1] = 1.0
        elsewhere = _soft(np.maximum(np.abs(changes.z) - _CALM, 0.0))
        elsewhere[:, -1] = 0.0
        share, cover = split.flow(start, self.parents), split.flow(elsewhere, self.parents)
        rows = np.arange(len(share))
        handed = self.hand_over(changes)
        for j, who, part in handed:
            for mass in (share, cover):
                mass[rows, who] += np.where(who >= 0, part * mass[:, j], 0.0)
                mass[:, j] *= 1 - part
        score = share * changes.real * cover
        score[:, -1] = 0.0
        return share, score, split, handed


def _soft(z: np.ndarray) -> np.ndarray:
    square = np.square(z)
    return square / (square + _SOFT**2)


def _median(windows: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Median over the chosen rows of each window: (R, T, n), (R, T) -> (R, n)."""
    ordered = np.sort(np.where(chosen[..., None], windows, np.inf), axis=1)
    count, rows = chosen.sum(axis=1), np.arange(len(windows))
    return (ordered[rows, (count - 1) // 2] + ordered[rows, count // 2]) / 2
