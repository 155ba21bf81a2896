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
        "estimate": ".estimate",
        "EffectEstimate": ".effect_estimate",
        "refute": ".refute",
        "Overlap": ".overlap",
        "overlap": ".overlap",
        "balance": ".overlap",
        "catalogue": ".catalogue",
        "compare_estimators": ".scores",
        "Comparison": ".scores",
        "calibration": ".calibration",
        "Calibration": ".calibration",
        "group_effects": ".group_effects",
        "GroupEffects": ".group_effects",
        "omitted_variable_bounds": ".omitted",
        "OmittedVariableBounds": ".omitted",
        "e_value": ".e_value",
        "EValue": ".e_value",
        "placebo_outcome": ".placebo",
        "placebo_treatment": ".placebo",
        "policy_value": ".policy",
        "PolicyValue": ".policy",
        "policy_tree": ".policy_tree",
        "PolicyTree": ".policy_tree",
    },
)
