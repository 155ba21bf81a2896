"""What is known about a graph before any data: time order, required and forbidden edges."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import GraphError, QuestionError, did_you_mean
from ..core.saving import saveable
from .causal_graph import CausalGraph
from .equivalence import PartialOrientation

if TYPE_CHECKING:
    from pathlib import Path

Pair = tuple[str, str]


@saveable
@dataclass(frozen=True, repr=False)
class Knowledge:
    """Background knowledge about the edges of a causal graph; immutable.

    All of it is about edges, not paths: a variable of a later tier is no *direct* cause of one of
    an earlier tier. A variable that is in no tier may stand anywhere.

    Args:
        tiers: Groups of names in the order of time; edges from a later to an earlier group are
            forbidden. A group of one may be given as its name.
        required: Edges ``(u, v)`` that are in the graph as u → v.
        forbidden: Edges ``(u, v)`` that are not in the graph as u → v.
        not_adjacent: Pairs without any edge; the same as both directions forbidden.
        no_parents: Names that nothing in the table causes (roots).
        no_children: Names that cause nothing in the table (sinks).
        closed_tiers: Positions in ``tiers``, from 0, of groups without edges inside.

    Raises:
        GraphError: The pieces contradict each other (a name in two tiers, a required edge that is
            forbidden or runs against the tiers, required edges in a cycle); the pieces are named.

    References:
        Meek, "Causal inference and causal explanation with background knowledge", UAI 1995.

    Example:
        >>> k = Knowledge(tiers=[["age", "sex"], ["bmi"], ["outcome"]], forbidden=[("sex", "bmi")])
        >>> k.allows("age", "bmi"), k.allows("bmi", "age"), k.allows("sex", "bmi")
        (True, False, False)
        >>> k.violations(CausalGraph(["age", "bmi"], [("bmi", "age")]))
        ["bmi -> age: 'bmi' is in a later tier than 'age'"]
    """

    tiers: tuple[tuple[str, ...], ...] = ()
    required: frozenset[Pair] = frozenset()
    forbidden: frozenset[Pair] = frozenset()
    not_adjacent: frozenset[Pair] = frozenset()
    no_parents: frozenset[str] = frozenset()
    no_children: frozenset[str] = frozenset()
    closed_tiers: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        forbidden = _pairs("forbidden", self.forbidden)
        apart = {_sorted(p) for p in _pairs("not_adjacent", self.not_adjacent)}
        apart |= {_sorted(p) for p in forbidden if p[::-1] in forbidden}
        self._fill(
            tiers=_groups(self.tiers),
            required=frozenset(_pairs("required", self.required)),
            forbidden=frozenset(p for p in forbidden if _sorted(p) not in apart),
            not_adjacent=frozenset(apart),
            no_parents=_names("no_parents", self.no_parents),
            no_children=_names("no_children", self.no_children),
        )
        closed = self.closed_tiers
        self._fill(closed_tiers=frozenset([closed] if isinstance(closed, int) else closed))
        for position in self.closed_tiers:
            if not isinstance(position, int) or not 0 <= position < len(self.tiers):
                raise GraphError(
                    f"closed_tiers must be positions from 0 to {len(self.tiers) - 1}",
                    value=position,
                )
        tier: dict[str, int] = {}
        for position, group in enumerate(self.tiers):
            for name in group:
                if name in tier:
                    raise GraphError(f"is in tier {tier[name]} and in tier {position}", column=name)
                tier[name] = position
        self._fill(_tier=tier, _after={})
        self._refuse_required_cycle()
        for u, v in sorted(self.required):
            reason = self._forbids(u, v)
            if reason:
                raise GraphError(
                    f"the edge {u} -> {v} is required, but {reason}",
                    column=u,
                    advice="Drop one of the two statements.",
                )
        self._fill(_after=_reach(self.required))

    def _fill(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _refuse_required_cycle(self) -> None:
        names = sorted({n for pair in self.required for n in pair})
        try:
            CausalGraph(names, self.required)
        except GraphError as error:
            raise GraphError(
                f"the required edges are cyclic: {error.problem.partition(': ')[2]}",
                column=error.column,
                advice="Drop one of these edges.",
            ) from None

    # -- questions ---------------------------------------------------------------------------

    @property
    def names(self) -> frozenset[str]:
        """Every name that is mentioned."""
        pairs = self.required | self.forbidden | self.not_adjacent
        return frozenset(self._tier) | {n for p in pairs for n in p} | self._ends

    @property
    def _ends(self) -> frozenset[str]:
        return self.no_parents | self.no_children

    def __bool__(self) -> bool:
        return any(getattr(self, f.name) for f in fields(self))

    def allows(self, u: str, v: str) -> bool:
        """Whether u → v may be in the graph: not forbidden, and no cycle with required edges."""
        return self._forbids(u, v) is None

    def requires(self, u: str, v: str) -> bool:
        """Whether u → v must be in the graph."""
        return (u, v) in self.required

    def _forbids(self, u: str, v: str) -> str | None:
        """Why u → v can't be in the graph, as the end of a sentence; None if it can."""
        if (u, v) in self.forbidden:
            return "it is forbidden"
        if _sorted((u, v)) in self.not_adjacent:
            return f"{u!r} and {v!r} are not adjacent"
        if v in self.no_parents:
            return f"{v!r} has no parents"
        if u in self.no_children:
            return f"{u!r} has no children"
        first, second = self._tier.get(u), self._tier.get(v)
        if first is not None and second is not None:
            if first > second:
                return f"{u!r} is in a later tier than {v!r}"
            if first == second and first in self.closed_tiers:
                return f"{u!r} and {v!r} are in one tier without edges inside"
        if u in self._after.get(v, ()):
            return f"required edges lead from {v!r} to {u!r}"
        return None

    def allowed(self, names: Sequence[str]) -> np.ndarray:
        """``allows`` for all pairs of names at once: ``(d, d)`` booleans, row → column."""
        at = {name: i for i, name in enumerate(names)}
        out = ~np.eye(len(names), dtype=bool)
        if not self:
            return out
        tier = np.array([self._tier.get(n, np.nan) for n in names], dtype=float)
        out &= ~(tier[:, None] > tier[None, :])
        closed = np.isin(tier, list(self.closed_tiers))
        out &= ~((tier[:, None] == tier[None, :]) & closed[:, None])
        out[:, [at[n] for n in self.no_parents if n in at]] = False
        out[[at[n] for n in self.no_children if n in at], :] = False
        banned = set(self.forbidden)
        banned.update(p for u, v in self.not_adjacent for p in ((u, v), (v, u)))
        banned.update((v, u) for u, later in self._after.items() for v in later)
        for u, v in banned:
            if u in at and v in at:
                out[at[u], at[v]] = False
        return out

    def check(self, columns: Iterable[str], what: str = "data") -> None:
        """Refuse names that are not among ``columns``.

        Raises:
            QuestionError: It lists all unknown names and suggests what the first might be.
        """
        columns = list(columns)
        unknown = sorted(self.names.difference(columns))
        if unknown:
            listed = ", ".join(map(repr, unknown[:10])) + (", ..." if len(unknown) > 10 else "")
            others = f" ({len(unknown)} unknown names: {listed})" if len(unknown) > 1 else ""
            raise QuestionError(
                f"is in the knowledge but not in the {what}{others}",
                column=unknown[0],
                advice=did_you_mean(unknown[0], columns),
            )

    def violations(self, graph: CausalGraph) -> list[str]:
        """What in the graph contradicts this knowledge, one sentence each; empty if nothing does.

        An undirected edge of which only one direction is allowed counts: it must be oriented.
        ↔ and circle marks contradict only ``not_adjacent`` pairs and tiers without edges inside.
        """
        found = []
        for u, v, mark_u, mark_v in graph.edges:
            there, back = self._forbids(u, v), self._forbids(v, u)
            if (mark_u, mark_v) == ("tail", "arrow"):
                if there:
                    found.append(f"{u} -> {v}: {there}")
            elif (mark_u, mark_v) == ("tail", "tail"):
                if there and back:
                    found.append(f"{u} -- {v}: {there}")
                elif there or back:
                    found.append(f"{u} -- {v} is not oriented, although {there or back}")
            elif self._apart(u, v):
                found.append(f"{u} and {v} are joined: {there}")
        for u, v in sorted(self.required):
            if u not in graph or v not in graph or not graph.has_edge(u, v):
                found.append(f"{u} -> {v} is required and not in the graph")
        return found

    def _apart(self, u: str, v: str) -> bool:
        same = self._tier.get(u, -1) == self._tier.get(v, -2)
        return _sorted((u, v)) in self.not_adjacent or same and self._tier[u] in self.closed_tiers

    # -- use ---------------------------------------------------------------------------------

    def apply(self, graph: CausalGraph) -> CausalGraph:
        """The members of a graph's class that agree with this knowledge, as one MPDAG.

        Undirected edges are oriented where only one direction is allowed, and Meek's four rules
        carry the orientations on. A graph in which nothing is left to orient comes back as it is.

        Raises:
            QuestionError: A name of this knowledge is not a node.
            GraphError: No member agrees; the first edge in conflict is named.
        """
        self.check(graph.nodes, "graph")
        partial = PartialOrientation.of(graph)
        names, at, oriented = graph.nodes, graph._position, False
        todo = [(u, v) for u, v, *marks in graph.edges if marks == ["tail", "tail"]]
        for u, v in sorted(pair for edge in todo for pair in (edge, edge[::-1])):
            if at[v] in partial.neighbors[at[u]] and not self.allows(v, u):
                partial.orient(at[u], at[v])
                partial.close([(at[u], at[v])])
                oriented = True
        out = partial.graph(graph, "mpdag") if oriented else graph
        problems = self.violations(out)
        if problems:
            raise GraphError(
                f"the graph and the knowledge contradict each other: {problems[0]}",
                column=next((n for n in names if problems[0].startswith(n + " ")), None),
                advice="Correct one of the two, or search again with this knowledge.",
            )
        return out

    def restrict(self, names: Iterable[str]) -> Knowledge:
        """What this knowledge says about some names only; unknown names don't matter."""
        keep = frozenset(names)

        def inside(pairs: frozenset[Pair]) -> frozenset[Pair]:
            return frozenset(p for p in pairs if keep.issuperset(p))

        return Knowledge(
            tiers=tuple(tuple(n for n in group if n in keep) for group in self.tiers),
            required=inside(self.required),
            forbidden=inside(self.forbidden),
            not_adjacent=inside(self.not_adjacent),
            no_parents=self.no_parents & keep,
            no_children=self.no_children & keep,
            closed_tiers=self.closed_tiers,
        )

    def __and__(self, other: Knowledge) -> Knowledge:
        """Both hold.

        Raises:
            GraphError: They contradict each other.

        Example:
            >>> both = Knowledge(tiers=["a", "b"]) & Knowledge(required=[("b", "c")])
            >>> both.allows("b", "a"), both.requires("b", "c")
            (False, True)
        """
        if not isinstance(other, Knowledge):
            return NotImplemented
        mine, theirs = (self, other) if self.tiers else (other, self)
        forbidden, apart = set(), set()
        if theirs.tiers and (theirs.tiers, theirs.closed_tiers) != (mine.tiers, mine.closed_tiers):
            # Two time orders need not merge into one list: keep one, spell out the other.
            for early, late in theirs._tier_pairs():
                if mine._tier.get(late, np.inf) < mine._tier.get(early, -np.inf):
                    raise GraphError(
                        f"is in a later tier than {early!r} in one and in an earlier in the other",
                        column=late,
                    )
                forbidden.add((late, early))
            for position in theirs.closed_tiers:
                group = theirs.tiers[position]
                apart.update((u, v) for u in group for v in group if u < v)
        return Knowledge(
            tiers=mine.tiers,
            required=self.required | other.required,
            forbidden=self.forbidden | other.forbidden | forbidden,
            not_adjacent=self.not_adjacent | other.not_adjacent | apart,
            no_parents=self.no_parents | other.no_parents,
            no_children=self.no_children | other.no_children,
            closed_tiers=mine.closed_tiers,
        )

    def _tier_pairs(self) -> Iterator[Pair]:
        for i, early in enumerate(self.tiers):
            for late in self.tiers[i + 1 :]:
                yield from ((u, v) for u in early for v in late)

    # -- files -------------------------------------------------------------------------------

    @classmethod
    def from_text(cls, text: str, path: str | Path | None = None) -> Knowledge:
        """Read the text of a Tetrad knowledge file.

        A tier's number may carry ``*``: no edges inside. Names with blanks stand in double
        quotes; the sections ``noparents`` and ``nochildren`` are ours. Compare the names with a
        table by :meth:`check`.

        Raises:
            FileFormatError: Not such a file; the line is given.

        Example:
            >>> text = "/knowledge\\naddtemporal\\n1* a b\\n2 c\\nforbiddirect\\na c"
            >>> k = Knowledge.from_text(text)
            >>> k.tiers, k.allows("a", "b"), k.allows("a", "c"), k.allows("b", "c")
            ((('a', 'b'), ('c',)), False, False, True)
        """
        from .knowledge_files import read

        return cls(**read(text, path))

    @classmethod
    def from_file(cls, path: str | Path) -> Knowledge:
        """Read a Tetrad knowledge file; see :meth:`from_text`."""
        from .knowledge_files import text_of

        return cls.from_text(text_of(path), path)

    def to_text(self, columns: Iterable[str] | None = None) -> str:
        """As a Tetrad knowledge file.

        Tetrad has no roots and sinks: they stand in sections of our own, or, if ``columns`` lists
        the variables, as the forbidden edges that they amount to.
        """
        from .knowledge_files import write

        return write(self, columns)

    def _state(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> Knowledge:
        return cls(**state)

    def __repr__(self) -> str:
        shown = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value:
                shown.append(
                    f"{field.name}={list(value) if field.name == 'tiers' else sorted(value)!r}"
                )
        return f"Knowledge({', '.join(shown)})"


def _sorted(pair: Pair) -> Pair:
    return pair if pair[0] <= pair[1] else pair[::-1]


def _reach(edges: frozenset[Pair]) -> dict[str, frozenset[str]]:
    """name -> every name that a path of these (acyclic) edges leads to."""
    graph = CausalGraph(sorted({n for pair in edges for n in pair}), edges)
    return {n: graph.descendants(n) for n in graph.nodes}


def _names(field: str, value: Any) -> frozenset[str]:
    names = (value,) if isinstance(value, str) else tuple(value)
    for name in names:
        if not isinstance(name, str) or not name:
            raise GraphError(f"{field} must hold non-empty names", value=name)
    return frozenset(names)


def _groups(value: Any) -> tuple[tuple[str, ...], ...]:
    if isinstance(value, str):
        raise GraphError("tiers must be a list of groups of names, not one text", value=value)
    out = []
    for group in value:
        names = (group,) if isinstance(group, str) else tuple(group)
        if len(_names("tiers", names)) < len(names):
            twice = next(n for i, n in enumerate(names) if n in names[:i])
            raise GraphError(f"is twice in tier {len(out)}", column=twice)
        out.append(tuple(sorted(names)))
    return tuple(out)


def _pairs(field: str, value: Any) -> set[Pair]:
    out = set()
    for pair in value:
        if not isinstance(pair, Collection) or isinstance(pair, str) or len(pair) != 2:
            raise GraphError(f"{field} must hold pairs of names", value=pair)
        u, v = pair
        _names(field, pair)
        if u == v:
            raise GraphError(f"{field} has an edge from a node to itself", column=u)
        out.add((u, v))
    return out
