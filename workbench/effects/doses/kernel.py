"""The covariance of dose-response surfaces: smooth in the dose, with relevance per covariate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.saving import saveable

Parameters = dict[str, Tensor]

_WAVES = (1.0, 2.0)  # cycles over the range of doses at which the periodic parts start


@saveable
@dataclass(frozen=True)
class KernelForm:
    """Which parts the covariance has.

    k((x, t), (x', t')) = k_dose(s(x, t) - s(x', t')) * (c + a RBF(x, x') + x' V x)
                          + {d RBF_2(s - s') RBF_2(x, x')} + [b RBF_0(x, x') + x' V_0 x]

    with k_dose a squared exponential plus, with ``waves``, damped cosines; s(x, t) = t, or
    t + x . b with ``shift``: people may differ in where on the dose axis their curve lies. The
    braces, with ``second``, let other covariates act at another scale of the dose. The bracket,
    with ``main``, is a part of the outcome that no dose changes. Every RBF has a length
    scale per covariate, every linear part a weight per covariate (automatic relevance).

    Attributes:
        waves: Damped cosines in the dose (a spectral mixture).
        linear: Parts linear in the covariates.
        main: The bracket.
        shift: Curves that lie at different doses for different people.
        second: A second product, with length scales of its own, that starts at a fine one.
    """

    waves: int = 2
    linear: bool = True
    main: bool = True
    shift: bool = False
    second: bool = False

    def start(self, n_covariates: int) -> Parameters:
        """Parameters before learning, for outcomes, covariates of sd 1 and doses in [0, 1]."""
        p = n_covariates
        length = math.log(1.5 * math.sqrt(max(p, 1)))

        def number(value: float) -> Tensor:
            return torch.tensor(value, dtype=torch.float64)

        def vector(value: float) -> Tensor:
            return torch.full((p,), value, dtype=torch.float64)

        found = {
            "level": number(-0.5),
            "size": number(0.0),
            "length": vector(length),
            "dose_length": number(math.log(0.3)),
            "noise": number(math.log(0.15)),
        }
        if self.waves:
            cycles = [_WAVES[q % len(_WAVES)] * (1 + q // len(_WAVES)) for q in range(self.waves)]
            found["wave_size"] = torch.full((self.waves,), -1.5, dtype=torch.float64)
            found["wave_cycles"] = torch.tensor(cycles, dtype=torch.float64).log()
            found["wave_length"] = torch.full((self.waves,), math.log(0.7), dtype=torch.float64)
        if self.linear:
            found["linear"] = vector(-3.0)
        if self.shift:
            found["shift"] = vector(0.0)
        if self.second:
            found |= {"second_size": number(-1.0), "second_length": vector(length)}
            found["second_dose"] = number(math.log(0.12))
        if self.main:
            found |= {"main_size": number(-0.5), "main_length": vector(length)}
            if self.linear:
                found["main_linear"] = vector(-3.0)
        return found

    def covariance(self, p: Parameters, x: Tensor, t: Tensor, z: Tensor, u: Tensor) -> Tensor:
        """k of every row of (x, t) with every row of (z, u), (m, n)."""
        gap = self.position(p, x, t)[:, None] - self.position(p, z, u)[None]
        k = self._of_dose(p, gap) * self._of_covariates(p, x, z)
        if self.second:
            k = k + self._of_second(p, gap) * _rbf(x, z, p["second_length"])
        return k + self._main(p, x, z) if self.main else k

    def within(self, p: Parameters, x: Tensor, gap: Tensor) -> Tensor:
        """k between two doses of the same person, ``gap`` apart, (m,) or broadcast with it."""
        inner = p["level"].exp() + p["size"].exp()
        outer = torch.zeros(len(x), dtype=x.dtype)
        if self.linear:
            inner = inner + (x**2 * p["linear"].exp()).sum(1)
        if self.main:
            outer = outer + p["main_size"].exp()
            if self.linear:
                outer = outer + (x**2 * p["main_linear"].exp()).sum(1)
        k = self._of_dose(p, gap) * inner + outer
        return k + self._of_second(p, gap) if self.second else k

    def _of_second(self, p: Parameters, gap: Tensor) -> Tensor:
        return p["second_size"].exp() * torch.exp(-0.5 * gap**2 * torch.exp(-2 * p["second_dose"]))

    def position(self, p: Parameters, x: Tensor, t: Tensor) -> Tensor:
        """Where on the dose axis of the common curve a person's dose lies, (m,)."""
        return t + _SHIFT_UNIT * (x @ p["shift"]) if self.shift else t

    def _of_dose(self, p: Parameters, gap: Tensor) -> Tensor:
        square = gap**2
        k = torch.exp(-0.5 * square * torch.exp(-2 * p["dose_length"]))
        for q in range(self.waves):
            damp = torch.exp(-0.5 * square * torch.exp(-2 * p["wave_length"][q]))
            turns = torch.cos(2 * math.pi * p["wave_cycles"][q].exp() * gap)
            k = k + p["wave_size"][q].exp() * damp * turns
        return k

    def _of_covariates(self, p: Parameters, x: Tensor, z: Tensor) -> Tensor:
        k = p["level"].exp() + p["size"].exp() * _rbf(x, z, p["length"])
        return k + (x * p["linear"].exp()) @ z.T if self.linear else k

    def _main(self, p: Parameters, x: Tensor, z: Tensor) -> Tensor:
        k = p["main_size"].exp() * _rbf(x, z, p["main_length"])
        return k + (x * p["main_linear"].exp()) @ z.T if self.linear else k

    def penalty(self, p: Parameters) -> Tensor:
        """Minus the log of priors that favour few covariates: exponential on 1 / length scale."""
        total = _SPARSE * torch.exp(-p["length"]).sum()
        if self.linear:
            total = total + _SPARSE / 2 * p["linear"].exp().sum()
        if self.main:
            total = total + _SPARSE * torch.exp(-p["main_length"]).sum()
            if self.linear:
                total = total + _SPARSE / 2 * p["main_linear"].exp().sum()
        if self.second:
            total = total + _SPARSE * torch.exp(-p["second_length"]).sum()
        if self.shift:
            total = total + _SHIFT_SPARSE * p["shift"].abs().sum()
        return total


_SPARSE = 4.0
_SHIFT_UNIT, _SHIFT_SPARSE = 0.3, 6.0


def _rbf(x: Tensor, z: Tensor, log_length: Tensor) -> Tensor:
    a, b = x * torch.exp(-log_length), z * torch.exp(-log_length)
    square = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return torch.exp(-0.5 * square.clamp(min=0))
