"""Networks of dose-response surfaces: one head, exact slopes, losses with closed forms."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from workbench.effects.doses.giks import interpolation_loss
from workbench.effects.doses.independence import hsic
from workbench.effects.doses.networks import CurveNet, StrataNet, VaryingNet

KNOTS = (0.25, 0.5, 0.75)
NETS = {
    "curve": lambda: CurveNet(2, 3, (8,), 4, KNOTS, dtype=torch.float64),
    "varying": lambda: VaryingNet(2, 3, (8,), 6, dtype=torch.float64),
    "targeted": lambda: VaryingNet(2, 3, (8,), 6, targeted=True, dtype=torch.float64),
    "drnet": lambda: StrataNet(2, 3, (8,), 6, dtype=torch.float64),
    "tarnet": lambda: StrataNet(2, 3, (8,), 6, every_layer=False, dtype=torch.float64),
}


@pytest.fixture(params=NETS)
def net(request):
    made = NETS[request.param]()
    if getattr(made, "tilt", None) is not None:
        torch.nn.init.constant_(made.tilt, 0.1)
    return made


def inputs(n=7):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, n, 3, generator=generator, dtype=torch.float64)
    return x, torch.rand(2, n, generator=generator, dtype=torch.float64)


def test_one_dose_and_many_doses_are_the_same_function(net):
    x, t = inputs()
    phi = net.represent(x)
    many = torch.stack([t, t.flip(1), torch.ones_like(t)], -1)
    found = net.predict(phi, many)
    for j in range(3):
        one = net.predict(phi, many[..., j].contiguous())
        assert float((found[..., j] - one).abs().max()) < 1e-12
    torch.testing.assert_close(net(x, t), found[..., 0], rtol=0, atol=1e-12)


def test_a_common_grid_is_broadcast(net):
    x, _ = inputs()
    phi, grid = net.represent(x), torch.linspace(0, 1, 5, dtype=torch.float64)
    wide = net.predict(phi, grid.expand(2, 7, 5))
    torch.testing.assert_close(net.predict(phi, grid[None, None]), wide, rtol=0, atol=1e-12)


def test_slopes_are_central_differences_and_double_backward(net):
    x, t = inputs()
    t = 0.05 + 0.1 * torch.round(8 * t) + 0.013  # away from knots and borders
    phi = net.represent(x)
    level, slope = net.with_slope(phi, t)
    rise = (net.predict(phi, t + 1e-6) - net.predict(phi, t - 1e-6)) / 2e-6
    torch.testing.assert_close(slope, rise, rtol=1e-6, atol=1e-7)
    asked = t.clone().requires_grad_()
    back = torch.autograd.grad(net.predict(phi, asked).sum(), asked)[0]
    torch.testing.assert_close(slope, back, rtol=0, atol=1e-10)
    torch.testing.assert_close(level, net.predict(phi, t), rtol=0, atol=1e-12)


def test_the_highest_dose_belongs_to_the_last_stratum():
    net = NETS["drnet"]()
    x, _ = inputs()
    inside = net.features(torch.tensor([[0.0, 0.2, 0.999, 1.0, 1.3]], dtype=torch.float64))
    assert inside[..., 1:].argmax(-1).tolist() == [[0, 1, 4, 4, 4]]
    assert (inside[..., 1:].sum(-1) == 1).all()
    ends = net(x, torch.ones(2, 7, dtype=torch.float64))
    near = net(x, torch.full((2, 7), 1 - 1e-9, dtype=torch.float64))
    torch.testing.assert_close(ends, near)


def test_a_varying_coefficient_layer_by_hand():
    net = VaryingNet(1, 1, (1,), 1, knots=(0.5,), dtype=torch.float64)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.first.weight[0, 0] = torch.tensor([1.0, 2.0, 0.0, 4.0])  # 1, t, t^2, (t - .5)^2
        net.first.offset[0] = torch.tensor([0.5, 0.0, 0.0, 0.0])
        net.last.weight[0, 0] = torch.tensor([1.0, 0.0, 1.0, 0.0])
    phi = torch.tensor([[[3.0]]], dtype=torch.float64)
    t = torch.tensor([[0.75]], dtype=torch.float64)
    inner = 0.5 + 3 * (1 + 2 * 0.75 + 4 * 0.25**2)
    assert float(net.predict(phi, t)) == pytest.approx(inner * (1 + 0.75**2))


def test_densities_are_positive_and_integrate_to_one():
    net = NETS["varying"]()
    x, _ = inputs()
    grid = torch.linspace(0, 1, 1001, dtype=torch.float64).expand(2, 7, -1)
    dense = net.propensity(net.represent(x), grid)
    assert (dense > 0).all()
    torch.testing.assert_close(
        torch.trapezoid(dense, grid, dim=-1), torch.ones(2, 7).double(), atol=1e-4, rtol=0
    )


def batch(t, y):
    """What a loss sees, with draws fixed."""
    return SimpleNamespace(
        t=t,
        y=y,
        normal=lambda: torch.linspace(-1.5, 1.5, t.shape[1]).double().expand_as(t),
        mean=lambda values: values.mean(1),
    )


class Curve:
    """mu(t) = a + b t + c t^2 for everybody."""

    def __init__(self, a, b, c):
        self.a, self.b, self.c = a, b, c

    def with_slope(self, phi, t):
        return self.a + self.b * t + self.c * t**2, self.b + 2 * self.c * t


def test_interpolation_is_free_for_lines_and_charges_curvature():
    t = torch.linspace(0.1, 0.9, 9).double()[None]
    line, bent = Curve(1.0, -2.0, 0.0), Curve(1.0, -2.0, 3.0)
    assert float(interpolation_loss(line, batch(t, 1 - 2 * t), None, 0.05)) < 1e-24
    y = 1 - 2 * t + 3 * t**2
    normal = torch.linspace(-1.5, 1.5, 9).double()
    delta = 0.05 * (2 * torch.special.ndtr(normal) - 1)
    expected = float(((delta**2 * 3) ** 2).mean())
    assert float(interpolation_loss(bent, batch(t, y), None, 0.05)) == pytest.approx(expected)


def test_doses_beyond_the_ends_are_not_asked_for():
    asked = []

    class Spy(Curve):
        def with_slope(self, phi, t):
            asked.append(t)
            return super().with_slope(phi, t)

    ends = torch.tensor([[0.0, 0.001, 0.5, 0.999, 1.0]]).double()
    interpolation_loss(Spy(0, 1, 0), batch(ends, ends), None, 0.05)
    assert asked[0].min() >= 0 and asked[0].max() <= 1


def test_hsic_pulls_and_vanishes_under_independence():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 200, 4, generator=generator)
    weight = torch.randn(4, 2, generator=generator, requires_grad=True)
    dose = x[..., :1] + 0.1 * torch.randn(1, 200, 1, generator=generator)
    ones = torch.ones(1, 200)
    found = hsic(x @ weight, dose, ones)
    assert float(torch.autograd.grad(found.sum(), weight)[0].abs().max()) > 1e-4
    free = torch.rand(1, 200, 1, generator=generator)
    assert float(hsic(x, free, ones)) < 0.2 * float(hsic(dose, dose, ones))
    twice = hsic(x[:, :100], dose[:, :100], ones[:, :100])
    weighted = hsic(x, dose, torch.cat([ones[:, :100], 0 * ones[:, 100:]], 1))
    np.testing.assert_allclose(weighted.detach(), twice.detach(), rtol=0.3)
