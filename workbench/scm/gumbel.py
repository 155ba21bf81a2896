"""Gumbel-max: a level is the winner among levels with random scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.errors import DataError
from ..core.parameters import Parameterised
from ..core.saving import saveable
from .choice import choose
from .parents import Parents
from .regressors import BoostedLevels, Foreign, Logit

CLASSIFIERS = {"linear": Logit, "boosting": BoostedLevels}
MAX_BOOSTED = 20  # levels; every round grows a tree per level


@saveable
class GumbelMax(Parameterised):
    """A level that is the largest of ``log p(level | parents) + g(level)``, g standard Gumbel.

    Levels then occur with the classifier's probabilities, and a counterfactual level is a fixed
    function of the noise. Abduction draws g from its posterior given the observed level:
    with exponentials E, ``g(seen) = -log(E0 p(seen))``, ``g(other) = -log(E0 p(other) +
    E(other))``. Raising the odds of the observed level against every other never makes the
    counterfactual leave it. Which noise couples the levels across worlds can't be learned from
    data: counterfactuals of discrete nodes rest on this choice, interventions don't.

    Args:
        classifier: ``"auto"``, ``"linear"`` (multinomial logit), ``"boosting"`` or a scikit-learn
            classifier.

    References:
        Oberst and Sontag, "Counterfactual off-policy evaluation with Gumbel-max structural
        causal models", ICML 2019. Maddison, Tarlow and Minka, "A* sampling", NIPS 2014.

    Example:
        >>> GumbelMax("linear")
        GumbelMax(classifier='linear')
    """

    known = False

    def __init__(self, classifier: Any = "auto"):
        self.classifier = classifier

    def fit(self, parents, x, feature, *, random_state=0, groups=None):
        self.feature_, self.width_ = feature, len(feature.levels)
        self.seen_, y = np.unique(x.astype(int), return_inverse=True)
        self.classifier_ = None
        if len(self.seen_) == 1:
            self.report_ = {"mechanism": "constant"}
            return self
        X, candidates = parents.encoded, self._candidates(len(self.seen_))
        choice = choose(
            candidates,
            X,
            y,
            _log_proba,
            _log_loss,
            random_state=random_state,
            groups=groups,
            strata=y,
        )
        self.classifier_ = candidates[choice.name]().fit(X, y, random_state)
        self.report_ = {
            "mechanism": "logit" if choice.name == "linear" else choice.name,
            "measure": "log-loss",
            "score": choice.losses.get(choice.name, np.nan),
            "runner_up": "logit" if choice.runner_up == "linear" else choice.runner_up,
            "runner_up_score": choice.losses.get(choice.runner_up, np.nan),
        }
        return self

    def _candidates(self, k: int) -> dict[str, Callable[[], Any]]:
        given = self.classifier
        if not isinstance(given, str):
            return {type(given).__name__: lambda: Foreign(given, k)}
        names = [given]
        if given == "auto":
            names = list(CLASSIFIERS) if k <= MAX_BOOSTED else ["linear"]
        return {name: lambda name=name: CLASSIFIERS[name](k) for name in names}

    def log_probabilities(self, parents: Parents) -> np.ndarray:
        """Log probability of every level, ``(n, n_levels)``; -inf for levels never seen."""
        out = np.full((len(parents), self.width_), -np.inf)
        out[:, self.seen_] = (
            0.0 if self.classifier_ is None else self.classifier_.log_proba(parents.encoded)
        )
        return out

    def draw(self, rng, n):
        return rng.gumbel(size=(n, self.width_))

    def apply(self, parents, noise):
        return np.argmax(self.log_probabilities(parents) + noise, axis=1).astype(float)

    def abduct(self, parents, x, uniforms):
        codes, rows = x.astype(int), np.arange(len(x))
        log_p = self.log_probabilities(parents)
        never = np.isneginf(log_p[rows, codes])
        if never.any():
            raise DataError(
                "has a level that did not occur in the rows the model was fitted to",
                column=self.feature_.name,
                row=int(never.argmax()),
                value=self.feature_.levels[codes[never.argmax()]],
                advice="Fit on rows that have it.",
            )
        # E(seen) is free once the level is given; its place holds E0, the time of the winner.
        E = -np.log(uniforms(self.width_))
        first = E[rows, codes]
        E[rows, codes] = 0.0
        return -np.log(first[:, None] * np.exp(log_p) + E)

    def log_prob(self, parents, x):
        return self.log_probabilities(parents)[np.arange(len(x)), x.astype(int)]


def _log_proba(model: Any, X: np.ndarray) -> np.ndarray:
    return model.log_proba(X)


def _log_loss(y: np.ndarray, log_p: np.ndarray) -> np.ndarray:
    return -np.maximum(log_p[np.arange(len(y)), y], np.log(1e-6))
