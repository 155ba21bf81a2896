"""What to do with graphs that do not fit the data: loops collapse, unmeasured nodes drop out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

Parents = dict[str, tuple[str, ...]]


def unroll(nodes: Sequence[str], edges: Iterable[tuple[str, str]]) -> tuple[Parents, list[tuple]]:
    """Parents of an acyclic graph over the same nodes, and the loops that were collapsed.

    The members of a strongly connected component (services that call each other in a circle)
    get the same parents: everything outside that points into the loop. For a linear loop in
    equilibrium, x = A x + C p + e, that is its reduced form x = (I - A)^-1 (C p + e), in which
    the members no longer point at each other and share their noise.

    Example:
        >>> parents, loops = unroll("abcd", [("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")])
        >>> parents["b"], parents["c"], parents["d"], loops
        (('a',), ('a',), ('c',), [('b', 'c')])
    """
    import networkx as nx

    graph = nx.DiGraph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from((u, v) for u, v in edges if u != v)
    position = {n: i for i, n in enumerate(nodes)}
    loops = []
    parents = {n: set(graph.predecessors(n)) for n in nodes}
    for component in nx.strongly_connected_components(graph):
        if len(component) > 1:
            outside = set().union(*(parents[n] for n in component)) - component
            for member in component:
                parents[member] = set(outside)
            loops.append(tuple(sorted(component, key=position.__getitem__)))
    ordered = {n: tuple(sorted(p, key=position.__getitem__)) for n, p in parents.items()}
    return ordered, sorted(loops, key=lambda loop: position[loop[0]])


def marginalise(
    parents: Mapping[str, Sequence[str]], removed: Collection[str]
) -> tuple[Parents, list[tuple[str, ...]]]:
    """The graph without some nodes: their parents become parents of their children.

    Returns the parents of the nodes that stay, and the groups of those that now share a hidden
    cause (the children of a removed node with several of them: its own noise moves them all).

    Example:
        >>> marginalise({"a": (), "m": ("a",), "b": ("m",), "c": ("m",)}, ["m"])
        ({'a': (), 'b': ('a',), 'c': ('a',)}, [('b', 'c')])
    """
    removed = set(removed)
    stand_in: dict[str, dict[str, None]] = {}  # removed node -> its nearest parents that stay
    children: dict[str, list[str]] = {n: [] for n in removed}
    order = generations(parents)
    position = {n: i for i, n in enumerate(parents)}
    kept: Parents = {}
    for node in sorted(parents, key=lambda n: (order[n], position[n])):
        found: dict[str, None] = {}
        for parent in parents[node]:
            if parent in removed:
                found.update(stand_in[parent])
            else:
                found[parent] = None
        if node in removed:
            stand_in[node] = found
        else:
            kept[node] = tuple(sorted(found, key=position.__getitem__))
        for parent in removed.intersection(parents[node]):
            children[parent].append(node)
    groups = []
    for node in sorted(removed, key=lambda n: (-order[n], position[n])):
        reached: dict[str, None] = {}
        stack = list(children[node])
        seen = set()
        while stack:
            child = stack.pop()
            if child in seen:
                continue
            seen.add(child)
            if child in removed:
                stack.extend(children[child])
            else:
                reached[child] = None
        if len(reached) > 1:
            groups.append(tuple(sorted(reached, key=position.__getitem__)))
    return {n: kept[n] for n in parents if n in kept}, groups


def children_of(parents: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Turn a mapping of parents around.

    Example:
        >>> children_of({"a": (), "b": ("a",), "c": ("a", "b")})
        {'a': ['b', 'c'], 'b': ['c'], 'c': []}
    """
    children: dict[str, list[str]] = {n: [] for n in parents}
    for node, above in parents.items():
        for parent in above:
            children[parent].append(node)
    return children


def generations(parents: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Length of the longest path into each node of an acyclic graph; roots have 0.

    Example:
        >>> generations({"c": ("b", "a"), "b": ("a",), "a": ()})
        {'a': 0, 'b': 1, 'c': 2}
    """
    depth: dict[str, int] = {}
    children = children_of(parents)
    waiting = {n: len(p) for n, p in parents.items()}
    ready = [n for n, k in waiting.items() if not k]
    for node in ready:
        depth[node] = max((depth[p] + 1 for p in parents[node]), default=0)
        for child in children[node]:
            waiting[child] -= 1
            if not waiting[child]:
                ready.append(child)
    return depth


def loop_name(members: Sequence[str]) -> str:
    """How a collapsed loop is called: at most four members by name.

    Example:
        >>> loop_name(["b", "a"]), loop_name(list("abcdef"))
        ('loop(a, b)', 'loop(a, b, c, d, +2)')
    """
    members = sorted(members)
    more = [f"+{len(members) - 4}"] if len(members) > 4 else []
    return f"loop({', '.join([*members[:4], *more])})"
