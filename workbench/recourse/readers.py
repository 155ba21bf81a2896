"""Read the inside of scikit-learn, LightGBM and torch models, in units of the model's inputs.

Each reader returns None for models that it doesn't know. What they return is not believed: the
:class:`~workbench.recourse.ModelView` compares it with the model on random rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .structure import Link, OutcomeNode

_AFFINE_STEPS = frozenset(
    {
        "StandardScaler",
        "MinMaxScaler",
        "MaxAbsScaler",
        "RobustScaler",
        "OneHotEncoder",
        "OrdinalEncoder",
        "SimpleImputer",
        "VarianceThreshold",
        "SelectKBest",
        "PCA",
    }
)
RawTree = dict[str, np.ndarray]


def unwrap(model: Any) -> tuple[list[Any], Any]:
    """The preprocessing steps of a scikit-learn model, and its last step."""
    while hasattr(model, "best_estimator_"):
        model = model.best_estimator_
    if not _is_sklearn(model, "pipeline"):
        return [], model
    steps = [s for _, s in model.steps[:-1] if s is not None and s != "passthrough"]
    inner, last = unwrap(model.steps[-1][1])
    return steps + inner, last


def is_affine(step: Any) -> bool:
    """Whether a preprocessing step is affine in numbers and a table in levels."""
    if step is None or isinstance(step, str):
        return step in (None, "passthrough", "drop")
    name = type(step).__name__
    if not type(step).__module__.startswith("sklearn."):
        return False
    if name == "ColumnTransformer":
        return all(is_affine(s) for _, s, _ in step.transformers_)
    if name == "Pipeline":
        return all(is_affine(s) for _, s in step.steps)
    if name == "FunctionTransformer":  # what "passthrough" becomes when it is fitted
        return step.func is None
    return name in _AFFINE_STEPS and not getattr(step, "clip", False)


def linear(model: Any, index: int) -> tuple[np.ndarray, float, Link] | None:
    """Weights, intercept and link of a linear scikit-learn or one-layer torch model."""
    if isinstance(model, OutcomeNode):
        return np.ones(1), 0.0, "identity"
    if not (_is_sklearn(model, "linear_model", "svm", "discriminant_analysis")):
        return None
    coef = getattr(model, "coef_", None)
    if coef is None or not isinstance(coef, np.ndarray):
        return None
    coef, intercept = np.atleast_2d(coef), np.ravel(model.intercept_)
    if len(coef) != 1:
        return None
    sign = -1.0 if hasattr(model, "classes_") and index == 0 else 1.0
    link: Link = "logit" if hasattr(model, "predict_proba") else "identity"
    return sign * coef[0].astype(float), sign * float(intercept[0]), link


def relu(model: Any, index: int, output: str) -> tuple[list, list, Link] | None:
    """Weights, biases and link of a torch ``Sequential`` or scikit-learn MLP with ReLU."""
    if _is_sklearn(model, "neural_network"):
        if model.activation not in ("relu", "identity") or model.n_outputs_ != 1:
            return None
        if model.activation == "identity" and len(model.coefs_) > 1:
            return None
        weights, biases = [w.T for w in model.coefs_], list(model.intercepts_)
        link: Link = "identity" if model.out_activation_ == "identity" else "logit"
        if hasattr(model, "classes_") and index == 0:
            weights[-1], biases[-1] = -weights[-1], -biases[-1]
        return weights, biases, link
    return _relu_torch(model, index, output)


def _relu_torch(model: Any, index: int, output: str) -> tuple[list, list, Link] | None:
    if not type(model).__module__.startswith("torch.nn"):
        return None
    from torch import nn

    layers = [m for m in _flat(model) if not isinstance(m, nn.Identity | nn.Dropout)]
    if layers and isinstance(layers[-1], nn.Sigmoid | nn.Softmax):
        layers = layers[:-1]
    kinds = [nn.Linear if k % 2 == 0 else nn.ReLU for k in range(len(layers))]
    if len(layers) % 2 == 0 or any(type(m) is not k for m, k in zip(layers, kinds, strict=True)):
        return None
    weights = [m.weight.detach().cpu().double().numpy() for m in layers[::2]]
    biases = [
        np.zeros(len(m.weight)) if m.bias is None else m.bias.detach().cpu().double().numpy()
        for m in layers[::2]
    ]
    if len(weights[-1]) == 2 and output != "value":  # two classes: only the difference counts
        weights[-1] = weights[-1][[index]] - weights[-1][[1 - index]]
        biases[-1] = biases[-1][[index]] - biases[-1][[1 - index]]
    elif len(weights[-1]) != 1:
        return None
    elif output != "value" and index == 0:
        weights[-1], biases[-1] = -weights[-1], -biases[-1]
    return weights, biases, "identity" if output == "value" else "logit"


def _flat(module: Any) -> Iterator[Any]:
    from torch import nn

    if type(module) is nn.Sequential:
        for child in module:
            yield from _flat(child)
    else:
        yield module


def trees(model: Any, index: int) -> tuple[list[RawTree], Link] | None:
    """Trees of a scikit-learn or LightGBM ensemble; thresholds in units of the inputs.

    Keys of a tree: ``feature, threshold, left, right, value``, and ``missing``, whether an empty
    cell goes left, where that is known; the constant is left to the caller.
    """
    if _is_sklearn(model, "tree", "ensemble"):
        name = type(model).__name__
        if name.startswith("HistGradientBoosting"):
            return _histogram(model, index)
        if name.startswith("GradientBoosting"):
            return _boosted(model, index)
        members = getattr(model, "estimators_", [model])
        if not all(hasattr(m, "tree_") for m in np.ravel(np.array(members, dtype=object))):
            return None
        return [_averaged(m, index, 1.0 / len(members)) for m in members], "identity"
    if type(model).__module__.startswith("lightgbm"):
        return _lightgbm(model, index)
    return None


def _arrays(tree: Any) -> RawTree:
    # scikit-learn compares float32(x) <= threshold: the double at which rounding lets a number
    # through lies half way to the next float32.
    below = tree.threshold.astype(np.float32)
    below = np.where(below > tree.threshold, np.nextafter(below, np.float32(-np.inf)), below)
    above = np.nextafter(below.astype(np.float32), np.float32(np.inf)).astype(float)
    threshold = np.nextafter(0.5 * (below.astype(float) + above), -np.inf)
    found = {
        "feature": tree.feature.astype(int),
        "threshold": threshold,
        "left": tree.children_left.astype(int),
        "right": tree.children_right.astype(int),
    }
    missing = getattr(tree, "missing_go_to_left", None)
    return found if missing is None else {**found, "missing": np.asarray(missing).astype(bool)}


def _averaged(model: Any, index: int, weight: float) -> RawTree:
    value = model.tree_.value[:, 0, :]
    if hasattr(model, "classes_"):
        value = value[:, index] / value.sum(axis=1)
    else:
        value = value[:, 0]
    return {**_arrays(model.tree_), "value": weight * value}


def _boosted(model: Any, index: int) -> tuple[list[RawTree], Link] | None:
    if model.estimators_.shape[1] != 1:
        return None
    is_classifier = hasattr(model, "classes_")
    sign = model.learning_rate * (-1.0 if is_classifier and index == 0 else 1.0)
    members = [
        {**_arrays(m.tree_), "value": sign * m.tree_.value[:, 0, 0]}
        for m in model.estimators_[:, 0]
    ]
    return members, "logit" if is_classifier else "identity"


def _histogram(model: Any, index: int) -> tuple[list[RawTree], Link] | None:
    if any(len(stage) != 1 for stage in model._predictors):
        return None
    is_classifier = hasattr(model, "classes_")
    sign = -1.0 if is_classifier and index == 0 else 1.0
    members = []
    for (stage,) in model._predictors:
        nodes = stage.nodes
        if nodes["is_categorical"].any():
            return None
        leaf = nodes["is_leaf"].astype(bool)
        members.append(
            {
                "feature": nodes["feature_idx"].astype(int),
                "threshold": nodes["num_threshold"].astype(float),
                "left": np.where(leaf, -1, nodes["left"].astype(int)),
                "right": np.where(leaf, -1, nodes["right"].astype(int)),
                "value": sign * nodes["value"].astype(float),
                "missing": nodes["missing_go_to_left"].astype(bool),
            }
        )
    return members, "logit" if is_classifier else "identity"


def _lightgbm(model: Any, index: int) -> tuple[list[RawTree], Link] | None:
    booster = getattr(model, "booster_", model)
    dump = booster.dump_model()
    if dump.get("num_tree_per_iteration", 1) != 1 or dump.get("average_output"):
        return None
    objective = str(dump.get("objective", "")).split(" ")
    binary = objective[0] == "binary"
    if not binary and objective[0] not in ("regression", "regression_l1", "huber", "quantile"):
        return None
    slope = next((float(o[8:]) for o in objective if o.startswith("sigmoid:")), 1.0)
    sign = slope * (-1.0 if binary and index == 0 else 1.0) if binary else 1.0
    members = []
    for info in dump["tree_info"]:
        rows: list[tuple] = []
        if not _walk(info["tree_structure"], rows):
            return None
        columns = (np.array(c) for c in zip(*rows, strict=True))
        feature, threshold, left, right, value, missing = columns
        members.append(
            {
                "feature": feature.astype(int),
                "threshold": threshold.astype(float),
                "left": left.astype(int),
                "right": right.astype(int),
                "value": sign * value.astype(float),
                "missing": missing.astype(bool),
            }
        )
    return members, "logit" if binary else "identity"


def _walk(root: dict, rows: list[tuple]) -> bool:
    """Flatten LightGBM's nested nodes; False for splits on categories."""
    stack: list[tuple[dict, int, int]] = [(root, -1, 0)]
    table: list[list] = []
    while stack:
        node, parent, side = stack.pop()
        if parent >= 0:
            table[parent][2 + side] = len(table)
        if "leaf_value" in node and "split_feature" not in node:
            table.append([0, 0.0, -1, -1, node["leaf_value"], False])
            continue
        if node["decision_type"] != "<=" or node.get("missing_type") == "Zero":
            return False
        here = len(table)
        # Where training saw no empty cell, one counts as zero.
        left = node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0
        table.append([node["split_feature"], node["threshold"], -1, -1, 0.0, left])
        stack += [(node["right_child"], here, 1), (node["left_child"], here, 0)]
    rows += [tuple(r) for r in table]
    return True


def _is_sklearn(model: Any, *parts: str) -> bool:
    module = type(model).__module__
    return any(module.startswith(f"sklearn.{part}") for part in parts)
