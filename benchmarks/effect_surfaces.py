"""Ten families of made-up outcomes on real covariates: where defaults of networks are chosen.

Covariates and treatment are those of the Infant Health and Development Program (747 children, 139
treated); outcomes and effects are generated here, with noise of sd 1. Families differ in what
usually decides such comparisons: one linear index or many terms, smooth or in steps, effects with
an sd from 0 to 40. Published replicates of IHDP play no part, so they stay fit for evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ._effects import Method, Replicate, data_folder, errors, network, paired_records
from ._runner import Record, main

ABOUT = "Individual effects on 40 made-up response surfaces."

# Stays clear of what the families share: each draws its own terms from its own generator.
_CURVES = (np.sin, np.square, np.abs, np.tanh)


def _sparse(rng: np.random.Generator, p: int, terms: int, size: float = 1.0) -> np.ndarray:
    """A direction with few terms and the given length."""
    direction = np.zeros(p)
    direction[rng.choice(p, terms, replace=False)] = rng.normal(size=terms)
    return size * direction / np.linalg.norm(direction)


def _spread(values: np.ndarray, sd: float) -> np.ndarray:
    centred = values - values.mean()
    return centred / max(centred.std(), 1e-9) * sd


def _exponential_index(rng, x, z):
    weight = rng.choice([0, 0.1, 0.2, 0.3, 0.4], p=[0.6, 0.1, 0.1, 0.1, 0.1], size=x.shape[1])
    control = np.exp(np.minimum((x + 0.5) @ weight, 6))
    treated = x @ weight
    return control, treated - treated.mean() + control.mean() + 4


def _large_exponential(rng, x, z):
    index = z @ _sparse(rng, z.shape[1], 8, rng.uniform(0.8, 1.3))
    bent, flat = _spread(np.exp(np.minimum(index, 4)), rng.uniform(3, 40)), 0.3 * index + 4
    return (bent, flat) if rng.random() < 0.5 else (flat, bent)


def _additive(rng, x, z):
    control = z @ _sparse(rng, z.shape[1], 6)
    for j in rng.choice(z.shape[1], 5, replace=False):
        control = control + _spread(rng.choice(_CURVES)(1.5 * z[:, j]), 1)
    return control, control + 2 + z @ _sparse(rng, z.shape[1], 4, rng.uniform(0.5, 2))


def _products(rng, x, z):
    def surface():
        value = z @ _sparse(rng, z.shape[1], 8, 1.5)
        for _ in range(5):
            i, j = rng.choice(z.shape[1], 2)
            value = value + 0.6 * rng.normal() * z[:, i] * z[:, j]
        return value

    control = surface()
    return control, control * rng.uniform(0, 1) + _spread(surface(), rng.uniform(1, 3)) + 2


def _steps(rng, x, z):
    def surface(sd):
        value = np.zeros(len(z))
        for _ in range(6):
            i, j = rng.choice(z.shape[1], 2, replace=False)
            first, second = z[:, i] > 0.5 * rng.normal(), z[:, j] > 0.5 * rng.normal() - 0.5
            value += rng.normal() * (first & second)
        return _spread(value, sd)

    control = surface(rng.uniform(1, 3))
    return control, control + surface(rng.uniform(0.5, 3)) + 1


def _two_indices(rng, x, z):
    first, second = (z @ _sparse(rng, z.shape[1], 5) for _ in range(2))
    bend = rng.choice([np.tanh, np.exp, np.sin])
    control = _spread(bend(np.clip(first, -3, 2)), rng.uniform(1, 4))
    rising = np.exp(np.minimum(0.7 * second, 3))
    treated = rising if rng.random() < 0.5 else second + 0.3 * second**2
    return control, _spread(treated, rng.uniform(1, 5)) + 3


def _weak(rng, x, z):
    p = z.shape[1]
    control = _spread(z @ _sparse(rng, p, 8) + np.sin(2 * z @ _sparse(rng, p, 3)), 2)
    return control, control + 1 + _spread(z @ _sparse(rng, p, 3), 0.3)


def _constant(rng, x, z):
    index = z @ _sparse(rng, z.shape[1], 8)
    control = _spread(np.exp(np.minimum(index, 3)), rng.uniform(1, 5))
    return control, control + rng.normal()


def _waves(rng, x, z):
    index = z @ _sparse(rng, z.shape[1], 6)
    control = 2 * np.sin(1.5 * index)
    return control, control + 2 * np.cos(1.2 * index) + index


def _soft_bends(rng, x, z):
    first, second = z @ _sparse(rng, z.shape[1], 6, 0.8), z @ _sparse(rng, z.shape[1], 4, 0.8)
    control = _spread(np.exp(np.minimum(first, 3)), rng.uniform(1, 4))
    treated = _spread(np.log1p(np.exp(2 * first)) + second, rng.uniform(1, 4))
    return control, treated + 2


FAMILIES = {
    "exponential index": _exponential_index,
    "additive": _additive,
    "products": _products,
    "steps": _steps,
    "two indices": _two_indices,
    "weak": _weak,
    "constant": _constant,
    "waves": _waves,
    "large exponential": _large_exponential,
    "soft bends": _soft_bends,
}


def surfaces(per_family: int, seed: int) -> Iterator[Replicate]:
    """Replicates of every family, each with its own split into 672 and 75 rows."""
    parts = [np.load(data_folder("ihdp") / f"ihdp_npci_1-100.{p}.npz") for p in ("train", "test")]
    x = np.concatenate([part["x"][..., 0] for part in parts])
    t = np.concatenate([part["t"][..., 0] for part in parts]).astype(int)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    for k in range(per_family):
        for f, (name, surface) in enumerate(FAMILIES.items()):
            rng = np.random.default_rng([seed, k, f])
            control, treated = surface(rng, x, z)
            y = np.where(t == 1, treated, control) + rng.normal(size=len(t))
            order = rng.permutation(len(t))
            learn, judge = order[:672], order[672:]
            yield Replicate(
                name, x[learn], t[learn], y[learn], x[judge], (treated - control)[judge]
            )


def methods() -> dict[str, Method]:
    """Our networks, and what pairs add to them."""
    from workbench.effects import CFRNet, DragonNet, PairNet, TARNet

    return {
        "PairNet": network(PairNet),
        "PairNet, control without pairs": network(PairNet, pair_weight=0),
        "PairNet, random pairs": network(PairNet, pairing="random"),
        "PairNet, pairs only": network(PairNet, pair_weight=1, factual_weight=0),
        "TARNet, arms weigh alike": network(TARNet, arm_balance=True),
        "CFRNet, linear": network(CFRNet),
        "CFRNet, rbf": network(CFRNet, kernel="rbf"),
        "DragonNet": network(DragonNet),
        "DragonNet, targeted": network(DragonNet, targeted_weight=0.1),
    }


def run(quick: bool, seed: int) -> Iterator[Record]:
    chosen = methods()
    if quick:
        chosen = dict(list(chosen.items())[:2])
    replicates = list(surfaces(1 if quick else 4, seed + 11))
    found, seconds = errors(chosen, replicates)
    yield from paired_records("effect_surfaces", "40 surfaces", found, seconds, "PairNet")
    for name in FAMILIES:
        inside = np.array([r.name == name for r in replicates])
        for method, error in found.items():
            yield Record(
                "effect_surfaces", name, method, "root PEHE", float(error[inside].mean()),
                n=int(inside.sum()),
            )  # fmt: skip


if __name__ == "__main__":
    main("effect_surfaces", ABOUT, run)
