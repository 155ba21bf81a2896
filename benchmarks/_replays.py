"""What the published evaluation of PetShop really runs, bugs included, and peers kept out of the
package: everything works on tables filled with column means and returns a ranked list of nodes.

Nagalapatti et al., "Robust root cause diagnosis using in-distribution interventions", ICLR 2025.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from benchmarks._petshop import FEWEST, Cell, Fault
from workbench.diagnosis.structure import children_of, generations, marginalise

TAU = 5.0
FIRST = 2  # the row in which the faults are taken to show


@dataclass(eq=False)
class Tables:
    """One fault as the published evaluation sees it.

    Attributes:
        parents: Node -> parents, nodes without data marginalised, causes first.
        whole: The same before anything was marginalised.
        raw: Fault-free rows and window with gaps.
        target: The front end.
        rng: Source of the draws; set anew for each method and draw.
    """

    parents: dict[str, tuple[str, ...]]
    whole: dict[str, tuple[str, ...]]
    raw: tuple[pd.DataFrame, pd.DataFrame]
    target: str
    rng: np.random.Generator = field(default_factory=np.random.default_rng)

    @cached_property
    def normal(self) -> pd.DataFrame:
        return self._filled(0)

    @cached_property
    def window(self) -> pd.DataFrame:
        return self._filled(1)

    def _filled(self, which: int) -> pd.DataFrame:
        table = self.raw[which]
        return table.fillna(table.mean()).reindex(columns=list(self.parents))

    @cached_property
    def moments(self) -> dict[str, tuple[float, float]]:
        """Mean and sd (1 for constants: their score is in raw units) of recorded values."""
        known = {c: x[np.isfinite(x)] for c, x in self.raw[0].items()}
        usable = {c: x.to_numpy() for c, x in known.items() if len(x) >= FEWEST}
        return {c: (float(x.mean()), float(x.std()) or 1.0) for c, x in usable.items()}

    def score(self, node: str, value: np.ndarray) -> np.ndarray:
        mean, sd = self.moments[node]
        return np.abs(np.asarray(value, dtype=float) - mean) / sd

    @cached_property
    def worst(self) -> int:
        return int(np.argmax(self.score(self.target, self.window[self.target])))

    @cached_property
    def fits(self) -> dict[str, tuple[np.ndarray, float, np.ndarray]]:
        """Least squares on the filled tables: slopes, intercept, residuals."""
        out = {}
        for node, above in self.parents.items():
            x, y = self.normal[list(above)].to_numpy(), self.normal[node].to_numpy()
            slopes = np.linalg.lstsq(x - x.mean(axis=0), y - y.mean(), rcond=None)[0]
            intercept = float(y.mean() - x.mean(axis=0) @ slopes)
            out[node] = slopes, intercept, y - x @ slopes - intercept
        return out

    @cached_property
    def ancestors(self) -> set[str]:
        found, stack = set(), [self.target]
        while stack:
            above = self.parents[stack.pop()]
            stack += [n for n in above if n not in found]
            found.update(above)
        return found

    def anomalies(self) -> dict[str, float]:
        """Scores of the anomalous nodes in the first anomalous row; none if the target is not."""
        window = self.raw[1]
        sizes = {c: np.nan_to_num(self.score(c, window[c])) for c in window if c in self.moments}
        start = min(FIRST, len(window) - 1)
        over = np.flatnonzero(sizes[self.target][start:] > TAU)
        limits = {c: TAU if self.raw[0][c].std() > 0 else 0.0 for c in sizes}
        if not len(over):
            return {}
        row = start + over[0]
        return {c: x[row] for c, x in sizes.items() if x[row] > limits[c]}

    def simulate(self, fixed: dict[str, float], draws: int) -> np.ndarray:
        """The target in the worst row with some nodes fixed and fresh noise below them."""
        row = self.window.iloc[self.worst]
        values, touched = {}, set(fixed)
        for node, above in self.parents.items():
            if node in fixed:
                values[node] = np.full(draws, fixed[node])
            elif touched.intersection(above):
                slopes, intercept, noise = self.fits[node]
                fresh = self.rng.choice(noise, size=draws)
                values[node] = np.stack([values[p] for p in above], 1) @ slopes + intercept + fresh
                touched.add(node)
            else:
                values[node] = np.full(draws, row[node])
        return values[self.target]

    def fixes(self, draws: int) -> dict[str, float]:
        """A usual value per ancestor and for the target, given its observed parents."""
        row, out = self.window.iloc[self.worst], {}
        for node in (n for n in self.parents if n in self.ancestors or n == self.target):
            slopes, intercept, noise = self.fits[node]
            base = row[list(self.parents[node])].to_numpy(dtype=float) @ slopes + intercept
            extra = float(self.rng.choice(noise, size=draws).mean()) if self.parents[node] else 0.0
            out[node] = float(base) + extra
        return out


def tables(cell: Cell, fault: Fault, leaky: bool) -> Tables:
    """One fault in the published form, with the graph that is shared (``leaky``) or fresh."""
    whole = {n: cell.graph.parents(n) for n in cell.graph.nodes}
    parents, _ = marginalise(whole, cell.removed(fault, leaky))
    depth = generations(parents)
    order = sorted(parents, key=depth.__getitem__)
    known = {n: parents[n] for n in order}
    return Tables(known, whole, (cell.normal, fault.window), cell.target)


def idi(t: Tables, own: bool, draws: int = 1) -> list[str]:
    """IDI in its released form: one draw, and with ``own=False`` no test of the node itself."""
    row = t.window.iloc[t.worst]
    odd = {n: float(t.score(n, row[n])) for n in t.parents}
    base, fixes, gain = odd[t.target], t.fixes(draws), {}
    for node in (n for n in t.parents if n in t.ancestors):
        calm_above = all(odd[p] <= TAU for p in t.parents[node])
        if calm_above and (odd[node] > TAU or not own):
            after = t.score(t.target, t.simulate({node: fixes[node]}, draws)).mean()
            if after < base - 1e-3:
                gain[node] = base - after
    return sorted(gain, key=gain.__getitem__, reverse=True)


def toca(t: Tables) -> list[str]:
    """TOCA as released: all fixed nodes get the fix value of the last one, the target too, so that
    the 1000 draws agree and the score is log(1), log(0) or absent: its order is networkx's."""
    import networkx as nx

    known = t.ancestors | {t.target}
    graph = nx.DiGraph()
    graph.add_nodes_from(n for n in t.whole if n in known)
    graph.add_edges_from((p, n) for n in t.parents if n in known for p in t.parents[n])
    observed = float(t.score(t.target, t.window[t.target].iloc[t.worst]))
    fixes, last, score = t.fixes(1), None, {}
    for node in reversed(list(nx.topological_sort(graph))):
        count = 1000.0 * float(t.score(t.target, fixes[node]) >= observed)
        if count and last is not None:
            score[node] = np.log(last / count) if last else -np.inf
        last = count
    return sorted(score, key=score.__getitem__, reverse=True)


def circa(t: Tables) -> list[str]:
    """CIRCA as in PyRCA: adjusted scores are written back while others are still computed."""
    size = {}
    for node, above in t.parents.items():
        slopes, intercept, noise = t.fits[node]
        error = t.window[node] - t.window[list(above)].to_numpy() @ slopes - intercept
        size[node] = float(np.abs(error).max() / (noise.std() or 1.0))
    children, heirs = children_of(t.parents), {}
    for node in reversed(t.parents):
        heirs[node] = set(children[node])
        for child in children[node]:
            if size[child] < 3:
                heirs[node] |= heirs[child]
    for node in (n for n in t.whole if n in t.parents):
        if size[node] > 3:
            size[node] += max((size[c] for c in heirs[node]), default=0.0)
    return sorted(size, key=size.__getitem__, reverse=True)[:3]


def random_walk(t: Tables) -> list[str]:
    """Walk up by correlation with the anomalies; the nodes visited most (PyRCA, MicroRank)."""
    anomalous = [n for n in t.anomalies() if n in t.parents]
    if not anomalous:
        return []
    nodes = list(t.parents)
    place = {n: i for i, n in enumerate(nodes)}
    noisy = t.window + t.rng.normal(0, 0.01, t.window.shape)
    weights = np.abs(np.corrcoef(noisy.to_numpy(), rowvar=False))[:, [place[a] for a in anomalous]]
    children = children_of(t.parents)
    weight = weights.max(axis=1)
    weight[[place[c] for a in anomalous for c in children[a]]] = 0.0
    moves = np.zeros((len(nodes), len(nodes)))
    for node in nodes:
        i = place[node]
        above = [place[p] for p in t.parents[node]]
        moves[i, above] = weight[above]
        below = [place[c] for c in children[node]]
        moves[i, below] = 0.1 * weight[i]
        moves[i, i] = max(0.0, weight[i] - max(weight[above], default=0.0))
        moves[i] = moves[i] / moves[i].sum() if moves[i].sum() > 0 else np.eye(len(nodes))[i]
    reach = np.cumsum(moves, axis=1)
    visits = np.zeros(len(nodes))
    for start in anomalous:
        at = np.full(1000, place[start])
        for _ in range(10):
            at = np.minimum((reach[at] < t.rng.random((1000, 1))).sum(axis=1), len(nodes) - 1)
            np.add.at(visits, at, 1)
    return [nodes[i] for i in np.argsort(-visits, kind="stable")[:3]]


def epsilon_diagnosis(t: Tables) -> list[str]:
    """Metrics whose fault rows correlate with the last fault-free ones beyond a bootstrap bound.

    Shan et al., WWW 2019, in the form of PyRCA.
    """
    before, after = t.normal.tail(len(t.window)).to_numpy(), t.window.to_numpy()

    def squared(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x, y = x - x.mean(axis=0), y - y.mean(axis=0)
        total = (x**2).sum(axis=0) * (y**2).sum(axis=0)
        return np.where(total > 1e-24, (x * y).sum(axis=0) ** 2 / np.maximum(total, 1e-24), 0.0)

    pick = t.rng.integers(before.shape[1], size=(200, 2))
    bound = np.quantile(squared(before[:, pick[:, 0]], before[:, pick[:, 1]]), 0.95)
    value = squared(before, after)
    order = np.argsort(-value, kind="stable")
    return [t.window.columns[i] for i in order if value[i] > bound][:3]


def rcd(t: Tables, bins: int = 5, chunk: int = 5) -> list[str]:
    """RCD: which metrics depend on "normal or abnormal" whatever is conditioned on?

    Bins of equal width, random chunks of metrics, and in each a chi-square search for the
    neighbours of the F-node with conditioning sets of at most two; the survivors are chunked
    again. alpha grows until something is left. Ikram et al., NeurIPS 2022.
    """
    both = np.concatenate([t.normal.to_numpy(), t.window.to_numpy()])
    fault = np.r_[np.zeros(len(t.normal), int), np.ones(len(t.window), int)]
    low, width = both.min(axis=0), np.ptp(both, axis=0)
    codes = np.minimum((both - low) / np.where(width > 0, width, 1.0) * bins, bins - 1).astype(int)
    for alpha in np.arange(0.01, 1.0, 0.1):
        left = t.rng.permutation(np.flatnonzero(width > 0))
        while len(left):
            parts = [left[i : i + chunk] for i in range(0, len(left), chunk)]
            kept = np.concatenate([_neighbours(codes, fault, p, alpha) for p in parts])
            if len(parts) == 1 or len(kept) == len(left):
                break
            left = t.rng.permutation(kept)
        if len(left) and len(kept):
            p = {int(j): _p_value(codes[:, j], fault, codes[:, []]) for j in kept}
            return [t.window.columns[j] for j in sorted(p, key=p.__getitem__)][:3]
    return []


def _neighbours(codes: np.ndarray, fault: np.ndarray, part: np.ndarray, alpha: float) -> np.ndarray:
    from itertools import combinations

    kept = list(part)
    for size in range(3):
        for j in list(kept):
            others = [k for k in kept if k != j]
            if any(
                _p_value(codes[:, j], fault, codes[:, list(given)]) > alpha
                for given in combinations(others, size)
            ):
                kept.remove(j)
    return np.array(kept, dtype=int)


def _p_value(x: np.ndarray, f: np.ndarray, given: np.ndarray) -> float:
    """Chi-square test of x and f within the strata of ``given``."""
    from scipy.stats import chi2

    stratum = given @ (10 ** np.arange(given.shape[1])) if given.shape[1] else np.zeros(len(x), int)
    total, dof = 0.0, 0
    for s in np.unique(stratum[f == 1]):
        inside = stratum == s
        table = np.zeros((x.max() + 1, 2))
        np.add.at(table, (x[inside], f[inside]), 1)
        table = table[table.sum(axis=1) > 0]
        expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
        if len(table) > 1 and (expected > 0).all():
            total += float(((table - expected) ** 2 / expected).sum())
            dof += len(table) - 1
    return float(chi2.sf(total, dof)) if dof else 1.0


REPLAYS: dict[str, Callable[[Tables], list[str]]] = {
    "IDI as released": lambda t: idi(t, own=False),
    "IDI as released, own-node test": lambda t: idi(t, own=True),
    "IDI replay, 500 draws": lambda t: idi(t, own=True, draws=500),
    "CIRCA as in PyRCA": circa,
    "TOCA as released": toca,
    "random walk": random_walk,
    "epsilon-diagnosis": epsilon_diagnosis,
    "RCD": rcd,
}
