"""Evidence for an investigation: before and after, who was first, who suffers, what was changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..core.errors import warn
from ..core.results import number
from .base import Diagnoser
from .healthy import had_been_healthy
from .investigation import Investigation
from .onset import THRESHOLD, Onset, deviations_of, sign_of
from .ranking import Ranking
from .telemetry.series import shown_span

if TYPE_CHECKING:
    from .oncall import OnCall

_FIRST = 5.0  # robust sd, twice in a row, from which a metric has visibly left its usual range
_LOOK_BACK = 30  # rows before the onset in which the first failure may lie
_SHOWN = 40  # rows before the onset that figures show
_AFTER = 10  # rows after the incident that they show
_CHANGES = pd.Timedelta(hours=1)  # changes longer before the onset are not listed
_USER_FACING = ("errors", "availability", "latency")
_LEAST_EXPLAINED = 0.1  # of the target's deviation; a cause that explains less is no answer


@dataclass(eq=False)
class Evidence:
    """Everything that is known about one incident, put together into an Investigation."""

    watch: OnCall
    onset: Onset
    method: Diagnoser | None
    ranking: Ranking | None

    # -- rows ------------------------------------------------------------------------------

    @cached_property
    def values(self) -> np.ndarray:
        return self.watch.telemetry.frame.to_numpy()

    @cached_property
    def place(self) -> dict[str, int]:
        return {c: j for j, c in enumerate(self.watch.telemetry.frame.columns)}

    @cached_property
    def first_row(self) -> int:
        return int(np.flatnonzero(self.onset.during)[0])

    @cached_property
    def last_row(self) -> int:
        return int(np.flatnonzero(self.onset.during)[-1])

    @cached_property
    def during(self) -> np.ndarray:
        """Median of every column over the anomalous rows, shape (p,)."""
        return _median(self.values[self.onset.during])

    @cached_property
    def before(self) -> np.ndarray:
        """Median of every column over the fault-free rows, shape (p,)."""
        return self.onset.usual.centre

    @cached_property
    def moved(self) -> np.ndarray:
        """Robust deviation of ``during``, shape (p,)."""
        return deviations_of(self.during, self.onset.usual.centre, self.onset.usual.scale)

    @cached_property
    def since(self) -> np.ndarray:
        """Row in which each column left its usual range for good; -1 if it never did."""
        start = max(self.first_row - _LOOK_BACK, 0)
        z = deviations_of(
            self.values[start : self.last_row + 1], self.onset.usual.centre, self.onset.usual.scale
        )
        out = np.abs(z) > _FIRST
        out &= np.sign(z) == np.sign(self.moved)
        lasting = out & np.r_[out[1:], out[-1:]]
        if len(out) > 1:
            lasting[-1] = out[-1] & out[-2]
        if self.first_row == self.last_row:  # one row must do
            lasting[-1] = out[-1]
        some = lasting.any(axis=0)
        return np.where(some, start + lasting.argmax(axis=0), -1)

    # -- tiers -----------------------------------------------------------------------------

    def investigation(self) -> Investigation:
        """The answer with all of its evidence."""
        onset, series = self.onset, self.watch.telemetry.series
        target = onset.target
        shared = {
            "target": target,
            "service": series.loc[target, "service"],
            "at": onset.alarm,
            "onset": onset.onset,
            "baseline": self._baseline(),
            "calls": self.watch.graph.calls,
            "unit": series.loc[target, "unit"],
        }
        if self.ranking is None:
            return Investigation(
                status="target is usual",
                sentence=self._usual_sentence(),
                changes=self._changes(onset.alarm, ()),
                **shared,
            )
        causes = self._causes()
        first = self._first()
        blamed = tuple(causes.index[causes["blamed"]])
        own = self.ranking.nodes[:1] == (target,)
        together = self._together(blamed) if blamed else np.nan
        weak = not own and together < _LEAST_EXPLAINED  # False where nothing is known
        found = bool(blamed) and not own and not weak
        if not found:
            causes = causes.assign(blamed=False)
        impact = self._impact(blamed if found else ())
        return Investigation(
            status="found" if found else "no cause in these metrics",
            sentence=self._sentence(causes, together) if found else self._no_cause(own, weak),
            causes=causes,
            first=first,
            impact=impact,
            changes=self._changes(onset.onset, blamed if found else (target,)),
            timeline=self._timeline(causes, first),
            together=together if found else np.nan,
            healthy=self._healthy(blamed if found else ()),
            ranking=self.ranking,
            **shared,
        )

    @property
    def _system(self):
        return self.method.system_

    def _members(self, node: str) -> tuple[str, ...]:
        """The metrics behind a ranked node; a loop may have lost some to gaps in the incident."""
        return self.ranking.members.get(node, (node,))

    @cached_property
    def _upstream(self) -> tuple[str, ...]:
        """Metrics that may move the target, with all members of the loops they are in."""
        system, target = self._system, self.onset.target
        nodes = {system.node_of[m] for m in (*system.ancestors(target), target)}
        return tuple(m for m in system.metrics if system.node_of[m] in nodes and m != target)

    def _facts(self, column: str) -> dict:
        """What every table says about a metric."""
        series = self.watch.telemetry.series
        j = self.place[column]
        row = int(self.since[j])
        return {
            "service": series.loc[column, "service"],
            "metric": series.loc[column, "metric"],
            "before": self.before[j],
            "during": self.during[j],
            "unit": series.loc[column, "unit"],
            "deviation": self.moved[j],
            "since": self.watch.telemetry.frame.index[row] if row >= 0 else pd.NaT,
        }

    def _causes(self) -> pd.DataFrame:
        """One row per candidate with a score, best first."""
        ranking, rows = self.ranking, {}
        tied = ranking.tied()
        system, target = self._system, self.onset.target
        window = system.encode(self.watch.telemetry.frame.loc[self.onset.during])
        table = ranking.table
        scored = table[table["score"].notna()]
        for node in scored.index[: max(int(scored["blamed"].sum()), 6)]:
            members = self._members(node)
            lead = max(members, key=lambda m: abs(self.moved[self.place[m]]))
            is_target = target in members
            rows[node] = {
                "score": table.loc[node, "score"],
                "se": table.loc[node, "se"],
                "blamed": bool(table.loc[node, "blamed"]) and node != target,
                **self._facts(lead),
                "explains": np.nan if is_target else self._explained(members, window),
                "tied": node in tied and len(tied) > 1,
                "reason": table.loc[node, "reason"],
            }
        columns = ["score", "se", "blamed", "service", "metric", "before", "during", "unit"]
        columns += ["deviation", "since", "explains", "tied", "reason"]
        return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("node")

    def _explained(self, members: Sequence[str], window: np.ndarray) -> float:
        """Share of the target's deviation that is gone had these metrics been healthy."""
        system, target = self._system, self.onset.target
        if system.constant[[system.position[m] for m in members]].all():
            return np.nan
        seen = window[:, system.position[target]]
        healthy = had_been_healthy(system, target, members, window)
        ok = np.isfinite(seen)
        away = np.sum(seen[ok] - self.before[self.place[target]])
        share = float(np.sum(seen[ok] - healthy[ok]) / away) if away else np.nan
        return round(share, 4) + 0.0  # no -0

    def _together(self, blamed: Sequence[str]) -> float:
        """What all blamed nodes explain. By straight lines: where a cause bends, the rest of what
        it does counts as the own change of a metric below it, which is blamed with it."""
        window = self._system.encode(self.watch.telemetry.frame.loc[self.onset.during])
        members = [m for node in blamed for m in self._members(node)]
        return self._explained(members, window)

    def _first(self) -> pd.DataFrame:
        """Metrics upstream of the target (and itself) in the order in which they failed; within
        one step causes before effects."""
        system, target = self._system, self.onset.target
        names = [n for n in (*system.ancestors(target), target) if self.since[self.place[n]] >= 0]
        rows = {n: self._facts(n) for n in names}
        columns = ["service", "metric", "before", "during", "unit", "deviation", "since"]
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
        return frame.sort_values("since", kind="stable").rename_axis("node")

    def _impact(self, blamed: tuple[str, ...]) -> pd.DataFrame:
        """User-facing metrics that are worse than usual, entry services first."""
        series, graph = self.watch.telemetry.series, self.watch.graph
        below = self._downstream(blamed)
        own = {m for n in blamed[:1] for m in self._members(n)} - {self.onset.target}
        called = {callee for _, callee in graph.calls}
        rows = {}
        for column, service, kind in zip(
            series.index, series["service"], series["kind"], strict=True
        ):
            if kind not in _USER_FACING or column not in self._system.position or column in own:
                continue
            z = self.moved[self.place[column]]
            if not np.isfinite(z) or sign_of(kind) * z <= THRESHOLD:
                continue
            facts = self._facts(column)
            rows[column] = {
                **facts,
                "change": facts["during"] - facts["before"],
                "entry": service not in called,
                "downstream": column in below,
            }
        columns = ["service", "metric", "before", "during", "unit", "deviation", "since"]
        columns += ["change", "entry", "downstream"]
        frame = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
        keys = ["downstream", "entry"]
        frame[keys] = frame[keys].astype(bool)
        size = frame["deviation"].abs().astype(float).to_numpy()
        order = np.lexsort((-size, ~frame["entry"].to_numpy(), ~frame["downstream"].to_numpy()))
        return frame.iloc[order].rename_axis("node")

    def _downstream(self, blamed: tuple[str, ...]) -> set[str]:
        """Metrics that the blamed ones can move."""
        system = self._system
        reached = {m for n in blamed[:1] for m in self._members(n)}
        for name in system.metrics:  # causes first
            if reached.intersection(system.parents(name)):
                reached.add(name)
        return reached

    def _changes(self, onset: pd.Timestamp, blamed: tuple[str, ...]) -> pd.DataFrame:
        """Changes in the hour before the onset, those that touch the blamed service first."""
        columns = ["time", "service", "what", "minutes_before", "touches"]
        changes = self.watch.changes
        if changes is None or not len(changes):
            return pd.DataFrame(columns=columns)
        slack = max(pd.Timedelta(minutes=1), self.watch.telemetry.step)
        start = onset - _CHANGES
        near = changes[(changes["time"] >= start) & (changes["time"] <= onset + slack)]
        unknown = sorted(set(near["service"]).difference(self.watch.graph.services))
        if unknown:
            warn(
                "unknown-service",
                f"changes of {', '.join(map(repr, unknown[:4]))} are of no service in the graph",
                unknown,
            )
        own, upstream = self._suspects(blamed)
        rows = []
        for change in near.itertuples():
            role = "elsewhere"
            if change.service in own:
                role = "blamed service" if self.ranking is not None else "target"
            elif change.service in upstream:
                role = "upstream of it"
            gap = (onset - change.time).total_seconds() / 60
            rows.append((change.time, change.service, change.what, gap, role))
        frame = pd.DataFrame(rows, columns=columns)
        rank = frame["touches"].map(
            {"blamed service": 0, "target": 0, "upstream of it": 1, "elsewhere": 2}
        )
        order = np.lexsort((frame["minutes_before"].abs().to_numpy(), rank.to_numpy()))
        return frame.iloc[order].reset_index(drop=True)

    def _suspects(self, blamed: tuple[str, ...]) -> tuple[set[str], set[str]]:
        """Services of the blamed metrics, and those whose trouble reaches them."""
        series = self.watch.telemetry.series["service"]
        if self.ranking is None:
            return {series[self.onset.target]}, set()
        system = self._system
        metrics = [m for n in blamed[:1] for m in self._members(n)]
        own = {series[m] for m in metrics}
        above = {series[a] for m in metrics for a in system.ancestors(m)}
        return own, above - own

    # -- what is drawn ---------------------------------------------------------------------

    def _stretch(self) -> slice:
        return slice(max(self.first_row - _SHOWN, 0), self.last_row + 1 + _AFTER)

    def _timeline(self, causes: pd.DataFrame, first: pd.DataFrame) -> pd.DataFrame:
        """Target, top causes and the first failure around the onset."""
        names = [self.onset.target]
        for node in causes.index[causes["blamed"]][:3]:
            names.append(max(self._members(node), key=lambda m: abs(self.moved[self.place[m]])))
        names += list(first.index[:2])
        frame = self.watch.telemetry.frame
        return frame.iloc[self._stretch()][list(dict.fromkeys(names))].copy()

    def _healthy(self, blamed: tuple[str, ...]) -> pd.DataFrame:
        """The target as it was, as it would have been, and its usual value."""
        system, target = self._system, self.onset.target
        frame = self.watch.telemetry.frame.iloc[self._stretch()]
        out = pd.DataFrame({"observed": frame[target], "usual": self.before[self.place[target]]})
        if not blamed:
            return out
        members = [m for node in blamed for m in self._members(node)]
        if system.constant[[system.position[m] for m in members]].all():
            return out
        healthy = had_been_healthy(system, target, members, system.encode(frame))
        rows = np.arange(len(frame)) + self._stretch().start
        quiet = (rows < self.first_row - 1) | (rows > self.last_row + 1)
        return out.assign(healthy=np.where(quiet, np.nan, healthy))

    # -- words -----------------------------------------------------------------------------

    def _baseline(self) -> dict[str, str]:
        onset, telemetry = self.onset, self.watch.telemetry
        times = telemetry.frame.index[onset.usual.rows]
        out = {
            "fault-free rows": f"{int(onset.usual.rows.sum()):,} from {_stamp(times[0])} to "
            f"{_stamp(times[-1])}, step {shown_span(telemetry.step)}",
        }
        if onset.usual.excluded:
            spans = [f"{_stamp(a)} to {b:%H:%M}" for a, b in onset.usual.excluded[:4]]
            more = (
                f" and {len(onset.usual.excluded) - 4} more"
                if len(onset.usual.excluded) > 4
                else ""
            )
            out["left out as earlier incidents"] = "; ".join(spans) + more
        if onset.onset is not None:
            n = int(onset.during.sum())
            last = telemetry.frame.index[onset.during][-1]
            out["anomalous rows"] = f"{n} from {_stamp(onset.onset)} to {last:%H:%M}"
            early = (onset.alarm - onset.onset).total_seconds()
            side = "before" if early >= 0 else "after"
            out["onset"] = f"{_stamp(onset.onset)}, {shown_span(abs(early) * 1e9)} {side} the alarm"
        return out

    def _usual_sentence(self) -> str:
        onset = self.onset
        looked = [
            f"{name} {number(z, 2)} sd" if np.isfinite(z) else f"{name} not recorded"
            for name, z in onset.candidates.items()
        ]
        near = ""
        if onset.nearest is not None:
            start, end = onset.nearest
            near = f" The nearest unusual stretch is {_stamp(start)} to {end:%H:%M}."
        return (
            f"Nothing unusual within a step of {_stamp(onset.alarm)}: "
            f"{', '.join(looked[:4])} at most (an incident begins at {THRESHOLD:g} sd).{near}"
        )

    def _moved_text(self, facts: dict | pd.Series) -> str:
        unit = f" {facts['unit']}" if facts["unit"] else ""
        return f"{number(facts['before'])} → {number(facts['during'])}{unit}"

    def _target_text(self) -> str:
        facts = self._facts(self.onset.target)
        verb = "rose" if facts["during"] > facts["before"] else "fell"
        unit = f" {facts['unit']}" if facts["unit"] else ""
        return (
            f"{self.onset.target} {verb} from {number(facts['before'])} to "
            f"{number(facts['during'])}{unit} at {self.onset.onset:%H:%M} UTC"
        )

    def _sentence(self, causes: pd.DataFrame, together: float) -> str:
        best = causes.iloc[0] if causes.iloc[0]["blamed"] else causes[causes["blamed"]].iloc[0]
        name = best.name if best.name.startswith("loop(") else f"{best['service']} {best['metric']}"
        others = causes.index[causes["blamed"]].difference([best.name], sort=False)
        part = ""
        if np.isfinite(together):
            part = f", which explains {min(together, 1.0):.0%} of it"
        if len(others):
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            part = f", with {others[0]}{more}; together they explain {min(together, 1.0):.0%} of it"
            part = part if np.isfinite(together) else part.split(";")[0]
        inside = "" if len(others) else self._inside(best)
        return (
            f"{self._target_text()}; cause: {name} ({self._moved_text(best)}){part}{inside}"
            f"{self._silent()}."
        )

    def _silent(self) -> str:
        """Metrics above the target that stopped reporting: suspects that no number speaks for."""
        gone = [n for n in self._upstream if not np.isfinite(self.during[self.place[n]])]
        more = f" and {len(gone) - 3} more" if len(gone) > 3 else ""
        return f"; silent meanwhile, hence suspect: {', '.join(gone[:3])}{more}" if gone else ""

    def _inside(self, best: pd.Series) -> str:
        """What moved with the cause inside its service: a curved effect of it on the cause looks
        like a change of the cause's own."""
        names = [best.name] if best.name in self.place else []
        above = [p for n in names for p in self._system.parents(n)]
        series = self.watch.telemetry.series
        above = [
            p
            for p in above
            if series.loc[p, "service"] == best["service"] and self.since[self.place[p]] >= 0
        ]
        if not above:
            return ""
        top = max(above, key=lambda p: abs(self.moved[self.place[p]]))
        facts = self._facts(top)
        return f"; with it moved {top} ({self._moved_text(facts)})"

    def _no_cause(self, own: bool, weak: bool) -> str:
        if own:
            why = (
                f"no metric upstream explains it, the change begins in "
                f"{self._facts(self.onset.target)['service']} itself or outside of what is recorded"
            )
        elif weak:
            why = "what is unusual upstream explains less than a tenth of it"
        else:
            why = self.ranking.sentence.rstrip(".")
            why = why[:1].lower() + why[1:]
        return f"{self._target_text()}; {why}{self._silent()}."


def _median(rows: np.ndarray) -> np.ndarray:
    """Column medians without a warning for columns that have no value."""
    out = np.full(rows.shape[1], np.nan)
    seen = np.isfinite(rows).any(axis=0)
    out[seen] = np.nanmedian(rows[:, seen], axis=0)
    return out


def _stamp(time: pd.Timestamp) -> str:
    return f"{time:%Y-%m-%d %H:%M}" + (f":{time:%S}" if time.second else "")
