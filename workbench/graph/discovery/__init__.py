"""Algorithms that learn a graph from a table: one function and one file for each.

``METHODS`` is what :func:`workbench.discover` offers; each is also a function of its own.
"""

from ...core.lazy import exports

METHODS = {
    "pc": ".pc",
    "fci": ".fci",
    "direct_lingam": ".direct_lingam",
    "boss": ".boss",
    "ges": ".ges",
    "grasp": ".grasp",
    "dagma": ".dagma",
    "anm": ".anm",
}

__getattr__, __dir__, __all__ = exports(__name__, METHODS)
