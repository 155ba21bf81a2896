"""The covariance of dose-response surfaces: smooth in the dose, with relevance per covariate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...core.saving import saveable

Parameters = dict[str, np.ndarray]

_WAVES = (1.0, 2.0)  # cycles over the range of doses at which the periodic parts start
_SPARSE = 4.0
_SHIFT_UNIT, _SHIFT_SPARSE = 0.3, 6.0


@dataclass(frozen=True)
class Covariates:
    """What the covariates of rows x and z contribute to their covariance, whatever the doses.

    Attributes:
        x, z: (m, p) and (n, p).
        near: RBF(x, z), (m, n).
        inner: c + a RBF(x, z) + x' V z.
        second: d RBF_2(x, z), or None.
        main_near: b RBF_0(x, z), or None.
        outer: b RBF_0(x, z) + x' V_0 z, or None.
    """

    x: np.ndarray
    z: np.ndarray
    near: np.ndarray
    inner: np.ndarray
    second: np.ndarray | None
    main_near: np.ndarray | None
    outer: np.ndarray | None


@dataclass(frozen=True)
class _Doses:
    """What the doses contribute: k_dose, and the squared exponential and waves it is made of."""

    gap: np.ndarray
    whole: np.ndarray
    decay: np.ndarray
    damp: list[np.ndarray]
    turn: list[np.ndarray]


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
        found = {
            "level": np.array(-0.5),
            "size": np.array(0.0),
            "length": np.full(p, length),
            "dose_length": np.array(math.log(0.3)),
            "noise": np.array(math.log(0.15)),
        }
        if self.waves:
            cycles = [_WAVES[q % len(_WAVES)] * (1 + q // len(_WAVES)) for q in range(self.waves)]
            found["wave_size"] = np.full(self.waves, -1.5)
            found["wave_cycles"] = np.log(cycles)
            found["wave_length"] = np.full(self.waves, math.log(0.7))
        if self.linear:
            found["linear"] = np.full(p, -3.0)
        if self.shift:
            found["shift"] = np.zeros(p)
        if self.second:
            found |= {"second_size": np.array(-1.0), "second_length": np.full(p, length)}
            found["second_dose"] = np.array(math.log(0.12))
        if self.main:
            found |= {"main_size": np.array(-0.5), "main_length": np.full(p, length)}
            if self.linear:
                found["main_linear"] = np.full(p, -3.0)
        return found

    def covariance(
        self, p: Parameters, x: np.ndarray, t: np.ndarray, z: np.ndarray, u: np.ndarray
    ) -> np.ndarray:
        """k of every row of (x, t) with every row of (z, u), (m, n)."""
        parts = self.of_covariates(p, x, z)
        return self.at_doses(p, parts, self.position(p, x, t), self.position(p, z, u))

    def of_covariates(self, p: Parameters, x: np.ndarray, z: np.ndarray) -> Covariates:
        """The factors that only covariates enter, to be used at many doses."""
        near = _rbf(x, z, p["length"])
        inner = np.exp(p["level"]) + np.exp(p["size"]) * near
        if self.linear:
            inner += (x * np.exp(p["linear"])) @ z.T
        second = main_near = outer = None
        if self.second:
            second = np.exp(p["second_size"]) * _rbf(x, z, p["second_length"])
        if self.main:
            outer = main_near = np.exp(p["main_size"]) * _rbf(x, z, p["main_length"])
            if self.linear:
                outer = main_near + (x * np.exp(p["main_linear"])) @ z.T
        return Covariates(x, z, near, inner, second, main_near, outer)

    def position(self, p: Parameters, x: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Where on the dose axis of the common curve a person's dose lies, (m,)."""
        return t + _SHIFT_UNIT * (x @ p["shift"]) if self.shift else t

    def at_doses(
        self, p: Parameters, parts: Covariates, s: np.ndarray, r: np.ndarray
    ) -> np.ndarray:
        """k at positions s, (m,) or (1,) if all are the same, and r, (n,)."""
        doses = self._of_doses(p, s, r)
        k = doses.whole * parts.inner
        if parts.second is not None:
            k += self._of_second(p, doses) * parts.second
        return k if parts.outer is None else k + parts.outer

    def slopes(self, p: Parameters, parts: Covariates, s: np.ndarray, r: np.ndarray) -> np.ndarray:
        """d k / d s, (m, n)."""
        doses = self._of_doses(p, s, r)
        return self._slope(p, parts, doses, self._sines(p, s, r))

    def within(self, p: Parameters, x: np.ndarray, gap: np.ndarray) -> np.ndarray:
        """k between two doses of the same person, ``gap`` apart, (m,)."""
        inner, outer = np.exp(p["level"]) + np.exp(p["size"]), 0.0
        if self.linear:
            inner = inner + (x**2) @ np.exp(p["linear"])
        if self.main:
            outer = np.exp(p["main_size"])
            if self.linear:
                outer = outer + (x**2) @ np.exp(p["main_linear"])
        doses = self._of_doses(p, gap, np.zeros(1))
        k = doses.whole[:, 0] * inner + outer
        return k + np.exp(p["second_size"]) * self._of_second(p, doses)[:, 0] if self.second else k

    def gradient(
        self, p: Parameters, parts: Covariates, s: np.ndarray, r: np.ndarray, pull: np.ndarray
    ) -> Parameters:
        """The gradient of sum(pull * k) in all parameters of the covariance."""
        doses, x, z = self._of_doses(p, s, r), parts.x, parts.z
        square = doses.gap**2
        to_inner, to_dose = pull * doses.whole, pull * parts.inner
        found = {"level": np.exp(p["level"]) * to_inner.sum()}
        found |= _of_rbf("", np.exp(p["size"]) * to_inner * parts.near, x, z, p)
        steep = np.exp(-2 * p["dose_length"])
        found["dose_length"] = steep * np.sum(to_dose * doses.decay * square)
        if self.linear:
            found["linear"] = np.exp(p["linear"]) * (x * (to_inner @ z)).sum(axis=0)
        sines = self._sines(p, s, r)
        if self.waves:
            size, length = np.exp(p["wave_size"]), np.exp(-2 * p["wave_length"])
            speed = 2 * math.pi * np.exp(p["wave_cycles"])
            each = np.empty((3, self.waves))
            for q, (damp, turn, sine) in enumerate(zip(doses.damp, doses.turn, sines, strict=True)):
                damped = size[q] * to_dose * damp
                waved = damped * turn
                each[0, q] = waved.sum()
                each[1, q] = -speed[q] * np.sum(damped * sine * doses.gap)
                each[2, q] = length[q] * np.sum(waved * square)
            names = ("wave_size", "wave_cycles", "wave_length")
            found |= dict(zip(names, each, strict=True))
        if parts.second is not None:
            both = pull * self._of_second(p, doses) * parts.second
            found |= _of_rbf("second_", both, x, z, p)
            found["second_dose"] = np.exp(-2 * p["second_dose"]) * np.sum(both * square)
        if parts.main_near is not None:
            found |= _of_rbf("main_", pull * parts.main_near, x, z, p)
            if self.linear:
                found["main_linear"] = np.exp(p["main_linear"]) * (x * (pull @ z)).sum(axis=0)
        if self.shift:
            slope = pull * self._slope(p, parts, doses, sines)
            found["shift"] = _SHIFT_UNIT * (slope.sum(axis=1) @ x - slope.sum(axis=0) @ z)
        return found

    def penalty(self, p: Parameters) -> tuple[float, Parameters]:
        """Minus the log of priors that favour few covariates, and its gradient.

        Exponential on 1 / length scale, on linear weights and on the size of shifts.
        """
        total, found = 0.0, {}
        for name in p:
            if name in ("length", "main_length", "second_length"):
                part = _SPARSE * np.exp(-p[name])
                found[name] = -part
            elif name in ("linear", "main_linear"):
                found[name] = part = _SPARSE / 2 * np.exp(p[name])
            elif name == "shift":
                part = _SHIFT_SPARSE * np.abs(p[name])
                found[name] = _SHIFT_SPARSE * np.sign(p[name])
            else:
                continue
            total += float(part.sum())
        return total, found

    def _of_doses(self, p: Parameters, s: np.ndarray, r: np.ndarray) -> _Doses:
        gap = s[:, None] - r[None]
        fall = -0.5 * gap**2
        whole = decay = np.exp(fall * np.exp(-2 * p["dose_length"]))
        damp, turn = [], []
        for q in range(self.waves):
            damp.append(np.exp(fall * np.exp(-2 * p["wave_length"][q])))
            (cos_s, sin_s), (cos_r, sin_r) = self._turns(p, q, s), self._turns(p, q, r)
            turn.append(cos_s[:, None] * cos_r[None] + sin_s[:, None] * sin_r[None])
            whole = whole + np.exp(p["wave_size"][q]) * damp[q] * turn[q]
        return _Doses(gap, whole, decay, damp, turn)

    def _turns(self, p: Parameters, q: int, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        angle = 2 * math.pi * np.exp(p["wave_cycles"][q]) * s
        return np.cos(angle), np.sin(angle)

    def _sines(self, p: Parameters, s: np.ndarray, r: np.ndarray) -> list[np.ndarray]:
        """Sines of the angles whose cosines are in ``_Doses.turn``."""
        found = []
        for q in range(self.waves):
            (cos_s, sin_s), (cos_r, sin_r) = self._turns(p, q, s), self._turns(p, q, r)
            found.append(sin_s[:, None] * cos_r[None] - cos_s[:, None] * sin_r[None])
        return found

    def _of_second(self, p: Parameters, doses: _Doses) -> np.ndarray:
        return np.exp(-0.5 * doses.gap**2 * np.exp(-2 * p["second_dose"]))

    def _slope(
        self, p: Parameters, parts: Covariates, doses: _Doses, sines: list[np.ndarray]
    ) -> np.ndarray:
        """d k / d gap."""
        whole = -np.exp(-2 * p["dose_length"]) * doses.gap * doses.decay
        for q in range(self.waves):
            speed = 2 * math.pi * np.exp(p["wave_cycles"][q])
            steep = np.exp(-2 * p["wave_length"][q])
            along = steep * doses.gap * doses.turn[q] + speed * sines[q]
            whole = whole - np.exp(p["wave_size"][q]) * doses.damp[q] * along
        slope = whole * parts.inner
        if parts.second is not None:
            fine = np.exp(-2 * p["second_dose"]) * doses.gap * self._of_second(p, doses)
            slope -= fine * parts.second
        return slope


def _rbf(x: np.ndarray, z: np.ndarray, log_length: np.ndarray) -> np.ndarray:
    a, b = x * np.exp(-log_length), z * np.exp(-log_length)
    product = a @ b.T
    product -= 0.5 * (a**2).sum(axis=1)[:, None]
    product -= 0.5 * (b**2).sum(axis=1)[None]
    return np.exp(np.minimum(product, 0, out=product), out=product)


def _of_rbf(
    prefix: str, pulled: np.ndarray, x: np.ndarray, z: np.ndarray, p: Parameters
) -> Parameters:
    """Gradient in the size and lengths of an RBF from pull * size * RBF."""
    a, b = (values * np.exp(-p[f"{prefix}length"]) for values in (x, z))
    squares = pulled.sum(axis=1) @ a**2 + pulled.sum(axis=0) @ b**2
    return {
        f"{prefix}size": pulled.sum(),
        f"{prefix}length": squares - 2 * (a * (pulled @ b)).sum(axis=0),
    }
