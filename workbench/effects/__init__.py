"""Stage 2: how large is the effect, and what does the number rest on?"""

from ..core.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "EffectEstimator": ".base",
        "AIPW": ".aipw",
        "LinearDML": ".adapters",
        "CausalForestDML": ".adapters",
        "DRLearner": ".adapters",
        "TARNet": ".representation",
        "CFRNet": ".representation",
        "DragonNet": ".representation",
        "PairNet": ".pairnet",
        "estimate": ".estimate",
        "EffectEstimate": ".effect_estimate",
        "refute": ".refute",
        "Overlap": ".overlap",
        "overlap": ".overlap",
        "balance": ".overlap",
        "catalogue": ".catalogue",
    },
)
