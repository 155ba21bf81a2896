"""Lazy exports, so that importing a package loads none of the heavy libraries behind it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


def exports(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``(__getattr__, __dir__, __all__)`` for a package whose names load on first use.

    Args:
        package: The package's ``__name__``.
        homes: Public name -> module that defines it, relative to the package.

    Example:
        >>> find, names, public = exports("workbench", {"Schema": ".tables.schema"})
        >>> find("Schema").__name__, public
        ('Schema', ['Schema'])
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name], package), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted(homes)

    if package in sys.modules:
        sys.modules[package].__class__ = _package_type(frozenset(homes))
    return find, names, sorted(homes)


def _package_type(public: frozenset[str]) -> type[ModuleType]:
    """A module type in which importing a submodule never hides a public name it shares.

    ``from workbench import discover`` must give the function even after
    ``workbench.graph.discover`` has been imported: Python binds submodules as attributes.
    """

    class Package(ModuleType):
        def __setattr__(self, name: str, value: Any) -> None:
            if name in public and isinstance(value, ModuleType):
                return
            super().__setattr__(name, value)

    return Package
