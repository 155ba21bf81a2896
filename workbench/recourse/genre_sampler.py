"""Decoding: tokens are drawn or followed one feature at a time, and no rule can be broken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .genre_network import PairTransformer, Writer
from .genre_tokens import KEEP, Vocabulary
from .problem import RecourseProblem

_ROWS = 4000  # outcomes written at once: what is cached for them stays small


@dataclass(frozen=True, eq=False)
class Draws:
    """Outcomes of people.

    Attributes:
        codes: ``(n, S, F)``.
        log_likelihood: log R(outcome | person) at temperature 1, ``(n, S)``; -inf where no
            permitted token was left.
    """

    codes: np.ndarray
    log_likelihood: np.ndarray


class Sampler:
    """What a trained network says about people, under the rules of a problem.

    Args:
        net: With one member.
        vocabulary: Its tokens.
        problem: Whose rules hold; it may be stricter than the one the network was trained for.
    """

    def __init__(self, net: PairTransformer, vocabulary: Vocabulary, problem: RecourseProblem):
        self.net, self.vocabulary, self.problem = net, vocabulary, problem

    def draw(self, x: np.ndarray, samples: int, temperature: float, rng) -> Draws:
        """Draw outcomes from R(· | x) sharpened to R^(1/temperature) token by token.

        The uniform numbers are the same for everybody, so nobody's outcomes depend on who else is
        asked, and spread evenly over the samples of each feature.
        """
        width = x.shape[1]
        order = rng.permuted(np.tile(np.arange(samples), (width, 1)), axis=1)
        uniform = (order + rng.random((width, samples))) / samples
        uniform = torch.from_numpy(uniform).float()

        def choose(j: int, log: torch.Tensor) -> torch.Tensor:
            ladder = (log / temperature).softmax(-1).cumsum(-1)
            aim = uniform[j].repeat(len(log) // samples)[:, None] * ladder[:, -1:]
            return (ladder <= aim).sum(-1).clamp(max=log.shape[1] - 1)

        parts = [self._walk(x[p], samples, choose) for p in _chunks(len(x), _ROWS // samples)]
        if not parts:
            return Draws(np.empty((0, samples, width)), np.empty((0, samples)))
        codes, log = (np.concatenate(side) for side in zip(*parts, strict=True))
        return Draws(codes, log)

    def log_likelihood(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        """log R(z | x) for pairs of rows, ``(n,)``; a number stands for its bin.

        Exactly what :meth:`draw` draws from at temperature 1: over all sequences of tokens it
        sums to 1.
        """
        out = np.empty(len(x))
        for part in _chunks(len(x), _ROWS):
            tokens = torch.from_numpy(self.vocabulary.tokens(x[part], z[part]))
            out[part] = self._walk(x[part], 1, lambda j, log, t=tokens: t[:, j])[1][:, 0]
        return out

    @torch.no_grad()
    def _walk(self, x: np.ndarray, samples: int, choose) -> tuple[np.ndarray, np.ndarray]:
        net, (n, width) = self.net, x.shape
        options = Options(self.vocabulary, self.problem, x)
        rules = _Rules(self.problem, options, samples)
        bins = torch.from_numpy(self.vocabulary.bins(x))
        inputs = torch.from_numpy(self.vocabulary.inputs(x)).float()
        writer = Writer(net, bins, inputs, samples)
        price = torch.from_numpy(options.moves).float() * net.lam * net.slope[0][:, None]
        total = torch.zeros(n * samples, dtype=torch.float64)
        codes, tokens = np.empty((n * samples, width)), None
        for j in range(width):
            logits = writer.logits(tokens) - price[:, j].repeat_interleave(samples, 0)
            allowed = rules.allowed(j)
            none = ~allowed.any(axis=1)
            allowed[none, KEEP] = True  # a dead end: it goes on, and counts for nothing
            mask = torch.from_numpy(allowed)
            log = logits.masked_fill(~mask, -torch.inf).log_softmax(-1)
            tokens = choose(j, log)
            total += log.gather(1, tokens[:, None])[:, 0].double()
            total[torch.from_numpy(none)] = -torch.inf
            codes[:, j] = rules.take(j, tokens.numpy())
        return codes.reshape(n, samples, width), total.numpy().reshape(n, samples)


class Options:
    """Values ``(n, F, T)``, their costs and whether they are permitted, for some people."""

    def __init__(self, vocabulary: Vocabulary, problem: RecourseProblem, x: np.ndarray):
        self.x = x
        self.values, self.allowed = vocabulary.options(problem, x)
        self.moves = vocabulary.moves(problem, x, self.values)
        self.allowed &= np.isfinite(self.moves)


class _Rules:
    """What the tokens chosen so far leave open: couplings, number of changes, budget.

    A coupling ``low <= sum_j c_j z_j <= high`` forbids a token from which even the most helpful
    choice of the features to come can't reach the range. With one coupling over numbers without
    gaps that is exact; the final check of every outcome settles the rest.
    """

    def __init__(self, problem: RecourseProblem, options: Options, samples: int):
        self.problem, self.options, self.samples = problem, options, samples
        rows = len(options.x) * samples
        self.changes = np.zeros(rows, dtype=int)
        self.spent = np.zeros(rows)
        matrix = self.coupled = problem.couplings.matrix
        self.sums = np.zeros((len(matrix), rows))
        self.rest = [self._rest(row) for row in matrix]
        self.norm = problem.cost.norm
        self.power = 2.0 if self.norm == "l2" else 1.0

    def _rest(self, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Least and most that the features after each one can add, ``(n, F)``."""
        terms = row[:, None] * self.options.values
        ends = []
        for worst, extreme in ((np.inf, np.min), (-np.inf, np.max)):
            best = extreme(np.where(self.options.allowed, terms, worst), axis=2)
            after = np.cumsum(best[:, ::-1], axis=1)[:, ::-1] - best
            ends.append(after)
        return ends[0], ends[1]

    def _spread(self, part: np.ndarray) -> np.ndarray:
        return np.repeat(part, self.samples, axis=0)

    def allowed(self, j: int) -> np.ndarray:
        """Tokens of feature j that are still permitted, ``(N, T)``."""
        problem, good = self.problem, self._spread(self.options.allowed[:, j])
        if problem.max_changes is not None:
            good[self.changes >= problem.max_changes, 1:] = False
        if problem.budget is not None:
            cost = self._spread(self._alone(j)) ** self.power
            left = (problem.budget * (1 + 1e-9)) ** self.power - self.spent
            good &= (cost <= left[:, None]) | (cost == 0)
        couplings = problem.couplings
        for i, row in enumerate(self.coupled):
            if not row[j]:
                continue
            slack = 1e-9 * (np.abs(row) @ problem.cost.scale)
            reached = self.sums[i][:, None] + row[j] * self._spread(self.options.values[:, j])
            least, most = (self._spread(side[:, j, None]) for side in self.rest[i])
            good &= reached + least <= couplings.high[i] + slack
            good &= reached + most >= couplings.low[i] - slack
        return good

    def _alone(self, j: int) -> np.ndarray:
        """Cost ``(n, T)`` of acting on feature j only."""
        moves = np.zeros((*self.options.moves[:, j].shape, len(self.problem.space)))
        moves[..., j] = self.options.moves[:, j]
        return self.problem.cost.total(moves)

    def take(self, j: int, tokens: np.ndarray) -> np.ndarray:
        """Note the tokens ``(N,)`` of feature j; gives their values."""
        person = np.arange(len(tokens)) // self.samples
        value = self.options.values[person, j, tokens]
        self.changes += tokens != KEEP
        if self.problem.budget is not None and self.norm != "linf":
            self.spent += self._alone(j)[person, tokens] ** self.power
        for i, row in enumerate(self.coupled):
            self.sums[i] += row[j] * value
        return value


def _chunks(n: int, size: int) -> list[slice]:
    size = max(size, 1)
    return [slice(i, min(i + size, n)) for i in range(0, n, size)]
