"""The one way to a model: its score for a table, and its inside where that is known."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from ..core.errors import DataError, ParameterError, WorkbenchError, did_you_mean
from ..core.parameters import require_one_of
from ..tables.encode import Encoder
from ..tables.schema import Feature, Schema
from .inside import Inside
from .space import Space
from .structure import Linear, Link, OutcomeNode, Relu, Trees, Unknown

if TYPE_CHECKING:
    import torch

Output = Literal["probability", "logit", "value"]
_OUTPUTS = ("probability", "logit", "value")


class ModelView:
    """A model seen through one number per row, the score.

    The score is the probability of the target class where the model gives probabilities, its
    decision value where it gives nothing else, and the prediction of a regression.

    Args:
        model: A fitted scikit-learn or LightGBM model (also in pipelines), a ``torch.nn.Module``,
            or any callable that returns one number per row.
        columns: The columns that the model reads, in its order.
        encoder: Fitted :class:`~workbench.tables.Encoder` that makes the model's inputs; without
            one the model is given the columns themselves.
        target_class: Class whose probability is the score; None for the second of two.
        output: What a torch module returns: ``"probability"``, ``"logit"`` or ``"value"``; needed
            unless it ends in ``Sigmoid`` or ``Softmax``.
        schema: What the columns are; all continuous when left out.
        dtypes: Types of the columns in which the model is shown a table, where it minds.
        center, spread: A typical row in codes and the size of typical changes, where the model
            is tried.

    Raises:
        DataError: The model fails, or returns something that is not one finite number per row.
        ParameterError: The target class or ``output`` makes no sense for this model.

    Example:
        >>> import numpy as np, pandas as pd
        >>> from sklearn.linear_model import LinearRegression
        >>> df = pd.DataFrame({"a": [0.0, 1.0, 2.0], "b": [1.0, 0.0, 1.0]})
        >>> model = LinearRegression().fit(df, 3 * df["a"] - df["b"])
        >>> view = ModelView(model, columns=["a", "b"])
        >>> view.structure, view.linear().weights.round(6).tolist()
        ('linear', [3.0, -1.0])
    """

    def __init__(
        self,
        model: Any,
        *,
        columns: Iterable[str],
        encoder: Encoder | None = None,
        target_class: Any = None,
        output: Output | None = None,
        schema: Schema | None = None,
        dtypes: Mapping[str, Any] | None = None,
        center: np.ndarray | None = None,
        spread: np.ndarray | None = None,
    ):
        self.model, self.columns, self.encoder = model, list(columns), encoder
        if schema is None:
            schema = Schema([Feature(n) for n in self.columns])
        # Numbers are tried between the values that the data's own type may hold; levels are not.
        minded = {n: t for n, t in (dtypes or {}).items() if isinstance(t, pd.CategoricalDtype)}
        self.space = Space(schema, minded)
        self.center = np.zeros(len(self.space)) if center is None else center
        self.spread = np.ones(len(self.space)) if spread is None else spread
        self.is_torch = _is_torch(model)
        self.name = type(model).__name__ if not _is_function(model) else "the function"
        self.index = self._class_index(target_class)
        self.output = self._output(output)
        self.is_probability = self.output in ("probability", "logit")
        if self.is_torch:  # our own copy: no dropout, and the caller's modes stay as they are
            self._module = copy.deepcopy(model).eval()

    def _class_index(self, label: Any) -> int:
        classes = getattr(self.model, "classes_", None)
        if classes is None:
            if label not in (None, 0, 1):
                raise ParameterError(
                    f"{self.name} doesn't say what its classes are",
                    column="target",
                    value=label,
                    advice="Use 0 or 1, or a threshold: {'above': 0.5}.",
                )
            return 1 if label is None else int(label)
        known = list(classes)
        if label is None:
            if len(known) == 2:
                return 1
            raise ParameterError(
                f"{self.name} has {len(known)} classes and none is named as the target",
                column="target",
                advice=f"Name one of {', '.join(repr(k) for k in known[:8])}.",
            )
        matches = [i for i, k in enumerate(known) if k == label]
        if not matches:
            raise ParameterError(
                f"is no class of {self.name}",
                column="target",
                value=label,
                advice=did_you_mean(label, known),
            )
        return matches[0]

    def _output(self, output: Output | None) -> Output:
        if output is not None:
            require_one_of("output", output, _OUTPUTS)
        if self.is_torch:
            last = list(self.model.modules())[-1]
            if type(last).__name__ in ("Sigmoid", "Softmax"):
                return "probability"
            if output is None:
                raise ParameterError(
                    f"must say what {self.name} returns: its last layer is {type(last).__name__}",
                    column="output",
                    advice="Use 'logit', 'probability' or 'value' (a regression).",
                )
            return output
        if hasattr(self.model, "predict_proba"):
            return "probability"
        if _is_booster(self.model):
            binary = str(self.model.dump_model(num_iteration=1)["objective"]).startswith("binary")
            return "probability" if binary else "value"
        return output or "value"

    # -- scores ----------------------------------------------------------------------------

    def score(self, df: pd.DataFrame) -> np.ndarray:
        """One score per row, ``(n,)`` float64; the caller's table is not touched."""
        missing = [c for c in self.columns if c not in df.columns]
        if missing:
            raise DataError(
                "is read by the model and is missing",
                column=missing[0],
                advice=did_you_mean(missing[0], df.columns),
            )
        if not len(df):
            return np.empty(0)
        frame = df[self.columns]
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="X does not have valid feature names")
                raw = self._ask(frame)
        except WorkbenchError:
            raise
        except Exception as error:
            raise DataError(
                f"{self.name} failed on a table of {len(df)} rows: {type(error).__name__}: {error}",
                column=self.columns[0] if len(self.columns) == 1 else None,
                advice="Check that it can score rows with columns "
                f"{', '.join(self.columns[:5])}{', ...' if len(self.columns) > 5 else ''}.",
            ) from error
        return self._one_number_per_row(raw, frame)

    def score_codes(self, codes: np.ndarray) -> np.ndarray:
        """The score of codes ``(n, F)``, the short way where the inside of the model is known.

        For searches: agrees with :meth:`score` up to rounding, and what is recommended is asked
        of the model itself.
        """
        if self._short is not None and len(codes):
            return self._short(self.space.design(codes))
        return self.score(self.space.frame(codes))

    @cached_property
    def _short(self) -> Callable[[np.ndarray], np.ndarray] | None:
        if self.is_torch and self.inside.inputs is not None:
            inputs = self.inside.inputs
            return lambda design: self._outputs(inputs(design))
        found = self.inside.find("linear") or self.inside.find("relu")
        return None if found is None else found.score

    def _outputs(self, inputs: np.ndarray) -> np.ndarray:
        import torch

        with torch.no_grad():
            return self.forward(self.tensor(inputs)).double().numpy()

    def _ask(self, frame: pd.DataFrame) -> Any:
        inputs = frame if self.encoder is None else self._encoded(frame)
        if self.is_torch:
            return self._outputs(np.asarray(inputs, dtype=float))
        if hasattr(self.model, "predict_proba"):
            return np.asarray(self.model.predict_proba(inputs))[:, self.index]
        if hasattr(self.model, "classes_") and hasattr(self.model, "decision_function"):
            decision = np.asarray(self.model.decision_function(inputs), dtype=float)
            if decision.ndim == 2:
                return decision[:, self.index]
            return decision if self.index else -decision
        if hasattr(self.model, "predict"):
            scores = np.asarray(self.model.predict(inputs))
            return scores if self.index or self.output == "value" else 1.0 - scores
        return self.model(inputs)

    def _encoded(self, frame: pd.DataFrame) -> Any:
        encoded = self.encoder.transform(frame)
        names = getattr(self.model, "feature_names_in_", None)
        return encoded if names is None else pd.DataFrame(encoded, columns=list(names))

    def _one_number_per_row(self, raw: Any, frame: pd.DataFrame) -> np.ndarray:
        try:
            scores = np.asarray(raw, dtype=float)
        except (TypeError, ValueError) as error:
            raise DataError(f"{self.name} returned something else than numbers: {error}") from error
        if scores.ndim == 2 and scores.shape[1] == 1:
            scores = scores[:, 0]
        if scores.shape != (len(frame),):
            raise DataError(
                f"{self.name} returned scores of shape {scores.shape} for {len(frame)} rows",
                advice="It must return one number per row.",
            )
        bad = ~np.isfinite(scores)
        if bad.any():
            i = int(bad.argmax())
            raise DataError(
                f"{self.name} returned {scores[i]} as a score",
                row=frame.index[i],
                value=frame.iloc[i].to_dict(),
                advice="It must return a finite number for every row.",
            )
        return scores

    def tensor(self, inputs: np.ndarray) -> torch.Tensor:
        import torch

        first = next(self._module.parameters(), None)
        like = torch.float32 if first is None else first.dtype
        # pandas hands out arrays that are read-only, of which torch warns.
        return torch.from_numpy(np.require(inputs, requirements="W")).to(like)

    @cached_property
    def rounding(self) -> float:
        """Relative differences between scores that may come from how many rows are asked at once.

        A row alone and the same row in a table are multiplied in another order.
        """
        is_single = self.is_torch and self.tensor(np.zeros(1)).dtype.itemsize < 8
        return 1e-6 if is_single else 1e-13

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Scores of a torch module's inputs, differentiable."""
        out = self._module(inputs)
        if out.ndim == 2 and out.shape[1] == 1:
            out = out[:, 0]
        if out.ndim == 2 and self.output != "value":
            probabilities = out.softmax(-1) if self.output == "logit" else out
            return probabilities[:, self.index]
        if self.output == "logit":
            out = out.sigmoid()
        return out if self.index or self.output == "value" else 1.0 - out

    # -- inside ----------------------------------------------------------------------------

    @cached_property
    def inside(self) -> Inside:
        """What is known about the model's structure, read on first use."""
        return Inside(self)

    @property
    def structure(self) -> str:
        """``"linear"``, ``"trees"``, ``"relu"``, ``"differentiable"`` or ``"score only"``."""
        for name in ("linear", "trees", "relu"):
            if self.inside.find(name) is not None:
                return name
        return "score only" if self.decision_encoded is None else "differentiable"

    def linear(self) -> Linear:
        """The model as weights in raw units, which reproduce the score.

        Raises:
            QuestionError: The model is not known to be linear in numbers and levels.
        """
        return self._known("linear")

    def trees(self) -> Trees:
        """The model as trees with raw thresholds; a QuestionError if it is not known as such."""
        return self._known("trees")

    def relu(self) -> Relu:
        """The model as a ReLU network of raw design rows; a QuestionError if not known as such."""
        return self._known("relu")

    def _known(self, name: str) -> Any:
        found = self.inside.find(name)
        if found is None:
            raise Unknown(f"{self.name} is not known to be {_WORDS[name]}")
        return found

    @property
    def decision_encoded(self) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """Differentiable decision of design rows ``(n, D)``; None where there is no gradient."""
        return self.inside.decide

    @property
    def link(self) -> Link:
        """How the decision becomes the score."""
        return self.inside.link

    def score_encoded(self, z: torch.Tensor) -> torch.Tensor:
        """Differentiable score of design rows ``(n, D)``: numbers raw, one column per level.

        Raises:
            QuestionError: The model has no gradient.
        """
        if self.decision_encoded is None:
            raise Unknown(
                f"{self.name} has no gradient", advice="Use GrowingSpheres or NearestTarget."
            )
        decision = self.decision_encoded(z)
        return decision if self.link == "identity" else decision.sigmoid()


_WORDS = {"linear": "linear", "trees": "a sum of trees", "relu": "a ReLU network"}


def _is_torch(model: Any) -> bool:
    return any(k.__module__.startswith("torch.nn.modules") for k in type(model).__mro__)


def _is_booster(model: Any) -> bool:
    return type(model).__module__.startswith("lightgbm") and type(model).__name__ == "Booster"


def _is_function(model: Any) -> bool:
    return callable(model) and not hasattr(model, "predict") and not _is_torch(model)


def column_names(
    model: Any, encoder: Encoder | None, schema: Schema | None, data: pd.DataFrame | None
) -> list[str]:
    """The columns that a model reads, in its order.

    As the encoder or the model says; else the ordinary columns of the schema or of the data.
    """
    if isinstance(model, OutcomeNode):
        return [model.name]
    if encoder is not None:
        return list(encoder.schema_.names)
    named = getattr(model, "feature_names_in_", None)
    if named is None and hasattr(model, "best_estimator_"):
        named = getattr(model.best_estimator_, "feature_names_in_", None)
    if named is None and _is_booster(model):
        named = model.feature_name()
        if all(n == f"Column_{i}" for i, n in enumerate(named)):
            named = None
    if named is not None:
        return [str(n) for n in named]
    known = schema.variables if schema is not None else Schema.infer(data).variables
    width = getattr(model, "n_features_in_", None)
    if width is not None and width != len(known):
        raise DataError(
            f"the model reads {width} columns and does not say which, there are {len(known)}",
            column=known[min(width, len(known) - 1)],
            advice="Fit it on a DataFrame, or give a schema with exactly its columns.",
        )
    return list(known)
