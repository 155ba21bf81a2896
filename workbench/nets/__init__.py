"""Shared torch parts: networks with a member axis, and the one training loop."""

from ..core.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "BatchedModule": ".layers",
        "BatchedLinear": ".layers",
        "BatchedMLP": ".layers",
        "MultiHead": ".layers",
        "LayerNorm": ".layers",
        "Dropout": ".stochastic",
        "InputGate": ".stochastic",
        "SplineBasis": ".splines",
        "count_members": ".members",
        "select": ".members",
        "member_seeds": ".members",
        "split_seeds": ".members",
        "Batch": ".batches",
        "History": ".history",
        "train": ".train",
    },
)
