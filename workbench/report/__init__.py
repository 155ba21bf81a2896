"""The decision memo: one HTML file without network."""

from ..core.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Memo": ".memo",
        "Section": ".memo",
        "Card": ".memo",
        "write_memo": ".memo",
        "incident_memo": ".incident",
    },
)
