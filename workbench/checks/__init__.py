"""What is odd about a table or an estimator, before anybody relies on it."""

from ..core.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "check_table": ".table",
        "TableReport": ".table",
        "Finding": ".table",
        "check_causal_estimator": ".estimator",
    },
)
