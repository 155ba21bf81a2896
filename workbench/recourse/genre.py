"""GenRe: a generator that is trained once and then samples whom a person could become."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..core.errors import DataError, ParameterError, QuestionError, recording, warn
from ..core.parameters import require_one_of
from ..core.saving import saveable
from ..core.seeding import Seed, generator, integer, spawn
from ..tables.gate import as_frame, count
from .genre_pairs import PairLaw
from .genre_sampler import Sampler
from .genre_tokens import Vocabulary
from .genre_training import Pairs, empirical_pairs, train_generator, trimmed_pairs
from .method import Actions, RecourseMethod, Status
from .outcomes import limits, warn_of_own_labels
from .problem import RecourseProblem
from .trimmed_target import TrimmedTarget

PAIRS = ("empirical", "trimmed")
UNALIKE = ("exclude", "combine")
SELECT = ("h", "cost", "likelihood")
_MOST_PEOPLE = {"empirical": 20_000, "trimmed": 1_500}  # people that a generator learns from
_CHUNK = 2_000  # people sampled for at once
_FINALISTS = 4  # samples per person that are trimmed
_FLATTER = (1.0, 2.0, 4.0)  # times the temperature, where no sample was good enough


@saveable
class GenRe(RecourseMethod):
    """Sample whom a person could become from a generator trained on pairs of people.

    The ideal is R(z | x) ∝ P(z | wished outcome) · 1[z is accepted] · exp(-lam · cost(x, z)):
    plausible, valid and cheap at once. Nobody observes such pairs, so they are made: each rejected
    row x of the data meets accepted rows z with probability Q(z | x) (:class:`PairLaw`), and a
    small transformer learns to write z, feature by feature, when it reads x. Asking is then only
    sampling: no search per person, several different answers, and no row of the data is handed
    out as such. With ``pairs="trimmed"`` the generator learns from another law: the outcomes of
    :class:`TrimmedTarget`, each weighted by exp(-12 · extra cost); it is then cheaper and misses
    more often.

    Beyond the publication: a token of its own keeps a value exactly; levels are levels; numbers
    are read back as values somebody has; what can't change, ranges, directions, number of changes,
    budget and linear couplings are masks while decoding, so that no sample breaks them; samples
    are chosen and trimmed back towards the person under an :class:`Acceptance` that is learned
    from outcomes rather than under the model alone.

    Use :class:`ExactRecourse` where the cheapest change is asked for and the model's word counts;
    :class:`NearestTarget` where a single real row is a good answer.

    Args:
        pairs: ``"empirical"`` (published) or ``"trimmed"``: what the generator learns from.
        lam: Weight of the cost against how common an outcome is, per unit of cost. 0 ignores the
            person, a large one goes to the nearest.
        score_bar: Distance of the score from the threshold that rows to become must have
            (published: 0.7 where 0.5 is enough); of the empirical pairs only.
        strictness: Of the :class:`Acceptance` that samples are held to.
        top_k: Nearest accepted rows that each row is paired with; of the empirical pairs only.
        samples: Outcomes drawn per person.
        unalike: What of accepted rows that differ from a person in what can't change: ``"exclude"``
            them, exactly; or ``"combine"`` their other values with the person's own, as far as
            the model accepts that (for numbers that can't change, which nobody shares). None
            means ``"exclude"`` for empirical pairs. Trimmed ones have a rule of their own: levels
            that can't change must be alike, numbers that can't are the person's own.
        temperature: Below 1 sharpens each draw towards the likeliest, above flattens it.
        select: Which sample comes first: the highest score ("h", published), the cheapest
            ("cost") or the most likely under the generator ("likelihood").
        trim: Go back towards the person as far as the acceptance holds; who gets no sample that
            passes it, or nobody to become, is answered as by :class:`TrimmedTarget`. False gives
            samples as they come.
        bins: Most bins of a number.
        width, layers: Of the transformer; its encoder and its decoder have so many layers each.
        epochs: Most passes over the data; each person meets another row in each.
        kernel: Width of the soft targets of numbers, in bins; 0 for none.
        dropout, learning_rate: Of the training.
        random_state: Seed.

    Attributes:
        targets_: Codes of the rows that are worth becoming.
        acceptance_: What samples are held to.
        history_: Losses per epoch (nats per person), or None where nobody could be paired.

    Raises:
        ParameterError: A parameter or labels that make no sense; a problem without data;
            ``unalike`` given with trimmed pairs.

    References:
        Garg, Nagalapatti and Sarawagi, "From search to sampling: generative models for robust
        algorithmic recourse", ICLR 2025.

    Example:
        >>> from workbench.recourse import RecourseProblem
        >>> rng = np.random.default_rng(0)
        >>> df = pd.DataFrame(rng.uniform(0, 1, (300, 2)), columns=["a", "b"])
        >>> problem = RecourseProblem(lambda d: d["a"], data=df, target={"above": 0.6})
        >>> method = GenRe(score_bar=0.0, epochs=5).fit(problem, df["a"] > 0.6)
        >>> plan = method.recommend(df.head(20))
        >>> bool((plan.recommended["a"][plan.status == "found"] > 0.6).all())
        True
    """

    _learns_from_labels = True

    def __init__(
        self,
        pairs: Literal["empirical", "trimmed"] = "empirical",
        lam: float = 5.0,
        score_bar: float = 0.2,
        strictness: float = 1 / 3,
        top_k: int = 1000,
        unalike: Literal["exclude", "combine"] | None = None,
        samples: int = 10,
        temperature: float = 0.1,
        select: Literal["h", "cost", "likelihood"] = "cost",
        trim: bool = True,
        bins: int = 50,
        width: int = 32,
        layers: int = 2,
        epochs: int = 20,
        kernel: float = 0.5,
        dropout: float = 0.1,
        learning_rate: float = 2e-3,
        random_state: Seed = 0,
    ):
        self.pairs = pairs
        self.lam = lam
        self.score_bar = score_bar
        self.strictness = strictness
        self.top_k = top_k
        self.unalike = unalike
        self.samples = samples
        self.temperature = temperature
        self.select = select
        self.trim = trim
        self.bins = bins
        self.width = width
        self.layers = layers
        self.epochs = epochs
        self.kernel = kernel
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.random_state = random_state

    # -- training --------------------------------------------------------------------------

    def _fit(self, problem: RecourseProblem, labels: Any) -> None:
        self._check()
        if problem.world is not None:
            raise QuestionError(
                "GenRe sets features and knows nothing of what follows from them",
                advice="Use GrowingSpheres with a causal model.",
            )
        judge, chosen, drawn, trained = spawn(self.random_state, 4)
        self.teacher_ = TrimmedTarget(self.strictness, random_state=integer(judge))
        self.teacher_.fit(problem, labels)
        self.acceptance_ = self.teacher_.acceptance_
        self.targets_ = self._targets(problem)
        self.net_ = self.vocabulary_ = self.history_ = None
        pairs = self._pairs(problem, self._people(problem, generator(chosen)), drawn)
        if not len(pairs.people):
            return
        self.vocabulary_ = Vocabulary(problem, pairs.ends, self.bins)
        self.net_, self.history_ = train_generator(
            problem,
            pairs,
            self.vocabulary_,
            width=self.width,
            layers=self.layers,
            lam=self.lam,
            kernel=self.kernel,
            dropout=self.dropout,
            learning_rate=self.learning_rate,
            random_state=trained,
        )

    def _targets(self, problem: RecourseProblem) -> np.ndarray:
        """Rows worth becoming: with the wished outcome, and accepted with room to spare."""
        if self.pairs == "trimmed":
            return self.acceptance_.pool_
        good = self.acceptance_.outcomes_ & problem.accepts(problem.scores)
        return problem.data[good & (problem.target.margin(problem.scores) >= self.score_bar)]

    def _people(self, problem: RecourseProblem, rng: np.random.Generator) -> np.ndarray:
        """Rows of the data that would ask; all of them where nobody is rejected."""
        rejected = ~problem.accepts(problem.scores)
        people = problem.data[rejected if rejected.any() else slice(None)]
        most = _MOST_PEOPLE[self.pairs]
        return people[np.sort(rng.permutation(len(people))[:most])]

    def _pairs(self, problem: RecourseProblem, people: np.ndarray, seed: Seed) -> Pairs:
        if self.pairs == "trimmed":
            return trimmed_pairs(self.teacher_, people, self.epochs, seed)
        return empirical_pairs(
            problem,
            people,
            self.targets_,
            self.lam,
            self.top_k,
            self.epochs,
            seed,
            self.score_bar if self.unalike == "combine" else None,
        )

    def _check(self) -> None:
        self._require_at_least(
            lam=0, score_bar=0, kernel=0, top_k=1, samples=1, bins=2, layers=1, epochs=1
        )
        self._require_positive("temperature", "learning_rate")
        for name, known in (("pairs", PAIRS), ("select", SELECT)):
            require_one_of(name, getattr(self, name), known)
        if self.unalike is None:
            return
        require_one_of("unalike", self.unalike, UNALIKE)
        if self.pairs == "trimmed":
            raise ParameterError(
                "is a choice of the empirical pairs",
                column="unalike",
                value=self.unalike,
                advice="Leave it out: trimmed pairs need the same levels and keep own numbers.",
            )

    # -- asking ----------------------------------------------------------------------------

    def _recommend(self, x: np.ndarray, progress: bool) -> Actions:
        if not self.acceptance_.labelled_:
            warn_of_own_labels()
        reasons, values = self._no_target(x), x.copy()
        sure = np.ones(len(x), dtype=bool)
        ask = np.flatnonzero(reasons == "")
        starts = range(0, len(ask), _CHUNK)
        for start in tqdm(starts, desc="recourse", delay=2, disable=not progress, leave=False):
            part = ask[start : start + _CHUNK]
            values[part], sure[part] = self._one_each(x[part])
        rest = np.flatnonzero(reasons != "")
        if self.trim and len(rest):
            ends, found = self.teacher_.nearest_trimmed(x[rest])
            values[rest[found]], reasons[rest[found]] = ends[found], ""
        found = (values != x).any(axis=1)
        doubtful = int((found & ~sure).sum())
        if doubtful:
            warn(
                "only-the-model",
                f"{count(doubtful, 'plan')} of {len(x):,} reach the target, but no sample passed "
                "the rule that was learned from outcomes",
            )
        reasons[(reasons == "") & ~found] = "no sample of the generator reaches the target"
        return Actions(values != x, values, Status(Status.where(found, "").words, reasons))

    def _no_target(self, x: np.ndarray) -> np.ndarray:
        """Why nobody can be named whom each person could become; empty where somebody can."""
        reasons = np.full(len(x), "", dtype=object)
        if self.net_ is None:
            reasons[:] = "no row of the data is worth becoming: none is accepted with enough room"
            if len(self.targets_):
                reasons[:] = "no declined row of the data can become one that is worth it" + limits(
                    self.problem_
                )
            return reasons
        fixed = ", ".join(np.array(self.problem_.space.names)[~self.problem_.movable])
        why = f" (they differ in {fixed}, or in what else is not permitted)" if fixed else ""
        reasons[~self._has_target(x)] = f"no row worth becoming can be reached{why}"
        return reasons

    def _has_target(self, x: np.ndarray) -> np.ndarray:
        if self.pairs == "trimmed":
            parts = [x[i : i + _CHUNK // 8] for i in range(0, len(x), _CHUNK // 8)]
            some = [np.isin(np.arange(len(p)), self.teacher_.nearest(p)[0]) for p in parts]
            return np.concatenate([np.zeros(0, dtype=bool), *some])
        combine = self.unalike == "combine"
        return PairLaw(self.problem_, self.targets_, self.lam, self.top_k, combine).has_target(x)

    def _one_each(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """One outcome ``(n, F)`` per person, and whether the acceptance confirms it.

        The person's own values where no sample satisfies even the model.
        """
        best, sure = x.copy(), np.zeros(len(x), dtype=bool)
        margin = np.full(len(x), -np.inf)
        for turn, flatter in enumerate(_FLATTER):
            rows = np.flatnonzero(~sure)
            if not len(rows):
                break
            codes, log = self._draw(x[rows], self.samples, self.temperature * flatter, turn)
            good, ahead = self._judged(x[rows], codes)
            better = ahead.max(axis=1) > margin[rows]
            pick = ahead.argmax(axis=1)
            best[rows[better]] = codes[better, pick[better]]
            margin[rows] = np.maximum(margin[rows], ahead.max(axis=1))
            any_ = np.flatnonzero(good.any(axis=1))
            key = np.where(good, self._key(x[rows], codes, log, ahead), np.inf)[any_]
            best[rows[any_]] = self._finished(x[rows[any_]], codes[any_], key)
            sure[rows[any_]] = True
        rows = np.flatnonzero(~sure)
        if self.trim and len(rows):
            # Nothing that passes was drawn for them: real rows that do are trimmed instead.
            ends, found = self.teacher_.nearest_trimmed(x[rows])
            best[rows[found]], sure[rows] = ends[found], found
        return best, sure

    def _draw(
        self, x: np.ndarray, samples: int, temperature: float, turn: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Samples ``(n, S, F)`` and their log-likelihoods ``(n, S)``."""
        rng = generator(spawn(self.random_state, 4 + len(_FLATTER))[4 + turn])
        draws = self._sampler().draw(x, samples, temperature, rng)
        return draws.codes, draws.log_likelihood

    def _sampler(self) -> Sampler:
        return Sampler(self.net_, self.vocabulary_, self.problem_)

    def _judged(self, x: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whether the acceptance confirms samples, ``(n, S)``, and how far the score is beyond
        the threshold, -inf where the model refuses or a rule does."""
        problem, (n, samples, width) = self.problem_, codes.shape
        flat, start = codes.reshape(-1, width), np.repeat(x, samples, axis=0)
        scores = problem.score(flat)
        legal = problem.accepts(scores) & problem.permitted(start, flat != start, flat, flat)
        ahead = np.where(legal, problem.target.margin(scores), -np.inf)
        good = legal.copy()
        good[legal] = self.acceptance_.accepts(flat[legal])
        return good.reshape(n, samples), ahead.reshape(n, samples)

    def _key(
        self, x: np.ndarray, codes: np.ndarray, log: np.ndarray, ahead: np.ndarray
    ) -> np.ndarray:
        """What the rule of selection minimises, ``(n, S)``."""
        if self.select == "cost":
            return self.problem_.cost(x[:, None, :], codes != x[:, None, :], codes)
        return -ahead if self.select == "h" else -log

    def _finished(self, x: np.ndarray, codes: np.ndarray, key: np.ndarray) -> np.ndarray:
        """The best sample of each person, or the best few trimmed and the cheapest of them."""
        first = np.argsort(key, axis=1, kind="stable")
        if not self.trim:
            return codes[np.arange(len(x)), first[:, 0]]
        first = first[:, :_FINALISTS]
        who, rank = np.nonzero(np.isfinite(np.take_along_axis(key, first, axis=1)))
        who, ends = self.teacher_.trimmed(x, who, codes[who, first[who, rank]], 1)
        out = np.empty_like(x)
        out[who] = ends
        return out

    # -- several answers -------------------------------------------------------------------

    def sample(self, df: pd.DataFrame, samples: int | None = None) -> pd.DataFrame:
        """Draws from the generator as they come, one row per person and sample.

        Args:
            df: People. Those with empty cells, and those who can become no target, are left out.
            samples: Draws per person; as in the constructor by default.

        Returns:
            ``person`` (index label), ``sample``, the features, ``log_likelihood`` (nats, at
            temperature 1), ``cost``, ``score``, ``accepted`` (by the model, within the rules) and
            ``confirmed`` (by the acceptance).
        """
        with recording():
            index, x = self._askable(df)
            codes, log = self._draw(x, self._several(samples, "samples"), self.temperature)
            who = np.repeat(np.arange(len(x)), codes.shape[1])
            table = self._listed(x, who, codes.reshape(-1, x.shape[1]), log.ravel(), "sample")
        return table.assign(person=index[who])

    def options(self, df: pd.DataFrame, n_return: int = 3) -> pd.DataFrame:
        """Several different plans per person, the cheapest first.

        Starts from the cheapest confirmed sample and adds, one at a time, the one that is
        farthest (by the problem's cost) from those already taken; of trimmed samples where
        ``trim`` is set. People may have fewer, or none; those accepted today have none.

        Args:
            df: As for :meth:`sample`.
            n_return: Most plans per person.

        Returns:
            As :meth:`sample` does, with ``option`` in place of ``sample``.
        """
        n_return = self._several(n_return, "n_return")
        with recording():
            index, x = self._askable(df)
            open_ = ~self.problem_.accepts(self.problem_.score(x)) if len(x) else np.zeros(0, bool)
            index, x = index[open_], x[open_]
            many = max(self.samples, 2 * n_return)
            turns = [(self.temperature * f, k) for k, f in enumerate(_FLATTER)]
            codes = np.concatenate([self._draw(x, many, t, k)[0] for t, k in turns], axis=1)
            who, place = np.nonzero(self._judged(x, codes)[0])
            ends = codes[who, place]
            if self.trim:
                who, ends = self.teacher_.trimmed(x, who, ends, codes.shape[1])
            who, ends = self._apart(who, ends, x, n_return)
            log = self._sampler().log_likelihood(x[who], ends) if len(who) else np.empty(0)
            table = self._listed(x, who, ends, log, "option")
        return table.assign(person=index[who])

    def log_likelihood(self, df: pd.DataFrame, outcomes: pd.DataFrame) -> np.ndarray:
        """log R(outcome | person) of the generator, exactly, in nats.

        It sums to 1 over everything that the generator can write for the person; a number stands
        for its bin.

        Args:
            df: People without empty cells, ``n`` rows.
            outcomes: What each becomes, in the same order.

        Returns:
            ``(n,)``; -inf for what no sample can be.
        """
        self._require_trained()
        x, z = (
            self.problem_.space.codes(as_frame(t, w, "x")[0])
            for t, w in ((df, "people"), (outcomes, "outcomes"))
        )
        if x.shape != z.shape:
            raise DataError(f"has {len(z)} rows for {len(x)} people", column="outcomes")
        for what, codes in (("people", x), ("outcomes", z)):
            gaps = np.isnan(codes).any(axis=0)
            if gaps.any():
                raise DataError(
                    f"is empty in {what}", column=self.problem_.space.names[int(gaps.argmax())]
                )
        return self._sampler().log_likelihood(x, z)

    def _state(self) -> dict[str, Any]:
        """Without what the teacher holds too."""
        state = super()._state()
        return {k: v for k, v in state.items() if k not in ("acceptance_", "problem_")}

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> GenRe:
        method = super()._from_state(state)
        if "teacher_" in state:
            method.acceptance_ = method.teacher_.acceptance_
            method.problem_ = method.acceptance_.problem_
        return method

    def _askable(self, df: pd.DataFrame) -> tuple[pd.Index, np.ndarray]:
        """Index and codes of the people who can be sampled for."""
        self._require_trained()
        frame, _ = as_frame(df, "people", "x")
        x = self.problem_.space.codes(frame)
        full = np.flatnonzero(~np.isnan(x).any(axis=1))
        full = full[self._no_target(x[full]) == ""]
        return frame.index[full], x[full]

    def _require_trained(self) -> None:
        self._require_fitted()
        if self.net_ is None:
            raise QuestionError(
                "there was nothing to learn: no row of the data is worth becoming",
                advice="Lower score_bar, or look at recommend(...).outcomes.",
            )

    def _several(self, value: int | None, name: str) -> int:
        value = self.samples if value is None else value
        if not value >= 1:
            raise ParameterError("must be at least 1", column=name, value=value)
        return int(value)

    def _apart(
        self, who: np.ndarray, ends: np.ndarray, x: np.ndarray, most: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The cheapest end of each person, then greedily those farthest from the taken ones."""
        cost, rows = self.problem_.cost, []
        for i in np.unique(who):
            mine = np.flatnonzero(who == i)
            mine = mine[np.unique(ends[mine], axis=0, return_index=True)[1]]
            every = np.ones((1, ends.shape[1]), dtype=bool)
            taken = [int(mine[cost(x[i], every, ends[mine]).argmin()])]
            gap = cost(ends[taken[0]], every, ends[mine])
            while len(taken) < most and gap.max() > 0:
                taken.append(int(mine[gap.argmax()]))
                gap = np.minimum(gap, cost(ends[taken[-1]], every, ends[mine]))
            rows += taken
        rows = np.array(rows, dtype=int)
        return who[rows], ends[rows]

    def _listed(
        self, x: np.ndarray, who: np.ndarray, ends: np.ndarray, log: np.ndarray, number: str
    ) -> pd.DataFrame:
        """Ends of people as a table; those of one person lie together."""
        problem, start = self.problem_, x[who]
        confirmed, ahead = self._judged(start, ends[:, None, :])
        ranks = np.arange(len(who)) - np.searchsorted(who, who)
        front = {"person": who, number: ranks}
        back = {
            "log_likelihood": log,
            "cost": problem.cost(start, ends != start, ends),
            "score": problem.score(ends) if len(ends) else np.empty(0),
            "accepted": np.isfinite(ahead[:, 0]),
            "confirmed": confirmed[:, 0],
        }
        return pd.concat(
            [pd.DataFrame(front), problem.space.frame(ends), pd.DataFrame(back)], axis=1
        )
