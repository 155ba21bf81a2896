"""Find out what a model is inside: linear, trees, a ReLU network, or only differentiable."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..core.seeding import generator
from . import readers
from .space import Space
from .structure import Inputs, Linear, Link, Relu, Tree, Trees

if TYPE_CHECKING:
    import torch

    from .model_view import ModelView

_TRIALS = 64


class Inside:
    """The structure of a viewed model in raw units; nothing is believed that isn't reproduced.

    Every structure that is read is compared with the model's own scores on random rows.
    """

    def __init__(self, view: ModelView):
        self.view, self.space = view, view.space
        self.steps, self.last = readers.unwrap(view.model)
        self._found: dict[str, Any] = {}

    def find(self, name: str) -> Any:
        """``"linear"``, ``"trees"`` or ``"relu"`` form of the model, or None."""
        if name not in self._found:
            found = None
            if name == "trees" and hasattr(self.view.model, "as_trees"):
                found = self.view.model.as_trees(self.space, self.view.index)
            elif self.inputs is not None:
                found = getattr(self, f"_read_{name}")()
            self._found[name] = found if found is None or self._agrees(found) else None
        return self._found[name]

    @cached_property
    def _trial(self) -> np.ndarray:
        codes = self.space.draw(_TRIALS, self.view.center, 2.0 * self.view.spread, generator(0))
        return np.vstack([self.view.center[None, :], codes])

    def _agrees(self, found: Linear | Trees | Relu) -> bool:
        rows = self._trial if isinstance(found, Trees) else self.space.design(self._trial)
        truth, guess = self.view.score(self.space.frame(self._trial)), found.score(rows)
        single = self.view.is_torch and self.view.tensor(np.zeros(1)).dtype.itemsize < 8
        tolerance = (1e-4 if single else 1e-8) * (1.0 + np.abs(truth).max())
        return bool(np.abs(truth - guess).max() <= tolerance)

    @cached_property
    def inputs(self) -> Inputs | None:
        """The preprocessing as an affine map of the design, or None where it is not one.

        Only steps that are affine in numbers and tables in levels are accepted, so asking each
        design column once gives the whole map.
        """
        if not all(readers.is_affine(s) for s in self.steps):
            return None
        if not (self.view.is_torch or hasattr(self.last, "predict")):
            return None
        space, base = self.space, self.view.center.copy()
        base[space.discrete] = 0
        probes, steps_taken = [base], []
        for j, slot in enumerate(space.slots):
            for level in range(slot.stop - slot.start):
                row = base.copy()
                row[j] = level if space.discrete[j] else base[j] + self._step(j, base[j])
                steps_taken.append(1.0 if space.discrete[j] else row[j] - base[j])
                probes.append(row)
        try:
            asked = self._preprocess(space.frame(np.array(probes)))
        except (ValueError, TypeError):  # e.g. an encoder that never saw this number as a level
            return None
        matrix = ((asked[1:] - asked[0]) / np.array(steps_taken)[:, None]).T
        return Inputs(matrix, asked[0] - matrix @ space.design(base[None, :])[0])

    def _step(self, j: int, base: float) -> float:
        """How far one number is moved to see what becomes of it, within its bounds."""
        step, bounds = max(self.view.spread[j], 1.0), self.space.features[j].bounds
        low, high = bounds or (None, None)
        if high is None or base + step <= high:
            return step
        if low is None or base - step >= low:
            return -step
        return high - base if high - base >= base - low else low - base

    def _preprocess(self, frame: pd.DataFrame) -> np.ndarray:
        out = frame[self.view.columns]
        if self.view.encoder is not None:
            out = self.view.encoder.transform(out)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for step in self.steps:
                out = step.transform(out)
        out = out.toarray() if hasattr(out, "toarray") else out
        return np.asarray(out, dtype=float)

    def _read_linear(self) -> Linear | None:
        found = readers.linear(self.last, self.view.index)
        if found is None:
            network = self.find("relu")
            if network is None or len(network.weights) > 1:
                return None
            return Linear(network.weights[0][0], float(network.biases[0][0]), network.link)
        weights, intercept, link = found
        return Linear(
            self.inputs.matrix.T @ weights, float(self.inputs.offset @ weights) + intercept, link
        )

    def _read_relu(self) -> Relu | None:
        found = readers.relu(self.last, self.view.index, self.view.output)
        if found is None:
            return None
        weights, biases, link = found
        first = weights[0] @ self.inputs.matrix
        offset = weights[0] @ self.inputs.offset + biases[0]
        return Relu((first, *weights[1:]), (offset, *biases[1:]), link)

    def _read_trees(self) -> Trees | None:
        found = readers.trees(self.last, self.view.index)
        if found is None:
            return None
        raw, link = found
        trees = [_raw_tree(tree, self.inputs, self.space) for tree in raw]
        if any(tree is None for tree in trees):
            return None
        ensemble = Trees(tuple(trees), 0.0, link)
        # The constant of a boosted ensemble is kept in different places by every library; a
        # probability near one half tells it best.
        truth = self.view.score(self.space.frame(self._trial))
        k = int(np.argmin(np.abs(truth - 0.5))) if link == "logit" else 0
        asked = truth[k]
        if link == "logit":
            asked = np.log(asked) - np.log1p(-asked)
        return Trees(ensemble.trees, float(asked - ensemble.decision(self._trial[[k]])[0]), link)

    @cached_property
    def decide(self) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """Differentiable decision of design rows ``(n, D)``; None where there is no gradient."""
        import torch

        if self.inputs is None:
            return None
        network = self.find("relu")
        line = None if network is not None else self.find("linear")
        if line is not None:
            network = Relu((line.weights[None, :],), (np.array([line.intercept]),), line.link)
        if network is not None:
            layers = [
                (torch.from_numpy(w.T.copy()), torch.from_numpy(np.array(b)))
                for w, b in zip(network.weights, network.biases, strict=True)
            ]

            def decide(design: torch.Tensor) -> torch.Tensor:
                for k, (weight, bias) in enumerate(layers):
                    design = (design if k == 0 else design.relu()) @ weight + bias
                return design[:, 0]

            return decide
        if not self.view.is_torch:
            return None
        matrix = torch.from_numpy(self.inputs.matrix.T.copy())
        offset = torch.from_numpy(self.inputs.offset)
        kind = self.view.tensor(np.zeros(1)).dtype

        def ask(design: torch.Tensor) -> torch.Tensor:
            score = self.view.forward((design @ matrix + offset).to(kind)).double()
            return torch.logit(score, eps=1e-12) if self.view.is_probability else score

        return ask

    @property
    def link(self) -> Link:
        """How the decision becomes the score."""
        for name in ("linear", "relu"):
            found = self.find(name)
            if found is not None:
                return found.link
        return "logit" if self.view.is_probability else "identity"


def _raw_tree(tree: readers.RawTree, inputs: Inputs, space: Space) -> Tree | None:
    """A tree over inputs as a tree over codes; None where a split mixes features."""
    feature, threshold = tree["feature"].copy(), tree["threshold"].copy()
    tables, flipped = {}, set()
    for node in np.flatnonzero(tree["left"] >= 0):
        row, offset = inputs.matrix[tree["feature"][node]], inputs.offset[tree["feature"][node]]
        owners = np.unique(space.owner[row != 0])
        if len(owners) > 1:
            return None
        j = int(owners[0]) if len(owners) else 0
        feature[node] = j
        slot = space.slots[j]
        if space.discrete[j] or not len(owners):
            levels = row[slot] + offset if len(owners) else np.array([offset])
            tables[int(node)] = levels <= tree["threshold"][node]
            if not space.discrete[j]:  # an input that never changes: one side is never reached
                threshold[node] = np.inf if tables.pop(int(node))[0] else -np.inf
            continue
        slope = row[slot.start]
        threshold[node] = (tree["threshold"][node] - offset) / slope
        if slope < 0:
            flipped.add(int(node))
            threshold[node] = np.nextafter(threshold[node], -np.inf)
    sides = tree["left"], tree["right"]
    return Tree(
        feature, threshold, *sides, tree["value"], tables, frozenset(flipped), tree.get("missing")
    )
