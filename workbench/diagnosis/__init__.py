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
        "BlameFlow": ".flow",
        "IDI": ".idi",
        "IDICounterfactual": ".idi",
        "CounterfactualAttribution": ".counterfactual_attribution",
        "evaluate": ".evaluate",
        "Evaluation": ".evaluate",
    },
)
