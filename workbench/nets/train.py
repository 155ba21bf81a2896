"""The one training loop: any network with a member axis, any loss, every member on its own."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import DataError, ParameterError
from ..core.seeding import Seed, generator
from .batches import Batch, Draw, Rows, as_tensors
from .history import History
from .members import Seeds, count_members, member_seeds, split_seeds
from .optimise import Adam, Weights
from .rows import choose_rows
from .stochastic import CALLS_PER_STEP, Stochastic, seed_words

Loss = Callable[[nn.Module, Batch], Tensor]
Schedule = Literal["constant", "cosine"] | Callable[[float], float]


def train(
    net: nn.Module,
    loss: Loss,
    data: Mapping[str, Any],
    *,
    member_data: Mapping[str, Any] | None = None,
    rows: Sequence[Any] | None = None,
    weight: Any = None,
    validation: float | Sequence[Any] | None = None,
    epochs: int = 200,
    batch_size: int | None = 128,
    learning_rate: float | Sequence[float] = 1e-3,
    schedule: Schedule = "constant",
    weight_decay: float | Sequence[float] = 0.0,
    l2: float | Sequence[float] = 0.0,
    clip_norm: float | None = None,
    patience: int | None = None,
    tolerance: float = 0.0,
    device: str = "auto",
    progress: bool = True,
    random_state: Seed | Seeds = 0,
) -> History:
    """Train the M members of a network together, each exactly as if it were alone.

    Minimises ``sum_m loss_m`` by Adam. The members share nothing: each has its own rows, order
    of rows, validation rows, optimiser state, clipping and stopping. A member that stops leaves
    the batch and the others go on. With validation rows each member ends with the weights of its
    best epoch, else with its last. The network is left on its device, in ``eval`` mode.

    Args:
        net: Every parameter has a leading axis of length M (see :func:`count_members`); its
            ``forward`` takes the number of members from its input, not from a constant.
        loss: ``loss(net, batch)`` gives one number per member, (m,); usually
            ``batch.mean(row_losses)`` plus penalties. See :class:`Batch`. Validation losses are
            computed without gradients and with ``batch.training`` False.
        data: Name -> tensor or array (n, ...) that all members see.
        member_data: Name -> tensor or array (M, n, ...), one slice per member.
        rows: For each member its row numbers (repeats allowed: a bootstrap) or a mask; a fold.
        weight: Row weights, (n,) or (M, n). Rows of weight 0 are left out.
        validation: Share of each member's rows held out at random, or for each member its row
            numbers (for clusters, strata or time order). Held-out rows are never trained on.
        epochs: At most so many passes over the rows.
        batch_size: Rows per step; None takes all rows in each step.
        learning_rate: Adam's step, one number or one per member.
        schedule: ``"constant"``, ``"cosine"`` (to 0), or a function of the share of epochs done,
            in [0, 1), that gives a factor.
        weight_decay: Decoupled decay of weight matrices (AdamW), one number or one per member.
        l2: Adds ``l2 / 2 * |W|^2`` over weight matrices to what is minimised (ridge), one number
            or one per member; not part of the losses reported.
        clip_norm: Largest norm of a member's gradient.
        patience: Stop a member after so many epochs without improvement of its validation loss
            (training loss without validation rows).
        tolerance: What counts as an improvement of the loss.
        device: ``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"``, ...
        progress: Show a bar if it takes longer than two seconds.
        random_state: A seed from which each member's is spawned, or a list of M seed sequences.

    Returns:
        The :class:`History`.

    Raises:
        ParameterError: A parameter, or the loss function's result, makes no sense; or a loss
            stopped being finite (the error names member and epoch).
        DataError: Tensors of unequal length, NaN in the data, a member without rows.
        KeyboardInterrupt: Ctrl-C, after the best weights so far have been put in place.

    References:
        Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015. Loshchilov and
        Hutter, "Decoupled weight decay regularization", ICLR 2019.

    Example:
        An ensemble of five regressions, trained as one network:

        >>> from workbench.nets import BatchedMLP, train
        >>> x = torch.linspace(-2, 2, 200)[:, None]
        >>> y = torch.sin(2 * x[:, 0])
        >>> net = BatchedMLP(5, [1, 32, 32, 1], random_state=0)
        >>> def squared_error(net, batch):
        ...     return batch.mean((net(batch.x)[..., 0] - batch.y) ** 2)
        >>> history = train(net, squared_error, {"x": x, "y": y}, validation=0.2, epochs=150,
        ...                 learning_rate=1e-2, patience=30)
        >>> curve, spread = net(x)[..., 0].mean(0), net(x)[..., 0].std(0)
        >>> bool(((curve - y) ** 2).mean() < 0.01), history.best_epoch.shape
        (True, (5,))
    """
    started = time.monotonic()
    for name, value, low in (
        ("epochs", epochs, 1),
        ("batch_size", batch_size, 1),
        ("patience", patience, 1),
        ("clip_norm", clip_norm, 0),
    ):
        if value is not None and not (value >= low and value > 0):
            raise ParameterError("must be positive", column=name, value=value)
    members = count_members(net)
    split, order, noise = split_seeds(member_seeds(random_state, members), 3)
    home = next(net.parameters()).device
    net.to(_device(device))
    try:
        like = next(net.parameters()).detach()
        shared, own, n = _tensors(data, member_data or {}, members, like)
        index, heavy, held, held_weight = choose_rows(
            members, n, rows, weight, validation, [generator(s) for s in split]
        )
        run = _Run(
            net=net,
            loss=loss,
            rows=Rows(shared, own, index, heavy, like),
            held=Rows(shared, own, held, held_weight, like) if held is not None else None,
            batch_size=batch_size,
            generators=[generator(s) for s in order],
            words=seed_words(noise).to(like.device),
            rate=_per_member(learning_rate, members, "learning_rate", like),
            decay=_per_member(weight_decay, members, "weight_decay", like),
            l2=_per_member(l2, members, "l2", like),
            clip_norm=clip_norm,
            schedule=_factor(schedule),
            patience=patience,
            tolerance=tolerance,
        )
        with Weights(net) as weights:
            losses, best_epoch, stopped = run.go(weights, epochs, progress)
    finally:
        net.to(home)
        net.eval()
    return History(
        training=losses[:, 0],
        validation=losses[:, 1] if held is not None else None,
        best_epoch=best_epoch,
        stopped=stopped,
        seconds=time.monotonic() - started,
    )


@dataclass
class _Run:
    """One training in progress; tensors by member have the members still active as first axis."""

    net: nn.Module
    loss: Loss
    rows: Rows
    held: Rows | None
    batch_size: int | None
    generators: Sequence[np.random.Generator]
    words: Tensor
    rate: Tensor
    decay: Tensor | None
    l2: Tensor | None
    clip_norm: float | None
    schedule: Callable[[float], float]
    patience: int | None
    tolerance: float
    checked: bool = False

    def go(
        self, weights: Weights, epochs: int, progress: bool
    ) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
        from tqdm import tqdm

        members = len(self.words)
        self.weights, self.adam = weights, Adam(weights.values, weights.decays)
        best, best_epoch = np.full(members, np.inf), np.zeros(members, dtype=int)
        since, stopped, table = np.zeros(members, dtype=int), ["epochs"] * members, []
        self._lay_out()
        with tqdm(total=epochs, desc="training", delay=2, leave=False, disable=not progress) as bar:
            for epoch in range(1, epochs + 1):
                active = weights.members
                losses = np.full((2, members), np.nan)
                losses[0, active] = self._train_epoch(epoch, self.schedule((epoch - 1) / epochs))
                if self.held is not None:
                    losses[1, active] = self._validate(epoch)
                table.append(losses)
                watched = losses[0 if self.held is None else 1, active]
                better = watched < best[active] - self.tolerance
                best[active[better]] = watched[better]
                since[active] = np.where(better, 0, since[active] + 1)
                keep = better if self.held is not None else np.ones_like(better)
                best_epoch[active[keep]] = epoch
                weights.keep(keep)
                bar.update()
                over = since[active] >= (self.patience or math.inf)
                for member in active[over]:
                    stopped[member] = "patience"
                if over.all():
                    break
                if over.any():
                    self._drop(over)
        return np.stack(table), best_epoch, tuple(stopped)

    def _train_epoch(self, epoch: int, factor: float) -> np.ndarray:
        self.net.train()
        total, count = self.adam.steps.new_zeros(2, len(self.weights.members))
        for draw in self._draws():
            counter = self.adam.steps[:, 0].int() * CALLS_PER_STEP
            for layer in self.noisy:
                layer.counter = counter
            losses = self._losses(Batch(draw, self.place, epoch, self.words, counter))
            if not self.checked:
                self._refuse_mixing(losses)
            gradient = self.weights.gradient(losses.sum())
            values = self.weights.values
            if self.l2 is not None:
                gradient += self.l2 * self.weights.decays * values
            if self.clip_norm is not None:
                gradient *= (self.clip_norm / gradient.norm(dim=1, keepdim=True)).clamp(max=1)
            self.adam.step(values, gradient, self.rate * factor, self.decay, draw.moves)
            size = draw.moves[:, 0] * (draw.weight > 0).sum(1)
            total += losses.detach() * size
            count += size
        mean = self._finite(total / count, "training loss", epoch)
        self._finite(self.weights.values.abs().amax(1), "largest weight", epoch)
        return mean

    def _draws(self) -> Iterable[Draw]:
        if self.batch_size is None:
            return [self.everything]
        return self.rows.shuffled(self.weights.members, self.batch_size, self.generators)

    def _validate(self, epoch: int) -> np.ndarray:
        self.net.eval()
        start = torch.zeros_like(self.place, dtype=torch.int32)
        batch = Batch(self.held_out, self.place, epoch, self.words, start, training=False)
        with torch.no_grad():
            return self._finite(self._losses(batch), "validation loss", epoch)

    def _losses(self, batch: Batch) -> Tensor:
        losses = self.loss(self.net, batch)
        expected = (len(self.weights.members),)
        if not isinstance(losses, Tensor) or losses.shape != expected:
            got = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise ParameterError(
                f"must return one number per member, shape {expected}, not {got}",
                column="loss",
                advice="Average over rows with batch.mean(row_losses).",
            )
        if batch.ignores_weight:
            raise ParameterError(
                "ignores the weights of the rows, so that padding or weights would not count",
                column="loss",
                advice="Average over rows with batch.mean(row_losses), or use batch.weight.",
            )
        return losses

    def _refuse_mixing(self, losses: Tensor) -> None:
        """Once per training: the first member's loss must not depend on the others' weights."""
        if not losses.requires_grad:
            raise ParameterError(
                "does not depend on the network's weights",
                column="loss",
                advice="Is something detached or computed without gradients?",
            )
        others = self.weights.gradient(losses[0], retain_graph=True)[1:]
        mixed = ((others != 0) & others.isfinite()).any(1)
        if mixed.any():
            member = self.weights.members[1 + int(mixed.nonzero()[0])]
            raise ParameterError(
                f"mixes members: the loss of member 0 depends on the weights of member {member}",
                column="loss",
                advice="Keep the first axis of every tensor apart, in the network and in the loss.",
            )
        self.checked = True

    def _finite(self, numbers: Tensor, kind: str, epoch: int) -> np.ndarray:
        values = numbers.detach().double().cpu().numpy()
        bad = np.flatnonzero(~np.isfinite(values))
        if not bad.size:
            return values
        self.rows.refuse_missing()
        raise ParameterError(
            f"the {kind} of member {self.weights.members[bad[0]]} is "
            f"{values[bad[0]]} in epoch {epoch}",
            column="learning_rate",
            advice="Lower it, set clip_norm, or look for a logarithm or division in the loss.",
        )

    def _drop(self, over: np.ndarray) -> None:
        stay = torch.from_numpy(np.flatnonzero(~over)).to(self.words.device)
        self.weights.drop(stay)
        self.adam.drop(stay)
        self.words, self.rate = self.words[stay], self.rate[stay]
        self.decay = None if self.decay is None else self.decay[stay]
        self.l2 = None if self.l2 is None else self.l2[stay]
        self._lay_out()

    def _lay_out(self) -> None:
        """What stays the same from epoch to epoch while the same members are active."""
        members = self.weights.members
        self.place = torch.from_numpy(members).to(self.words.device)
        self.noisy = [m for m in self.net.modules() if isinstance(m, Stochastic)]
        if self.batch_size is None:
            self.everything = self.rows.whole(members)
        if self.held is not None:
            self.held_out = self.held.whole(members)


def _tensors(
    data: Mapping[str, Any], member_data: Mapping[str, Any], members: int, like: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor], int]:
    shared, n = as_tensors(data, 0, like)
    own, n_own = as_tensors(member_data, 1, like)
    for name, tensor in own.items():
        if name in shared:
            raise ParameterError("is in data and in member_data", column=name)
        if tensor.shape[0] != members:
            raise DataError(f"has {tensor.shape[0]} slices for {members} members", column=name)
    if n is not None and n_own is not None and n != n_own:
        raise DataError(f"has {n_own} rows per member, the shared data {n}", column="member_data")
    n = n_own if n is None else n
    if not n:
        raise DataError("has no rows", column="data")
    return shared, own, n


def _per_member(value: Any, members: int, name: str, like: Tensor) -> Tensor | None:
    """A number, or one per member, as a column (M, 1); None where all are zero."""
    column = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    if column.shape not in ((), (members,)):
        raise ParameterError(
            f"must be one number or one for each of {members} members", column=name, value=value
        )
    if not bool((column.isfinite() & (column >= 0)).all()):
        raise ParameterError("must be finite and not negative", column=name, value=value)
    if not column.any() and name != "learning_rate":
        return None
    return column.reshape(-1, 1).expand(members, 1)


def _factor(schedule: Schedule) -> Callable[[float], float]:
    if callable(schedule):
        return schedule
    if schedule == "constant":
        return lambda done: 1.0
    if schedule == "cosine":
        return lambda done: (1 + math.cos(math.pi * done)) / 2
    raise ParameterError(
        "must be 'constant', 'cosine' or a function", column="schedule", value=schedule
    )


def _device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise ParameterError(
            "is not a device", column="device", value=device, advice="Use 'auto', 'cpu' or 'cuda'."
        ) from error
