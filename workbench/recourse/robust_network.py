"""The worst that a shift of its weights can make of a ReLU network, for whole tables.

Weights of layer l, and its biases, move by up to h_l = alpha mean|W_l|. Given what a layer reads,
each of its units can then move freely by h_l (|a|_1 + 1), because every unit has weights of its
own: the search over all weights is one over a sign per unit. Signs follow the slope of the decision
behind the unit and are asked again under the shift that they make, until nothing gets worse. With
one hidden layer (and for linear models) that is the exact worst case; deeper it is a search, with
several starts where a result is checked, and every sign tried the other way round: a unit that is
off has no slope, though switching it on may be the worst that can happen.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..core.errors import QuestionError
from . import readers
from .problem import RecourseProblem
from .structure import Inputs, Link, OutcomeNode, apply_link, inverse_link

_ROWS = 1024
Decide = Callable[[Tensor], Tensor]


class ShiftedNetwork:
    """A ReLU network in its own inputs whose weights may move, turned so that more is better.

    Args:
        weights, biases: Per layer ``(out, in)`` and ``(out,)``; one output.
        inputs: From design rows to the network's inputs.
        sign, goal, link: The target: ``sign * (decision - goal)`` must be positive.
        alpha: Half-width of the boxes, relative to each layer's mean absolute weight.
    """

    def __init__(
        self,
        weights: list[np.ndarray],
        biases: list[np.ndarray],
        inputs: Inputs,
        sign: float,
        goal: float,
        link: Link,
        alpha: float,
    ):
        self.sign, self.goal, self.link, self.alpha = sign, goal, link, alpha
        turn = [1.0] * (len(weights) - 1) + [sign]
        self.weights = [torch.from_numpy(t * w) for t, w in zip(turn, weights, strict=True)]
        biases = [t * b for t, b in zip(turn, biases, strict=True)]
        biases[-1] = biases[-1] - sign * goal
        self.biases = [torch.from_numpy(np.asarray(b, dtype=float)) for b in biases]
        self.widths = [alpha * float(w.abs().mean()) for w in self.weights]
        self.matrix = torch.from_numpy(inputs.matrix.T.copy())
        self.offset = torch.from_numpy(inputs.offset.copy())

    @classmethod
    def of(cls, problem: RecourseProblem, alpha: float) -> ShiftedNetwork:
        """The form of a problem's model; a QuestionError where it has no layers to read."""
        view = problem.view
        if isinstance(problem.model, OutcomeNode) or not view.inside.inputs:
            found = None
        else:
            found = readers.relu(view.inside.last, view.index, view.output)
            if found is None and view.inside.find("linear") is not None:
                weights, intercept, link = readers.linear(view.inside.last, view.index)
                found = [weights[None, :]], [np.array([intercept])], link
            elif found is not None and view.inside.find("relu") is None:
                found = None
        if found is None:
            raise QuestionError(
                f"{view.name} has no weights that can be read, so their shift can't be followed",
                column="model",
                advice="ROAR reads linear models, torch Sequentials of Linear and ReLU, and "
                "scikit-learn's ReLU networks. For other models ask for more than is needed, e.g. "
                "target={'above': 0.7}.",
            )
        weights, biases, link = found
        sign, goal = problem.target.sign, inverse_link(link, problem.target.threshold)
        return cls(weights, biases, view.inside.inputs, sign, goal, link, alpha)

    def worst(
        self, design: np.ndarray, rounds: int, starts: int = 1, flips: bool = False
    ) -> np.ndarray:
        """Decision beyond the target after the worst shift found, ``(n,)``."""
        parts = [
            self._worst(torch.from_numpy(design[at : at + _ROWS]), rounds, starts, flips)
            for at in range(0, len(design), _ROWS)
        ]
        return np.concatenate(parts) if parts else np.empty(0)

    def _worst(self, design: Tensor, rounds: int, starts: int, flips: bool) -> np.ndarray:
        with torch.no_grad():
            inputs = design @ self.matrix + self.offset
            return self.attack(inputs, rounds, starts, flips)[1].numpy()

    def descend(self, rounds: int, starts: int = 1) -> Decide:
        """Differentiable worst decision of design rows; the worst shift is held (Danskin)."""

        def decide(design: Tensor) -> Tensor:
            inputs = design @ self.matrix + self.offset
            with torch.no_grad():
                signs, _ = self.attack(inputs, rounds, starts)
            return self.sign * self.forward(inputs, signs)[0] + self.goal

        return decide

    def forward(self, inputs: Tensor, signs: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """Turned decisions ``(n,)`` under the shift of these signs, and what each layer reads."""
        hidden, read = inputs, []
        last = len(self.weights) - 1
        for k in range(len(self.weights)):
            read.append(hidden)
            hidden, reach = self._before(k, hidden)
            if k == last:  # lower is worse, whatever happened before
                return (hidden - reach)[:, 0] if signs is not None else hidden[:, 0], read
            if signs is not None:
                hidden = torch.addcmul(hidden, signs[k], reach)
            hidden = hidden.relu()
        raise AssertionError("a network has a last layer")

    def attack(
        self, inputs: Tensor, rounds: int, starts: int = 1, flips: bool = False
    ) -> tuple[list[Tensor], Tensor]:
        """Signs per hidden layer ``(n, units)`` of the worst shift found, and its decisions.

        Starts: from the slopes at the network as it is, from those with every unit active, and
        from drawn signs, which are the same for all rows, so that rows don't depend on each other.
        ``flips``: of the best start every sign is tried the other way round.
        """
        n, deep = len(inputs), len(self.weights) > 2
        _, read = self.forward(inputs, None)
        first = [self._signs(read, None)]
        generator = torch.Generator().manual_seed(0)
        for start in range(1, starts if deep else 1):
            if start == 1:
                first.append(self._signs([torch.ones_like(r) for r in read], None))
            else:
                shapes = [(1, r.shape[1]) for r in read[1:]]
                drawn = [torch.randint(0, 2, s, generator=generator) * 2.0 - 1 for s in shapes]
                first.append([s.double().expand(n, -1) for s in drawn])
        count = len(first)
        together = [torch.cat(layer) for layer in zip(*first, strict=True)]
        signs, values = self._descent(inputs.repeat(count, 1), together, rounds)
        if count > 1:
            values, pick = values.reshape(count, n).min(dim=0)
            rows = pick * n + torch.arange(n)
            signs = [s[rows] for s in signs]
        return self._flipped(inputs, signs, values) if flips and deep else (signs, values)

    def _flipped(
        self, inputs: Tensor, signs: list[Tensor], values: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        """One unit's sign after the other turned round where that lowers the decision.

        Those of the last hidden layer are the worst already, whatever it reads.
        """
        signs, read = [s.clone() for s in signs], inputs
        for k, layer in enumerate(signs[:-1]):
            before, reach = self._before(k, read)
            hidden = torch.addcmul(before, layer, reach).relu()
            turned = torch.addcmul(before, -layer, reach).relu()
            ahead = self.weights[k + 1]
            after, further = self._before(k + 1, hidden)
            for unit in range(layer.shape[1]):
                step = (turned[:, unit] - hidden[:, unit])[:, None]  # of a unit: none is negative
                moved, wider = after + step * ahead[:, unit], further + self.widths[k + 1] * step
                worst = self._behind(k + 1, moved, wider, signs)
                lower = worst < values
                if lower.any():
                    layer[lower, unit] *= -1
                    values = torch.where(lower, worst, values)
                    after = torch.where(lower[:, None], moved, after)
                    further = torch.where(lower[:, None], wider, further)
            read = torch.addcmul(before, layer, reach).relu()
        return signs, values

    def _before(self, k: int, read: Tensor) -> tuple[Tensor, Tensor]:
        """What units of layer k add up from what they read, and how far a shift moves each."""
        reach = self.widths[k] * (read.abs().sum(1, keepdim=True) + 1.0)
        return read @ self.weights[k].T + self.biases[k], reach

    def _behind(self, k: int, before: Tensor, reach: Tensor, signs: list[Tensor]) -> Tensor:
        """Turned decisions from what layer k adds up."""
        while k < len(signs):
            hidden = torch.addcmul(before, signs[k], reach).relu()
            k += 1
            before, reach = self._before(k, hidden)
        return (before - reach)[:, 0]

    def _descent(
        self, inputs: Tensor, signs: list[Tensor], rounds: int
    ) -> tuple[list[Tensor], Tensor]:
        """Signs asked again under the shift that they make; the lowest decisions met."""
        best, read = self.forward(inputs, signs)
        kept = signs
        for _ in range(rounds - 1 if len(self.weights) > 2 else 0):
            signs = self._signs(read, signs)
            worst, read = self.forward(inputs, signs)
            lower = (worst < best)[:, None]
            kept = [torch.where(lower, s, k) for s, k in zip(signs, kept, strict=True)]
            best = torch.minimum(best, worst)
        return kept, best

    def _signs(self, read: list[Tensor], signs: list[Tensor] | None) -> list[Tensor]:
        """Per hidden unit the direction that lowers the decision, from the slopes behind it."""
        n, last = len(read[0]), len(self.weights) - 1
        # Slope of the decision in what the last layer reads, which is never negative.
        slope = (self.weights[last][0] - self.widths[last]).expand(n, -1)
        found = [torch.where(slope > 0, -1.0, 1.0).double()]
        for k in range(last - 1, 0, -1):
            through = slope * (read[k + 1] > 0)
            push = found[0] if signs is None else signs[k]
            slope = through @ self.weights[k]
            slope = slope + self.widths[k] * (through * push).sum(1, keepdim=True)
            found.insert(0, torch.where(slope > 0, -1.0, 1.0).double())
        return found


class Hardened:
    """A model's view with another decision in its place, e.g. the worst after a shift.

    Searches that are given :func:`hardened` problems keep every rule of the problem and stop where
    the other decision reaches the target.
    """

    def __init__(self, view: object, score: Callable[[np.ndarray], np.ndarray], decide: Decide):
        self._view, self._score, self.decision_encoded = view, score, decide

    def __getattr__(self, name: str):
        return getattr(self._view, name)

    def score_codes(self, codes: np.ndarray) -> np.ndarray:
        """Score of the other decision."""
        return self._score(codes)


def hardened(
    problem: RecourseProblem,
    beyond: Callable[[np.ndarray], np.ndarray],
    decide: Decide,
    margin: float = 0.0,
) -> RecourseProblem:
    """The problem with another decision.

    Args:
        beyond: Design rows -> decision beyond the target, turned so that positive is accepted.
        decide: The same, differentiable and as a decision of the model.
        margin: How far beyond the target it must be.
    """
    link, sign = problem.view.link, problem.target.sign
    goal = inverse_link(link, problem.target.threshold)

    def score(codes: np.ndarray) -> np.ndarray:
        reached = beyond(problem.space.design(codes)) - margin
        return apply_link(link, goal + sign * reached)

    other = copy.copy(problem)
    other.view = Hardened(problem.view, score, lambda design: decide(design) - sign * margin)
    return other
