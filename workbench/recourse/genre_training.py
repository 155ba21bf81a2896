"""Pairs of a person and whom the person may become, and the network that is trained on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..core.seeding import Seed, generator, spawn
from ..nets import Batch, History, train
from .genre_network import PairTransformer
from .genre_pairs import PairLaw
from .genre_sampler import Options
from .genre_tokens import KEEP, Vocabulary, kernel_weights
from .problem import RecourseProblem
from .trimmed_target import TrimmedTarget

_HELD = 10  # every tenth is held out
_FEWEST = 50  # below, nothing is
_BATCH, _STEPS = 256, 16  # rows per step, and steps that an epoch has at least
_PATIENCE, _LOOKS = 10, 6  # epochs; ends that each held-out person is judged by
_CHUNK, _OUTCOMES, _DEARER = 250, 8, 12.0  # people at once; outcomes per person; their weighting


@dataclass(frozen=True, eq=False)
class Pairs:
    """Draws of whom each person may become.

    Attributes:
        people: Codes ``(n, F)``.
        ends: Codes ``(m, F)`` of all ends.
        picks: ``(n, R)``, which ends were drawn for each person, one column per epoch.
        held: ``(n,)``, people that training doesn't see.
    """

    people: np.ndarray
    ends: np.ndarray
    picks: np.ndarray
    held: np.ndarray


def empirical_pairs(
    problem: RecourseProblem,
    people: np.ndarray,
    targets: np.ndarray,
    lam: float,
    top_k: int,
    draws: int,
    random_state: Seed,
    combine_from: float | None = None,
) -> Pairs:
    """Draws from :class:`PairLaw`; people who can become no target are left out.

    A tenth of the people is held out to tell when to stop. They may become the same targets as
    the others: what is to be learned is the law of these targets. (Holding out targets as well
    stops far too early where there are few.)

    Args:
        problem, targets, lam, top_k: As for the law.
        people: Codes ``(n, F)``.
        draws: Ends per person.
        random_state: Seed.
        combine_from: If given, targets may differ from the person in what can't change; the end
            is then the target with the person's own values there, drawn again unless its score
            is beyond the threshold by as much.
    """
    split, draw = (generator(s) for s in spawn(random_state, 2))
    law = PairLaw(problem, targets, lam, top_k, combine_from is not None)
    picks = law.draw(people, draws, draw)
    if combine_from is not None:
        targets, picks = _combined(problem, people, targets, picks, combine_from)
    some = picks[:, 0] >= 0
    return Pairs(people[some], targets, picks[some], held_out(int(some.sum()), split))


def _combined(
    problem: RecourseProblem,
    people: np.ndarray,
    targets: np.ndarray,
    picks: np.ndarray,
    bar: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Targets with each person's unchangeable values, and picks of those that are accepted."""
    n, draws = picks.shape
    if not len(targets):
        return targets, picks
    ends = np.where(problem.movable, targets[picks], people[:, None, :]).reshape(n * draws, -1)
    scores = problem.score(ends)
    start = np.repeat(people, draws, axis=0)
    good = problem.accepts(scores) & (problem.target.margin(scores) >= bar)
    good &= problem.permitted(start, ends != start, ends, ends) & (picks.ravel() >= 0)
    good = good.reshape(n, draws)
    # The accepted draws of a person, over and over, in the place of those that are not.
    count = good.sum(axis=1)
    order = np.argsort(~good, axis=1, kind="stable")
    turn = np.arange(draws) % np.maximum(count, 1)[:, None]
    again = np.take_along_axis(order, turn, axis=1) + draws * np.arange(n)[:, None]
    return ends, np.where(count[:, None] > 0, again, -1)


def trimmed_pairs(
    teacher: TrimmedTarget, people: np.ndarray, draws: int, random_state: Seed
) -> Pairs:
    """Draws from the outcomes of a :class:`TrimmedTarget`, weighted by exp(-12 · extra cost).

    A person's extra cost is counted from the cheapest of the person's outcomes.
    """
    rng = generator(random_state)
    found = [(people[:0], np.empty(0, dtype=int))]
    for start in range(0, len(people), _CHUNK):
        x = people[start : start + _CHUNK]
        who, ends = teacher.trimmed(x, *teacher.nearest(x), _OUTCOMES)
        found.append((ends, who + start))
    ends, who = (np.concatenate(side) for side in zip(*found, strict=True))
    cost = teacher.problem_.cost(people[who], ends != people[who], ends)
    least = np.full(len(people), np.inf)
    np.minimum.at(least, who, cost)
    share = np.exp(-_DEARER * (cost - least[who]))
    picks = np.full((len(people), draws), -1, dtype=np.int64)
    for i in np.unique(who):
        mine = np.flatnonzero(who == i)
        picks[i] = rng.choice(mine, draws, p=share[mine] / share[mine].sum())
    some = picks[:, 0] >= 0
    return Pairs(people[some], ends, picks[some], held_out(int(some.sum()), rng))


def held_out(n: int, rng: np.random.Generator) -> np.ndarray:
    """A random tenth, or nothing of few, ``(n,)`` bool."""
    order = rng.permutation(n)
    return order < (n // _HELD if n >= _FEWEST else 0)


def train_generator(
    problem: RecourseProblem,
    pairs: Pairs,
    vocabulary: Vocabulary,
    *,
    width: int,
    layers: int,
    lam: float,
    kernel: float,
    dropout: float,
    learning_rate: float,
    random_state: Seed,
) -> tuple[PairTransformer, History]:
    """A network that has learned pairs; with held-out people, as it was at its best epoch.

    In every epoch each person meets another end; the one that held-out people meet stays the same.
    """
    start, order = spawn(random_state, 2)
    options = Options(vocabulary, problem, pairs.people)
    net = PairTransformer(
        1,
        len(problem.space),
        vocabulary.size,
        width=width,
        layers=layers,
        lam=lam,
        dropout=dropout,
        random_state=start,
    )
    follow = _Follow(problem, pairs, vocabulary, kernel)
    with torch.no_grad():
        net.bias += follow.usual()
    held = np.flatnonzero(pairs.held)
    history = train(
        net,
        follow,
        {
            "bins": vocabulary.bins(pairs.people),
            "inputs": vocabulary.inputs(pairs.people),
            "moves": options.moves.astype(np.float32),
            "allowed": options.allowed,
            "picks": pairs.picks,
        },
        validation=[held] if len(held) else None,
        epochs=pairs.picks.shape[1],
        batch_size=int(np.clip(len(pairs.people) // _STEPS, 16, _BATCH)),
        learning_rate=learning_rate,
        schedule="cosine",
        clip_norm=1.0,
        patience=_PATIENCE if len(held) else None,
        device="cpu",
        progress=False,
        random_state=order,
    )
    return net, history


class _Follow:
    """The loss: cross-entropy of the tokens of a pair, summed over features.

    Every epoch takes the next draw of each person; validation always the same few. Numbers have
    soft targets, a kernel over neighbouring bins; what is forbidden has no target.
    """

    def __init__(
        self, problem: RecourseProblem, pairs: Pairs, vocabulary: Vocabulary, kernel: float
    ):
        self.movable = torch.from_numpy(problem.movable.copy())
        self.people, self.ends = torch.from_numpy(pairs.people), torch.from_numpy(pairs.ends)
        self.bins = torch.from_numpy(vocabulary.bins(pairs.ends))
        self.soft = soft_targets(problem, vocabulary, kernel)
        self.features = torch.arange(len(self.movable))

    def tokens(self, rows: Tensor, ends: Tensor) -> Tensor:
        same = self.ends[ends] == self.people[rows]
        return torch.where(self.movable & ~same, 1 + self.bins[ends], KEEP)

    def usual(self) -> Tensor:
        """Logarithm of how common each bin is among the ends, centred, ``(F, T)``."""
        counts = torch.full(self.soft.shape[:2], 1.0)
        for j, column in enumerate(1 + self.bins.T):
            counts[j] += torch.bincount(column, minlength=counts.shape[1])
        counts[:, KEEP] = counts[:, 1:].mean(1)
        return counts.log() - counts.log().mean(1, keepdim=True)

    def __call__(self, net: PairTransformer, batch: Batch) -> Tensor:
        draws = batch.picks.shape[-1]
        looks = [batch.epoch % draws] if batch.training else range(min(_LOOKS, draws))
        losses = [self._rows(net, batch, batch.picks[..., k]) for k in looks]
        return batch.mean(sum(losses) / len(losses))

    def _rows(self, net: PairTransformer, batch: Batch, ends: Tensor) -> Tensor:
        tokens = self.tokens(batch.rows, ends)
        log = net(batch.bins, batch.inputs, tokens, batch.moves, batch.allowed)
        wanted = self.soft[self.features, tokens] * batch.allowed
        wanted = wanted / wanted.sum(-1, keepdim=True).clamp(min=1e-30)
        return -(wanted * log.masked_fill(~batch.allowed, 0.0)).sum((-1, -2))


def soft_targets(problem: RecourseProblem, vocabulary: Vocabulary, kernel: float) -> Tensor:
    """What is to be said for each token, ``(F, T, T)``: a kernel for numbers, exact for levels."""
    out = np.zeros((len(vocabulary.starts), vocabulary.size, vocabulary.size))
    for j, starts in enumerate(vocabulary.starts):
        end = len(starts)
        out[j, KEEP, KEEP] = 1.0
        width = 0.0 if problem.space.discrete[j] else kernel
        out[j, 1:end, 1:end] = kernel_weights(end - 1, width)
    return torch.from_numpy(out).float()
