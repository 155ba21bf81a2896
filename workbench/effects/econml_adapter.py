"""What the adapters of econml share: encoding, units, folds, seeds, saving as a recipe."""

from __future__ import annotations

import hashlib
import warnings
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import DataError, ParameterError, warn
from ..core.seeding import foreign_generators, integer, spawn
from ..tables.effect_data import EffectData
from ..tables.encode import Encoder
from ..tables.gate import Table, as_plain, count
from .base import EffectEstimator
from .design import content_rank, independent, modifier_encoder
from .nuisance import cross_fit, fold_ids

_FEW_ROWS = 20


class EconmlAdapter(EffectEstimator):
    """What the adapters share: encoding, units, folds, seeds, and saving as a recipe.

    econml sees standardised arrays in canonical column order and folds that keep clusters
    together. A subclass defines ``_build(folds, seed)`` and reads ``model_``. econml's objects
    have no safe form on disk: ``save`` keeps class, parameters and a fingerprint of the data, and
    the loaded estimator answers after ``fit`` on the same data.
    """

    outcome_sees_treatment = False
    dose_as_matrix = False  # econml's featurisers want a dose as one column

    def _build(self, folds: list, seed: np.random.SeedSequence) -> Any:
        raise TypeError(f"{type(self).__name__} must define _build")

    def _fit(self, data: EffectData, seed: np.random.SeedSequence) -> None:
        fold_seed, model_seed, global_seed, choice_seed = spawn(seed, 4)
        is_dose = data.arms is None
        if is_dose and len(data) < _FEW_ROWS:
            warn(
                "sample-size",
                f"only {count(len(data), 'row')} with a dose {data.t_name!r}: the interval is not "
                "to be relied on",
                [data.t_name],
            )
        shift, self._unit = float(data.y.mean()), float(data.y.std())
        self._dose = (float(data.t.mean()), float(data.t.std())) if is_dose else (0.0, 1.0)
        y = (data.y - shift) / self._unit
        t = (data.t - self._dose[0]) / self._dose[1] if is_dose else data.t
        self._encode(data)
        fold = fold_ids(
            len(y),
            self._n_folds(),
            fold_seed,
            groups=data.groups,
            strata=None if is_dose else t,
            rank=content_rank(data),
        )
        folds = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in np.unique(fold)]
        self.discrete_, self.clustered_ = not is_dose, data.groups is not None
        x = self._encoded(data.x)
        self._choose(data, x, y, fold, choice_seed)
        with foreign_generators(global_seed), warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            self.model_ = self._build(folds, model_seed)
            try:
                self.model_.fit(
                    y,
                    t[:, None] if self.dose_as_matrix else t,
                    X=x,
                    W=self.nuisance_columns_,
                    sample_weight=None if data.weight is None else data.weight / data.weight.mean(),
                    cache_values=True,
                    **({} if data.z is None else {"Z": self.instrument_columns_}),
                    **self._fit_options(),
                )
            except np.linalg.LinAlgError as error:
                raise self._unsolved(data, x) from error
            self._finish(data, x, fold)
        del self.nuisance_columns_, self.instrument_columns_
        for text in sorted({str(h.message) for h in heard if _matters(h)}):
            warn("econml", text)
        self._compare_with_saved(data)

    def _unsolved(self, data: EffectData, x: np.ndarray | None) -> DataError:
        """The refusal where normal equations have no solution, with the column to blame."""
        if x is None:
            return DataError(
                "nothing of it is left to learn from once X, W and Z are known", column=data.t_name
            )
        alone = (x**2).max(axis=0) / (x**2).sum(axis=0)
        names = [self.encoder_.columns_[j] for j in self.columns_]
        return DataError(
            "hardly varies but in a single row: effects that differ by it can't be solved for",
            column=names[int(alone.argmax())],
            row=as_plain(data.index[int((x[:, alone.argmax()] ** 2).argmax())]),
            advice="Correct the cell, or leave the row or the column out.",
        )

    def _n_folds(self) -> int:
        if not isinstance(self.n_folds, int) or isinstance(self.n_folds, bool) or self.n_folds < 2:
            raise ParameterError("must be an integer from 2", column="n_folds", value=self.n_folds)
        return self.n_folds

    def _fit_options(self) -> dict[str, Any]:
        return {}

    def _finish(self, data: EffectData, x: np.ndarray | None, fold: np.ndarray) -> None:
        """What a method learns beyond econml's fit."""

    def _encode(self, data: EffectData) -> None:
        self.encoder_ = None if data.x is None else modifier_encoder(data.x)
        self.columns_ = None
        if data.x is not None:
            encoded = self.encoder_.transform(data.x)
            self.columns_ = independent(encoded, self.encoder_.columns_, "effect modifiers X")
        self.nuisance_columns_, self.instrument_columns_ = None, None
        if data.z is not None:
            encoder = modifier_encoder(data.z)
            encoded = encoder.transform(data.z)
            self.instrument_columns_ = encoded[:, independent(encoded, encoder.columns_, "Z")]
        if data.w is not None:
            encoded = Encoder(max_levels=50).fit_transform(data.w)
            self.nuisance_columns_ = encoded if encoded.shape[1] else None
        if self.nuisance_columns_ is None and (data.x is None or not len(self.columns_)):
            # econml wants a column: one that says nothing leaves a comparison of means.
            self.nuisance_columns_ = np.zeros((len(data), 1))

    def _encoded(self, x: Table | None) -> np.ndarray | None:
        if x is None or not len(self.columns_):
            return None
        return self.encoder_.transform(x)[:, self.columns_]

    def _choose(
        self, data: EffectData, x: np.ndarray | None, y: np.ndarray, fold: np.ndarray, seed: Any
    ) -> None:
        """Name the candidate for the outcome, once for all folds (the treatment's is known)."""
        z = self._inputs_of_nuisances(data, x)
        outcome = cross_fit(z, y, fold, weight=data.weight, random_state=seed).chosen
        self.nuisances_ = {"treatment": self.overlap_.chosen, "outcome": outcome}

    def _inputs_of_nuisances(self, data: EffectData, x: np.ndarray | None) -> np.ndarray:
        """What the models of outcome and treatment see, standardised, (n, q)."""
        parts = [part for part in (x, self.nuisance_columns_) if part is not None]
        if self.outcome_sees_treatment:
            parts.append((data.t[:, None] == np.arange(1, len(data.arms))).astype(float))
        z = np.hstack(parts) if parts else np.empty((len(data), 0))
        return (z - z.mean(axis=0)) / np.where(z.std(axis=0) > 1e-12, z.std(axis=0), 1.0)

    def _models(self, seed: np.random.SeedSequence) -> tuple[Any, Any]:
        """Nuisances of outcome and treatment; econml's own defaults undercover in small samples."""
        from .learners import AutoClassifier, AutoRegressor

        outcome, treated = (integer(s) for s in spawn(seed, 2))
        model_y = AutoRegressor(self.nuisances_["outcome"], random_state=outcome)
        chosen = self.nuisances_["treatment"]
        if self.discrete_:
            return model_y, AutoClassifier(chosen=chosen, random_state=treated)
        return model_y, AutoRegressor(chosen[0], random_state=treated)

    def _codes(self, t0: Any, t1: Any) -> np.ndarray:
        """The contrast as weights of econml's treatment columns."""
        if self.arms_ is None:
            return np.array([(t1 - t0) / self._dose[1]]) * self._unit
        eye = np.eye(len(self.arms_))[:, 1:]
        return (eye[t1] - eye[t0]) * self._unit

    def _compare_with_saved(self, data: EffectData) -> None:
        self.data_hash_ = data_hash(data)
        saved = getattr(self, "saved_hash", None)
        if saved is not None and saved != self.data_hash_:
            warn(
                "other-data",
                f"this {type(self).__name__} was saved after a fit on other data; its answers will "
                "differ",
            )

    def _state(self) -> dict[str, Any]:
        saved = getattr(self, "data_hash_", None) or getattr(self, "saved_hash", None)
        return {"params": self.get_params(deep=False), "data_hash": saved}

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> EconmlAdapter:
        estimator = cls(**state["params"])
        if state["data_hash"] is not None:
            estimator.saved_hash = state["data_hash"]
        return estimator


def check_clip(clip: Any) -> None:
    """The lowest propensity that is believed."""
    if not isinstance(clip, int | float) or not 0 < clip < 0.5:
        raise ParameterError("must lie between 0 and 0.5", column="clip", value=clip)


def data_hash(data: EffectData) -> str:
    """Fingerprint of what an estimator was fitted on."""
    digest = hashlib.sha256()
    for part in (data.y, data.t, data.weight, data.groups):
        if part is not None:
            digest.update(np.ascontiguousarray(part).tobytes())
    for part in (data.x, data.w, data.z):
        if part is not None:
            digest.update("\0".join(part.names).encode())
            hashes = pd.util.hash_pandas_object(part.frame, index=False, categorize=False)
            digest.update(hashes.to_numpy().tobytes())
    return digest.hexdigest()


def _matters(heard: warnings.WarningMessage) -> bool:
    return issubclass(heard.category, UserWarning | RuntimeWarning) and not issubclass(
        heard.category, DeprecationWarning | FutureWarning
    )
