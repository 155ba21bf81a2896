"""What counts as the wished outcome: a score on the right side of a threshold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..core.errors import ParameterError, did_you_mean
from ..core.results import number
from ..core.saving import saveable


@saveable
@dataclass(frozen=True)
class Target:
    """A score that must be at least (``"above"``) or at most (``"below"``) a threshold.

    The score of a classifier must lie strictly beyond it, so that ``model.predict`` agrees.

    Args:
        threshold: In units of the score: a probability for classifiers, else the predicted
            quantity. None stands for 0.5 where the score is a probability.
        direction: ``"above"`` or ``"below"``.
        label: The class whose probability is the score; None for the second of two.
        strict: Whether the threshold itself is not enough; set by the problem.

    Example:
        >>> Target(150, "below").accepts(np.array([151.0, 150.0, 10.0])).tolist()
        [False, True, True]
        >>> Target.read({"above": 0.7, "class": "yes"})
        Target(threshold=0.7, direction='above', label='yes', strict=False)
    """

    threshold: float | None = None
    direction: Literal["above", "below"] = "above"
    label: Any = None
    strict: bool = False

    def __post_init__(self) -> None:
        if self.direction not in ("above", "below"):
            raise ParameterError(
                "direction must be 'above' or 'below'", column="target", value=self.direction
            )
        value = self.threshold
        if value is None:
            return
        is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            raise ParameterError("threshold must be a number", column="target", value=value)
        object.__setattr__(self, "threshold", float(value))

    @classmethod
    def read(cls, target: Any) -> Target:
        """From None (the second of two classes), a class label, or a dictionary.

        Dictionaries are ``{"above": number}`` or ``{"below": number}``, with ``"class"`` where
        the score is the probability of a class.
        """
        if isinstance(target, Target):
            return target
        if not isinstance(target, Mapping):
            if isinstance(target, float) and 0 < target < 1:
                raise ParameterError(
                    "is a threshold or a class",
                    column="target",
                    value=target,
                    advice=f"Write {{'above': {target:g}}}, or {{'class': {target:g}}}.",
                )
            return cls(label=target)
        known = ("above", "below", "class")
        for key in target:
            if key not in known:
                raise ParameterError(
                    f"{key!r} is not part of a target",
                    column="target",
                    advice=did_you_mean(key, known),
                )
        if "above" in target and "below" in target:
            raise ParameterError(
                "is a range; give either 'above' or 'below'", column="target", value=dict(target)
            )
        direction = "below" if "below" in target else "above"
        return cls(target.get(direction), direction, target.get("class"))

    @property
    def sign(self) -> float:
        """+1 where more is better, -1 where less is."""
        return 1.0 if self.direction == "above" else -1.0

    def margin(self, scores: np.ndarray) -> np.ndarray:
        """How far scores are on the right side, in their unit; negative on the wrong one."""
        return self.sign * (scores - self.threshold)

    def accepts(self, scores: np.ndarray) -> np.ndarray:
        """Whether each score reaches the target."""
        margin = self.margin(scores)
        return margin > 0 if self.strict else margin >= 0

    def describe(self, what: str) -> str:
        """As text, e.g. ``probability of 'yes' above 0.5`` or ``blood pressure at most 120``."""
        side = "at least" if self.direction == "above" else "at most"
        side = self.direction if self.strict else side
        return f"{what} {side} {number(self.threshold, 6)}"
