"""Stage 3a: the least a person must change, in a model's eyes or in the world."""

from ..core.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "RecourseProblem": ".problem",
        "Target": ".target",
        "Coupling": ".constraints",
        "Waiting": ".waiting",
        "ModelView": ".model_view",
        "Recommendations": ".recommendations",
        "RecourseMethod": ".method",
        "Actions": ".method",
        "Status": ".method",
        "ExactRecourse": ".exact",
        "Wachter": ".wachter",
        "GrowingSpheres": ".growing_spheres",
        "NearestTarget": ".nearest_target",
        "TrimmedTarget": ".trimmed_target",
        "Acceptance": ".acceptance",
        "GenRe": ".genre",
        "evaluate": ".evaluate",
        "Judge": ".evaluate",
        "audit": ".audit",
        "Audit": ".audit",
        "alternatives": ".alternatives",
        "Alternatives": ".alternatives",
        "Scorecard": ".scorecard",
        "reasons": ".reasons",
        "Reasons": ".reasons_answer",
        "ROAR": ".roar",
        "PROBE": ".probe",
        "invalidation_probability": ".invalidation",
        "shift_invalidation": ".invalidation",
    },
)
