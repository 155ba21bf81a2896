"""What every method shares: one front door that asks, checks and never drops anybody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..core import saving
from ..core.errors import ParameterError, recording, warn
from ..core.parameters import Parameterised
from ..tables.gate import as_frame, count
from .people import empty_cells
from .problem import RecourseProblem
from .recommendations import Recommendations
from .writing import write

FOUND = "found"
ACCEPTED = "already accepted"
INFEASIBLE = "infeasible"
NOT_FOUND = "not found"
INCOMPLETE = "incomplete"
_ROWS = 50_000  # people asked at a time
_SURE = 0.95  # validity below which a plan comes with a warning


@dataclass(frozen=True, eq=False)
class Status:
    """One word and one reason per person.

    Attributes:
        words: ``(n,)`` of ``"found"``, ``"infeasible"`` (proven: nothing permitted is accepted)
            or ``"not found"`` (nothing was found; there may be something).
        reasons: ``(n,)`` texts; empty for those that are found.
    """

    words: np.ndarray
    reasons: np.ndarray

    @classmethod
    def where(cls, found: np.ndarray, otherwise: str, word: str = NOT_FOUND) -> Status:
        """``"found"`` where the condition holds, else ``word`` with a reason."""
        found = np.asarray(found, dtype=bool)
        return cls(
            np.where(found, FOUND, word).astype(object),
            np.where(found, "", otherwise).astype(object),
        )


@dataclass(frozen=True, eq=False)
class Actions:
    """What a method proposes: for each person some candidates, the preferred one first.

    Setting a feature to today's value is an action too (it holds the feature while its causes
    change), which is why the mask is not the same as what differs.

    Attributes:
        mask: ``(n, k, F)`` bool, the features acted on; ``(n, F)`` for one candidate.
        values: Codes to set them to, of the same shape; elsewhere without meaning.
        status: One per person. ``"found"`` is a claim that the front door checks.
        bound: ``(n,)`` proven lower bounds of the cost, or None.
    """

    mask: np.ndarray
    values: np.ndarray
    status: Status
    bound: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.mask.ndim == 2:
            object.__setattr__(self, "mask", self.mask[:, None, :])
            object.__setattr__(self, "values", self.values[:, None, :])


class RecourseMethod(Parameterised):
    """Base of all methods: fitted once to a problem, answers for whole tables.

    A method defines ``_recommend(x, progress) -> Actions`` for the codes ``(n, F)`` of people that
    are not accepted, and ``_fit(problem)`` where there is something to learn. It needs no checks:
    the front door has made them, and verifies every proposal with the model itself. One that sets
    ``_learns_from_labels`` defines ``_fit(problem, labels)``.
    """

    _learns_from_labels = False
    _among = ""  # which actions a bound is about, where the method asks for more than a yes

    def fit(self, problem: RecourseProblem, labels: Any = None) -> Self:
        """Prepare for a problem.

        Args:
            problem: What is asked.
            labels: What really happened to the rows of the problem's data, for methods that learn
                from outcomes: classes of the model, or true where it was favourable and false
                elsewhere; a Series is matched by index.
        """
        if not isinstance(problem, RecourseProblem):
            raise ParameterError(
                "must be a RecourseProblem", column="problem", value=type(problem).__name__
            )
        if labels is not None and not self._learns_from_labels:
            raise ParameterError(f"{type(self).__name__} learns nothing from them", column="labels")
        with recording() as notes:
            self._fit(problem, *([labels] if self._learns_from_labels else []))
        self.problem_, self.notes_ = problem, tuple(notes)
        if self._learns_from_labels:
            self.labels_ = labels
        return self

    def recommend(self, df: pd.DataFrame, *, progress: bool = True) -> Recommendations:
        """What each person could do, in the order of the rows.

        Large tables are asked in parts of 50,000 rows, so that memory grows with the answer only.

        Args:
            df: People, matched by column name; other columns are carried along.
            progress: Show a bar when it takes more than two seconds.

        Raises:
            DataError: Columns or values that the problem can't read; a model that fails.
        """
        self._require_fitted()
        problem = self.problem_
        with recording() as notes:
            frame, _ = as_frame(df, "people", "x")
            frame = problem.space.today(frame)
            x = problem.space.codes(frame)
            answer = _Answer(problem, frame, x)
            for rows in _parts(len(x), "people", progress):
                ask = answer.open(rows)
                if len(ask):
                    answer.settle(ask, self._recommend(x[ask], progress))
            answer.doubt()
            answer.place(progress)
        # What the causal model and the method warned of when fitted is a condition of every plan.
        known = (*getattr(problem.scm, "warnings_", ()), *getattr(self, "notes_", ()))
        return answer.result(repr(self), self._among, tuple(dict.fromkeys((*known, *notes))))

    def _fit(self, problem: RecourseProblem, *labels: Any) -> None:
        """Learn what the method needs; most need nothing."""

    def _recommend(self, x: np.ndarray, progress: bool) -> Actions:
        raise TypeError(f"{type(self).__name__} must define _recommend()")

    def _state(self) -> dict[str, Any]:
        """What to fit again with, to the same bits; all of it where labels were learned from."""
        if self._learns_from_labels:
            return dict(vars(self))
        params = self.get_params(deep=False)
        return {"params": params, "problem": getattr(self, "problem_", None)}

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> Self:
        if cls._learns_from_labels:
            method = cls.__new__(cls)
            vars(method).update(state)
            return method
        # Folders of version 0.1 may hold the parameters beside the problem.
        params = state.get("params", state)
        method = cls(**{name: params[name] for name in cls._parameter_names()})
        problem = state.get("problem", state.get("problem_"))
        return method if problem is None else method.fit(problem)

    def save(self, path: str | Path, force: bool = False) -> Path:
        """Write the fitted method and its problem to a folder, without the model."""
        return saving.save(self, path, force)

    @classmethod
    def load(cls, path: str | Path, model: Any = None) -> Self:
        """Read what :meth:`save` wrote; ``model`` is verified."""
        return saving.load(path, model=model)


def _parts(n: int, what: str, progress: bool) -> Iterator[np.ndarray]:
    """Positions of a table in parts, with a bar where there are several."""
    starts = range(0, n, _ROWS)
    hidden = not progress or n <= _ROWS
    for start in tqdm(starts, desc=what, delay=2, disable=hidden, leave=False):
        yield np.arange(start, min(start + _ROWS, n))


class _Answer:
    """Statuses and recommended values of one table while they are being settled."""

    def __init__(self, problem: RecourseProblem, frame: pd.DataFrame, x: np.ndarray):
        n, width = x.shape
        self.problem, self.frame, self.x = problem, frame, x
        self.words = np.full(n, INCOMPLETE, dtype=object)
        self.reasons = np.full(n, "", dtype=object)
        self.mask = np.zeros((n, width), dtype=bool)
        self.state = x.copy()
        self.score, self.after = np.full(n, np.nan), np.full(n, np.nan)
        self.cost, self.bound = np.full(n, np.nan), np.full(n, np.nan)
        self.validity, self.plausibility = np.ones(n), np.full(n, np.nan)

    def open(self, rows: np.ndarray) -> np.ndarray:
        """Those of the rows who need a recommendation; the others get their status."""
        problem = self.problem
        gaps = np.isnan(self.x[rows])
        for i in np.flatnonzero(gaps.any(axis=1)):
            empty = [n for n, g in zip(problem.space.names, gaps[i], strict=True) if g]
            self.reasons[rows[i]] = empty_cells(empty)
        full = rows[~gaps.any(axis=1)]
        self.score[full] = problem.view.score(self.frame.iloc[full])
        done = full[problem.accepts(self.score[full])]
        self.words[done], self.reasons[done] = ACCEPTED, "reaches the target today"
        self.after[done] = self.score[done]
        self.cost[done] = self.bound[done] = 0.0
        return full[~problem.accepts(self.score[full])]

    def settle(self, ask: np.ndarray, actions: Actions) -> None:
        """Take each person's first candidate that passes every check with the true model."""
        problem, x = self.problem, self.x[ask]
        self.words[ask], self.reasons[ask] = actions.status.words, actions.status.reasons
        if actions.bound is not None:
            self.bound[ask] = actions.bound
        waiting = np.flatnonzero(actions.status.words == FOUND)
        for k in range(actions.mask.shape[1]):
            if not len(waiting):
                break
            start, mask = x[waiting], actions.mask[waiting, k]
            values = np.where(mask, actions.values[waiting, k], start)
            state = problem.advise(start, mask, values)
            shown = write(self.frame.iloc[ask[waiting]], problem.space, start, state)
            scores = problem.view.score(shown)
            good = problem.accepts(scores) & problem.permitted(start, mask, values, state)
            rows = ask[waiting[good]]
            self.mask[rows], self.state[rows] = mask[good], state[good]
            self.after[rows] = scores[good]
            self.cost[rows] = problem.cost(start, mask, values)[good]
            waiting = waiting[~good]
        self.words[ask[waiting]] = NOT_FOUND
        self.reasons[ask[waiting]] = "the model or the rules refuse what the method proposed"
        # A bound is proven up to the solver's tolerance; it never exceeds what was achieved.
        self.bound[ask] = np.where(
            self.words[ask] == FOUND, np.fmin(self.bound[ask], self.cost[ask]), self.bound[ask]
        )
        if actions.bound is None:
            self.bound[ask] = np.nan
        if (self.words[ask] != FOUND).all():
            _warn_if_never_accepted(problem)

    def doubt(self) -> None:
        """Say how surely plans work whose consequences are a matter of chance."""
        problem, rows = self.problem, np.flatnonzero(self.words == FOUND)
        if problem.world is None or not len(rows):
            return
        x, mask = self.x[rows], self.mask[rows]
        unsure = problem.world.unsure(mask)
        at = unsure.any(axis=1)
        if not at.any():
            return
        x, mask, rows = x[at], mask[at], rows[at]
        self.validity[rows], unsure = problem.validity(x, mask, self.state[rows])
        weak = self.validity[rows] < _SURE
        if weak.any():
            names = [problem.space.names[j] for j in np.flatnonzero(unsure[weak].any(axis=0))]
            warn(
                "chance-response",
                f"{count(int(weak.sum()), 'plan')} of {len(self.words):,} may fail: nobody knows "
                f"how {', '.join(map(repr, names))} would respond in one person; validity is the "
                f"share of possible responses under which the target is reached (lowest "
                f"{self.validity[rows].min():.0%})",
                names,
            )

    @property
    def answered(self) -> np.ndarray:
        return (self.words == FOUND) | (self.words == ACCEPTED)

    def place(self, progress: bool) -> None:
        """How common the recommended rows are."""
        if self.problem.data is None:
            return
        for rows in _parts(len(self.x), "plausibility", progress):
            rows = rows[self.answered[rows]]
            self.plausibility[rows] = self.problem.plausibility(self.state[rows])

    def result(self, method: str, among: str, notes: tuple) -> Recommendations:
        problem, words, answered = self.problem, self.words, self.answered
        state = np.where(answered[:, None], self.state, self.x)
        with np.errstate(invalid="ignore"):
            gap = np.maximum(self.cost - self.bound, 0.0)
        outcomes = pd.DataFrame(
            {
                "status": words,
                "reason": self.reasons,
                "cost": self.cost,
                "validity": np.where(answered, self.validity, 0.0),
                "plausibility": self.plausibility,
                "bound": self.bound,
                "gap": gap,
                "score": self.score,
                "score_after": self.after,
            },
            index=self.frame.index,
        )
        return Recommendations(
            people=self.frame.copy(),
            recommended=write(self.frame, problem.space, self.x, state),
            outcomes=outcomes,
            acted=pd.DataFrame(self.mask, columns=problem.space.names),
            changed=pd.DataFrame(
                (state != self.x) & answered[:, None], columns=problem.space.names
            ),
            units={f.name: f.unit for f in problem.space.features if f.unit},
            scales=dict(zip(problem.space.names, problem.cost.scale.tolist(), strict=True)),
            target=problem.describe_target(),
            cost_unit=problem.cost.unit,
            score_name=problem.score_name,
            method=method,
            quantity=problem.quantity,
            among=among,
            warnings=notes,
        )


def _warn_if_never_accepted(problem: RecourseProblem) -> None:
    """Tell a model that says no to everybody from rules that keep people from a yes."""
    if problem.data is None or not len(problem.data) or problem.accepts(problem.scores).any():
        return
    warn(
        "never-accepted",
        f"none of the {count(len(problem.data), 'row')} of the data reaches "
        f"{problem.describe_target()}: the target may be out of the model's reach",
    )
