"""Stage 2: how large is the effect, and what does the number rest on?"""

from ..core.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "EffectEstimator": ".base",
        "AIPW": ".aipw",
        "LinearDML": ".dml",
        "CausalForestDML": ".forests",
        "DRLearner": ".dr_learner",
        "ForestDRLearner": ".forests",
        "OrthoIV": ".instrumented",
        "DMLIV": ".instrumented",
        "LinearDRIV": ".instrumented",
        "SLearner": ".metalearners",
        "TLearner": ".metalearners",
        "XLearner": ".metalearners",
        "RLearner": ".orthogonal_learners",
        "NonParamDRLearner": ".orthogonal_learners",
        "estimate": ".estimate",
        "EffectEstimate": ".effect_estimate",
        "refute": ".refute",
        "Overlap": ".overlap",
        "overlap": ".overlap",
        "balance": ".overlap",
        "catalogue": ".catalogue",
    },
)
