"""What a monitoring system exports: metrics over time, who calls whom, what was changed."""

from ...core.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Telemetry": ".series",
        "read_metrics": ".metrics",
        "ServiceGraph": ".service_graph",
        "read_service_graph": ".service_graph",
        "read_changes": ".changes",
        "kind_of": ".kinds",
    },
)
