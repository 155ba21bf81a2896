"""scikit-learn's constructor rules without importing scikit-learn."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import Any, Self

from .errors import NotFittedError, ParameterError, did_you_mean


class Parameterised:
    """A thing whose constructor stores its parameters unchanged.

    Gives ``get_params``, ``set_params``, a repr that shows what differs from the defaults, and
    works with ``sklearn.base.clone``. Attributes learned by ``fit`` end in an underscore.
    """

    @classmethod
    def _parameter_names(cls) -> list[str]:
        if cls.__init__ is object.__init__:
            return []
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        return sorted(p.name for p in parameters if p.kind is not p.VAR_KEYWORD)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name; with ``deep`` also those of nested estimators, as ``a__b``."""
        params: dict[str, Any] = {}
        for name in self._parameter_names():
            value = getattr(self, name)
            params[name] = value
            if deep and hasattr(value, "get_params") and not isinstance(value, type):
                params |= {f"{name}__{k}": v for k, v in value.get_params().items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name (``a__b`` reaches nested estimators); returns self."""
        names = self._parameter_names()
        nested: dict[str, dict[str, Any]] = {}
        for key, value in params.items():
            name, _, rest = key.partition("__")
            if name not in names:
                raise ParameterError(
                    f"is not a parameter of {type(self).__name__}",
                    column=name,
                    advice=did_you_mean(name, names),
                )
            if rest:
                nested.setdefault(name, {})[rest] = value
            else:
                setattr(self, name, value)
        for name, inner in nested.items():
            getattr(self, name).set_params(**inner)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return any(k.endswith("_") and not k.startswith("_") for k in vars(self))

    def _require_fitted(self) -> None:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(
                f"{type(self).__name__} has not been fitted", advice="Call fit first."
            )

    def _require_positive(self, *names: str) -> None:
        for name in names:
            if not getattr(self, name) > 0:
                raise ParameterError("must be positive", column=name, value=getattr(self, name))

    def _require_at_least(self, **least: float) -> None:
        for name, bound in least.items():
            value = getattr(self, name)
            if not value >= bound:
                raise ParameterError(f"must be at least {bound}", column=name, value=value)

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self).__init__).parameters
        shown = [
            f"{name}={getattr(self, name)!r}"
            for name in self._parameter_names()
            if repr(getattr(self, name)) != repr(defaults[name].default)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def require_one_of(column: str, value: Any, known: Collection[Any]) -> None:
    """Refuse a parameter that is none of the known choices.

    Raises:
        ParameterError: Names the choices, and the nearest of them.
    """
    if value not in known:
        raise ParameterError(
            f"must be one of {', '.join(map(repr, known))}",
            column=column,
            value=value,
            advice=did_you_mean(value, known),
        )
