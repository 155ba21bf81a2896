"""The page of an investigation: cause, first failure, impact, changes, with three pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from ..core.results import number
from .memo import Card, Memo, Section

if TYPE_CHECKING:
    from ..diagnosis.investigation import Investigation


def incident_memo(found: Investigation, reproduce: Mapping[str, str] | None = None) -> Memo:
    """The memo of an investigation; :func:`write_memo` writes it as one HTML file."""
    answers = [found.summary(), found.verdict()[:1].upper() + found.verdict()[1:]]
    sections = [_answer(found)]
    if found.ranking is not None:
        sections += [_pictures(found), _tiers(found)]
    sections.append(_changes(found))
    sections.append(_data(found))
    return Memo(
        title=f"{found.service}: alarm of {found.at:%Y-%m-%d %H:%M} UTC",
        answers=tuple(answers),
        sections=tuple(sections),
        reproduce=reproduce or {},
    )


def _answer(found: Investigation) -> Section:
    card = Card(
        "At a glance",
        table=_plain(found.glance()),
        warnings=found.warnings,
    )
    return Section("Answer", "", (card,))


def _pictures(found: Investigation) -> Section:
    cards = []
    nodes = len(found.service_graph().nodes)
    if nodes:
        cards.append(
            Card(
                "Who calls whom, by blame",
                "Callers are above the services they call.",
                draw=found.plot,
                size=(6.4, 2.6 + 0.12 * min(nodes, 24)),
            )
        )
    lanes = len(found.timeline.columns)
    cards.append(Card("Around the onset", draw=found.plot_timeline, size=(6.4, 1.2 + 0.72 * lanes)))
    if "healthy" in found.healthy:
        share = min(max(found.together, 0.0), 1.0)
        said = (
            f"Had {found.blamed_in_words} been healthy, {share:.0%} of the target's "
            "deviation would be gone (linear mechanisms; an estimate outside the usual range)."
        )
    else:
        said = "The target beside its usual value."
    cards.append(Card("The target", said, draw=found.plot_healthy, size=(6.4, 3.0)))
    return Section("In pictures", "", tuple(cards))


def _tiers(found: Investigation) -> Section:
    causes = found.causes.head(max(6, int(found.causes["blamed"].sum())))
    unit = found.ranking.unit
    table = pd.DataFrame(
        {
            "metric": causes.index,
            "usual": causes["before"].map(number),
            "incident": causes["during"].map(number),
            "unit": causes["unit"],
            "since": _clock(causes["since"]),
            "explains": [_share(v) for v in causes["explains"].astype(float)],
            f"score ({unit})": _with_error(causes),
            "blamed": ["yes" if b else "" for b in causes["blamed"]],
        }
    )
    first = _moves(found.first.head(6))
    impact = _moves(found.impact.head(12))
    if len(impact):
        impact["entry"] = ["yes" if e else "" for e in found.impact.head(12)["entry"]]
    cards = (
        Card("Cause", found.ranking.summary(), found.ranking.verdict(), _plain(table)),
        Card(
            "First failure",
            "In the order in which they left their usual range."
            if len(first)
            else "No metric stayed outside its usual range for two rows.",
            table=_plain(first),
        ),
        Card(
            "Impact",
            "Latency, errors and availability that are worse than usual; entry services are "
            "called by nobody."
            if len(impact)
            else "No other service is worse than usual.",
            table=_plain(impact),
        ),
    )
    return Section("Evidence", "", cards)


def _changes(found: Investigation) -> Section:
    if not len(found.changes):
        said = "No change is known in the hour before."
        return Section("Changes", "", (Card("Before the onset", said),))
    table = found.changes.assign(
        time=[f"{t:%H:%M}" for t in found.changes["time"]],
        minutes_before=[f"{m:.0f}" for m in found.changes["minutes_before"]],
    )
    table = table.rename(columns={"minutes_before": "minutes before"})
    return Section("Changes", "", (Card("In the hour before the onset", table=_plain(table)),))


def _data(found: Investigation) -> Section:
    return Section("What it rests on", "", (Card("Rows and method", how=found.how()),))


def _moves(frame: pd.DataFrame) -> pd.DataFrame:
    if not len(frame):
        return pd.DataFrame()
    return pd.DataFrame(
        {
            "metric": frame.index,
            "usual": frame["before"].map(number),
            "incident": frame["during"].map(number),
            "unit": frame["unit"],
            "since": _clock(frame["since"]),
        }
    )


def _clock(times: pd.Series) -> list[str]:
    return [f"{t:%H:%M}" if pd.notna(t) else "" for t in times]


def _share(value: float) -> str:
    """A share in percent, between 0 and 100; empty if it is not known."""
    return "" if value != value else f"{100 * min(max(value, 0.0), 1.0):.0f} %"


def _with_error(causes: pd.DataFrame) -> list[str]:
    from ..diagnosis.ranking import with_error

    return [with_error(s, e) for s, e in zip(causes["score"], causes["se"], strict=True)]


def _plain(frame: pd.DataFrame) -> pd.DataFrame | None:
    """A table whose index is no running number; None if there is nothing to show."""
    if not len(frame):
        return None
    if isinstance(frame.index, pd.RangeIndex) or frame.index.name == "node":
        first = frame.columns[0]
        return frame.set_index(first)
    return frame
