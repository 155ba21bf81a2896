"""One incident, many graphs: blame averaged over the DAGs, with the share that agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from .base import blame_in_words
from .incident import shown_row
from .ranking import Ranking


def rank_over_graphs(rankings: Sequence[tuple[Ranking, float]]) -> Ranking:
    """Combine the rankings of one incident under several DAGs.

    Scores are averaged with the weights (a node that is no candidate under a DAG counts 0 there);
    standard errors too, since the DAGs share their data. A node is blamed if DAGs with at least
    half of the weight blame it.

    Args:
        rankings: Pairs of a ranking and its weight, all of the same target and row.
    """
    if len(rankings) == 1:
        return rankings[0][0]
    weights = np.array([w for _, w in rankings]) / sum(w for _, w in rankings)
    answers = [r for r, _ in rankings]
    best = answers[int(np.argmax(weights))]
    nodes = list(dict.fromkeys(n for r in answers for n in r.table.index))
    score = _averaged(answers, weights, nodes, "score")
    blamed_in = _averaged(answers, weights, nodes, "blamed")
    first_in = pd.Series(0.0, index=nodes)
    for answer, weight in zip(answers, weights, strict=True):
        if answer.nodes:
            first_in[answer.nodes[0]] += weight
    reasons = {n: best.reason(n) if n in best.table.index else "" for n in nodes}
    table = pd.DataFrame(
        {
            "score": score,
            "se": _averaged(answers, weights, nodes, "se"),
            "deviation": best.table["deviation"].reindex(nodes),
            "blamed": blamed_in >= 0.5,
            "reason": [_with_share(reasons[n], blamed_in[n]) for n in nodes],
        },
        index=pd.Index(nodes, name="node"),
    ).sort_values(["blamed", "score"], ascending=False, kind="stable")
    found = sum(w for r, w in zip(answers, weights, strict=True) if r.status == "found")
    count = f"{len(answers)} graphs"
    if found >= 0.5 and table["blamed"].any():
        status, top = "found", table.index[0]
        sentence = (
            f"{blame_in_words(top, best.target)} at row {shown_row(best.row)}: first in "
            f"{first_in[top]:.0%} of {count}, blamed in {blamed_in[top]:.0%}."
        )
    elif found > 0:
        status = "abstain"
        sentence = f"The graphs disagree on who is to blame for {best.target!r} ({count})."
        table["blamed"] = False
    else:
        status, sentence = best.status, best.sentence
    warnings = tuple(dict.fromkeys(w for r in answers for w in r.warnings))
    return replace(
        best,
        status=status,
        sentence=sentence,
        table=table,
        warnings=warnings,
        details={**best.details, "graphs": count},
    )


def _averaged(
    answers: Sequence[Ranking], weights: np.ndarray, nodes: list[str], column: str
) -> pd.Series:
    total = pd.Series(0.0, index=nodes)
    for answer, weight in zip(answers, weights, strict=True):
        total += weight * answer.table[column].reindex(nodes).astype(float).fillna(0.0)
    return total


def _with_share(reason: str, share: float) -> str:
    if not share:
        return reason
    return f"blamed in {share:.0%} of the graphs" + (f"; {reason}" if reason else "")
