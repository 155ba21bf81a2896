"""Made-up dose laws on which defaults for doses were chosen; none is one of the tables'."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ._doses import Law, draws, ours, records, scored, sigmoid
from ._runner import Record, main

ABOUT = "Curves of nine made-up dose laws (development): CF error by law."


def wave(rng: np.random.Generator, n: int) -> tuple:
    """A wave whose size follows two columns."""
    x = rng.uniform(-1.7, 1.7, (n, 8))
    t = sigmoid(1.2 * x[:, 0] + 0.5 * x[:, 2] + 0.9 * rng.normal(size=n))

    def mu(x, t):
        size = 2 + 1.2 * np.tanh(x[:, [0]] + x[:, [1]])
        return size * np.cos(5 * t) * np.exp(-t) + x[:, [2]] ** 2 * t

    return x, t, mu


def half_dose(rng: np.random.Generator, n: int) -> tuple:
    """Saturation, with a half dose that differs between people."""
    x = rng.normal(size=(n, 15))
    x[:, 9:] = x[:, 9:] > 0.3
    t = sigmoid(0.7 * x[:, 0] + 0.7 * x[:, 2] + 0.7 * rng.normal(size=n))

    def mu(x, t):
        half = 0.2 + 0.6 * sigmoid(x[:, [0]] - x[:, [9]] + 0.5)
        return (3 + x[:, [1]]) * sigmoid((t - half) * 12) + 1.5 * x[:, [2]] + 0.5 * x[:, [3]] ** 2

    return x, t, mu


def linear_confounding(rng: np.random.Generator, n: int) -> tuple:
    """Strong confounding, an outcome linear in the covariates."""
    x = rng.normal(size=(n, 10))
    t = sigmoid(1.8 * (x[:, 0] - x[:, 1]) / np.sqrt(2) + 0.7 * rng.normal(size=n))

    def mu(x, t):
        return 2 * x[:, [0]] - 2 * x[:, [1]] + 3 * t**2 + 1.5 * x[:, [2]] * t

    return x, t, mu


def moving_bottom(rng: np.random.Generator, n: int) -> tuple:
    """Strong confounding by a bent level, and a U whose bottom moves."""
    x = rng.normal(size=(n, 8))
    t = sigmoid(1.5 * x[:, 0] + 0.7 * rng.normal(size=n))

    def mu(x, t):
        bottom = sigmoid(0.8 * x[:, [1]])
        return 2 * np.sin(1.5 * x[:, [0]]) + 6 * (t - bottom) ** 2 + x[:, [2]]

    return x, t, mu


def plateau(rng: np.random.Generator, n: int) -> tuple:
    """An effect between two doses, a product of covariates in the level."""
    x = rng.normal(size=(n, 20))
    x[:, 12:] = x[:, 12:] > 0
    t = sigmoid(0.6 * x[:, 1] + 0.6 * x[:, 12] - 0.3 + rng.normal(size=n))

    def mu(x, t):
        up = sigmoid(15 * (t - 0.3)) - sigmoid(15 * (t - 0.7 - 0.1 * x[:, [13]]))
        return 1.5 * (1 + x[:, [12]] + np.abs(x[:, [0]])) * up + x[:, [1]] * x[:, [2]]

    return x, t, mu


def growth(rng: np.random.Generator, n: int) -> tuple:
    """Few high doses, growth at rates of one's own."""
    x = rng.normal(size=(n, 6))
    t = rng.beta(1.2, 2.5 + 2 * sigmoid(-2 * x[:, 2]))

    def mu(x, t):
        rate = sigmoid(x[:, [0]] + x[:, [1]])
        return 2 * np.exp(1.2 * t * rate) - 3 * t * x[:, [2]] + x[:, [3]]

    return x, t, mu


def dip(rng: np.random.Generator, n: int) -> tuple:
    """A narrow dip that moves along a bent path."""
    x = rng.normal(size=(n, 10))
    t = sigmoid(0.7 * x[:, 0] + 0.5 * x[:, 4] + 0.8 * rng.normal(size=n))

    def mu(x, t):
        place = 0.5 + 0.35 * np.sin(x[:, [0]] + 0.6 * x[:, [1]] * x[:, [2]])
        depth = 3 + np.tanh(x[:, [3]])
        return -depth / (1 + ((t - place) / 0.12) ** 2) + x[:, [4]] - 1.5 * t * x[:, [5]]

    return x, t, mu


def drawn_peak(rng: np.random.Generator, n: int) -> tuple:
    """A peak or a dip of any shape at a dose that moves with two columns; a new law every draw."""
    x, order = _drawn_columns(rng, n)
    a, b, c, d, e = order[[0, 1, 2, 3, -1]]
    links = [sigmoid, lambda u: 0.5 + 0.4 * np.sin(u), lambda u: 0.5 + 0.35 * np.tanh(u)]
    seconds = [lambda x: x[:, [b]] * x[:, [c]], lambda x: np.abs(x[:, [b]])]
    seconds += [lambda x: x[:, [b]], lambda x: np.sin(2 * x[:, [b]])]
    shapes = [lambda u: np.exp(-(u**2) / 2), lambda u: 1 / (1 + u**2), lambda u: 1 / np.cosh(u)]
    first, share = rng.uniform(0.4, 1.2, 2)
    link, second, shape = (one[rng.integers(len(one))] for one in (links, seconds, shapes))
    width, height = rng.uniform(0.1, 0.25), rng.choice([-1, 1]) * rng.uniform(2, 5)
    level, by = rng.normal(size=3), rng.normal()
    logit = rng.uniform(0.3, 1.2) * (x[:, a] + by * x[:, e])
    t = sigmoid(logit + rng.uniform(0.6, 1) * rng.normal(size=n))

    def mu(x, t):
        place = link(first * x[:, [a]] + share * second(x))
        peak = height * (1 + np.tanh(x[:, [d]]) / 2) * shape((t - place) / width)
        return peak + level[0] * x[:, [e]] + level[1] * np.sin(x[:, [c]]) + level[2] * x[:, [d]] * t

    return x, t, mu


def drawn_confounding(rng: np.random.Generator, n: int) -> tuple:
    """Doses that follow what raises the outcome, curves of any bend; a new law every draw."""
    x, order = _drawn_columns(rng, n)
    a, b, c, d = order[:4]
    bends = [lambda u: u, np.sin, lambda u: np.tanh(u) + 0.3 * u]
    bend = bends[rng.integers(len(bends))]
    along = rng.normal(size=2)
    along /= np.linalg.norm(along)
    height, turns, sizes = rng.uniform(2, 4), rng.uniform(1, 6), 2 * rng.normal(size=3)
    logit = rng.uniform(1.2, 2.4) * (along[0] * x[:, a] + along[1] * x[:, b])
    t = sigmoid(logit + rng.uniform(0.5, 0.9) * rng.normal(size=n))

    def mu(x, t):
        level = height * bend(along[0] * x[:, [a]] + along[1] * x[:, [b]])
        own = sizes[1] * np.sin(turns * t) * x[:, [c]] + sizes[2] * t * bend(x[:, [d]])
        return level + sizes[0] * t**2 + own

    return x, t, mu


def _drawn_columns(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """6 to 15 columns, a quarter of them binary, and the others in random order."""
    p = int(rng.integers(6, 16))
    x, binary = rng.normal(size=(n, p)), p // 4
    x[:, p - binary :] = x[:, p - binary :] > rng.uniform(-0.5, 0.5)
    return x, rng.permutation(p - binary)


LAWS: dict[str, Law] = {
    "wave": wave,
    "half dose": half_dose,
    "linear confounding": linear_confounding,
    "moving bottom": moving_bottom,
    "plateau": plateau,
    "growth": growth,
    "dip": dip,
    "drawn peak": drawn_peak,
    "drawn confounding": drawn_confounding,
}


def run(quick: bool, seed: int) -> Iterator[Record]:
    from workbench.effects import GIKS, DoseGP, DoseStack

    quiet = {"progress": False, "random_state": seed}
    methods = {
        "DoseStack": ours(DoseStack(**quiet), intervals=True),
        "DoseGP": ours(DoseGP(random_state=seed), intervals=True),
        "GIKS": ours(GIKS(**quiet)),
        "GIKS with gradient interpolation": ours(GIKS(gi_weight=1.0, **quiet)),
        "GIKS, factual backbone": ours(GIKS(ks_weight=0, **quiet)),
    }
    if quick:
        methods = {name: methods[name] for name in ("DoseGP", "GIKS, factual backbone")}
    for name, law in LAWS.items():
        replicates = list(draws(law, name, range(seed, seed + (1 if quick else 5))))
        found = scored(methods, replicates)
        yield from records("dose_surfaces", name, found, ["GIKS, factual backbone"])


if __name__ == "__main__":
    main("dose_surfaces", ABOUT, run)
