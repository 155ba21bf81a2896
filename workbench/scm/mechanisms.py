"""The mechanisms, and what a user may write for one."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from ..core.errors import ParameterError, did_you_mean
from ..tables.schema import Feature
from .additive import REGRESSORS, AdditiveNoise
from .equation import Equation, LinearFunction, Root
from .gumbel import CLASSIFIERS, GumbelMax
from .parents import Mechanism

__all__ = ["AdditiveNoise", "Equation", "GumbelMax", "LinearFunction", "Mechanism", "Root"]


def resolve(spec: Any, feature: Feature, has_parents: bool) -> Mechanism:
    """The unfitted mechanism that a user's word, estimator, function or object stands for."""
    if spec is None or spec == "auto":
        if not has_parents:
            return Root()
        return AdditiveNoise() if feature.is_numeric else GumbelMax()
    if isinstance(spec, str):
        known = list(REGRESSORS) if feature.is_numeric else list(CLASSIFIERS)
        if spec == "empirical" and not has_parents:
            return Root()
        if spec not in known:
            raise ParameterError(
                f"{spec!r} is no mechanism for the {feature.kind} node {feature.name!r}",
                column="mechanisms",
                advice=did_you_mean(spec, known),
            )
        return AdditiveNoise(spec) if feature.is_numeric else GumbelMax(spec)
    if all(hasattr(spec, verb) for verb in ("fit", "draw", "apply", "abduct")):
        _require_match(spec, feature, has_parents)
        # A copy: what the user gave stays as it was, and can serve several nodes.
        if hasattr(spec, "get_params"):
            return type(spec)(**spec.get_params(deep=False))
        return deepcopy(spec)
    if hasattr(spec, "fit") and hasattr(spec, "predict"):
        if feature.is_numeric:
            return AdditiveNoise(spec)
        if hasattr(spec, "predict_proba"):
            return GumbelMax(spec)
    elif callable(spec) and feature.is_numeric:
        return Equation(spec)
    raise ParameterError(
        f"{type(spec).__name__} is no mechanism for the {feature.kind} node {feature.name!r}",
        column="mechanisms",
        advice="Give a name, a mechanism, a scikit-learn estimator, or a function for a number.",
    )


def _require_match(spec: Any, feature: Feature, has_parents: bool) -> None:
    wrong = None
    if isinstance(spec, AdditiveNoise | Equation) and feature.is_discrete:
        wrong = f"{type(spec).__name__} is for numbers, {feature.name!r} is {feature.kind}"
    elif isinstance(spec, GumbelMax) and feature.is_numeric:
        wrong = f"GumbelMax is for levels, {feature.name!r} is {feature.kind}"
    elif isinstance(spec, Root) and has_parents:
        wrong = f"Root is for nodes without parents, {feature.name!r} has some"
    if wrong:
        raise ParameterError(wrong, column="mechanisms")
    name = getattr(spec, "regressor", getattr(spec, "classifier", "auto"))
    allowed = ["auto", *(CLASSIFIERS if isinstance(spec, GumbelMax) else REGRESSORS)]
    if isinstance(name, str) and name not in allowed:
        raise ParameterError(
            f"{name!r} is not known", column="mechanisms", advice=did_you_mean(name, allowed)
        )
