"""Made-up dose laws on which defaults for doses were chosen; none is one of the tables'."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ._doses import Law, draws, ours, records, scored, sigmoid
from ._runner import Record, main

ABOUT = "Curves of seven made-up dose laws (development): CF error by law."


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


LAWS: dict[str, Law] = {
    "wave": wave,
    "half dose": half_dose,
    "linear confounding": linear_confounding,
    "moving bottom": moving_bottom,
    "plateau": plateau,
    "growth": growth,
    "dip": dip,
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
