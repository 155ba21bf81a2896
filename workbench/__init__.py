"""From a table to a decision: which graph, which effect, what to do about it."""

from .core.lazy import exports

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Study": ".study",
        "Schema": ".tables.schema",
        "Feature": ".tables.schema",
        "read_table": ".tables.read",
        "CausalGraph": ".graph.causal_graph",
        "Knowledge": ".graph.knowledge",
        "GraphEnsemble": ".graph.ensemble",
        "discover": ".graph.discover",
        "identify": ".graph.identify",
        "read_graph": ".graph.files",
        "write_graph": ".graph.files",
        "StructuralCausalModel": ".scm.model",
        "CausalWarning": ".core.errors",
        "save": ".core.saving",
        "load": ".core.saving",
    },
)
