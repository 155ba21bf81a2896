"""What a loss function sees: a batch of rows for each member."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..core.errors import DataError, ParameterError, did_you_mean
from .stochastic import random_bits, standard_normal

RESERVED = {"rows", "weight", "members", "epoch", "training", "mean", "normal", "ignores_weight"}


class Draw(NamedTuple):
    """Rows drawn for the active members."""

    rows: Tensor  # (m, b)
    weight: Tensor  # (m, b)
    weighted: bool  # whether any weight differs from one
    moves: Tensor  # (m, 1): 0 for members whose epoch is over
    tensors: Mapping[str, Tensor]  # (m, b, ...)


class Batch:
    """Rows of the data for each member: ``batch.x`` is (m, b, ...) for data called ``x``.

    Attributes:
        rows: Row numbers in the data, (m, b).
        weight: Row weights, (m, b), mean one over a member's rows; 0 marks padding.
        members: The members being trained, (m,); those that have stopped are absent.
        epoch: From 1.
        training: False when the loss is computed on validation rows.
    """

    def __init__(
        self,
        draw: Draw,
        members: Tensor,
        epoch: int,
        words: Tensor,
        counter: Tensor,
        training: bool = True,
    ):
        self._draw, self._words, self._counter = draw, words, counter
        self.rows, self.members, self.epoch, self.training = draw.rows, members, epoch, training
        self.ignores_weight = draw.weighted

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("_"):
            raise AttributeError(name)
        tensors = self._draw.tensors
        if name not in tensors:
            raise AttributeError(
                f"there are no data called {name!r}. {did_you_mean(name, tensors)}"
            )
        return tensors[name]

    @property
    def weight(self) -> Tensor:
        """Row weights, (m, b)."""
        self.ignores_weight = False
        return self._draw.weight

    def mean(self, values: Tensor, among: Tensor | None = None) -> Tensor:
        """Weighted mean over the rows, per member: (m, b) or (m, b, ...) -> (m,).

        Args:
            values: One number per row; further axes are averaged.
            among: Indicator or weight (m, b) of the rows that count, e.g. the treated; a member
                without such rows in the batch gets 0.
        """
        weight = self.weight
        if values.ndim < 2 or values.shape[1] != weight.shape[1]:
            raise ParameterError(
                f"has shape {tuple(values.shape)}, expected one value for each of "
                f"{tuple(weight.shape)} rows",
                column="values",
                advice="Drop the last axis of a network's output: net(x)[..., 0].",
            )
        values = values.flatten(2).mean(2) if values.ndim > 2 else values
        if among is None:
            return (values * weight).sum(1) / (weight > 0).sum(1).clamp(min=1)
        weight = weight * among
        total = weight.sum(1)
        return (values * weight).sum(1) / torch.where(total > 0, total, 1.0)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers (m, b, *shape), each member's from its own seed.

        On validation rows they are the same in every epoch, so that epochs can be compared.
        """
        rows, units = self.rows.shape[1], math.prod(shape)
        bits = random_bits(self._words, self._counter, rows, units)
        self._counter = self._counter + 1
        return standard_normal(bits, self._draw.weight.dtype).view(*self.rows.shape, *shape)


class Rows:
    """The rows and weights of each member, and the tensors they point into.

    Args:
        shared: Tensors (n, ...) that all members see.
        own: Tensors (M, n, ...), one slice per member.
        index: For each member the numbers of its rows.
        weight: For each member the weights of these rows.
    """

    def __init__(
        self,
        shared: Mapping[str, Tensor],
        own: Mapping[str, Tensor],
        index: Sequence[np.ndarray],
        weight: Sequence[np.ndarray],
        like: Tensor,
    ):
        self.shared, self.own, self.index = shared, own, index
        self.weight = [w / w.mean() for w in weight]
        self.like = like
        self.all_the_same = all(np.array_equal(i, index[0]) for i in index[1:])

    def whole(self, members: np.ndarray) -> Draw:
        """All rows of some members, padded to the longest."""
        longest = max(len(self.index[m]) for m in members)
        rows, weight = np.empty((len(members), longest), dtype=np.int64), _zeros(members, longest)
        for k, m in enumerate(members):
            n = len(self.index[m])
            rows[k, :n], weight[k, :n] = self.index[m], self.weight[m]
            rows[k, n:] = rows[k, 0]
        rows, at = self._place(rows), self._place(members)
        if self.all_the_same:  # nothing to copy: one view for all members
            tensors = {
                k: t[rows[0]].expand(len(members), *[-1] * t.ndim) for k, t in self.shared.items()
            }
            tensors |= self._gather({}, self.own, rows, at)
        else:
            tensors = self._gather(self.shared, self.own, rows, at)
        moves = self.like.new_ones(len(members), 1)
        return Draw(rows, self._number(weight), bool((weight != 1).any()), moves, tensors)

    def shuffled(
        self, members: np.ndarray, size: int, generators: Sequence[np.random.Generator]
    ) -> Iterator[Draw]:
        """One epoch of mini-batches in each member's own order.

        A member with fewer rows than the others has had all of them before the epoch ends; it
        then sees rows again but takes no step, exactly as if it were alone.
        """
        lengths = np.array([len(self.index[m]) for m in members])
        steps = -(-lengths // size)
        width = int(steps.max()) * size
        rows, weight = np.empty((len(members), width), dtype=np.int64), _zeros(members, width)
        for k, m in enumerate(members):
            order, n = generators[m].permutation(lengths[k]), lengths[k]
            rows[k, :n], weight[k, :n] = self.index[m][order], self.weight[m][order]
            rows[k, n:] = rows[k, 0]
            # Steps after its last: real rows, so that every loss stays defined.
            rows[k, steps[k] * size :] = np.resize(rows[k, :n], width - steps[k] * size)
            weight[k, steps[k] * size :] = 1.0
        all_rows, all_weight, at = self._place(rows), self._number(weight), self._place(members)
        moves = self._number(steps[:, None] > np.arange(steps.max()))
        for step in range(int(steps.max())):
            # Columns that are padding for everybody are cut off.
            longest = int(lengths[steps > step].max())
            part = slice(step * size, min((step + 1) * size, longest))
            own = all_rows[:, part]
            yield Draw(
                own,
                all_weight[:, part],
                bool((weight[:, part] != 1).any()),
                moves[:, step : step + 1],
                self._gather(self.shared, self.own, own, at),
            )

    def refuse_missing(self) -> None:
        """Raise for the first tensor that holds NaN or infinity."""
        for name, tensor in {**self.shared, **self.own}.items():
            bad = torch.nonzero(~torch.isfinite(tensor))
            if len(bad):
                row = int(bad[0][1 if name in self.own else 0])
                value = float(tensor[tuple(bad[0])])
                raise DataError("is not finite", column=name, row=row, value=value)

    @staticmethod
    def _gather(
        shared: Mapping[str, Tensor], own: Mapping[str, Tensor], rows: Tensor, members: Tensor
    ) -> dict[str, Tensor]:
        flat = rows.flatten()
        found = {k: t.index_select(0, flat).unflatten(0, rows.shape) for k, t in shared.items()}
        for name, tensor in own.items():
            at = (rows + members[:, None] * tensor.shape[1]).flatten()
            found[name] = tensor.flatten(0, 1).index_select(0, at).unflatten(0, rows.shape)
        return found

    def _place(self, whole_numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(whole_numbers).to(self.like.device)

    def _number(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.like)


def _zeros(members: np.ndarray, width: int) -> np.ndarray:
    return np.zeros((len(members), width))


def as_tensors(
    data: Mapping[str, Any], axis: int, like: Tensor
) -> tuple[dict[str, Tensor], int | None]:
    """Arrays to tensors (floats in the network's dtype) and their common number of rows."""
    tensors: dict[str, Tensor] = {}
    length = None
    for name, value in data.items():
        if name in RESERVED or name.startswith("_") or not name.isidentifier():
            raise ParameterError("can't be the name of data; a batch uses it", column=name)
        try:
            tensor = value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
        except TypeError as error:
            raise DataError("does not hold numbers", column=name) from error
        tensor = tensor.detach().to(like if tensor.is_floating_point() else like.device)
        if tensor.ndim <= axis:
            raise DataError(f"has shape {tuple(tensor.shape)} and no axis of rows", column=name)
        if length is not None and tensor.shape[axis] != length:
            raise DataError(f"has {tensor.shape[axis]} rows, others have {length}", column=name)
        length = tensor.shape[axis]
        tensors[name] = tensor
    return tensors, length
