"""PetShop: faults in a web shop with known causes, ready for the methods of diagnosis.

Hardt et al., "The PetShop dataset: finding causes of performance issues across microservices",
CLeaR 2024. Metric columns are ``node|metric|statistic``; the causal graph is the call graph turned
around; the front end is always the target.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from workbench import CausalGraph, Feature, Schema
from workbench.diagnosis import Incident, System
from workbench.diagnosis.structure import marginalise

LEVELS, METRICS = ("low", "high"), ("latency", "availability")
FEWEST = 10  # recorded fault-free values: with fewer a metric has no yardstick


@dataclass(frozen=True)
class Fault:
    """One injected fault: five rows, five minutes apart, and the node that was hit."""

    issue: str
    window: pd.DataFrame
    cause: str


@dataclass(frozen=True)
class Cell:
    """The faults of one traffic level that show in one metric of the target.

    Attributes:
        level, metric: ``low`` or ``high``, ``latency`` or ``availability``.
        target: The front end.
        graph: Causes to effects, over all nodes of the call graph.
        normal: Fault-free rows in the order of time, one column per node with that metric.
        faults: In string order of their names, as the published tables hold them.
        before: Issue -> windows of all issues (of either metric) that precede it in that order.
    """

    level: str
    metric: str
    target: str
    graph: CausalGraph
    normal: pd.DataFrame
    faults: tuple[Fault, ...]
    before: Mapping[str, tuple[tuple[pd.DataFrame, pd.DataFrame], ...]]

    @property
    def name(self) -> str:
        return f"petshop/{self.level}/{self.metric}"

    @property
    def schema(self) -> Schema:
        """What the columns mean: all of them are in the same unit."""
        unit = "s" if self.metric == "latency" else "%"
        return Schema([Feature(name, unit=unit) for name in self.normal])

    def system(self) -> System:
        """A fresh System."""
        return System(self.graph, self.normal, schema=self.schema)

    def incident(self, fault: Fault) -> Incident:
        return Incident(fault.window, self.target)

    def removed(self, fault: Fault, leaky: bool) -> set[str]:
        """Nodes out of use for a fault; ``leaky`` adds those lost in any issue before it.

        The published evaluation marginalises one shared graph in place, so that a node that one
        issue didn't record stays away in all later ones.
        """
        pairs = [*(self.before[fault.issue] if leaky else ()), (self.normal, fault.window)]
        return set().union(*(set(self.graph.nodes).difference(recorded(*p)) for p in pairs))

    def leaky_system(self, fault: Fault) -> System:
        """The System over the graph as the published evaluation has it at this issue."""
        lost = self.removed(fault, leaky=True)
        parents, _ = marginalise({n: self.graph.parents(n) for n in self.graph.nodes}, lost)
        graph = CausalGraph(list(parents), [(p, n) for n, above in parents.items() for p in above])
        return System(graph, self.normal, schema=self.schema)


def folder() -> Path | None:
    """Where the tables are, if ``WORKBENCH_DATA`` names a folder that has them."""
    path = Path(os.environ.get("WORKBENCH_DATA", "")) / "petshop"
    return path if "WORKBENCH_DATA" in os.environ and (path / "issues.json").is_file() else None


def cells(split: str = "test", levels: Sequence[str] = LEVELS) -> Iterator[Cell]:
    """The four cells with fault-free rows: low and high traffic, latency and availability.

    Args:
        split: ``"train"`` or ``"test"``.
        levels: Traffic levels.
    """
    path = folder()
    if path is None:
        raise FileNotFoundError("WORKBENCH_DATA must name a folder that holds petshop/issues.json")
    calls = json.loads((path / "graphs.json").read_text())
    issues = json.loads((path / "issues.json").read_text())
    for level in levels:
        scenario = f"{level}_traffic"
        normal = pd.read_parquet(path / f"{scenario}_normal.parquet")
        rows = pd.read_parquet(path / f"{scenario}_issues.parquet")
        known = [i for i in issues if (i["scenario"], i["split"]) == (scenario, split)]
        known.sort(key=lambda i: i["issue"])
        parts = {m: of_metric(normal, m) for m in METRICS}
        windows, before = {}, {}
        for i in known:
            mine = rows[(rows["split"] == split) & (rows["issue"] == i["issue"])]
            before[i["issue"]] = tuple(windows.values())
            window = of_metric(mine, i["target_metric"], i["target_stat"])
            windows[i["issue"]] = parts[i["target_metric"]], window
        graph = calls[scenario]
        for metric in METRICS:
            yield Cell(
                level=level,
                metric=metric,
                target="PetSite",
                graph=CausalGraph(graph["nodes"], [(b, a) for a, b in graph["call_edges"]]),
                normal=parts[metric],
                faults=tuple(
                    Fault(i["issue"], windows[i["issue"]][1], i["root_cause_node"])
                    for i in known
                    if i["target_metric"] == metric
                ),
                before=before,
            )


def of_metric(table: pd.DataFrame, metric: str, statistic: str = "Average") -> pd.DataFrame:
    """The columns ``node|metric|statistic`` of one metric and statistic, named by node."""
    ending = f"|{metric}|{statistic}"
    columns = [c for c in table.columns if c.endswith(ending)]
    out = table[columns].set_axis([c.removesuffix(ending) for c in columns], axis=1)
    return out.set_axis(pd.Index(table["timestamp"], name="timestamp"), axis=0)


def recorded(normal: pd.DataFrame, window: pd.DataFrame) -> set[str]:
    """Columns with a value in the window and enough fault-free ones."""
    usual = normal.columns[normal.notna().sum() >= FEWEST]
    return set(usual).intersection(window.columns[window.notna().any()])


def fault_free(
    cell: Cell, rows: int, most: int = 10**6, backwards: bool = False
) -> tuple[System, list[Incident]]:
    """A System of the first half of the fault-free rows and windows of the second half.

    Windows start evenly spaced; they overlap where ``most`` asks for more than fit. ``backwards``
    fits the second half and takes windows of the first.
    """
    half = len(cell.normal) // 2
    parts = cell.normal.iloc[:half], cell.normal.iloc[half:]
    fitted, asked = parts[::-1] if backwards else parts
    last = len(asked) - rows
    starts = np.unique(np.linspace(0, last, min(most, last + 1)).astype(int))
    system = System(cell.graph, fitted, schema=cell.schema)
    return system, [Incident(asked.iloc[s : s + rows], cell.target) for s in starts]
