"""Tables to learn on: real ones from installed libraries, simulated ones with known truth."""

from ..core.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Dataset": ".catalogue",
        "available": ".catalogue",
        "load": ".catalogue",
        "SimulatedIncident": ".incidents",
        "linear_incident": ".incidents",
        "noninvertible_incident": ".incidents",
        "nonlinear_incident": ".nonlinear_incidents",
        "services_incident": ".services",
    },
)
