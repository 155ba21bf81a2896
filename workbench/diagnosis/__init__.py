"""Stage 3b: which metric started it? Root causes of an anomalous record or window."""

from ..core.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "System": ".system",
        "Incident": ".incident",
        "Ranking": ".ranking",
        "Diagnoser": ".base",
        "NSigma": ".nsigma",
        "Traversal": ".traversal",
        "SmoothTraversal": ".traversal",
        "CIRCA": ".circa",
        "RankedCorrelation": ".ranked_correlation",
        "TOCA": ".toca",
        "BARO": ".baro",
        "CounterfactualAttribution": ".counterfactual_attribution",
        "calibrate": ".calibration",
        "evaluate": ".evaluate",
        "Evaluation": ".evaluate",
    },
)
