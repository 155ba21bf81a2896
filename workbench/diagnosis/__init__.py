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
        "BlameFlow": ".flow",
        "IDI": ".idi",
        "IDICounterfactual": ".idi",
        "CounterfactualAttribution": ".counterfactual_attribution",
        "calibrate": ".calibration",
        "OnCall": ".oncall",
        "investigate": ".oncall",
        "Investigation": ".investigation",
        "FLOWS": ".metric_graph",
        "Flow": ".metric_graph",
        "metric_graph": ".metric_graph",
        "Telemetry": ".telemetry.series",
        "read_metrics": ".telemetry.metrics",
        "ServiceGraph": ".telemetry.service_graph",
        "read_service_graph": ".telemetry.service_graph",
        "read_changes": ".telemetry.changes",
        "evaluate": ".evaluate",
        "Evaluation": ".evaluate",
    },
)
