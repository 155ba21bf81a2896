import math

import numpy as np
import pytest

from workbench.core.errors import ParameterError
from workbench.effects.sensitivity import robustness


def test_the_robustness_value_solves_the_bound():
    """A confounder exactly as strong as the robustness value moves the estimate to zero."""
    for t in (0.5, 2.0, 10.0):
        n, se = 400, 0.3
        r = robustness(t * se, se, n).to_zero
        bias = se * math.sqrt(n) * r / math.sqrt(1 - r)
        assert bias == pytest.approx(t * se)


def test_a_confounder_of_that_strength_does_overturn_the_effect():
    """Simulated: partial R² of r with both treatment and outcome, working together."""
    rng = np.random.default_rng(0)
    n, r = 200_000, 0.2
    u, t_noise, y_noise = rng.normal(size=(3, n))
    t = math.sqrt(r) * u + math.sqrt(1 - r) * t_noise
    # Without u the slope is the bias alone: choose the effect that u hides.
    hidden = r / math.sqrt(1 - r)
    residual = t_noise * math.sqrt(r) - math.sqrt(1 - r) * u  # u given t
    residual /= residual.std()
    y = hidden * t + math.sqrt(r) * -residual + math.sqrt(1 - r) * y_noise
    slope = (t @ y) / (t @ t)
    rest = y - slope * t
    se = rest.std() / (t.std() * math.sqrt(n))
    assert robustness(slope, se, n).to_zero == pytest.approx(r, abs=0.02)


def test_an_interval_that_holds_zero_needs_no_confounder():
    found = robustness(0.1, 1.0, 100)
    assert found.to_doubt == 0 and "without any" in found.verdict()
    assert robustness(-3.0, 0.1, 100).to_zero == robustness(3.0, 0.1, 100).to_zero


def test_an_estimate_without_error_is_refused():
    with pytest.raises(ParameterError, match="se"):
        robustness(1.0, 0.0, 100)
