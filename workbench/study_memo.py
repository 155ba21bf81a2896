"""What a study has found, as a decision memo."""

from __future__ import annotations

import hashlib
import platform
from collections import Counter
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import pandas as pd

from .core.results import number
from .effects.doses.base import DoseEstimator
from .effects.over_graphs import EffectsOverGraphs
from .report.memo import Card, Memo, Section
from .study_file import to_text
from .tables.gate import count

if TYPE_CHECKING:
    from .effects.effect_estimate import EffectEstimate
    from .graph.causal_graph import CausalGraph
    from .recourse.recommendations import Recommendations
    from .study import Answer, Study

_LIBRARIES = ("workbench", "numpy", "pandas", "scikit-learn", "torch", "econml", "dowhy")
_MOST_PEOPLE = 3
_ARROWS = {
    ("tail", "arrow"): "→",
    ("arrow", "tail"): "←",
    ("tail", "tail"): "—",
    ("arrow", "arrow"): "↔",
    ("circle", "arrow"): "∘→",
    ("arrow", "circle"): "←∘",
    ("circle", "tail"): "∘—",
    ("tail", "circle"): "—∘",
    ("circle", "circle"): "∘—∘",
}


def compose(study: Study, title: str | None = None) -> Memo:
    """The memo: answers first, then the data, the graph, each question, how to reproduce."""
    questions = [a for a in study.answers if a.kind in ("effect", "recourse", "diagnose")]
    sections = [_data(study)]
    if study.has_graph:
        sections.append(_graph(study))
    makers = {"effect": _effect, "recourse": _recourse, "diagnose": _diagnosis}
    leads = {
        "effect": "What changes if we act, on average. Each number rests on the graph above.",
        "recourse": "The smallest change that is enough, person by person.",
        "diagnose": "Which columns made an unusual record unusual.",
    }
    headings = {"effect": "Effects", "recourse": "What to do", "diagnose": "Why it is unusual"}
    for kind, make in makers.items():
        cards = [card for a in questions if a.kind == kind for card in make(a, study)]
        if cards:
            sections.append(Section(headings[kind], leads[kind], tuple(cards)))
    answers = [_answer(a) for a in questions] or [study.latest("check").summary()]
    if questions and study.has_graph and study.latest("falsify").failed:
        answers.append(f"Read with care: {study.latest('falsify').summary()}")
    return Memo(title or "Study", tuple(answers), tuple(sections), _reproduce(study))


def _answer(answer: Answer) -> str:
    verdict = answer.result.verdict() if answer.kind == "effect" else ""
    return f"{answer.result.summary()} {verdict}".strip()


def _data(study: Study) -> Section:
    report = study.latest("check")
    card = Card.of("What is odd about the table", report, rows=10)
    fields = ["kind", "role", "unit", "actionable"]
    columns = study.schema.to_frame()[fields]
    shown = columns.loc[:, columns.notna().any()].astype(object).where(columns.notna(), None)
    shown.index.name = "column"
    lead = f"{len(study.df):,} rows and {len(study.df.columns)} columns."
    return Section("The data", lead, (card, Card("What the columns mean", table=shown, rows=30)))


def _graph(study: Study) -> Section:
    graph, ensemble = study.graph, study.ensemble
    lead = _whence(graph)
    if ensemble is not None:
        lead += (
            f"; the number on a line is the share of {ensemble.info['n_boot']} resamples in which "
            "the two are joined, in either direction"
        )
    size = (6.4, min(2.2 + 0.42 * len(graph.nodes), 9))
    cards = [
        Card(
            f"The graph ({_kind(graph)})",
            draw=lambda ax: graph.plot(ax=ax),
            size=size,
            sentence=str(graph.info.get("explanation", "")),
            how=_made(graph),
        )
    ]
    if ensemble is not None:
        arrows = {"->": "u → v", "<-": "v → u", "--": "u — v", "<->": "u ↔ v"}
        table = ensemble.to_frame().rename(columns=arrows)
        pairs = zip(table["u"], table["v"], strict=True)
        table.insert(2, "in the graph", [_said(graph, u, v) for u, v in pairs])
        cards.append(Card.of("How stable its edges are", ensemble, table=table, rows=15, how={}))
    given = [(u, v) for u, v, *m in graph.edges if graph.origin(u, v, *m).source != "learned"]
    if graph.origins and given:
        given = list(dict.fromkeys(given))
        table = pd.DataFrame(given, columns=["u", "v"])
        table["in the graph"] = [_said(graph, u, v) for u, v in given]
        cards.append(Card("Edges that were not learned", table=table, rows=30))
    falsification = study.latest("falsify")
    drawn = falsification.plot if falsification.tested > 4 else None
    cards.append(
        Card.of("Does the table contradict it", falsification, rows=6, draw=drawn, size=(5, 3))
    )
    assumed = (
        "Every effect and plan below assumes that no edge and no common cause is missing here. "
        "No table can confirm that."
    )
    return Section("The graph", f"{lead}. {assumed}", tuple(cards))


def _whence(graph: CausalGraph) -> str:
    """Where the edges come from, in words."""
    counts = Counter(graph.origin(*edge).source for edge in graph.edges)
    if not graph.edges and "method" in graph.info or set(counts) == {"learned"}:
        return "Learned from the table"
    if set(counts) <= {"drawn"}:
        return "Drawn by the user"
    words = {
        "drawn": "drawn by the user",
        "required": "required by knowledge",
        "learned": "learned from the table",
    }
    parts = [f"{counts[s]} {w}" for s, w in words.items() if counts[s]]
    return f"Of {count(len(graph.edges), 'edge')}, {', '.join(parts)}"


def _said(graph: CausalGraph, u: str, v: str) -> str:
    """What the graph has between two columns, and where that comes from."""
    if u not in graph or v not in graph:
        return ""
    return "; ".join(
        f"u {_ARROWS[a, b]} v, {graph.origin(u, v, a, b).source}" for a, b in graph.marks(u, v)
    )


def _made(graph: CausalGraph) -> dict[str, str]:
    info = graph.info
    found = {k: str(info[k]) for k in ("method", "parameters", "rows", "tests") if k in info}
    found |= {f"left out: {name}": why for name, why in info.get("left_out", {}).items()}
    conflicts = info.get("conflicts", [])
    return found | {f"conflict {i}": text for i, text in enumerate(conflicts, 1)}


def _kind(graph: CausalGraph) -> str:
    words = {
        "dag": "every direction is decided",
        "cpdag": "undirected edges: the data can't tell the direction",
        "mpdag": "undirected edges: data and knowledge can't tell the direction",
        "admg": "double arrows: hidden common causes",
        "pag": "circles: either mark",
    }
    return f"{graph.kind}, {words[graph.kind]}"


def _effect(answer: Answer, study: Study) -> list[Card]:
    result = answer.result
    heading = f"{result.treatment} → {result.outcome}"
    rows = len(result.to_frame())
    size = (6.4, 1.3 + 0.35 * min(rows, 12))
    card = Card.of(heading, result, draw=result.plot, size=size)
    if isinstance(result, EffectsOverGraphs):
        return [replace(card, heading=f"{heading}, under {result.graphs} graphs", rows=8)]
    cards = [replace(card, table=card.table if rows > 1 else None)]
    if isinstance(result.estimator, DoseEstimator):
        curve = result.estimator
        lead = "The average outcome at every dose; the contrast above is two points of this curve."
        cards.append(Card(f"{heading}: the curve", lead, draw=lambda ax: curve.plot(ax=ax)))
    return [*cards, *_conditions(heading, result)]


def _conditions(heading: str, result: EffectEstimate) -> list[Card]:
    cards = []
    if result.overlap is not None:
        cards.append(
            Card.of(
                f"{heading}: are comparable rows compared",
                result.overlap,
                draw=result.overlap.plot,
                rows=8,
            )
        )
    if result.refutations is not None:
        cards.append(Card.of(f"{heading}: attempts to refute it", result.refutations))
    if result.hidden_confounding is not None:
        cards.append(Card.of(f"{heading}: a hidden confounder", result.hidden_confounding))
    return cards


def _recourse(answer: Answer, study: Study) -> list[Card]:
    result: Recommendations = answer.result
    found = result.outcomes.index[(result.status == "found").to_numpy()]
    many = result.by_graph is not None and len(found)
    cards = [
        Card.of(
            f"Plans: {result.target}"
            + (f", under {count(result.graphs, 'graph')}" if many else ""),
            result,
            rows=8,
            draw=result.plot_graphs if many else None,
            size=(6.4, 1.4 + 0.3 * min(len(found), 15)),
        )
    ]
    for label in found[:_MOST_PEOPLE]:
        rows = int((result.changes()["person"] == label).sum())
        cards.append(
            Card(
                f"Row {label}",
                sentence=result.explain(label),
                draw=lambda ax, label=label: result.plot(label, ax=ax),
                size=(6.4, 1.1 + 0.36 * rows),
            )
        )
    return cards


def _diagnosis(answer: Answer, study: Study) -> list[Card]:
    result = answer.result
    bars = int(result.table["score"].notna().sum())
    return [
        Card.of(
            f"{result.target} at row {result.row}",
            result,
            draw=result.plot if result.status == "found" else None,
            size=(6.4, 1.2 + 0.32 * min(bars, 15)),
            rows=8,
        )
    ]


def _reproduce(study: Study) -> dict[str, str]:
    found = {
        "seed": str(study.random_state),
        "hash of the table": data_hash(study.df),
        "versions": ", ".join([f"Python {platform.python_version()}", *_versions()]),
    }
    return {**found, "study file": to_text(study, study.source or "table.csv")}


def _versions() -> list[str]:
    out = []
    for name in _LIBRARIES:
        try:
            out.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return out


def data_hash(df: pd.DataFrame) -> str:
    """A short hash of a table's names and values."""
    digest = hashlib.sha256(repr(list(map(str, df.columns))).encode())
    plain = df.astype({c: "object" for c in df.columns if df[c].dtype == "category"})
    digest.update(pd.util.hash_pandas_object(plain.map(_text), index=False).to_numpy().tobytes())
    return digest.hexdigest()[:16]


def _text(value: object) -> str:
    return number(value, 17) if isinstance(value, float) else str(value)
