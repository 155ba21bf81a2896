"""Structural causal models: fit, sample, intervene, and ask what would have been."""

from ..core.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "StructuralCausalModel": ".model",
        "ModelFamily": ".family",
        "FitReport": ".report",
        "Mechanism": ".mechanisms",
        "Root": ".mechanisms",
        "AdditiveNoise": ".mechanisms",
        "GumbelMax": ".mechanisms",
        "Equation": ".mechanisms",
        "LinearFunction": ".mechanisms",
        "Empirical": ".noise",
        "Gaussian": ".noise",
    },
)
