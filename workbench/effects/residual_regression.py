"""The last step of residual methods, with errors of our own: by cluster and leverage-corrected."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tables.effect_data import EffectData
from ..tables.gate import Table
from .base import Estimate
from .sandwich import covariance, instrumented


class ResidualRegression:
    """Effects linear in X from residuals of outcome, treatment and (if there are any) instruments.

    theta solves sum_i (Y~_i - theta(X_i) T~_i) Z~_i (1, X_i) = 0, with Z~ = T~ where nothing else
    moves the treatment. Mixed into an adapter, which gives ``_codes`` and ``_encoded``.
    """

    def _regress(
        self,
        data: EffectData,
        x: np.ndarray | None,
        rest_y: np.ndarray,
        rest_t: np.ndarray,
        rest_z: np.ndarray,
    ) -> None:
        n = len(data)
        phi = np.ones((n, 1)) if x is None else np.hstack([np.ones((n, 1)), x])
        weight = np.ones(n) if data.weight is None else data.weight / data.weight.mean()
        design, shift = (
            (rest.reshape(n, -1)[:, :, None] * phi[:, None, :]).reshape(n, -1)
            for rest in (rest_t, rest_z)
        )
        coef, influence = instrumented(design, shift, rest_y, weight)
        shape = (design.shape[1] // phi.shape[1], phi.shape[1])
        self.coef_ = coef.reshape(shape)
        self.coef_cov_ = covariance(influence, data.groups).reshape(*shape, *shape)
        mean = weight @ phi / n
        spread = (phi - mean) @ self.coef_.T * weight[:, None] / n
        self.mean_ = self.coef_ @ mean
        self.mean_cov_ = covariance(influence.reshape(n, *shape) @ mean + spread, data.groups)
        clusters = n if data.groups is None else len(np.unique(data.groups))
        self.df_ = float(clusters - 1 if data.groups is not None else n - design.shape[1])

    def _phi(self, x: Table | None) -> np.ndarray:
        if x is None:
            return np.ones((1, 1))
        encoded = self._encoded(x)
        ones = np.ones((len(x), 1))
        return ones if encoded is None else np.hstack([ones, encoded])

    def _effect(self, x: Table | None, t0: Any, t1: Any) -> np.ndarray:
        return self._phi(x) @ (self._codes(t0, t1) @ self.coef_)

    def _effect_error(self, x: Table | None, t0: Any, t1: Any) -> tuple[np.ndarray, float]:
        code, phi = self._codes(t0, t1), self._phi(x)
        cov = np.einsum("k,kplq,l->pq", code, self.coef_cov_, code)
        return np.sqrt(np.maximum(np.einsum("np,pq,nq->n", phi, cov, phi), 0)), self.df_

    def _ate(self, x: Table | None, t0: Any, t1: Any, weight: np.ndarray | None = None) -> Estimate:
        code = self._codes(t0, t1)
        if x is None:
            value, variance = code @ self.mean_, code @ self.mean_cov_ @ code
        else:
            phi = np.average(self._phi(x), axis=0, weights=weight)
            value = code @ self.coef_ @ phi
            variance = np.einsum("k,p,kplq,l,q", code, phi, self.coef_cov_, code, phi)
        return Estimate(float(value), float(np.sqrt(max(variance, 0))), self.df_)
