"""The table of odd inputs for anybody's effect estimator: no wrong number quietly."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import process_time
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..core.errors import CausalWarning, ParameterError, WorkbenchError
from ..core.results import Result, number
from ..core.saving import saveable
from ..core.seeding import Seed, foreign_generators, integer, sequence
from .dose_questions import dose_cases, takes_doses
from .odd_inputs import Expected
from .odd_questions import EffectQuestion, OddQuestion, effect_cases

RIGHT = "right answer"
NAMED = "number with a named warning"
PLACED = "error that names the problem and the column or value"
UNPLACED = "error that names the problem, not the place"
CRYPTIC = "cryptic error"
DOUBTFUL = "doubtful number with a generic warning"
SILENT = "silent wrong or unsupported number"
LATE = "no answer in time"
OUTCOMES = (RIGHT, NAMED, PLACED, UNPLACED, CRYPTIC, DOUBTFUL, SILENT, LATE)

_PROBLEM = r"unknown|unsupported|not supported|must be|expected|invalid"


@saveable
@dataclass(frozen=True)
class CaseResult:
    """What came out of one case.

    Attributes:
        case: Its name.
        expected: ``"answer"``, ``"refusal"`` or ``"warning"``.
        outcome: One of ``OUTCOMES``.
        met: Whether what came out is what has to come out.
        message: The error, the warnings, or the number.
        seconds: CPU time, of a refusal that of the call that refused (for a case that did not end:
            the time limit).
    """

    case: str
    expected: str
    outcome: str
    met: bool
    message: str
    seconds: float


@dataclass(frozen=True)
class Heard:
    """What a call gave: a number that is right or not, or an error; and the warnings with it."""

    right: bool = False
    text: str = ""
    error: BaseException | None = None
    codes: frozenset[str] = frozenset()
    generic: bool = False
    changed: str = ""
    seconds: float = 0.0


def judge(
    heard: Heard,
    expected: Expected,
    problem: str = "",
    columns: Sequence[str] = (),
    refusable: tuple[str, ...] | None = None,
) -> tuple[str, bool]:
    """The class of an outcome, and whether it is what was expected.

    A table of the caller's that was changed makes every number unsupported.
    """
    if heard.error is not None:
        text = str(heard.error)
        places = expected.places if expected.outcome == "refusal" else refusable
        if places is None:  # it should have answered; does it at least name a column?
            placed = any(repr(c) in text for c in columns)
        else:
            placed = all(p in text for p in places)
        named = isinstance(heard.error, WorkbenchError) or (
            bool(re.search(f"{problem or _PROBLEM}|{_PROBLEM}", text, re.IGNORECASE))
        )
        wanted = expected.outcome == "refusal" or refusable is not None
        outcome = (PLACED if placed else UNPLACED) if named else CRYPTIC
        return outcome, wanted and outcome == PLACED and isinstance(heard.error, WorkbenchError)
    if heard.changed:
        return SILENT, False
    told = bool(heard.codes & set(expected.codes))
    may_answer = expected.outcome == "answer" or expected.outcome == "refusal" and expected.right
    if may_answer and heard.right:
        return RIGHT, True
    if expected.outcome == "warning" and (heard.right or not expected.right):
        if told:
            return NAMED, True
        if expected.right:
            return RIGHT, False  # the number is right, but its condition is not told
    if heard.codes:
        return NAMED, False
    return (DOUBTFUL if heard.generic else SILENT), False


def cases_for(
    estimator: Any, random_state: Seed = 0, treatment: str | None = None
) -> tuple[OddQuestion, ...]:
    """The table that an estimator is asked: of arms, or of doses if that is what it takes."""
    kind = treatment or ("dose" if takes_doses(estimator) else "arms")
    cases = dose_cases(random_state) if kind == "dose" else effect_cases(random_state)
    return tuple(c for c in cases if not c.needs or hasattr(estimator, c.needs))


def run_case(estimator: Any, case: OddQuestion, random_state: Seed = 0) -> CaseResult:
    """Ask a copy of an estimator one question, in this process and without a time limit."""
    question = case.ask().suited(
        getattr(estimator, "adjusts_for_w", True), getattr(estimator, "needs_instrument", False)
    )
    frames = question.frames()
    before = [f.copy(deep=True) for f in frames]
    heard = _listen(copy.deepcopy(estimator), question, random_state)
    for now, then in zip(frames, before, strict=True):
        if not _same(now, then):
            heard = replace(heard, changed=str(then.columns[0]))
    outcome, met = judge(heard, case.expected, case.problem, case.columns, case.refusable)
    return CaseResult(
        case.name, case.expected.outcome, outcome, met, _message(heard), heard.seconds
    )


def _listen(estimator: Any, question: EffectQuestion, random_state: Seed) -> Heard:
    calls: list[float] = []  # when each began
    with (
        warnings.catch_warnings(record=True) as caught,
        foreign_generators(random_state),
        np.errstate(all="ignore"),
    ):
        warnings.simplefilter("always")
        try:
            value = _value(estimator, question, calls)
        except Exception as error:  # anybody's estimator may raise anything
            return Heard(text=str(error), error=error, seconds=process_time() - calls[-1])
    seconds = process_time() - calls[0]
    named = {w.message for w in caught if isinstance(w.message, CausalWarning)}
    named |= set(getattr(estimator, "warnings_", ()))
    generic = any(
        not issubclass(w.category, CausalWarning | DeprecationWarning | FutureWarning)
        for w in caught
    )
    right = bool(abs(value - question.truth) <= question.tolerance)  # not so for NaN
    shown = sorted(f"[{w.code}]" for w in named) + [
        str(w.message).split("\n")[0] for w in caught if not isinstance(w.message, CausalWarning)
    ]
    text = f"{number(value)} for {number(question.truth)} {' '.join(dict.fromkeys(shown))}"
    codes = frozenset(w.code for w in named)
    return Heard(right, text.strip(), None, codes, generic, seconds=seconds)


def _value(estimator: Any, question: EffectQuestion, calls: list[float]) -> float:
    found = []
    for asked in (question.before, question, question.twin):
        if asked is not None:
            instrument = {} if asked.Z is None else {"Z": asked.Z}
            calls.append(process_time())
            estimator.fit(asked.Y, asked.T, X=asked.X, W=asked.W, **instrument, **asked.more)
        if asked is not None and asked is not question.before:
            calls.append(process_time())
            found.append(asked.read(estimator, asked))
    return found[0] - found[1] if question.twin is not None else found[0]


def _same(now: pd.DataFrame, then: pd.DataFrame) -> bool:
    try:
        pd.testing.assert_frame_equal(now, then, check_exact=True)
    except AssertionError:
        return False
    return True


def _message(heard: Heard) -> str:
    if heard.error is not None:
        return f"{type(heard.error).__name__}: {heard.text}".strip()
    return f"changed the caller's {heard.changed!r}" if heard.changed else heard.text


@saveable
@dataclass(frozen=True, repr=False)
class EstimatorReport(Result):
    """What :func:`check_causal_estimator` found.

    Attributes:
        estimator: How it shows itself.
        cases: One :class:`CaseResult` per odd input.
    """

    estimator: str
    cases: tuple[CaseResult, ...]
    warnings: tuple[CausalWarning, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every case came out as it has to."""
        return all(c.met for c in self.cases)

    def counts(self) -> pd.Series:
        """Number of cases per class of outcome, all classes in order."""
        found = pd.Series([c.outcome for c in self.cases], dtype=object).value_counts()
        return found.reindex(list(OUTCOMES), fill_value=0).rename("cases").rename_axis("outcome")

    def summary(self) -> str:
        met = sum(c.met for c in self.cases)
        counts = self.counts()
        listed = ", ".join(f"{k} {v}" for k, v in counts.items() if v)
        return f"{self.estimator}: {met} of {len(self.cases)} cases as they should be ({listed})."

    def verdict(self) -> str:
        wrong = [c.case for c in self.cases if c.outcome == SILENT]
        if wrong:
            more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            return f"Gives wrong or unsupported numbers silently: {', '.join(wrong[:3])}{more}."
        return "" if self.ok else "No wrong number was silent."

    def how(self) -> dict[str, Any]:
        return {k: int(v) for k, v in self.counts().items()}

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """One row per case: case, expected, outcome, met, message, seconds."""
        fields = ("case", "expected", "outcome", "met", "message", "seconds")
        return pd.DataFrame(
            [[getattr(c, f) for f in fields] for c in self.cases], columns=list(fields)
        )


def check_causal_estimator(
    estimator: Any,
    *,
    treatment: Literal["arms", "dose"] | None = None,
    random_state: Seed = 0,
    time_limit: float = 60.0,
    progress: bool = False,
) -> EstimatorReport:
    """Run an effect estimator through the table of odd inputs.

    Each case is a table or a question that is odd in one way, with a known answer: what comes out
    is the right number, a refusal, or a number that should not have been given quietly. Every case
    has a fresh copy of the estimator in a process of its own, which is ended at the time limit.

    The treatment of the clean table is 0 or 1, or for estimators of doses a number on a scale;
    those are also asked about units, gaps and few values of the dose, weights and clusters, what a
    refit or a file gives back, and, if they have curves, about grids, slopes, best doses, support.

    Args:
        estimator: Anything with econml's ``fit(Y, T, X=, W=)`` and ``effect(X, T0=, T1=)`` that
            can be copied to another process; it is not fitted.
        treatment: What it is asked about, ``"arms"`` or ``"dose"``; by default doses if its tag
            ``treatment`` is ``"continuous"``, or is ``"any"`` with ``discrete_treatment=False``.
        random_state: Seed of the tables and of the global generators that an estimator may read.
        time_limit: Seconds per case.
        progress: Show a bar.

    Raises:
        ParameterError: It has no ``fit`` or ``effect``, or can't be copied to a process; another
            treatment.

    When to use something else: how good its answers are on clean data is a question for
    simulations with known effects, not for this table.

    Example:
        >>> class Difference:
        ...     def fit(self, Y, T, X=None, W=None):
        ...         Y, T = np.asarray(Y), np.asarray(T)
        ...         self.value = Y[T == 1].mean() - Y[T == 0].mean()
        ...     def effect(self, X=None, T0=0, T1=1):
        ...         return np.array([self.value])
        >>> report = check_causal_estimator(Difference())  # doctest: +SKIP
        >>> report.counts()["silent wrong or unsupported number"]  # doctest: +SKIP
        111
    """
    sequence(random_state)
    for name in ("fit", "effect"):
        if not callable(getattr(estimator, name, None)):
            raise ParameterError(
                f"has no method {name}()", column="estimator", value=type(estimator).__name__
            )
    if isinstance(time_limit, bool) or not isinstance(time_limit, int | float) or time_limit <= 0:
        raise ParameterError("must be a positive number", column="time_limit", value=time_limit)
    if treatment not in (None, "arms", "dose"):
        raise ParameterError("must be 'arms' or 'dose'", column="treatment", value=treatment)
    from .limits import Worker

    cases = cases_for(estimator, integer(random_state), treatment)
    found = []
    with Worker(estimator, integer(random_state), time_limit, treatment) as worker:
        for case in _bar(cases, progress):
            result = worker.ask(case.name)
            if result is None:
                message = f"stopped after {number(time_limit)} seconds"
                kind = case.expected.outcome
                result = CaseResult(case.name, kind, LATE, False, message, float(time_limit))
            found.append(result)
    return EstimatorReport(_shown(estimator), tuple(found))


def _bar(cases: Sequence[OddQuestion], progress: bool) -> Any:
    from tqdm import tqdm

    return tqdm(cases, desc="odd inputs", disable=not progress, delay=2)


def _shown(estimator: Any) -> str:
    text = repr(estimator)
    own = not text.startswith("<") and len(text) < 80
    return text if own else type(estimator).__name__
