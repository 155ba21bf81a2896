"""Stage 1: learn, load, compare and question causal graphs."""

from ..core.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "CausalGraph": ".causal_graph",
        "Knowledge": ".knowledge",
        "GraphEnsemble": ".ensemble",
        "bootstrap": ".bootstrap",
        "discover": ".discover",
        "identify": ".identify",
        "Estimand": ".identify",
        "read_graph": ".files",
        "write_graph": ".files",
        "compare": ".compare",
        "falsify": ".falsify",
    },
)
