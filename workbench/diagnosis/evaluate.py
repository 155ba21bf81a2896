"""How good is a method? Recall at k, Avg@k and specificity over incidents with known causes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..core.errors import DataError, ParameterError
from ..core.results import Result, number
from ..core.saving import saveable
from .ranking import Ranking


def recall_at_k(ranked: Sequence[str], causes: Iterable[str], k: int) -> float:
    """Share of the true causes A among the first |A| + k - 1 of a ranked list.

    With one cause: whether it is among the first k. An empty list is a miss.

    References:
        Nagalapatti et al., "Robust root cause diagnosis using in-distribution interventions",
        ICLR 2025.

    Example:
        >>> recall_at_k(["db", "cart", "web"], {"db", "web"}, k=1)
        0.5
    """
    true = set(causes)
    return len(true.intersection(ranked[: len(true) + k - 1])) / len(true)


@saveable
@dataclass(frozen=True, eq=False, repr=False)
class Evaluation(Result):
    """How often a method was right.

    Attributes:
        cases: One row per incident: status, the first of the ranked list, causes, and each
            measure (NaN where it isn't defined).
        table: measure -> value, standard error and number of incidents.
    """

    cases: pd.DataFrame
    table: pd.DataFrame

    def __getitem__(self, measure: str) -> float:
        return float(self.table.loc[measure, "value"])

    def summary(self) -> str:
        parts = []
        for name, (value, se, n) in self.table.iterrows():
            spread = "" if np.isnan(se) else f" ± {number(se)}"
            parts.append(f"{name} {number(value)}{spread} ({int(n)})")
        return f"{len(self.cases)} incidents: {', '.join(parts)}."

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """Measures with standard errors; ``long=True`` gives one row per incident instead."""
        return (self.cases if long else self.table).copy()


def evaluate(
    rankings: Sequence[Ranking | Sequence[str]],
    causes: Sequence[str | Iterable[str]],
    *,
    ks: Sequence[int] = (1, 3),
    average_to: int = 5,
    belongs_to: Mapping[str, str] | None = None,
) -> Evaluation:
    """Compare rankings with the known causes.

    * ``recall@k``: share of the causes A among the first |A| + k - 1; an empty answer misses.
    * ``Avg@5``: mean of recall@1 to recall@5.
    * ``specificity``: share of fault-free windows (no causes) with an empty answer.
    * ``answered``: share of the incidents with a cause that got a non-empty answer.

    Args:
        rankings: One per incident; a plain list of names, best first, will do.
        causes: The true causes of each incident, in the same order; an empty list for a
            fault-free window. A cause inside a collapsed loop is found with the loop.
        ks: The k of recall@k.
        average_to: The largest k of Avg@k.
        belongs_to: Metric -> service, when services are to be found; the first metric of a
            service counts for it.

    Raises:
        DataError: Unequal numbers of rankings and causes, or none; a ranking or a set of causes
            that is none.

    References:
        Pham et al., ASE 2024 (Avg@5); Hardt et al., "The PetShop dataset", CLeaR 2024
        (specificity).

    Example:
        >>> result = evaluate([["db", "web"], ["web", "db"], []], ["db", "db", []])
        >>> result["recall@1"], result["recall@3"], result["specificity"]
        (0.5, 1.0, 1.0)
    """
    rankings, causes = list(rankings), list(causes)
    if len(rankings) != len(causes) or not rankings:
        raise DataError(
            f"there are {len(rankings)} rankings and {len(causes)} sets of causes",
            advice="Give one set of causes per ranking; an empty one for a fault-free window.",
        )
    for i, (ranking, truth) in enumerate(zip(rankings, causes, strict=True)):
        _check(i, ranking, truth)
    for k in (*ks, average_to):
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise ParameterError("must be whole numbers from 1", column="ks", value=k)
    rows = [
        _row(ranking, truth, ks, average_to, belongs_to or {})
        for ranking, truth in zip(rankings, causes, strict=True)
    ]
    cases = pd.DataFrame(rows)
    measures = [c for c in cases.columns if c not in ("status", "first", "causes")]
    table = pd.DataFrame(
        [_mean(cases[m]) for m in measures], index=measures, columns=["value", "se", "n"]
    )
    return Evaluation(cases, table[table["n"] > 0])


def _check(i: int, ranking: Ranking | Sequence[str], truth: str | Iterable[str]) -> None:
    """Refuse what would be read letter by letter, or not at all."""
    if isinstance(ranking, str | bytes) or not isinstance(ranking, Ranking | Iterable):
        raise DataError(
            "is not a ranking",
            column="rankings",
            row=i,
            value=ranking,
            advice='Give a Ranking or a list of names, best first: ["db", "web"].',
        )
    if isinstance(truth, bytes) or not isinstance(truth, Iterable):
        raise DataError(
            f"{truth!r} is no set of causes",
            column="causes",
            row=i,
            advice="Give a name or several; an empty list for a fault-free window.",
        )


def _row(
    ranking: Ranking | Sequence[str],
    truth: str | Iterable[str],
    ks: Sequence[int],
    average_to: int,
    belongs_to: Mapping[str, str],
) -> dict:
    ours = isinstance(ranking, Ranking)
    names = list(ranking.nodes if ours else ranking)
    true = {truth} if isinstance(truth, str) else set(truth)
    inside = {m: loop for loop, members in ranking.members.items() for m in members} if ours else {}
    true = {belongs_to.get(t, inside.get(t, t)) for t in true}
    if belongs_to:
        expand = ranking.members if ours else {}
        flat = [m for n in names for m in expand.get(n, (n,))]
        names = list(dict.fromkeys(belongs_to.get(m, m) for m in flat))
    status = ranking.status if ours else ("found" if names else "no root cause found")
    row = {
        "status": status,
        "first": names[0] if names else "",
        "causes": ", ".join(sorted(true)),
    }
    faulty = bool(true)
    for k in ks:
        row[f"recall@{k}"] = recall_at_k(names, true, k) if faulty else np.nan
    each = [recall_at_k(names, true, k) for k in range(1, average_to + 1)] if faulty else [np.nan]
    row[f"Avg@{average_to}"] = float(np.mean(each))
    row["answered"] = float(bool(names)) if faulty else np.nan
    row["specificity"] = np.nan if faulty else float(not names)
    return row


def _mean(values: pd.Series) -> tuple[float, float, int]:
    known = values.dropna().to_numpy(dtype=float)
    se = known.std(ddof=1) / len(known) ** 0.5 if len(known) > 1 else np.nan
    return (float(known.mean()) if len(known) else np.nan), float(se), len(known)
