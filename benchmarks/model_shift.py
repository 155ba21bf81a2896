"""Recourse under a model that shifts: every method on the same people, today's and later models.

Columns, folds and models are as published: standardised numbers and 0/1 columns, all of them free
to move without bounds at the same price; M1 learns from today's rows, M2 from later ones. People
whom M1 turns down are pooled over five folds; who gets no recourse counts as failed. Beside it
"with rules": levels stay, age only rises, numbers stay in the range of the data.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from workbench import Feature, Schema
from workbench.recourse import PROBE, ROAR, ExactRecourse, RecourseMethod, RecourseProblem, Wachter

from ._replays_roar import released_roar, released_wachter
from ._runner import Record, main
from ._shifts import SHIFTS, Fold, folds, logistic, network

NAME = "model_shift"
_ALPHA, _WEIGHT = 0.1, 0.1
_ALPHAS = (0.02, 0.04, 0.06, 0.08, 0.1)  # of networks, relative to each layer's mean weight
_KEPT = 0.99
_METRICS = ("M1 validity", "M2 validity", "retrained validity")

# Nguyen et al., "Distributionally robust recourse action", preprint: validity under 100 retrained
# linear models and L1 cost, features in [0, 1] (other units than here).
PUBLISHED = {
    "German, aligned": {"AR": (0.78, 1.26), "DiRRAc": (0.99, 1.72)},
    "SBA, with leaks": {"AR": (0.41, 1.80), "DiRRAc": (0.98, 2.43)},
    "Student, label as published (1 = fails)": {"AR": (0.35, 1.18), "DiRRAc": (1.00, 1.30)},
}
Accepts = Callable[[pd.DataFrame], np.ndarray]


@dataclass
class Tally:
    """What one method achieved, row by row over all folds."""

    asked: int = 0
    valid: dict[str, list] = field(default_factory=lambda: {m: [] for m in _METRICS})
    cost: list = field(default_factory=list)
    robust: list = field(default_factory=list)
    seconds: float = 0.0

    def add(
        self, people: pd.DataFrame, ends: pd.DataFrame, found: np.ndarray, judges: Mapping
    ) -> None:
        self.asked += len(people)
        for metric, judge in judges.items():
            if metric in self.valid:
                self.valid[metric] += (found * judge(ends)).tolist()
        self.robust += (found * (judges["worst"](ends) >= -1e-9)).tolist()
        self.cost += np.abs(ends - people).sum(axis=1)[found].tolist()

    def records(self, dataset: str, method: str) -> Iterator[Record]:
        def record(metric: str, value: float, se: float | None = None) -> Record:
            seconds = self.seconds / max(self.asked, 1)
            return Record(NAME, dataset, method, metric, float(value), se, self.asked, seconds)

        for metric, values in self.valid.items():
            yield record(metric, np.mean(values))
            if metric != "retrained validity":
                low, high = wilson(sum(values), len(values))
                yield record(f"{metric}, Wilson 95 % low", low)
                yield record(f"{metric}, Wilson 95 % high", high)
        if self.cost:
            se = np.std(self.cost, ddof=1) / len(self.cost) ** 0.5 if len(self.cost) > 1 else None
            yield record("L1 cost", np.mean(self.cost), se)
        yield record("share with worst-case logit >= 0", np.mean(self.robust))


def wilson(hits: float, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    share, shrink = hits / n, 1 + z**2 / n
    center = (share + z**2 / (2 * n)) / shrink
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / shrink
    return float(center - half), float(center + half)


def accepts(model) -> Accepts:
    if isinstance(model, torch.nn.Module):
        return lambda x: _logit(model)(torch.from_numpy(x.to_numpy())).numpy() > 0
    return lambda x: model.predict_proba(x)[:, 1] > 0.5


def _logit(model) -> Callable[[torch.Tensor], torch.Tensor]:
    """Differentiable logit of a model's inputs."""
    if isinstance(model, torch.nn.Module):
        exact = network_in_double(model)
        return lambda x: exact(x)[:, 0]
    weights = torch.from_numpy(model.coef_[0])
    return lambda x: x @ weights + float(model.intercept_[0])


def network_in_double(model: torch.nn.Module) -> torch.nn.Module:
    """A copy in double precision without gradients of its weights."""
    import copy

    return copy.deepcopy(model).double().requires_grad_(False)


def problem(model, fold: Fold, rules: bool = False) -> RecourseProblem:
    """The question as published, or with rules."""
    levels = [c for c in fold.today if c not in fold.numbers]
    features = [
        Feature(
            c,
            actionable=not (rules and c in levels)
            and ("increase" if rules and c == "age" else True),
        )
        for c in fold.today
    ]
    output = "logit" if isinstance(model, torch.nn.Module) else None
    return RecourseProblem(
        model,
        schema=Schema(features),
        data=fold.today,
        scale=dict.fromkeys(fold.today, 1.0),
        extrapolate=not rules,
        output=output,
    )


def methods(is_network: bool, alpha: float) -> dict[str, tuple[RecourseMethod, bool]]:
    """name -> (method, with rules)."""
    shared = {
        "Wachter": (Wachter(), False),
        f"ROAR hard, alpha {alpha:g}": (ROAR(alpha), False),
        "ROAR hard, with rules": (ROAR(alpha), True),
        "PROBE, sigma .1, r .05": (PROBE(0.05, 0.1, draws=4096), False),
    }
    if is_network:
        return shared
    return {
        "ExactRecourse": (ExactRecourse(), False),
        "ROAR penalised": (ROAR(alpha, objective="penalised", weight=_WEIGHT), False),
        **shared,
    }


def choose_alpha(model, fold: Fold, seed: int, quick: bool) -> float:
    """The smallest shift against which recourse survives retraining, by training rows alone.

    Recourse of up to 40 declined training rows must be accepted by 99 % of networks retrained on
    bootstraps of today's training rows.
    """
    rng = np.random.default_rng(seed)
    others = []
    for k in range(3 if quick else 10):
        rows = rng.integers(len(fold.today), size=len(fold.today))
        others.append(accepts(network(fold.today.iloc[rows], fold.label[rows], seed=k + 1)))
    people = fold.today[~accepts(model)(fold.today)].iloc[: 8 if quick else 40]
    people = people.reset_index(drop=True)
    asked, best = problem(model, fold), _ALPHAS[0]
    for alpha in _ALPHAS:
        plan = ROAR(alpha).fit(asked).recommend(people, progress=False)
        found = (plan.status == "found").to_numpy()
        if found.mean() < _KEPT:
            break
        best = alpha
        kept = np.mean([other(plan.recommended) for other in others])
        if kept >= _KEPT:
            break
    return best


def run_one(dataset: str, kind: str, quick: bool, seed: int) -> Iterator[Record]:
    """All methods on one shift and one kind of model."""
    is_network = kind == "network"
    fit = network if is_network else logistic
    tallies: dict[str, Tally] = {}
    alphas = []
    retrained = (2 if quick else 20) if is_network else (10 if quick else 100)
    for k, fold in enumerate(folds(dataset)):
        if quick and k:
            break
        today, later = fit(fold.today, fold.label), fit(fold.later, fold.later_label)
        people = fold.people[~accepts(today)(fold.people)].reset_index(drop=True)
        people = people.iloc[:8] if quick else people
        if not len(people):
            continue
        alpha = choose_alpha(today, fold, seed + k, quick) if is_network else _ALPHA
        alphas.append(alpha)
        rng = np.random.default_rng(seed + k)
        others = []
        for j in range(retrained):
            rows = rng.integers(len(fold.later), size=len(fold.later))
            more = {"seed": j + 1} if is_network else {}
            others.append(accepts(fit(fold.later.iloc[rows], fold.later_label[rows], **more)))
        asked = problem(today, fold)
        judge = ROAR(alpha).fit(asked)
        judges = {
            "M1 validity": accepts(today),
            "M2 validity": accepts(later),
            "retrained validity": lambda x, others=others: np.mean([o(x) for o in others], axis=0),
            "worst": lambda x, judge=judge: judge.worst_case(x).to_numpy(),
        }
        for name, ends, found, seconds in answers(today, fold, people, alpha, is_network):
            tally = tallies.setdefault(name, Tally())
            tally.add(people, ends, found, judges)
            tally.seconds += seconds
    for name, tally in tallies.items():
        yield from tally.records(f"{dataset}, {kind}", name)
    if is_network:
        mean = float(np.mean(alphas))
        yield Record(NAME, f"{dataset}, {kind}", "ROAR hard", "alpha, mean over folds", mean)


def answers(today, fold: Fold, people: pd.DataFrame, alpha: float, is_network: bool) -> Iterator:
    """``(name, end points, found, CPU seconds)`` of every method."""
    x, logit = people.to_numpy(), _logit(today)
    replays = {
        "Wachter, released (replayed)": lambda: released_wachter(logit, x),
        "ROAR, released (replayed)": lambda: released_roar(logit, x, _ALPHA, _WEIGHT),
    }
    for name, replay in replays.items():
        start = time.process_time()
        ends = pd.DataFrame(replay(), columns=people.columns)
        yield name, ends, np.ones(len(people), dtype=bool), time.process_time() - start
    for name, (method, rules) in methods(is_network, alpha).items():
        label = "ROAR hard" if is_network and name.startswith("ROAR hard, alpha") else name
        asked = problem(today, fold, rules)
        start = time.process_time()
        plan = method.fit(asked).recommend(people, progress=False)
        seconds = time.process_time() - start
        found = (plan.status == "found").to_numpy()
        yield label, plan.recommended[people.columns], found, seconds


def run(quick: bool, seed: int, datasets: list[str]) -> Iterator[Record]:
    warnings.simplefilter("ignore")  # the conditions of single answers
    for dataset in datasets[: 1 if quick else None]:
        for kind in ("logistic", "network"):
            yield from run_one(dataset, kind, quick, seed)
        for name, (validity, cost) in PUBLISHED.get(dataset, {}).items():
            place = f"{dataset}, logistic"
            yield Record(NAME, place, name, _METRICS[2], validity, n=100, source="published")
            yield Record(NAME, place, name, "L1 cost", cost, source="published")


if __name__ == "__main__":
    main(
        NAME, "Recourse under a shifting model, with today's and later models.", run, tuple(SHIFTS)
    )
