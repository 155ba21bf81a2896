"""Pictures of an investigation: services coloured by blame, the timeline, the healthy target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..core.results import number
from ..graph.causal_graph import CausalGraph
from .structure import loop_name, unroll

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .investigation import Investigation

INK, SOFT, BLAME, TARGET, HEALTHY = "#1f1f1f", "#757575", "#b24a0a", "#1f5a8a", "#2e7d4f"
_PALE, _TARGET_FILL, _HIT_FILL = (255, 240, 214), "#9fc3e6", "#dcebf8"
_MOST_SERVICES = 24


def service_graph(found: Investigation) -> CausalGraph:
    """Services around target and blame, from callers to callees; loops are one node."""
    names = sorted({s for call in found.calls for s in call})
    _, loops = unroll(names, found.calls)
    node = {s: s for s in names}
    for loop in loops:
        node |= dict.fromkeys(loop, loop_name(loop))
    edges = sorted({(node[u], node[v]) for u, v in found.calls if node[u] != node[v]})
    nodes = list(dict.fromkeys(node.values()))
    keep = _neighbourhood(nodes, edges, [node[s] for s in _important(found) if s in node])
    return CausalGraph(
        [n for n in nodes if n in keep], [(u, v) for u, v in edges if u in keep and v in keep]
    )


def _important(found: Investigation) -> list[str]:
    """Services that must be in the picture, the most important first."""
    blamed = found.causes[found.causes["blamed"].to_numpy(dtype=bool)]
    names = [found.service, *blamed.get("service", [])[:4]]
    names += list(found.impact.get("service", []))[:8]
    return list(dict.fromkeys(names))


def _neighbourhood(nodes: list[str], edges: list[tuple[str, str]], centre: list[str]) -> set[str]:
    """The centre, shortest paths among its first members, then neighbours until it is enough."""
    if len(nodes) <= _MOST_SERVICES:
        return set(nodes)
    import networkx as nx

    graph = nx.Graph(edges)
    keep = set(centre[:_MOST_SERVICES])
    for other in centre[1:5]:
        if other in graph and centre[0] in graph and nx.has_path(graph, centre[0], other):
            keep.update(nx.shortest_path(graph, centre[0], other))
    for ring in (centre, sorted(keep)):
        for name in ring:
            for neighbour in sorted(graph[name]) if name in graph else ():
                if len(keep) < _MOST_SERVICES:
                    keep.add(neighbour)
    return keep


def blame_of(found: Investigation) -> dict[str, float]:
    """Service -> its share of all blame."""
    blamed = found.causes[found.causes["blamed"].to_numpy(dtype=bool)]
    if not len(blamed):
        return {}
    score = blamed.groupby("service", sort=False)["score"].sum()
    return (score / score.sum()).to_dict()


def plot_services(found: Investigation, ax: Axes | None = None) -> Axes:
    from ..graph.draw import plot

    graph = service_graph(found)
    blame = blame_of(found)
    fills = {}
    members = {n: n.removeprefix("loop(").removesuffix(")").split(", ") for n in graph.nodes}
    hit = set(found.impact.get("service", []))
    for name in graph.nodes:
        inside = members[name] if name.startswith("loop(") else [name]
        share = max((blame.get(s, 0.0) for s in inside), default=0.0)
        if share > 0:
            top = (178, 74, 10)
            mix = 0.25 + 0.75 * share
            parts = (round(a + mix * (b - a)) for a, b in zip(_PALE, top, strict=True))
            fills[name] = "#" + "".join(f"{part:02x}" for part in parts)
        elif found.service in inside:
            fills[name] = _TARGET_FILL
        elif hit.intersection(inside):
            fills[name] = _HIT_FILL
        else:
            fills[name] = "#ffffff"
    ax = plot(graph, ax, highlight=fills)
    keys = [("target", _TARGET_FILL), ("suffers", _HIT_FILL)]
    keys = [("blamed", "#b24a0a"), *keys] if blame else keys
    for i, (label, colour) in enumerate(keys):
        ax.annotate(
            f"   {label}   ",
            (0.0, 1.0),
            xycoords="axes fraction",
            xytext=(4 + 62 * i, 8),
            textcoords="offset points",
            fontsize=8,
            color="white" if colour == "#b24a0a" else INK,
            bbox={"boxstyle": "round,pad=0.25", "facecolor": colour, "edgecolor": SOFT},
        )
    return ax


def plot_timeline(found: Investigation, ax: Axes | None = None) -> Axes:
    ax = _axes(ax)
    frame = found.timeline
    for lane, name in enumerate(frame.columns[::-1]):
        x = frame[name].to_numpy(dtype=float)
        low, high = np.nanmin(x), np.nanmax(x)
        y = lane + 0.62 * (x - low) / ((high - low) or 1.0)
        colour = TARGET if name == found.target else SOFT
        colour = BLAME if name in _leads(found) else colour
        ax.plot(_naive(frame.index), y, color=colour, linewidth=1.4)
        label = {TARGET: "target: ", BLAME: "cause: "}.get(colour, "")
        ax.text(
            0.005,
            lane + 0.68,
            f"{label}{name}".replace("$", r"\$"),
            transform=ax.get_yaxis_transform(),
            fontsize=8.5,
            color=colour,
            va="bottom",
        )
        ax.text(
            1.01,
            lane + 0.62,
            number(high),
            transform=ax.get_yaxis_transform(),
            fontsize=7.5,
            va="center",
            color=SOFT,
        )
        ax.text(
            1.01,
            lane,
            number(low),
            transform=ax.get_yaxis_transform(),
            fontsize=7.5,
            va="center",
            color=SOFT,
        )
    ax.set_ylim(-0.1, len(frame.columns) + 0.05)
    ax.set_yticks([])
    ax.spines[["left", "top", "right"]].set_visible(False)
    _mark_times(found, ax, frame.index)
    return ax


def plot_healthy(found: Investigation, ax: Axes | None = None) -> Axes:
    ax = _axes(ax)
    frame = found.healthy
    times = _naive(frame.index)
    ax.plot(times, frame["observed"], color=TARGET, linewidth=1.6, label="observed")
    if "healthy" in frame:
        ax.plot(
            times,
            frame["healthy"],
            color=HEALTHY,
            linewidth=1.6,
            label=f"had {found.blamed_in_words} been healthy".replace("$", r"\$"),
        )
    ax.axhline(frame["usual"].iloc[0], color=SOFT, linewidth=1, linestyle=":", label="usual")
    unit = f" ({found.unit})" if found.unit else ""
    ax.set_ylabel(f"{found.target}{unit}".replace("$", r"\$"))
    ax.set_ylim(bottom=min(0.0, float(np.nanmin(frame["observed"]))))
    _mark_times(found, ax, frame.index)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(loc="upper left", fontsize=8, frameon=False)
    return ax


def _leads(found: Investigation) -> set[str]:
    blamed = found.causes[found.causes["blamed"].to_numpy(dtype=bool)]
    return {f"{s} {m}" for s, m in zip(blamed["service"], blamed["metric"], strict=True)}


def _mark_times(found: Investigation, ax: Axes, index: pd.DatetimeIndex) -> None:
    from matplotlib.dates import UTC, AutoDateLocator, ConciseDateFormatter

    marks = [(found.onset, "onset", INK, "-"), (found.at, "alarm", SOFT, "--")]
    for _, change in found.suspect_changes.head(2).iterrows():
        marks.append((change["time"], f"change: {change['service']}", BLAME, ":"))
    inside = [m for m in marks if index[0] <= m[0] <= index[-1]]
    for k, (time, label, colour, style) in enumerate(sorted(inside, key=lambda m: m[0])):
        at = _naive(pd.DatetimeIndex([time]))[0]
        ax.axvline(at, color=colour, linestyle=style, linewidth=1)
        ax.annotate(
            label.replace("$", r"\$"),
            (at, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(2, 2 + 10 * (k % 3)),
            textcoords="offset points",
            fontsize=8,
            color=colour,
        )
    locator = AutoDateLocator(tz=UTC, maxticks=8)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))
    ax.set_xlabel("UTC")


def _naive(index: pd.DatetimeIndex) -> np.ndarray:
    return index.tz_convert("UTC").tz_localize(None).to_numpy()


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(7.2, 3.6), layout="constrained").add_subplot()
