"""Investigation: what an on-call engineer gets back. Cause, first failure, impact, changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from ..core.errors import CausalWarning
from ..core.results import Result, number
from ..core.saving import saveable
from .ranking import Ranking

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..graph.causal_graph import CausalGraph

Status = Literal["found", "no cause in these metrics", "target is usual"]


@saveable
@dataclass(frozen=True, eq=False, repr=False)
class Investigation(Result):
    """The answer to one alarm, in three tiers, with its evidence.

    ``status`` is ``"found"``, ``"no cause in these metrics"`` (the target is anomalous, nothing
    recorded upstream explains it) or ``"target is usual"`` (there is nothing to explain).

    Attributes:
        target: The metric that is explained.
        service: Its service.
        at: The alarm.
        onset: First anomalous time; None if the target was usual.
        status: See above.
        sentence: The answer in one sentence.
        causes: One row per candidate, best first: score, se, blamed, service, metric, median
            before and during the incident, unit, deviation (robust sd), since when, explains (the
            share of the target's deviation that is gone had it been healthy), tied, reason.
        first: Metrics upstream of the target in the order in which they left their usual range.
        impact: User-facing metrics that are worse than usual and not upstream of the target; entry
            services first.
        changes: Changes in the hour before the onset, and whether they touch the blamed service.
        timeline: Target, top causes and first failure around the onset.
        together: What all blamed metrics explain.
        healthy: The target around the onset: observed, usual, and had the blamed been healthy.
        ranking: What the diagnosis method said.
        baseline: Which rows were taken as usual and as the incident.
        calls: Pairs (caller, callee).
        unit: Of the target.
        warnings: The conditions to keep in mind.
    """

    target: str
    service: str
    at: pd.Timestamp
    onset: pd.Timestamp | None
    status: Status
    sentence: str
    causes: pd.DataFrame = field(default_factory=lambda: pd.DataFrame({"blamed": []}))
    first: pd.DataFrame = field(default_factory=pd.DataFrame)
    impact: pd.DataFrame = field(default_factory=pd.DataFrame)
    changes: pd.DataFrame = field(default_factory=pd.DataFrame)
    timeline: pd.DataFrame = field(default_factory=pd.DataFrame)
    together: float = float("nan")
    healthy: pd.DataFrame = field(default_factory=pd.DataFrame)
    ranking: Ranking | None = None
    baseline: Mapping[str, str] = field(default_factory=dict)
    calls: tuple[tuple[str, str], ...] = ()
    unit: str = ""
    warnings: tuple[CausalWarning, ...] = ()

    @property
    def cause(self) -> str | None:
        """The metric (or loop of metrics) that is most to blame; None if nothing is."""
        blamed = self.blamed
        return blamed[0] if blamed else None

    @property
    def blamed(self) -> tuple[str, ...]:
        """The blamed metrics, most to blame first."""
        return tuple(self.causes.index[self.causes["blamed"].to_numpy(dtype=bool)])

    @property
    def blamed_in_words(self) -> str:
        """The blamed metrics, two of them by name."""
        first, more = self.blamed[:2], len(self.blamed) - 2
        return ", ".join([*first, f"{more} more"]) if more > 0 else " and ".join(first)

    @property
    def suspect_changes(self) -> pd.DataFrame:
        """Changes that touch a blamed service (or the target, if nothing is blamed), or one
        upstream of it."""
        if not len(self.changes):
            return self.changes
        return self.changes[self.changes["touches"] != "elsewhere"]

    def with_warnings(self, warnings: Iterable[CausalWarning]) -> Investigation:
        """The same answer with more conditions attached."""
        own = self.ranking.warnings if self.ranking is not None else ()
        return replace(self, warnings=tuple(dict.fromkeys((*self.warnings, *warnings, *own))))

    # -- words -----------------------------------------------------------------------------

    def summary(self) -> str:
        return self.sentence

    def verdict(self) -> str:
        parts = []
        if self.status == "found":
            tied = [n for n in self.blamed if self.causes.loc[n, "tied"]]
            listed = ", ".join(tied[:4])
            parts.append(f"found, but not separable: {listed}" if len(tied) > 1 else "found")
        else:
            parts.append(self.status)
        suspects = self.suspect_changes
        if len(suspects) and self.status != "found":  # nothing upstream is unusual
            suspects = suspects[suspects["touches"] != "upstream of it"]
        if len(suspects):
            parts.append(self._change_text(suspects.iloc[0]))
        elif self.status != "target is usual" and len(self.changes):
            parts.append("no change near the onset touches it")
        return "; ".join(parts) + "."

    def _change_text(self, change: pd.Series) -> str:
        minutes = change["minutes_before"]
        when = f"{abs(minutes):.0f} min {'before' if minutes >= 0 else 'after'} the onset"
        what = change["what"] or "a change"
        where = {"blamed service": "touches", "target": "touches", "upstream of it": "is upstream"}
        said = where[change["touches"]]
        return f"{change['service']}: {what}, {when}, {said}{' it' if said == 'touches' else ''}"

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """One row per finding: tier, service, metric, before, during, unit, since, note.

        ``long=True`` gives all candidates of the ranking with their scores.
        """
        if long:
            return self.causes.copy()
        rows = []
        for _, row in self.causes[self.causes["blamed"].to_numpy(dtype=bool)].iterrows():
            share = row["explains"]
            note = f"explains {min(max(share, 0.0), 1.0):.0%}" if np.isfinite(share) else ""
            rows.append(("cause", row, f"{note}{', tied' if row['tied'] else ''}".strip(", ")))
        rows += [("first failure", row, "") for _, row in self.first.head(1).iterrows()]
        for _, row in self.impact.iterrows():
            note = "entry" if row["entry"] else ""
            note += "" if row["downstream"] or self.status != "found" else " not downstream"
            rows.append(("impact", row, note.strip()))
        keys = ["service", "metric", "before", "during", "unit", "since"]
        out = [{"tier": tier, **{k: row[k] for k in keys}, "note": n} for tier, row, n in rows]
        out += [
            {
                "tier": "change",
                "service": c["service"],
                "metric": c["what"],
                "since": c["time"],
                "note": c["touches"],
            }
            for _, c in self.changes.iterrows()
        ]
        columns = ["tier", *keys, "note"]
        frame = pd.DataFrame(out, columns=columns)
        return frame

    def glance(self) -> pd.DataFrame:
        frame = self.to_frame()
        if not len(frame):
            return pd.DataFrame()
        most = {"cause": 2, "first failure": 1, "impact": 2, "change": 2}
        kept = frame[frame.groupby("tier").cumcount() < frame["tier"].map(most)]
        loose = ["elsewhere"] if self.status == "found" else ["elsewhere", "upstream of it"]
        kept = kept[(kept["tier"] != "change") | ~kept["note"].isin(loose)]
        unit, note = kept["unit"].fillna(""), kept["note"].copy()
        hidden = int((frame["tier"] == "impact").sum() - (kept["tier"] == "impact").sum())
        if hidden:
            last = kept.index[kept["tier"] == "impact"][-1]
            note[last] = f"{note[last]}, {hidden} more".strip(", ")
        shown = [
            f"{number(b)} → {number(a)} {u}".strip() if pd.notna(b) and pd.notna(a) else ""
            for b, a, u in zip(kept["before"], kept["during"], unit, strict=True)
        ]
        since = [f"{t:%H:%M}" if pd.notna(t) else "" for t in kept["since"]]
        return pd.DataFrame(
            {
                "service": kept["service"].to_numpy(),
                "what": kept["metric"].to_numpy(),
                "usual → incident": shown,
                "since": since,
                "note": note.to_numpy(),
            },
            index=pd.Index(kept["tier"], name=None),
        )

    def how(self) -> dict[str, Any]:
        rests: dict[str, Any] = {"target": self.target, "alarm": f"{self.at:%Y-%m-%d %H:%M} UTC"}
        rests |= dict(self.baseline)
        if self.ranking is not None:
            rests |= {"method": self.ranking.method, **self.ranking.details}
            for name, metrics in self.ranking.members.items():
                rests[name] = ", ".join(metrics)
        return rests

    # -- pictures --------------------------------------------------------------------------

    def service_graph(self) -> CausalGraph:
        """Who calls whom around the target and the blamed services, loops drawn as one node."""
        from .pictures import service_graph

        return service_graph(self)

    def plot(self, ax: Axes | None = None) -> Axes:
        """The service graph coloured by blame, callers above callees; returns the Axes."""
        from .pictures import plot_services

        return plot_services(self, ax)

    def plot_timeline(self, ax: Axes | None = None) -> Axes:
        """Target, top causes and first failure around the onset; returns the Axes."""
        from .pictures import plot_timeline

        return plot_timeline(self, ax)

    def plot_healthy(self, ax: Axes | None = None) -> Axes:
        """The target as it was and as it would have been had the blamed metrics been healthy."""
        from .pictures import plot_healthy

        return plot_healthy(self, ax)

    def _state(self) -> dict[str, Any]:
        state = {k: v for k, v in vars(self).items() if k != "warnings"}
        state |= {"baseline": dict(self.baseline), "calls": [list(c) for c in self.calls]}
        return {**state, "warnings": [(w.code, w.message, w.columns) for w in self.warnings]}

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> Investigation:
        state["calls"] = tuple(tuple(c) for c in state["calls"])
        notes = tuple(CausalWarning(*key) for key in state["warnings"])
        return cls(**{**state, "warnings": notes})
