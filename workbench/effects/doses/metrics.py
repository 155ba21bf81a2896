"""Errors of dose-response curves where the truth is known, each by its published name."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ...core.errors import DataError, ParameterError

METRICS = ("cf", "integrated", "pairnet")
Metric = Literal["cf", "integrated", "pairnet"]


def dose_response_error(
    predicted: np.ndarray,
    truth: np.ndarray,
    metric: Metric,
    *,
    observed: np.ndarray | None = None,
    at_received: np.ndarray | None = None,
    truth_noise: float = 0.0,
    accept_noise: bool = False,
) -> float:
    """The error of curves against the truth, by one of three published definitions.

    ``"cf"`` (GIKS, on IHDP and NEWS): the root of the mean over units and doses of
    (predicted - truth)^2. ``"integrated"`` (GIKS on TCGA): the mean over units of the root of the
    integral over doses, by Romberg's rule over 2^k + 1 equally spaced doses with the published
    step 1 / (2^k + 1). ``"pairnet"`` (PairNet's "MISE"): the mean over units of the root of
    mean_t ([y_i - truth_i(t)] - [predicted_i(t_i) - predicted_i(t)])^2, an effect relative to the
    noisy outcome. The three differ by more than methods do: never put two in one table.

    Args:
        predicted: Curves (m, G).
        truth: Curves (m, G), at the same doses.
        metric: ``"cf"``, ``"integrated"`` or ``"pairnet"``.
        observed: Outcomes (m,), for ``"pairnet"``.
        at_received: Predictions at the doses received (m,), for ``"pairnet"``.
        truth_noise: Sd of noise in ``truth`` that no method can predict (NEWS as released: .707).
        accept_noise: Score against such a truth all the same; see :func:`noise_floor`.

    Raises:
        DataError: Shapes that don't match, or a noisy truth.
        ParameterError: Unknown metric, or one whose inputs are missing.

    References:
        Nagalapatti, Iyer, De and Sarawagi, AAAI 2024. Nagalapatti, Singhal, Ghosh and Sarawagi,
        ICML 2024.

    Example:
        >>> truth = np.zeros((2, 5))
        >>> bool(dose_response_error(truth + [[3.0], [4.0]], truth, "cf") == np.sqrt(12.5))
        True
    """
    predicted, truth = np.asarray(predicted, dtype=float), np.asarray(truth, dtype=float)
    if predicted.shape != truth.shape or predicted.ndim != 2 or not predicted.size:
        raise DataError(f"are {predicted.shape}, the true ones {truth.shape}", column="curves")
    if metric not in METRICS:
        raise ParameterError(
            f"must be one of {', '.join(map(repr, METRICS))}", column="metric", value=metric
        )
    if truth_noise > 0 and not accept_noise:
        raise DataError(
            f"is noisy (sd {truth_noise:g}): no method can have an error below "
            f"{noise_floor(metric, truth_noise):g}",
            column="truth",
            advice="Score against the noiseless curves, or pass accept_noise=True.",
        )
    if metric == "cf":
        return float(np.sqrt(((predicted - truth) ** 2).mean()))
    if metric == "integrated":
        from scipy.integrate import romb

        n = predicted.shape[1]
        if n < 3 or (n - 1) & (n - 2):
            raise DataError("must have 2^k + 1 doses for Romberg's rule", column="curves", value=n)
        return float(np.sqrt(romb((predicted - truth) ** 2, dx=1 / n, axis=1)).mean())
    if observed is None or at_received is None:
        raise ParameterError("needs observed and at_received", column="metric", value=metric)
    observed, at_received = (np.asarray(v, dtype=float) for v in (observed, at_received))
    for name, values in (("observed", observed), ("at_received", at_received)):
        if values.shape != truth.shape[:1]:
            raise DataError(f"is {values.shape}, not ({len(truth)},)", column=name)
    told, true = at_received[:, None] - predicted, observed[:, None] - truth
    return float(np.sqrt(((true - told) ** 2).mean(axis=1)).mean())


def noise_floor(metric: Metric, noise: float) -> float:
    """About the least error that a perfect method has where the truth has noise of this sd.

    With ``"pairnet"`` the noise is that of the observed outcomes, whatever the truth; it enters
    every dose of a unit at once, so that the floor is E|noise| = sd * sqrt(2 / pi) for a normal
    one. With the others it is the sd.
    """
    return noise * float(np.sqrt(2 / np.pi)) if metric == "pairnet" else noise
