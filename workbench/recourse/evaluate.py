"""How good recommendations are, judged by things that the method has not seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import DataError, ParameterError, did_you_mean
from ..core.seeding import Seed, generator, integer
from .density import placed
from .method import ACCEPTED, FOUND
from .model_view import ModelView
from .problem import RecourseProblem
from .recommendations import Recommendations, require_recommendations

_MIXTURE, _RARE = 15, 0.05
_DRAWS = 10
_FEWEST = 30


def evaluate(
    recommendations: Recommendations | Mapping[str, Recommendations],
    problem: RecourseProblem,
    *,
    labeller: Callable[[pd.DataFrame], np.ndarray] | None = None,
    smooth_labeller: Callable[[pd.DataFrame], np.ndarray] | None = None,
    favourable: pd.DataFrame | None = None,
    retrained: Sequence[Any] = (),
    noise: float = 0.1,
    seconds: Mapping[str, float] | None = None,
    random_state: Seed = 0,
) -> pd.DataFrame:
    """Judge recommendations from outside: one row per method, one column per measure.

    Everybody who was not accepted already counts. A person without a recommendation is a failure
    in every share; ``cost`` and ``changed`` are means over those who have one, so read them beside
    ``found``.

    Columns (those whose judge is not given are left out):

    - ``found``: share with a recommendation. ``cost``: mean cost in the problem's unit.
      ``changed``: mean number of changed features.
    - ``valid_model``, ``valid``, ``valid_smooth``: share that the problem's model, the labeller,
      the smooth labeller accepts (probability above one half).
    - ``inlier``: share that the local outlier factor with five neighbours among ``favourable``
      rows calls an inlier, as in published tables; repeated rows make it erratic.
      ``inlier_20``: twenty neighbours. ``inlier_distinct``: five distinct rows.
    - ``dense``: share whose density (a Gaussian mixture of 15 components fitted to ``favourable``)
      is above the 5 % quantile of the favourable rows: real favourable people have .95.
    - ``score``: ``valid + inlier - cost / features``, the published summary; at most 2.
    - ``retrained``, ``retrained_least``: share accepted by retrained models, mean and smallest.
    - ``noise``: share that the model rejects after Gaussian noise on the numbers, in the units of
      the cost's scale; lower is better.
    - ``violations``: share of people whose recommendation breaks a rule of the problem.
    - ``exact_rows``: share of people whose recommendation is a row of the problem's data, in every
      feature: somebody's record is handed out. ``commonest``: largest share of people who are all
      sent to one point.
    - ``seconds``: as given, per person.

    Args:
        recommendations: Of one method, or several by name, for the same people.
        problem: What was asked.
        labeller: Probability of a favourable outcome for rows of a table; independent of the
            problem's model, and never shown to a method.
        smooth_labeller: A second one that can't remember single rows.
        favourable: Rows of people with favourable outcomes.
        retrained: Models fitted again, each as :class:`~workbench.recourse.ModelView` reads them.
        noise: Standard deviation of the noise.
        seconds: By name, for all people together.
        random_state: Seed of noise and mixture.

    Returns:
        A table with the methods' names as index.

    Raises:
        DataError: Too few favourable rows; a labeller that gives no probability per row.
        ParameterError: What is no recommendation; seconds of an unknown method.

    Example:
        >>> from workbench.recourse import NearestTarget
        >>> df = pd.DataFrame({"hours": [1.0, 2.0, 6.0, 9.0], "late": [3.0, 1.0, 1.0, 3.0]})
        >>> problem = RecourseProblem(lambda d: d["hours"], data=df, target={"above": 5})
        >>> plan = NearestTarget().fit(problem).recommend(df)
        >>> evaluate(plan, problem)[["found", "valid_model", "exact_rows"]].to_numpy().tolist()
        [[1.0, 1.0, 1.0]]
    """
    judge = Judge(
        problem,
        labeller=labeller,
        smooth_labeller=smooth_labeller,
        favourable=favourable,
        retrained=retrained,
        noise=noise,
        random_state=random_state,
    )
    if isinstance(recommendations, Recommendations):
        recommendations = {recommendations.method: recommendations}
    _check(recommendations, seconds)
    rows = {}
    for name, plan in recommendations.items():
        asked = (plan.status != ACCEPTED).to_numpy()
        start = problem.space.codes(plan.people[asked])
        end = problem.space.codes(plan.recommended[asked])
        found = (plan.status[asked] == FOUND).to_numpy()
        acted = plan.acted[problem.space.names].to_numpy()[asked]
        rows[name] = judge(start, end, found, acted)
        if seconds is not None and name in seconds and len(start):
            rows[name]["seconds"] = seconds[name] / len(start)
    return pd.DataFrame.from_dict(rows, orient="index")


def _check(recommendations: Any, seconds: Any) -> None:
    plans = recommendations.values() if isinstance(recommendations, Mapping) else [recommendations]
    for plan in plans:
        require_recommendations(plan, "must be Recommendations, or several by name")
    for name in seconds or ():
        if name not in recommendations:
            raise ParameterError(
                f"names {name!r}, which is none of the methods",
                column="seconds",
                advice=did_you_mean(name, recommendations),
            )


class Judge:
    """The judges of :func:`evaluate`, fitted once for many methods.

    Args:
        problem, labeller, smooth_labeller, favourable, retrained, noise, random_state: See there.
    """

    def __init__(
        self,
        problem: RecourseProblem,
        *,
        labeller: Callable[[pd.DataFrame], np.ndarray] | None = None,
        smooth_labeller: Callable[[pd.DataFrame], np.ndarray] | None = None,
        favourable: pd.DataFrame | None = None,
        retrained: Sequence[Any] = (),
        noise: float = 0.1,
        random_state: Seed = 0,
    ):
        if not noise >= 0:
            raise ParameterError("must not be negative", column="noise", value=noise)
        self.problem, self.noise, self.random_state = problem, noise, random_state
        self.labellers = {"valid": labeller, "valid_smooth": smooth_labeller}
        self.views = [
            ModelView(
                model,
                columns=problem.columns,
                encoder=problem.encoder,
                target_class=problem.target.label,
                output=problem.output,
                schema=problem.space.schema,
                dtypes=problem.space.dtypes,
            )
            for model in retrained
        ]
        self.usual: dict[str, Callable[[np.ndarray], np.ndarray]] = {}
        if favourable is not None:
            self._learn_usual(problem.space.codes(favourable, "favourable rows"))

    def __call__(
        self, start: np.ndarray, end: np.ndarray, found: np.ndarray, acted: np.ndarray | None = None
    ) -> dict[str, float]:
        """Measures of end points, codes ``(n, F)`` like the starts; ``found`` is ``(n,)``.

        Args:
            acted: ``(n, F)``, what was acted on; what differs by default.
        """
        problem, n = self.problem, len(found)
        x, z = start[found], end[found]
        mask = (z != x) if acted is None else acted[found]
        if not n:
            return {"people": 0}

        def share(good: Any) -> float:
            return float(np.sum(good)) / n

        frame = problem.space.frame(z)
        measures = {
            "people": n,
            "found": share(found),
            "cost": float(problem.cost(x, mask, z).mean()) if len(x) else np.nan,
            "valid_model": share(problem.accepts(problem.view.score(frame))),
        }
        for name, ask in self.labellers.items():
            if ask is not None:
                measures[name] = share(_chance(name, ask, frame) > 0.5) if len(x) else 0.0
        for name, usual in self.usual.items():
            measures[name] = share(usual(z)) if len(x) else 0.0
        if "valid" in measures and "inlier" in measures:
            spent = measures["cost"] if len(x) else 0.0
            measures["score"] = measures["valid"] + measures["inlier"] - spent / z.shape[1]
        measures["changed"] = float((z != x).sum(axis=1).mean()) if len(x) else np.nan
        if self.views:
            again = [share(problem.accepts(view.score(frame))) for view in self.views]
            measures["retrained"], measures["retrained_least"] = float(np.mean(again)), min(again)
        if self.noise:
            measures["noise"] = 1.0 - share(found) + self._shaken(z, share)
        measures["violations"] = share(~problem.permitted(x, mask, z, z))
        if problem.data is not None:
            known = {row.tobytes() for row in problem.data + 0.0}
            measures["exact_rows"] = share([row.tobytes() in known for row in z + 0.0])
        counts = np.unique(z, axis=0, return_counts=True)[1] if len(z) else np.zeros(1)
        measures["commonest"] = share(counts.max())
        return measures

    def _shaken(self, z: np.ndarray, share: Callable[[Any], float]) -> float:
        """Share of people whose plan fails after noise on the numbers, over fresh draws."""
        problem, rng = self.problem, generator(self.random_state)
        size = np.where(problem.space.discrete, 0.0, self.noise * problem.cost.scale)
        draws = (z + size * rng.normal(size=z.shape) for _ in range(_DRAWS))
        return float(np.mean([share(~problem.accepts(problem.score(draw))) for draw in draws]))

    def _learn_usual(self, codes: np.ndarray) -> None:
        from sklearn.mixture import GaussianMixture
        from sklearn.neighbors import LocalOutlierFactor

        codes = codes[~np.isnan(codes).any(axis=1)]
        distinct = np.unique(codes, axis=0)
        if len(distinct) < _FEWEST:
            raise DataError(
                f"has {len(distinct)} distinct full rows, at least {_FEWEST} are needed",
                column="favourable",
            )

        def inlier(k: int, rows: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
            factor = LocalOutlierFactor(n_neighbors=k, novelty=True).fit(self._points(rows))
            return lambda z: factor.predict(self._points(z)) > 0

        self.usual = {
            "inlier": inlier(5, codes),
            "inlier_20": inlier(20, codes),
            "inlier_distinct": inlier(5, distinct),
        }
        # One column per further level: all of them would add up to one and have no density.
        space = self.problem.space
        free = np.ones(space.width, dtype=bool)
        free[[s.start for s, d in zip(space.slots, space.discrete, strict=True) if d]] = False
        mixture = GaussianMixture(_MIXTURE, random_state=integer(self.random_state))
        mixture.fit(self._points(codes)[:, free])
        rare = np.quantile(mixture.score_samples(self._points(codes)[:, free]), _RARE)
        self.usual["dense"] = lambda z: mixture.score_samples(self._points(z)[:, free]) > rare

    def _points(self, codes: np.ndarray) -> np.ndarray:
        return placed(self.problem.space, codes, self.problem.cost.scale)


def _chance(name: str, ask: Callable[[pd.DataFrame], Any], frame: pd.DataFrame) -> np.ndarray:
    """What a labeller says, which must be one probability per row."""
    column = {"valid": "labeller", "valid_smooth": "smooth_labeller"}[name]
    advice = "E.g. lambda df: model.predict_proba(df)[:, 1], the favourable class."
    if not callable(ask):
        raise ParameterError(
            "must be a function of a table", column=column, value=type(ask).__name__, advice=advice
        )
    chance = np.asarray(ask(frame))
    if chance.shape != (len(frame),):
        raise DataError(
            f"must give one probability per row; for {len(frame)} rows it gave values of shape "
            f"{chance.shape}",
            column=column,
            advice=advice,
        )
    if chance.dtype.kind not in "biuf" or not ((chance >= 0) & (chance <= 1)).all():
        some = f", not {chance.min()} to {chance.max()}" if chance.dtype.kind in "biuf" else ""
        raise DataError(
            f"must give probabilities between 0 and 1{some}", column=column, advice=advice
        )
    return chance
