"""All effect estimators: names, what they take, and when to use which."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import pandas as pd

from ..core.errors import ParameterError, did_you_mean
from .base import EffectEstimator


@dataclass(frozen=True)
class Entry:
    """One estimator: where it lives, when to use it, and tiny parameters for tests."""

    name: str
    module: str
    paper: str
    use: str
    test_params: dict[str, Any] = field(default_factory=dict)

    @property
    def cls(self) -> type[EffectEstimator]:
        return getattr(import_module(self.module, __package__), self.name)


_TINY = {"phi_dim": 2, "heads": (8,), "n_folds": 3, "epochs": 40, "progress": False}
_TINY_DOSE = {"n_folds": 3, "epochs": 20, "progress": False}

ENTRIES = (
    Entry(
        "AIPW",
        ".aipw",
        "Robins, Rotnitzky and Zhao 1994; Chernozhukov et al. 2018",
        "Average effects of arms, with intervals, also on the treated; the default for arms.",
        {"n_folds": 3},
    ),
    Entry(
        "CausalStack",
        ".stack",
        "Nie and Wager 2021; Wolpert 1992",
        "Individual effects of arms from many learners at once; the default for them.",
        {"families": ["spline"], "n_folds": 3},
    ),
    Entry(
        "LinearDML",
        ".dml",
        "Chernozhukov et al. 2018 (econml)",
        "Doses, or arms with one common or linearly varying effect; the default for doses.",
        {"n_folds": 2},
    ),
    Entry(
        "CausalForestDML",
        ".forests",
        "Athey, Tibshirani and Wager 2019 (econml)",
        "Effects that bend with X, from some 500 rows.",
        {"n_trees": 16, "n_folds": 2},
    ),
    Entry(
        "DRLearner",
        ".dr_learner",
        "Foster and Syrgkanis 2023; Kennedy 2023 (econml)",
        "Effects of arms linear in X, one outcome model for all arms.",
        {"n_folds": 2},
    ),
    Entry(
        "ForestDRLearner",
        ".forests",
        "Foster and Syrgkanis 2023; Athey, Tibshirani and Wager 2019 (econml)",
        "Effects of arms that bend with X, from some 500 rows with good overlap.",
        {"n_trees": 40, "n_folds": 2},
    ),
    Entry(
        "SLearner",
        ".metalearners",
        "Künzel, Sekhon, Bickel and Yu 2019",
        "Effects that are small beside the outcome's other causes; shrinks them.",
        {"learner": "linear", "n_folds": 2},
    ),
    Entry(
        "TLearner",
        ".metalearners",
        "Künzel, Sekhon, Bickel and Yu 2019",
        "Arms of like size whose outcomes follow laws of their own.",
        {"learner": "linear", "n_folds": 2},
    ),
    Entry(
        "XLearner",
        ".metalearners",
        "Künzel, Sekhon, Bickel and Yu 2019",
        "One arm much smaller than the other; effects simpler than outcomes.",
        {"learner": "linear", "n_folds": 2},
    ),
    Entry(
        "RLearner",
        ".orthogonal_learners",
        "Nie and Wager 2021",
        "Effects by any learner, insensitive to errors of outcomes and propensities.",
        {"learner": "linear", "n_folds": 3},
    ),
    Entry(
        "NonParamDRLearner",
        ".orthogonal_learners",
        "Kennedy 2023",
        "Effects by any learner from doubly robust scores; needs good overlap.",
        {"learner": "linear", "n_folds": 3},
    ),
    Entry(
        "OrthoIV",
        ".instrumented",
        "Chernozhukov et al. 2018 (econml)",
        "Hidden confounding and an instrument: arms or doses, effects linear in X, clusters.",
        {"n_folds": 2},
    ),
    Entry(
        "LinearDRIV",
        ".instrumented",
        "Syrgkanis et al. 2019 (econml)",
        "Two arms and one instrument, e.g. an offer that people take up or not.",
        {"n_folds": 2},
    ),
    Entry(
        "TARNet",
        ".representation",
        "Shalit, Johansson and Sontag 2017",
        "Effects that bend smoothly with few combinations of X, from some 300 rows.",
        _TINY,
    ),
    Entry(
        "CFRNet",
        ".representation",
        "Shalit, Johansson and Sontag 2017",
        "As TARNet, where arms hardly overlap in columns that matter little for the outcome.",
        _TINY,
    ),
    Entry(
        "DragonNet",
        ".representation",
        "Shi, Blei and Veitch 2019",
        "As TARNet, with a representation that keeps what predicts the treatment.",
        _TINY,
    ),
    Entry(
        "PairNet",
        ".pairnet",
        "Nagalapatti, Singhal, Ghosh and Sarawagi 2024",
        "As TARNet, trained on differences between near units; has its own control without.",
        _TINY,
    ),
    Entry(
        "DoseStack",
        ".doses.dose_stack",
        "Nagalapatti, Iyer, De and Sarawagi 2024; Rasmussen and Williams 2006",
        "Curves of a dose, person by person; the default for them.",
        {"steps": 8, "epochs": 20, "n_folds": 3, "progress": False},
    ),
    Entry(
        "DoseGP",
        ".doses.dose_gp",
        "Rasmussen and Williams 2006",
        "As DoseStack, in a fraction of the time; a posterior, with clusters.",
        {"kernels": ["main"], "steps": 8, "n_folds": 3},
    ),
    Entry(
        "GIKS",
        ".doses.giks",
        "Nagalapatti, Iyer, De and Sarawagi 2024",
        "Curves by a network that learns doses not received from people alike.",
        {"steps": 8, **_TINY_DOSE},
    ),
    Entry(
        "VCNet",
        ".doses.vcnet",
        "Nie, Ye, Liu and Nicolae 2021",
        "Smooth curves by a network, with targeted regularisation; hardly confounded doses.",
        {"hidden": (12,), "head": 8, **_TINY_DOSE},
    ),
    Entry(
        "DRNet",
        ".doses.vcnet",
        "Schwab, Linhardt, Bauer, Buhmann and Karlen 2020",
        "Curves that jump between strata of the dose; for comparison.",
        {"hidden": (12,), "head": 8, **_TINY_DOSE},
    ),
    Entry(
        "DoseTARNet",
        ".doses.vcnet",
        "Shalit, Johansson and Sontag 2017",
        "As DRNet, with the dose in one layer only; for comparison.",
        {"hidden": (12,), "head": 8, **_TINY_DOSE},
    ),
    Entry(
        "DosePairNet",
        ".doses.dose_pairs",
        "Nagalapatti, Singhal, Ghosh and Sarawagi 2024",
        "Curves trained on differences between people alike at different doses.",
        _TINY_DOSE,
    ),
    Entry(
        "DoseSLearner",
        ".doses.boosting",
        "Künzel, Sekhon, Bickel and Yu 2019",
        "Curves by any regression, where the dose is hardly confounded.",
        {"learner": "spline", "n_folds": 3},
    ),
    Entry(
        "PolynomialDML",
        ".doses.polynomial_dml",
        "Chernozhukov et al. 2018 (econml)",
        "Contrasts of doses that bend, with semiparametric intervals; W allowed.",
        {"degree": 2, "n_folds": 2},
    ),
)


def catalogue() -> pd.DataFrame:
    """One row per estimator: class, treatments, answers, paper, when to use it.

    Example:
        >>> catalogue().loc["AIPW", "treatment"]
        'discrete'
    """
    rows = [
        {
            "name": e.name,
            "class": e.cls,
            "treatment": e.cls.treatment,
            "intervals": e.cls.intervals,
            "att": e.cls.defines_att,
            "needs_modifiers": e.cls.needs_modifiers,
            "needs_instrument": e.cls.needs_instrument,
            "paper": e.paper,
            "use": e.use,
            "test_params": e.test_params,
        }
        for e in ENTRIES
    ]
    return pd.DataFrame(rows).set_index("name")


def make(name: str, **params: Any) -> EffectEstimator:
    """An estimator by its name.

    Raises:
        ParameterError: Unknown name or parameter, with the closest known one.

    Example:
        >>> make("AIPW", n_folds=3)
        AIPW(n_folds=3)
    """
    for entry in ENTRIES:
        if entry.name == name:
            return entry.cls().set_params(**params)
    raise ParameterError(
        "is not the name of one",
        column="estimator",
        value=str(name),
        advice=did_you_mean(name, [e.name for e in ENTRIES]),
    )
