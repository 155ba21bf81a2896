"""Protocol of recourse benchmarks: tables, the independent labeller, drawn labels, the predictor.

As published with GenRe (Garg, Nagalapatti, Sarawagi, ICLR 2025): a calibrated forest that has seen
all rows labels them, labels are drawn from its probabilities, a small network learns the labels of
the training rows, and recourse is asked for the test rows that the network declines. Methods see
training rows, their drawn labels and the network; never the labeller.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench import Feature, Schema
from workbench.recourse import RecourseProblem

DATASETS = ("COMPAS", "HELOC clean", "HELOC published", "Adult")
_FILES = {
    "COMPAS": ("compas", "", "score"),
    "HELOC clean": ("heloc", "_clean", "RiskPerformance"),
    "HELOC published": ("heloc", "", "RiskPerformance"),
    "Adult": ("adult", "", "income"),
}
_IMMUTABLE = ("race", "sex")
_SEED = 42


@dataclass(frozen=True, eq=False)
class Tables:
    """One data set: features as numbers (levels as alphabetical codes), and its own labels.

    Attributes:
        name: One of :data:`DATASETS`.
        train, test: Features.
        y_train, y_test: The data set's own labels; 1 is favourable.
    """

    name: str
    train: pd.DataFrame
    test: pd.DataFrame
    y_train: np.ndarray
    y_test: np.ndarray

    @cached_property
    def low(self) -> np.ndarray:
        return self.train.min().to_numpy(dtype=float)

    @cached_property
    def reach(self) -> np.ndarray:
        return np.ptp(self.train.to_numpy(dtype=float), axis=0)

    def scaled(self, frame: pd.DataFrame) -> np.ndarray:
        """Numbers by the minimum and range of the training rows; not clipped."""
        return (frame.to_numpy(dtype=float) - self.low) / self.reach

    @cached_property
    def levels(self) -> np.ndarray:
        """Which columns have two levels, ``(d,)``."""
        text = {"two_year_recid", "c_charge_degree", "workclass", "marital-status", "occupation"}
        text |= {"relationship", "native-country", *_IMMUTABLE}
        return np.array([c in text for c in self.train.columns])

    @cached_property
    def schema(self) -> Schema:
        """Kinds as the columns have them; race and sex can't change."""
        features = []
        for name, level in zip(self.train.columns, self.levels, strict=True):
            both = np.concatenate([self.train[name], self.test[name]])
            if level:
                kind: dict[str, Any] = {"kind": "binary", "levels": (0.0, 1.0)}
            elif (both == np.rint(both)).all() and both.min() >= 0:
                kind = {"kind": "count"}
            else:
                kind = {"kind": "continuous"}
            features.append(Feature(name, actionable=name not in _IMMUTABLE, **kind))
        return Schema(features)


def tables(name: str) -> Tables:
    """The fixed published split of a data set, from the folder ``$WORKBENCH_DATA``.

    Empty cells of HELOC's clean copy get the column's median among the training rows, which says
    nothing about the label.
    """
    folder, suffix, target = _FILES[name]
    home = Path(os.environ["WORKBENCH_DATA"]) / folder
    parts = [pd.read_csv(home / f"{side}{suffix}.csv.gz") for side in ("train", "test")]
    labels = [part.pop(target).to_numpy() for part in parts]
    for column in parts[0].columns:
        if parts[0][column].dtype.kind not in "iuf":
            known = sorted(set(parts[0][column]) | set(parts[1][column]))
            for part in parts:
                part[column] = part[column].map({level: i for i, level in enumerate(known)})
    middle = parts[0].median().round()
    parts = [part.fillna(middle).astype(float) for part in parts]
    return Tables(name, *parts, *labels)


class Labeller:
    """The independent labeller of a data set, fitted on its training and test rows.

    A forest of 100 full trees, class-balanced, calibrated by isotonic regression in five folds;
    ``smooth`` is a forest of leaves of at least 15 rows fitted to its probabilities, which can't
    remember single rows.
    """

    def __init__(self, data: Tables):
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
        from sklearn.utils.class_weight import compute_sample_weight

        self.data = data
        rows = np.vstack([data.scaled(data.train), data.scaled(data.test)])
        y = np.concatenate([data.y_train, data.y_test])
        forest = RandomForestClassifier(100, random_state=_SEED)
        self._model = CalibratedClassifierCV(forest, method="isotonic", cv=5)
        self._model.fit(rows, y, sample_weight=compute_sample_weight("balanced", y))
        self.known = self._model.predict_proba(rows)[:, 1]  # of all rows, training rows first
        self._smooth = RandomForestRegressor(100, min_samples_leaf=15, random_state=_SEED)
        self._smooth.fit(rows, self.known)

    def __call__(self, frame: pd.DataFrame) -> np.ndarray:
        """Probability of the favourable label."""
        return self._model.predict_proba(self.data.scaled(frame[self.data.train.columns]))[:, 1]

    def smooth(self, frame: pd.DataFrame) -> np.ndarray:
        """The same, smoothed."""
        return self._smooth.predict(self.data.scaled(frame[self.data.train.columns]))


@dataclass(frozen=True, eq=False)
class Draw:
    """One draw of labels and the predictor that learned it.

    Attributes:
        data, labeller: What it was drawn from.
        y, y_test: Drawn labels.
        model: The predictor, a torch module that reads the columns as they are.
        retrained: Four predictors fitted to bootstrap samples of the training rows.
        people: Test rows that the predictor declines.
    """

    data: Tables
    labeller: Labeller
    seed: int
    y: np.ndarray = field(init=False)
    y_test: np.ndarray = field(init=False)
    model: Any = field(init=False)
    retrained: tuple = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng([_SEED, self.seed])
        drawn = (rng.random(len(self.labeller.known)) < self.labeller.known).astype(int)
        n = len(self.data.train)
        put = object.__setattr__
        put(self, "y", drawn[:n])
        put(self, "y_test", drawn[n:])
        put(self, "model", predictor(self.data, np.arange(n), drawn[:n], self.seed))
        again = [rng.integers(n, size=n) for _ in range(4)]
        quick = {"epochs": 40, "batch": 256, "rate": 5e-3}
        members = [
            predictor(self.data, rows, drawn[:n], 1000 * (self.seed + 1) + k, **quick)
            for k, rows in enumerate(again)
        ]
        put(self, "retrained", tuple(members))

    @cached_property
    def people(self) -> pd.DataFrame:
        return self.data.test[scores(self.model, self.data.test) <= 0.5]

    def problem(self) -> RecourseProblem:
        """What methods are asked: cost is the sum of changes in units of the training range."""
        return RecourseProblem(
            self.model, schema=self.data.schema, data=self.data.train, scale="range"
        )

    @property
    def labels(self) -> pd.Series:
        """Drawn labels of the training rows."""
        return pd.Series(self.y, index=self.data.train.index)


def scores(model: Any, frame: pd.DataFrame) -> np.ndarray:
    """Probability that a predictor gives the favourable label."""
    import torch

    with torch.no_grad():
        return model(torch.from_numpy(frame.to_numpy(float)))[:, 0].numpy()


def predictor(
    data: Tables,
    rows: np.ndarray,
    y: np.ndarray,
    seed: int,
    epochs: int = 100,
    batch: int = 64,
    rate: float = 1e-3,
) -> Any:
    """The published predictor: three hidden layers of ten, trained in the order of the rows.

    Classes are balanced by weights but for HELOC. It reads the columns as they are.
    """
    import torch
    from torch import nn

    width = data.train.shape[1]
    x = torch.from_numpy(data.scaled(data.train)[rows].astype(np.float32))
    target = torch.from_numpy(y[rows].astype(np.float32))
    share = float(target.mean())
    weight = torch.where(target > 0, 0.5 / share, 0.5 / (1 - share))
    if data.name.startswith("HELOC"):
        weight = torch.ones_like(weight)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = []
        for inside, outside in ((width, 10), (10, 10), (10, 10)):
            layers += [nn.Linear(inside, outside), nn.ReLU()]
        net = nn.Sequential(*layers, nn.Linear(10, 1))
    adam = torch.optim.Adam(net.parameters(), lr=rate, fused=True)
    loss = nn.functional.binary_cross_entropy_with_logits
    for _ in range(epochs):
        for at in range(0, len(x), batch):
            part = slice(at, at + batch)
            adam.zero_grad()
            loss(net(x[part])[:, 0], target[part], weight[part]).backward()
            adam.step()
    # The columns are scaled inside the first layer, so that the network reads them as they are.
    net, first = net.double(), net[0]
    with torch.no_grad():
        first.weight /= torch.tensor(data.reach)
        first.bias -= first.weight @ torch.tensor(data.low)
    return nn.Sequential(*net, nn.Sigmoid()).eval()
