"""What every stage reads: schema, gate, encoder, readers."""

from ..core.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Feature": ".schema",
        "Schema": ".schema",
        "Table": ".gate",
        "Encoder": ".encode",
        "read_table": ".read",
    },
)
