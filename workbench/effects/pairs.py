"""Pairs of observed units: for each row partners of another arm that are near in an embedding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np

from ..core.errors import ParameterError
from ..core.saving import saveable
from ..core.seeding import Seed, generator

Pairing = Literal["softmax", "knn", "random"]

_BY_ROW = ("distance", "candidates", "fallback")
_CHUNK = 512  # anchors whose distances are held at once
_MOST_CANDIDATES = 4096  # of which the partners of a chunk are sampled
_FEW = 1000  # anchors from which temperature and pruning are set


@saveable
@dataclass(frozen=True)
class Pairs:
    """Partners of each row.

    Attributes:
        partner: Rows of another arm, (n, C); -1 where a row took no part.
        distance: Their distance in the embedding, (n, C).
        candidates: Effective number of candidates of each row, exp(entropy) of the law that
            partners were drawn from, mean over arms, (n,).
        pruned: Share of candidate pairs that were too far apart to be drawn.
        fallback: Rows all of whose candidates were too far: they got their nearest one.
        temperature: Distance by which the probability of a partner falls to 1/e.
    """

    partner: np.ndarray
    distance: np.ndarray
    candidates: np.ndarray
    pruned: float
    fallback: np.ndarray
    temperature: float

    def renumbered(self, rows: np.ndarray) -> Self:
        """The same pairs where row k is called ``rows[k]``, a permutation."""
        back = np.empty_like(rows)
        back[rows] = np.arange(len(rows))
        partner = np.where(self.partner >= 0, rows[self.partner], -1)
        return replace(
            self,
            partner=partner[back],
            distance=self.distance[back],
            candidates=self.candidates[back],
            fallback=self.fallback[back],
        )


def joined(parts: Sequence[tuple[np.ndarray, Pairs]], n: int) -> Pairs:
    """Pairs drawn within parts of n rows, given as (row numbers, pairs), as one.

    Temperature and pruned share are those of the first part.
    """
    rows = np.concatenate([at for at, _ in parts])
    partner = np.concatenate([np.where(p.partner >= 0, at[p.partner], -1) for at, p in parts])
    back = np.empty(n, dtype=int)
    back[rows] = np.arange(n)
    whole = [np.concatenate([getattr(p, name) for _, p in parts])[back] for name in _BY_ROW]
    first = parts[0][1]
    return Pairs(partner[back], *whole[:2], first.pruned, whole[2], first.temperature)


def draw_pairs(
    psi: np.ndarray,
    arm: np.ndarray,
    n_arms: int,
    *,
    weight: np.ndarray | None = None,
    pairing: Pairing = "softmax",
    num_pairs: int = 3,
    temperature: float | Literal["auto"] = "auto",
    drop_frac: float = 0.1,
    random_state: Seed = 0,
) -> Pairs:
    """Draw partners of another arm for every row, without replacement while there are any.

    The probability of partner j of row i is proportional to ``weight_j exp(-|psi_i - psi_j| / T)``
    (``"softmax"``), to ``weight_j`` (``"random"``), or the nearest are taken (``"knn"``). Pairs
    among the farthest ``drop_frac`` are never drawn, except for ``"random"``. With more than two
    arms each row draws from the others in turn, starting with a random one.

    Args:
        psi: Embedding, (n, d).
        arm: Position of the arm received, (n,).
        n_arms: K.
        weight: Row weights, (n,).
        pairing: The law of partners.
        num_pairs: Partners of each row, C.
        temperature: T; ``"auto"`` takes the median distance to the nearest row of another arm, so
            that the unit of psi has no influence.
        drop_frac: Share of pairs that are too far.
        random_state: Seed.

    Returns:
        The :class:`Pairs`. Above 4096 candidates a chunk of rows samples from as many drawn at
        random; ``"knn"`` always sees all.

    Example:
        >>> psi = np.array([[0.0], [0.1], [5.0], [5.1]])
        >>> draw_pairs(psi, np.array([0, 1, 0, 1]), 2, pairing="knn", num_pairs=1).partner.ravel()
        array([1, 0, 3, 2])
    """
    rng = generator(random_state)
    n = len(psi)
    weight = np.ones(n) if weight is None else weight
    members = [np.flatnonzero(arm == a) for a in range(n_arms)]
    limit, spread = _scale(psi, arm, members, drop_frac)
    temperature = spread if temperature == "auto" else float(temperature)
    law = _Law(pairing, max(temperature, 1e-12), np.inf if pairing == "random" else limit)
    partner = np.full((n, num_pairs), -1)
    distance = np.full((n, num_pairs), np.nan)
    candidates, fallback = np.zeros(n), np.zeros(n, dtype=bool)
    pruned = possible = 0
    first = rng.integers(0, max(n_arms - 1, 1), n)
    slots = np.arange(num_pairs)
    for a, mine in enumerate(members):
        others = [b for b in range(n_arms) if b != a and len(members[b])]
        for start in range(0, len(mine) if others else 0, _CHUNK):
            rows = mine[start : start + _CHUNK]
            turn = (first[rows, None] + slots) % len(others)
            for place, b in enumerate(others):
                pool = members[b]
                if len(pool) > _MOST_CANDIDATES and pairing != "knn":
                    pool = pool[np.sort(rng.choice(len(pool), _MOST_CANDIDATES, replace=False))]
                found = law.draw(_distances(psi[rows], psi[pool]), weight[pool], num_pairs, rng)
                here = turn == place
                rank = np.maximum(here.cumsum(axis=1) - 1, 0)
                chosen = np.take_along_axis(found.chosen, rank, axis=1)
                far = np.take_along_axis(found.distance, rank, axis=1)
                partner[rows] = np.where(here, pool[chosen], partner[rows])
                distance[rows] = np.where(here, far, distance[rows])
                candidates[rows] += found.candidates / len(others)
                fallback[rows] |= found.alone
                pruned += found.pruned
                possible += len(rows) * len(pool)
    share = pruned / max(possible, 1)
    return Pairs(partner, distance, candidates, share, fallback, law.temperature)


@dataclass(frozen=True)
class _Found:
    chosen: np.ndarray  # positions among the candidates, (b, C)
    distance: np.ndarray  # (b, C)
    candidates: np.ndarray  # (b,)
    alone: np.ndarray  # (b,)
    pruned: int


@dataclass(frozen=True)
class _Law:
    """How partners are drawn from distances."""

    pairing: Pairing
    temperature: float
    limit: float

    def __post_init__(self):
        if self.pairing not in ("softmax", "knn", "random"):
            raise ParameterError(
                "must be 'softmax', 'knn' or 'random'", column="pairing", value=self.pairing
            )

    def draw(
        self, distance: np.ndarray, weight: np.ndarray, num_pairs: int, rng: np.random.Generator
    ) -> _Found:
        logit = np.broadcast_to(np.log(weight), distance.shape)
        if self.pairing != "random":
            logit = logit - distance / self.temperature
        far = distance > self.limit
        alone = far.all(axis=1)
        nearest = distance.argmin(axis=1)
        open_ = ~far
        open_[alone, nearest[alone]] = True
        logit = np.where(open_, logit, -np.inf)
        # Perturbed by Gumbel noise the largest are a sample without replacement from the softmax.
        key = (
            np.where(open_, -distance, -np.inf)
            if self.pairing == "knn"
            else logit + rng.gumbel(size=logit.shape)
        )
        take = min(num_pairs, key.shape[1])
        best = np.argpartition(-key, take - 1, axis=1)[:, :take]
        best = np.take_along_axis(
            best, np.argsort(-np.take_along_axis(key, best, 1), axis=1, kind="stable"), 1
        )
        # Where fewer are open than asked for they are used again in turn.
        usable = np.isfinite(np.take_along_axis(key, best, 1)).sum(axis=1)
        chosen = np.take_along_axis(best, np.arange(num_pairs) % usable[:, None], 1)
        chance = np.exp(logit - logit.max(axis=1, keepdims=True))
        chance /= chance.sum(axis=1, keepdims=True)
        entropy = -(chance * np.log(np.where(chance > 0, chance, 1.0))).sum(axis=1)
        return _Found(
            chosen=chosen,
            distance=np.take_along_axis(distance, chosen, 1),
            candidates=np.exp(entropy),
            alone=alone,
            pruned=int(far.sum()),
        )


def _scale(
    psi: np.ndarray, arm: np.ndarray, members: list[np.ndarray], drop_frac: float
) -> tuple[float, float]:
    """The distance beyond which pairs are pruned, and the median distance to the nearest one."""
    nearest, all_pairs = [], []
    step = -(-len(psi) // _FEW)
    for a, mine in enumerate(members):
        for b, pool in enumerate(members):
            if b == a or not len(mine) or not len(pool):
                continue
            distance = _distances(psi[mine[::step]], psi[pool])
            nearest.append(distance.min(axis=1))
            all_pairs.append(distance[:, :: max(1, len(pool) // 5000)].ravel())
    if not nearest:
        return np.inf, 1.0
    limit = np.quantile(np.concatenate(all_pairs), 1 - drop_frac) if drop_frac else np.inf
    return float(limit), float(np.median(np.concatenate(nearest)))


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    from scipy.spatial.distance import cdist

    return cdist(a, b)
