"""A ReLU network as rows of a mixed-integer program, with tight bounds."""

from __future__ import annotations

import numpy as np

from .exact_plan import Condition, Plan
from .program import Terms
from .structure import Relu, inverse_link

_PAD = 1e-6  # bounds from linear programs are exact to 1e-7


def relu_condition(model: Relu) -> Condition:
    """The network's decision beyond the threshold.

    A hidden unit h = max(0, p) with l <= p <= u is nothing to decide about where l >= 0 or
    u <= 0; otherwise it takes one 0/1 variable d: h >= 0, h >= p, h <= u d, h <= p - l (1 - d).
    The bounds are those of intervals, sharpened by two linear programs per unit over everything
    that the program already knows: ranges, couplings, causes, the cost limit, earlier layers.
    """

    def add(plan: Plan) -> None:
        problem, program = plan.problem, plan.program
        scale = np.where(problem.space.discrete, 1.0, problem.cost.scale)[problem.space.owner]
        design = problem.space.design(plan.x[None])[0]
        weights, biases = model.weights, model.biases
        constants = weights[0] @ design + biases[0]
        rows = [plan.combine(row * scale) for row in weights[0]]
        for weight, bias in zip(weights[1:], biases[1:], strict=True):
            hidden = _layer(plan, rows, constants)
            constants, rows = bias.astype(float), []
            for row in weight:
                terms: Terms = {}
                for unit, w in zip(hidden, row, strict=True):
                    for variable, c in unit[0].items():
                        terms[variable] = terms.get(variable, 0.0) + w * c
                rows.append(terms)
            constants = constants + weight @ np.array([unit[1] for unit in hidden])
        sign = problem.target.sign
        goal = inverse_link(model.link, problem.target.threshold)
        size = max((abs(w) for w in rows[0].values()), default=0.0) or 1.0
        need = sign * (goal - constants[0]) / size + plan.margin
        program.row({v: sign * w / size for v, w in rows[0].items()}, low=need)

    return add


def _layer(plan: Plan, rows: list[Terms], constants: np.ndarray) -> list[tuple[Terms, float]]:
    """The units of a layer after ReLU, each as terms and a constant."""
    program = plan.program
    low, high = np.array([program.interval(terms) for terms in rows]).T + constants
    doubtful = np.flatnonzero((low < 0) & (high > 0))
    tight = program.extremes([rows[i] for i in doubtful], plan.until)
    tight = tight + constants[doubtful] + _PAD * np.array([[-1.0], [1.0]])
    low[doubtful] = np.fmax(low[doubtful], tight[0])
    high[doubtful] = np.fmin(high[doubtful], tight[1])
    hidden: list[tuple[Terms, float]] = []
    for terms, constant, least, most in zip(rows, constants, low, high, strict=True):
        if most <= 0:
            hidden.append(({}, 0.0))
        elif least >= 0:
            hidden.append((terms, constant))
        else:
            for j in range(len(plan.x)):  # an infinite bound comes from an infinite range
                if not np.isfinite(least) or not np.isfinite(most):
                    plan.finite(j, plan.high[j] - plan.low[j])
            unit, on = program.variable(high=most), program.binary()
            minus = {v: -c for v, c in terms.items()}
            program.row({unit: 1.0, **minus}, low=constant)
            program.row({unit: 1.0, **minus, on: -least}, high=constant - least)
            program.row({unit: 1.0, on: -most}, high=0.0)
            hidden.append(({unit: 1.0}, 0.0))
    return hidden
