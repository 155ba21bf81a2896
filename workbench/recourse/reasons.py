"""Why a model said no: the principal reasons, kept apart from what could be done about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import (
    DataError,
    ParameterError,
    QuestionError,
    did_you_mean,
    recording,
    warn,
)
from ..core.results import count
from ..tables.gate import as_frame
from .contributions import Contributions, contributions, reproduces
from .method import ACCEPTED, INCOMPLETE
from .people import empty_cells
from .problem import RecourseProblem
from .reason_codes import ReasonCodes
from .reasons_answer import DECLINED, Reasons, principal
from .structure import OutcomeNode, Trees

_ALIKE = 0.95  # correlation from which two columns say the same
_SENSITIVE = (
    *("sex", "gender", "race", "ethnicity", "ethnic", "religion", "nationality", "citizenship"),
    *("marital", "married", "pregnant", "disability", "native-country", "native_country"),
)


def reasons(
    problem: RecourseProblem,
    df: pd.DataFrame,
    max: int = 4,
    *,
    codes: Any = None,
    reference: str | pd.DataFrame = "accepted",
    protected: Iterable[str] = (),
    progress: bool = True,
) -> Reasons:
    """The principal reasons for which the model declines people, largest first.

    The contribution of a feature is its Shapley value in the game whose worth v(S) is the mean
    decision over reference rows that take the person's values of the features in S; the decision
    is the score, or its log-odds where the model is additive in them. Contributions add up to the
    gap, the mean decision of the reference rows minus the person's, and for additive models each
    is ``mean f_j(reference) - f_j(person)``. Reasons are the largest positive contributions; none
    is left out for a smaller one, ties go by name. Every reference row is accepted, so that the
    gap of somebody declined is positive and there is at least one reason.

    Reasons say what weighed, not what to do: features that nobody can change are among them, and
    changing one need not change the decision. For advice ask :class:`ExactRecourse` or another
    method. A model's reasons are no causes in the world either.

    Exact for linear models, scorecards and tree ensembles (which keep their way with empty cells)
    and, up to ten features, for anything that gives a score; beyond that estimated from 64 orders
    of the features, which is warned of. What only gives scores, and networks, are asked about
    65,536 rows per person: with k features that is 65,536 / 2^k reference rows up to ten features
    (at least 16 beyond), spread evenly over their decisions. Where that leaves reference rows out,
    it is warned of.

    Args:
        problem: The model, what it accepts and, as its ``data``, applicants.
        df: People, matched by column name.
        max: Most reasons per person.
        codes: Reason codes, ``{feature: code or (code, text)}`` or a file with the columns
            feature, code, text. Features with one code are one reason: give one to columns that
            repeat each other. Must cover every column that the model reads.
        reference: ``"accepted"``: the rows of the problem's data that the model accepts;
            ``"best"``: the best value of every feature (scorecards and other additive models); or
            a table of accepted applicants, which may have empty cells if the model takes them.
        protected: Columns on which no decision may rest. If the model reads one it is refused:
            leaving such a reason out would hide the decision's real grounds.
        progress: Show a bar when it takes more than two seconds.

    Raises:
        QuestionError: A protected column is read; nobody is accepted; ``"best"`` for a model that
            is not additive; a question about the world, which no model decides.
        DataError: Columns, codes or reference rows that can't be used.

    References:
        Strumbelj and Kononenko, "An efficient explanation of individual classifications using game
        theory", JMLR 11, 2010; Lundberg et al., "From local explanations to global understanding
        with explainable AI for trees", Nature Machine Intelligence 2, 2020 (trees against
        reference rows); Regulation B, 12 CFR 1002.9(b)(2) with its official interpretation
        (principal reasons by comparison with applicants who were accepted, at most four).

    Example:
        >>> from sklearn.linear_model import LinearRegression
        >>> people = pd.DataFrame({"income": [1.0, 2.0, 5.0, 6.0], "debt": [0.0, 3.0, 1.0, 0.0]})
        >>> model = LinearRegression().fit(people, people["income"] - people["debt"])
        >>> problem = RecourseProblem(model, data=people, target={"above": 3})
        >>> why = reasons(problem, people)
        >>> why.to_frame()[["status", "reason 1", "reason 2"]].fillna("").to_numpy().tolist()
        [['declined', 'income', ''], ['declined', 'income', 'debt'], ['already accepted', '', ''],
        ['already accepted', '', '']]
        >>> why.contributions.loc[1].round(6).tolist()
        [2.5, 3.5]
    """
    _check(problem, max)
    view = problem.view
    protected = (protected,) if isinstance(protected, str) else tuple(protected)
    with recording() as notes:
        table = ReasonCodes.of(view.columns) if codes is None else ReasonCodes.read(codes)
        table.check(view.columns, problem.space.names)
        _refuse_protected(problem, protected)
        frame, _ = as_frame(df, "people", "x")
        x = problem.space.codes(frame)
        rows, described = _reference(problem, reference)
        asked = _Asked(problem, frame, x)
        found = contributions(problem, x[asked.declined], rows, progress)
        asked.verify(found)
        if len(found.reference) < len(rows):
            described = f"{len(found.reference):,} of {described}"
            warn(
                "sampled-reference",
                f"people are compared with {described}, spread evenly over their decisions, "
                "because the model's inside is not known; small contributions may change order "
                "with others",
            )
        _warn_of_split_reasons(problem, table, rows)
        return asked.answer(found, table, max, described, notes)


def _check(problem: Any, most: Any) -> None:
    if not isinstance(problem, RecourseProblem):
        raise ParameterError(
            "must be a RecourseProblem", column="problem", value=type(problem).__name__
        )
    if isinstance(problem.model, OutcomeNode):
        raise QuestionError(
            "is an outcome in the world: no model decides about it, so no decision has reasons",
            column=problem.model.name,
            advice="Ask Study.effect or Study.diagnose why it is what it is.",
        )
    whole = isinstance(most, int | np.integer) and not isinstance(most, bool)
    if not whole or most < 1:
        raise ParameterError("must be a positive integer", column="max", value=most)


def _refuse_protected(problem: RecourseProblem, protected: tuple[str, ...]) -> None:
    for name in protected:
        if name not in problem.space.names:
            raise ParameterError(
                f"names {name!r}, which is no feature of the problem",
                column="protected",
                advice=did_you_mean(name, problem.space.names),
            )
        if name in problem.view.columns:
            raise QuestionError(
                "is protected and the model reads it: a decision may not rest on it, and leaving "
                "it out of the reasons would hide that it does",
                column=name,
                advice="Train the model without it.",
            )
    words = [n for n in problem.view.columns if any(w in n.casefold() for w in _SENSITIVE)]
    if words:
        warn(
            "protected-column",
            f"the model reads {', '.join(map(repr, words))}, which sounds like a characteristic "
            "that the law protects; name it in protected= to refuse such a model",
            words,
        )


def _reference(problem: RecourseProblem, reference: Any) -> tuple[np.ndarray, str]:
    """Codes of the rows that people are compared with, and what they are."""
    if isinstance(reference, pd.DataFrame):
        rows = problem.space.codes(reference, "reference")
        if not len(rows):
            raise DataError("the reference has no rows")
        gaps = np.isnan(rows).any(axis=1)
        if gaps.any() and problem.view.inside.find("trees") is None:
            raise DataError(
                f"an empty cell of the reference has no meaning for {problem.view.name}",
                column=problem.space.names[int(np.isnan(rows[gaps][0]).argmax())],
                row=reference.index[int(gaps.argmax())],
                advice="Drop such rows.",
            )
        scores = problem.view.score(reference)
        bad = ~problem.accepts(scores)
        if bad.any():
            i = int(bad.argmax())
            raise DataError(
                f"the model does not accept every reference row ({problem.describe_target()})",
                row=reference.index[i],
                value=float(scores[i]),
                advice="Give applicants that it accepts.",
            )
        return rows, count(len(rows), "given applicant")
    if reference == "best":
        rows = _best(problem)
        if not problem.accepts(problem.view.score(problem.space.frame(rows)))[0]:
            raise QuestionError("the model does not accept even the best value of every feature")
        return rows, "the best value of every feature"
    if reference != "accepted":
        raise ParameterError(
            "must be 'accepted', 'best' or a table of accepted applicants",
            column="reference",
            value=reference,
            advice=did_you_mean(reference, ("accepted", "best")),
        )
    rows = problem.data[problem.accepts(problem.scores)] if problem.data is not None else ()
    if not len(rows):
        raise QuestionError(
            "the problem's data has no complete row that the model accepts",
            advice="Pass data= with such rows to the problem, or reference=.",
        )
    return rows, count(len(rows), "accepted applicant")


def _best(problem: RecourseProblem) -> np.ndarray:
    """The best code of every feature of an additive model, ``(1, F)``."""
    view, space = problem.view, problem.space
    model = view.inside.find("linear") or view.inside.find("trees")
    if model is None or not _is_additive(model):
        raise QuestionError(
            f"{view.name} is not additive, so that no feature has a best value of its own",
            advice="Use reference='accepted'.",
        )
    best = view.center[None].copy()
    for j, feature in enumerate(space.features):
        if space.discrete[j]:
            tries = np.arange(len(feature.levels), dtype=float)
        else:
            tries = np.unique(np.clip(_cells(model, j), problem.low[j], problem.high[j]))
            tries = np.append(tries, [problem.low[j], problem.high[j]])
            if not np.isfinite(tries).all():
                raise QuestionError(
                    "has no bounds, so that it has no best value",
                    column=feature.name,
                    advice="Give bounds in the schema, or pass data=.",
                )
        rows = np.repeat(best, len(tries), axis=0)
        rows[:, j] = tries
        worth = model.decision(rows if isinstance(model, Trees) else space.design(rows))
        best[0, j] = tries[int((problem.target.sign * worth).argmax())]
    return best


def _is_additive(model: Any) -> bool:
    if not isinstance(model, Trees):
        return True
    return all(len(np.unique(t.feature[t.left >= 0])) <= 1 for t in model.trees)


def _cells(model: Any, j: int) -> np.ndarray:
    """A value on either side of every threshold of a number."""
    if not isinstance(model, Trees):
        return np.empty(0)
    asks = [t.threshold[(t.left >= 0) & (t.feature == j)] for t in model.trees]
    ends = np.concatenate([*asks, np.empty(0)])
    return np.concatenate([ends, np.nextafter(ends, np.inf)])


def _warn_of_split_reasons(problem: RecourseProblem, table: ReasonCodes, rows: np.ndarray) -> None:
    """Columns that repeat each other share a reason, which then looks small twice."""
    space, data = problem.space, problem.data if problem.data is not None else rows
    columns = sorted(n for n in problem.view.columns if not space.discrete[space.place(n)])
    numbers = data[:, [space.place(n) for n in columns]]
    numbers = numbers[~np.isnan(numbers).any(axis=1)]
    if len(numbers) < 3 or len(columns) < 2:
        return
    with np.errstate(invalid="ignore", divide="ignore"):
        alike = np.abs(np.corrcoef(numbers, rowvar=False)) > _ALIKE
    for a, b in np.argwhere(np.triu(alike, 1)):
        pair = columns[a], columns[b]
        if table.codes[pair[0]] != table.codes[pair[1]]:
            warn(
                "split-reason",
                f"{pair[0]!r} and {pair[1]!r} nearly repeat each other and share what they weigh; "
                "give them one code to count it once",
                pair,
            )


class _Asked:
    """Who is declined, and why nobody else has reasons."""

    def __init__(self, problem: RecourseProblem, frame: pd.DataFrame, x: np.ndarray):
        self.problem, self.frame, self.x = problem, frame, x
        n, read = len(x), [problem.space.place(name) for name in problem.view.columns]
        self.words = np.full(n, INCOMPLETE, dtype=object)
        self.notes = np.full(n, "", dtype=object)
        self.score = np.full(n, np.nan)
        empty = np.isnan(x[:, read])
        gaps = empty.any(axis=1)
        for i in np.flatnonzero(gaps):
            names = [n for n, e in zip(problem.view.columns, empty[i], strict=True) if e]
            self.notes[i] = empty_cells(names)
        full = np.flatnonzero(~gaps)
        self.score[full] = problem.view.score(frame.iloc[full])
        if problem.view.inside.find("trees") is not None:
            try:
                self.score[gaps] = problem.view.score(frame[gaps])
            except DataError:  # a model without a way for empty cells: those rows stay incomplete
                pass
        scored = ~np.isnan(self.score)
        accepted = scored & problem.accepts(self.score)
        self.words[scored] = np.where(accepted[scored], ACCEPTED, DECLINED)
        self.notes[accepted] = "reaches the target"
        self.declined = np.flatnonzero(scored & ~accepted)

    def verify(self, found: Contributions) -> None:
        """Nobody gets reasons that don't add up to the model's own score."""
        bad = self.declined[~reproduces(self.problem.view, found, self.score[self.declined])]
        self.words[bad], self.notes[bad] = (
            INCOMPLETE,
            ("the contributions do not add up to the model's own score of this row"),
        )

    def answer(
        self, found: Contributions, table: ReasonCodes, most: int, described: str, notes: list
    ) -> Reasons:
        problem, space = self.problem, self.problem.space
        names = list(problem.view.columns)
        places = [space.place(n) for n in names]
        sign = problem.target.sign
        codes, merged = table.merge(names, -sign * found.values[:, places])
        against = np.full((len(self.x), len(codes)), np.nan)
        gap = np.full(len(self.x), np.nan)
        against[self.declined] = merged + 0.0
        gap[self.declined] = sign * (found.base - found.decision)
        told = self.words == DECLINED
        against[~told], gap[~told] = np.nan, np.nan
        chosen = [principal(row, most) if t else [] for row, t in zip(against, told, strict=True)]
        _warn_of_doubt(found, table, names, places, merged, most)
        rows = [
            (i, rank + 1, codes[c], against[i, c])
            for i, picks in enumerate(chosen)
            for rank, c in enumerate(picks)
        ]
        listed = pd.DataFrame(rows, columns=["row", "rank", "code", "contribution"])
        listed = listed.astype({"row": int, "rank": int, "contribution": float})
        positive = np.where(against > 0, against, 0.0).sum(axis=1)
        said = np.array([against[i, picks].sum() for i, picks in enumerate(chosen)])
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(told, said / positive, np.nan)
        outcomes = pd.DataFrame(
            {
                "status": self.words,
                "note": self.notes,
                "score": self.score,
                "gap": gap,
                "share": share,
            },
            index=self.frame.index,
        )
        where = {n: self._typical(found.reference[:, space.place(n)], n) for n in names}
        shares = {n: s for n, (_, s) in where.items() if s is not None}
        return Reasons(
            people=self.frame[names].copy(),
            outcomes=outcomes,
            listed=listed,
            contributions=pd.DataFrame(against, index=self.frame.index, columns=codes),
            texts={c: table.texts[c] for c in codes},
            features={c: [f for f in table.features(c) if f in names] for c in codes},
            typical={n: value for n, (value, _) in where.items()},
            units={f.name: f.unit for f in space.features if f.unit},
            most=most,
            target=problem.describe_target(),
            reference=described,
            scale="log-odds" if found.link == "logit" else problem.quantity,
            kind=found.kind,
            shares=shares,
            warnings=tuple(notes),
        )

    def _typical(self, codes: np.ndarray, name: str) -> tuple[Any, float | None]:
        """Mean of a column of the reference, or its most common level with its share."""
        j, codes = self.problem.space.place(name), codes[~np.isnan(codes)]
        if not len(codes):
            return None, None
        if not self.problem.space.discrete[j]:
            return float(codes.mean()), None
        counts = np.bincount(codes.astype(int))
        return self.problem.space.value(j, float(counts.argmax())), counts.max() / len(codes)


def _warn_of_doubt(
    found: Contributions,
    table: ReasonCodes,
    names: list[str],
    places: list[int],
    merged: np.ndarray,
    most: int,
) -> None:
    """Where contributions are estimated, say for how many people the last reason is in doubt."""
    if not found.error.any():
        return
    _, variance = table.merge(names, found.error[:, places] ** 2)
    unsure = 0
    for row, spread in zip(merged, np.sqrt(variance), strict=True):
        picks = principal(row, most)
        rest = [c for c in range(len(row)) if c not in picks]
        if picks and rest:
            last = picks[-1]
            near = row[rest] + 2 * np.hypot(spread[rest], spread[last]) > row[last]
            unsure += bool((near & (spread[rest] + spread[last] > 0)).any())
    warn(
        "estimated-reasons",
        f"contributions are estimated from orders of the features, because the model's inside is "
        f"not known and more than ten features differ; which reason comes last is in doubt for "
        f"{count(unsure, 'person') if unsure == 1 else f'{unsure:,} people'}",
    )
