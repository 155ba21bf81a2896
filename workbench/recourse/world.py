"""Change that travels: what becomes of people when some of their features are set.

An action sets a feature to a value (a hard intervention: its causes no longer act on it). Setting
it to today's value is an action too: it holds the feature while its causes change. Everything
downstream follows through the structural causal model, with each person's own noise.
"""

from __future__ import annotations

from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import (
    DataError,
    GraphError,
    ParameterError,
    QuestionError,
    did_you_mean,
    unrecorded,
)
from ..core.seeding import generator
from ..graph.causal_graph import CausalGraph
from .space import Space

if TYPE_CHECKING:
    import pandas as pd

    from .problem import RecourseProblem

_MOST_MASKS = 64
_MOST_TABLES = 16
_MOST_NOISES = 200


class World:
    """Consequences of actions under a structural causal model.

    Args:
        scm: Has ``graph`` and ``counterfactual(df, {node: values or function})``, as
            :class:`~workbench.StructuralCausalModel`.
        space: The features; all of them are nodes of the graph.
        scale: The size of a change of each feature; a 1e-10th of it is rounding.
    """

    def __init__(self, scm: Any, space: Space, scale: np.ndarray):
        self.scm, self.space, self.graph, self.scale = scm, space, scm.graph, scale
        self._people: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
        self._noises: dict[tuple[bytes, int], np.ndarray] = {}
        for name in space.names:
            if name not in self.graph.nodes:
                raise GraphError(
                    "is read by the model and is not in the graph",
                    column=name,
                    advice=did_you_mean(name, self.graph.nodes)
                    + " Add it as a node without edges if nothing causes it.",
                )

    def apply(
        self, x: np.ndarray, mask: np.ndarray, values: np.ndarray, seed: int = 0
    ) -> np.ndarray:
        """Codes ``(n, F)`` of the world in which ``mask`` is set to ``values``.

        ``seed`` draws what can't be known of a person: how levels would respond.
        All rows are asked in one call. What the causal model has to say about actions that are
        only tried is of no concern to anybody.
        """
        if not mask.any():
            return x.copy()
        if self._places is not None:
            return self._settled(x, mask, values, self._propagated(x, mask, values, seed))
        with unrecorded():
            return self.advise(x, mask, values)

    def advise(self, x: np.ndarray, mask: np.ndarray, values: np.ndarray) -> np.ndarray:
        """As :meth:`apply`, for actions that are recommended: warnings are kept."""
        if not mask.any():
            return x.copy()
        acted = np.flatnonzero(mask.any(axis=0))
        actions = {self.space.names[j]: self._action(j, mask[:, j], values[:, j]) for j in acted}
        after = self.scm.counterfactual(self.space.frame(x), actions)
        return self._settled(x, mask, values, self._read(after, len(x)))

    def _settled(
        self, x: np.ndarray, mask: np.ndarray, values: np.ndarray, z: np.ndarray
    ) -> np.ndarray:
        """What an action can't reach, or moves by rounding only, stays bit for bit."""
        moved = (mask.astype(float) @ self._below > 0) & (np.abs(z - x) > 1e-10 * self.scale)
        return np.where(mask, values, np.where(moved, z, x))

    @cached_property
    def _places(self) -> np.ndarray | None:
        """Position of each feature among the model's nodes, if its arrays mean the same as codes.

        Searches ask thousands of times: arrays save them the way through tables.
        """
        schema = getattr(self.scm, "schema_", None)
        if schema is None or not hasattr(self.scm, "propagate"):
            return None
        same = all(f.levels == schema[f.name].levels for f in self.space.features)
        if not same or set(self.space.names) != set(self.graph.nodes):
            return None
        return np.array([self.graph.nodes.index(name) for name in self.space.names])

    def _propagated(
        self, x: np.ndarray, mask: np.ndarray, values: np.ndarray, seed: int
    ) -> np.ndarray:
        factual = np.empty_like(x)
        factual[:, self._places] = x
        fixed = {
            self.space.names[j]: np.where(mask[:, j], values[:, j], np.nan)
            for j in np.flatnonzero(mask.any(axis=0))
        }
        after = self.scm.propagate(self._noise(factual, seed), fixed, factual=factual)
        return after[:, self._places]

    def _noise(self, factual: np.ndarray, seed: int) -> np.ndarray:
        """The people's own noise; a person asked about many actions at once has it only once."""
        key = factual.tobytes()
        if key not in self._people:
            rows, which = np.unique(factual, axis=0, return_inverse=True)
            _make_room(self._people, _MOST_TABLES)
            self._people[key] = rows, which.ravel()
        rows, which = self._people[key]
        drawn = rows.tobytes(), seed
        if drawn not in self._noises:
            _make_room(self._noises, _MOST_NOISES)
            self._noises[drawn] = self.scm.infer_noise(rows, seed)
        return self._noises[drawn][which]

    def unsure(self, mask: np.ndarray) -> np.ndarray:
        """``(n, F)``: levels that respond to an action by chance, as far as anybody can know.

        A number's own noise follows from its value; of a level only its distribution does, so
        that one person's counterfactual level is a draw.
        """
        if self._places is None:
            return np.zeros(mask.shape, dtype=bool)
        caused = np.array([bool(self.graph.parents(n)) for n in self.space.names])
        return (mask.astype(float) @ self._below > 0) & self.space.discrete & caused & ~mask

    def _action(self, j: int, acted: np.ndarray, codes: np.ndarray) -> Any:
        """The values that a node is set to; rows that don't act on it keep its natural value."""
        name, cells = self.space.names[j], self.space.cells(j, codes).to_numpy()
        if acted.all():
            return cells
        return lambda now: np.where(acted, cells, now[name].to_numpy())

    @cached_property
    def _below(self) -> np.ndarray:
        """``(F, F)``: whether the column's feature is downstream of the row's."""
        names = self.space.names
        return np.array([[b in self.graph.descendants(a) for b in names] for a in names], float)

    def _read(self, after: Any, n: int) -> np.ndarray:
        missing = [name for name in self.space.names if name not in after.columns]
        if missing or len(after) != n:
            raise DataError(
                f"the causal model returned {len(after)} rows for {n}"
                if not missing
                else "is missing in the causal model's counterfactual",
                column=missing[0] if missing else None,
            )
        codes = self.space.read(after)
        bad = np.isnan(codes)
        if bad.any():
            row, j = np.argwhere(bad)[0]
            raise DataError(
                "has no usable value in the causal model's counterfactual",
                column=self.space.names[j],
                row=after.index[row],
                value=after[self.space.names[j]].iloc[row],
            )
        return codes

    def masks(self, movable: np.ndarray, most: int | None) -> np.ndarray:
        """Sets of features to try acting on, ``(K, F)``: all of them where there are up to 64.

        A feature without effect on anything else needs no "hold", but setting it may be useful
        all the same, so no set is left out; beyond six features only sets of up to two, and all
        at once.
        """
        acting = np.flatnonzero(movable)
        most = len(acting) if most is None else min(most, len(acting))
        sizes = range(1, most + 1)
        if 2 ** len(acting) > _MOST_MASKS:
            sizes = [s for s in sizes if s <= 2 or s == len(acting)]
        chosen = [c for s in sizes for c in combinations(acting, s)]
        masks = np.zeros((len(chosen), len(self.space)), dtype=bool)
        for k, members in enumerate(chosen):
            masks[k, list(members)] = True
        return masks


class LinearWorld:
    """Direct effects of a linear structural causal model: ``dz_j = sum_k W_jk dz_k (+ shift_j)``.

    Found by asking for counterfactuals with everything but one node held, and compared with the
    model's own answers to random actions; a model that is not linear is refused.

    Attributes:
        weights: ``(F, F)``, change of j per unit of k.
    """

    def __init__(self, weights: np.ndarray):
        self.weights = weights

    @classmethod
    def of(cls, problem: RecourseProblem) -> LinearWorld | None:
        """The direct effects, if the model is linear in all numbers that can change.

        None without a causal model.
        """
        if problem.world is None:
            return None
        people = problem.probes() if problem.data is None else problem.data
        world, space, names = problem.world, problem.space, problem.space.names
        scale, movable = problem.cost.scale, problem.movable
        changing = movable | (movable.astype(float) @ world._below > 0)
        for j in np.flatnonzero(changing & space.discrete):
            if world.graph.parents(names[j]) or world.graph.children(names[j]):
                raise QuestionError(
                    "has levels and takes part in the causal model, which is not linear in it",
                    column=names[j],
                    advice="Use GrowingSpheres or Wachter.",
                )
        weights = np.zeros((len(space), len(space)))
        for j in np.flatnonzero(changing):
            parents = [space.place(p) for p in world.graph.parents(names[j]) if p in names]
            parents = [p for p in parents if changing[p]]
            if not parents:
                continue
            rows = np.repeat(people[:1], len(parents) + 1, axis=0)
            for r, p in enumerate(parents):
                rows[r + 1, p] += scale[p]
            mask = np.broadcast_to(np.arange(len(space)) != j, rows.shape)
            start = np.repeat(people[:1], len(rows), axis=0)
            after = world.apply(start, mask, rows)[:, j]
            weights[j, parents] = (after[1:] - after[0]) / scale[parents]
        found = cls(weights)
        found._verify(problem, people)
        return found

    def apply(self, x: np.ndarray, mask: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Codes after the actions, by total effects along paths that no action cuts."""
        z = np.empty_like(x)
        eye = np.eye(x.shape[1])
        for i in range(len(x)):
            free = self.weights * ~mask[i][:, None]
            acted = np.where(mask[i], values[i] - x[i], 0.0)
            z[i] = x[i] + np.linalg.solve(eye - free, acted)
        return z

    def _verify(self, problem: RecourseProblem, people: np.ndarray) -> None:
        """Compare with the model's answers to random actions of random people."""
        world, scale = problem.world, problem.cost.scale
        rng = generator(0)
        x = people[rng.integers(len(people), size=32)]
        mask = problem.movable & (rng.random(x.shape) < 0.6)
        floor = np.where(np.isfinite(problem.low), problem.low, x - 3 * scale)
        ceiling = np.where(np.isfinite(problem.high), problem.high, x + 3 * scale)
        values = floor + (ceiling - floor) * rng.random(x.shape)
        whole = world.space.integer | world.space.discrete
        values[:, whole] = np.rint(values[:, whole])
        truth, guess = world.apply(x, mask, values), self.apply(x, mask, values)
        error = np.abs(truth - guess) / scale
        if error.max() > 1e-7 * (1.0 + np.abs(truth / scale).max()):
            j = int(error.max(axis=0).argmax())
            raise QuestionError(
                "does not respond linearly to its causes",
                column=world.space.names[j],
                advice="Use GrowingSpheres or Wachter, which need no linearity.",
            )


def causal_model(graph_or_scm: Any, data: pd.DataFrame | None) -> Any:
    """The structural causal model that is given, or that of a DAG fitted to ``data``."""
    if graph_or_scm is None or hasattr(graph_or_scm, "counterfactual"):
        return graph_or_scm
    if not isinstance(graph_or_scm, CausalGraph):
        raise ParameterError(
            "must be a fitted StructuralCausalModel or a CausalGraph",
            column="graph_or_scm",
            value=type(graph_or_scm).__name__,
        )
    if data is None:
        raise QuestionError(
            "a graph alone doesn't say how far changes travel",
            advice="Pass data= to fit its mechanisms, or a fitted StructuralCausalModel.",
        )
    from ..scm.model import StructuralCausalModel

    return StructuralCausalModel(graph_or_scm).fit(data)


def _make_room(cache: dict, most: int) -> None:
    if len(cache) >= most:
        cache.pop(next(iter(cache)))
