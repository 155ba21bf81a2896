"""From a graph and a question to the columns to use: back-door, front-door or instrument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core.errors import CausalWarning, IdentificationError
from ..core.results import Result
from ..core.saving import saveable
from .front_door import mediators
from .instruments import Instrument, instruments
from .question import Question, check_limit

if TYPE_CHECKING:
    import pandas as pd

    from .causal_graph import CausalGraph

NOT_IDENTIFIABLE = "not identifiable"


@saveable
@dataclass(frozen=True, repr=False)
class Estimand(Result):
    """What identifies an effect, and with which columns.

    Attributes:
        treatment, outcome: The question.
        method: The way to use: ``"back-door"``, else ``"front-door"``, else ``"instrument"``;
            ``"no effect"`` if the graph has no directed path from treatment to outcome;
            ``"not identifiable"`` if none of the three applies.
        adjustment: Columns to adjust for (``W``, any of which may serve as effect modifier
            ``X``). Without an effect: columns with which the zero can be tested.
        adjustment_sets: Minimal adjustment sets, smallest first; empty if there is none.
        mediators: A front-door set; empty if there is none.
        instruments: Instruments with the columns each is conditioned on.
        open_path: Nodes of a path that adjustment can't close; empty if adjustment identifies.
        ambiguous: Undirected edges of a class that decide whether the effect is identified.
        reason: Why adjustment fails, as a sentence with the path drawn; empty if it does not.
        warnings: Conditions under which to read this with care.
    """

    treatment: str
    outcome: str
    method: str
    adjustment: frozenset[str] = frozenset()
    adjustment_sets: tuple[frozenset[str], ...] = ()
    mediators: frozenset[str] = frozenset()
    instruments: tuple[Instrument, ...] = ()
    open_path: tuple[str, ...] = ()
    ambiguous: tuple[tuple[str, str], ...] = ()
    reason: str = ""
    warnings: tuple[CausalWarning, ...] = ()

    @property
    def is_identified(self) -> bool:
        """Whether the graph gives the effect (with an instrument: under further assumptions)."""
        return self.method != NOT_IDENTIFIABLE

    @property
    def methods(self) -> tuple[str, ...]:
        """Every way that holds, the preferred one first."""
        if self.method in ("no effect", NOT_IDENTIFIABLE):
            return (self.method,)
        ways = {
            "back-door": self.adjustment_sets,
            "front-door": self.mediators,
            "instrument": self.instruments,
        }
        return tuple(way for way, found in ways.items() if found)

    def columns(self, method: str | None = None) -> dict[str, tuple[str, ...]]:
        """Columns by role for one way (the preferred one when left out).

        ``T`` treatment, ``Y`` outcome, ``W`` to adjust for, ``M`` mediators, ``Z`` instruments
        that share the same ``W``.

        Raises:
            IdentificationError: That way does not identify the effect.
        """
        method = method or self.method
        if method == NOT_IDENTIFIABLE or method not in self.methods:
            raise IdentificationError(
                f"its effect on {self.outcome!r} is not identified by {method!r}"
                if method != NOT_IDENTIFIABLE
                else f"its effect on {self.outcome!r} is not identified: {self.reason}",
                column=self.treatment,
                advice=self._advice(),
            )
        w, m, z = frozenset(), frozenset(), ()
        if method in ("back-door", "no effect"):
            w = self.adjustment
        elif method == "front-door":
            m = self.mediators
        else:
            w = self.instruments[0].given
            z = tuple(i.name for i in self.instruments if i.given == w)
        return {
            "T": (self.treatment,),
            "Y": (self.outcome,),
            "W": tuple(sorted(w)),
            "M": tuple(sorted(m)),
            "Z": z,
        }

    def formula(self, method: str | None = None) -> str:
        """The estimand as text; raises :class:`IdentificationError` if there is none."""
        method = method or self.method
        columns = self.columns(method)
        t, y = f"{self.treatment}=t", self.outcome
        w = ", ".join(columns["W"])
        left = f"E[{y} | do({t})]"
        if method == "no effect":
            return f"{left} = E[{y}]"
        if method == "back-door":
            return f"{left} = Σ_{{{w}}} E[{y} | {t}, {w}] P({w})" if w else f"{left} = E[{y} | {t}]"
        if method == "front-door":
            m, other = ", ".join(columns["M"]), f"{self.treatment}=t'"
            return f"{left} = Σ_{{{m}}} P({m} | {t}) Σ_t' E[{y} | {other}, {m}] P({other})"
        z = columns["Z"][0]
        given = f" | {w}" if w else ""
        return (
            f"slope of E[{y} | do({t})] = "
            f"Cov({y}, {z}{given}) / Cov({self.treatment}, {z}{given}), if it is constant"
        )

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the answer rests on, as plain sentences."""
        said = ["The graph is right: no edge and no common cause is missing from it."]
        if self.method == NOT_IDENTIFIABLE:
            return tuple(said)
        if self.method == "back-door":
            among = f" at each combination of {_listed(self.adjustment)}" if self.adjustment else ""
            said.append(f"Every value of {self.treatment} that is compared occurs{among}.")
        elif self.method == "front-door":
            said += [
                f"{self.treatment} acts on {self.outcome} only through {_listed(self.mediators)}.",
                f"Every value of {_listed(self.mediators)} occurs at each value of "
                f"{self.treatment}.",
            ]
        elif self.method == "instrument":
            z = _listed(self.columns()["Z"])
            said += [
                f"{z} moves {self.treatment} noticeably, and reaches {self.outcome} only so.",
                "The effect is the same for all, or the treatment responds to the instrument in "
                "one direction only (then the answer is the effect on those who respond).",
            ]
        return tuple(said)

    def summary(self) -> str:
        """One sentence."""
        start = f"Effect of {self.treatment} on {self.outcome}"
        if self.method == "no effect":
            return f"{start}: zero, because the graph has no directed path between them."
        if self.method == NOT_IDENTIFIABLE:
            return f"{start}: not identifiable by adjustment, front-door or an instrument."
        columns = self.columns()
        given = f" given {_listed(columns['W'])}" if columns["W"] else ""
        how = {
            "back-door": f"adjust for {_listed(columns['W']) or 'nothing'}",
            "front-door": f"through {_listed(columns['M'])}",
            "instrument": f"use {_listed(columns['Z'])}{given}",
        }[self.method]
        return f"{start}: identified by {self.method}, {how}."

    def verdict(self) -> str:
        if self.method == NOT_IDENTIFIABLE:
            return f"Not identified: {self.reason}. {self._advice()}"
        return "" if self.method == "no effect" else self.formula()

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """One row for each way: ``method, adjust_for, mediators, instrument``.

        With ``long``: one row for each column of each way, ``way, method, role, column``.
        """
        import pandas as pd

        rows: list[tuple[str, frozenset[str], frozenset[str], tuple[str, ...]]] = []
        if self.adjustment_sets:
            sets = dict.fromkeys((self.adjustment, *self.adjustment_sets))
            rows += [("back-door", s, frozenset(), ()) for s in sets]
        if self.mediators:
            rows.append(("front-door", frozenset(), self.mediators, ()))
        rows += [("instrument", i.given, frozenset(), (i.name,)) for i in self.instruments]
        if long:
            tidy = [
                (way, method, role, column)
                for way, (method, *roles) in enumerate(rows)
                for role, columns in zip("WMZ", roles, strict=True)
                for column in sorted(columns)
            ]
            return pd.DataFrame(tidy, columns=["way", "method", "role", "column"])
        wide = [(method, *map(_listed, roles)) for method, *roles in rows]
        return pd.DataFrame(wide, columns=["method", "adjust_for", "mediators", "instrument"])

    def how(self) -> dict[str, Any]:
        """What the answer rests on."""
        found: dict[str, Any] = {"formula": self.formula()} if self.is_identified else {}
        found |= {f"assumption {n}": text for n, text in enumerate(self.assumptions, 1)}
        if self.reason:
            found["adjustment fails"] = self.reason
        return found

    def _advice(self) -> str:
        if self.ambiguous:
            return "Orient these edges by knowledge, or ask each of graph.members()."
        if self.is_identified:
            return f"It is identified by {', '.join(self.methods)}."
        return "Measure a node on the open path, or find an instrument."


def identify(graph: CausalGraph, treatment: str, outcome: str, *, limit: int = 20) -> Estimand:
    """Which columns give the effect of ``treatment`` on ``outcome``, if any do.

    Looks for back-door adjustment, a front-door set and instruments, and reports all that hold;
    adjustment is preferred, then the front-door. For a CPDAG or MPDAG the answer holds for every
    member of the class; where members differ, the effect is not identifiable and ``ambiguous``
    names the undirected edges that decide. "Not identifiable" means by these three criteria:
    rarer graphs need the general ID algorithm (dowhy has one).

    Time is linear in the size of the graph for each set and instrument that is listed.

    Args:
        graph: A DAG, ADMG, CPDAG or MPDAG. Its latent nodes are never used as columns.
        treatment, outcome: Two observed nodes.
        limit: At most so many minimal adjustment sets and so many instruments.

    Raises:
        GraphError: Unknown names, or marks that contradict each other.
        QuestionError: Treatment and outcome are the same, latent, or not single names.
        IdentificationError: The graph is a PAG.

    References:
        Pearl, "Causality", 2009, chapter 3; and those of
        :func:`~workbench.graph.separation.adjustment_set`,
        :func:`~workbench.graph.front_door.mediators` and
        :func:`~workbench.graph.instruments.instruments`.

    Example:
        >>> from workbench import CausalGraph, identify
        >>> g = CausalGraph(["z", "t", "y"], [("z", "t"), ("z", "y"), ("t", "y")])
        >>> estimand = identify(g, "t", "y")
        >>> estimand.method, sorted(estimand.adjustment)
        ('back-door', ['z'])
        >>> estimand.formula()
        'E[y | do(t=t)] = Σ_{z} E[y | t=t, z] P(z)'
    """
    check_limit(limit)
    question = Question(graph, treatment, outcome)
    adjustment = question.adjustment()
    through = mediators(question) or ()
    found = instruments(question, limit)
    if not question.undecided and not question.mediating:
        method = "no effect"
    elif adjustment is not None:
        method = "back-door"
    elif through:
        method = "front-door"
    else:
        method = "instrument" if found else NOT_IDENTIFIABLE
    names = graph.nodes
    open_path = question.open_path() if adjustment is None else []
    return Estimand(
        treatment=treatment,
        outcome=outcome,
        method=method,
        adjustment=question.names(adjustment or ()),
        adjustment_sets=tuple(question.names(s) for s in question.minimal_sets(limit)),
        mediators=question.names(through),
        instruments=tuple(found),
        open_path=tuple(names[node] for node, _ in open_path),
        ambiguous=tuple((names[p[0]], names[p[1]]) for p in question.undecided),
        reason=question.why_not() if adjustment is None else "",
    )


def _listed(names: Any) -> str:
    return ", ".join(names if isinstance(names, tuple) else sorted(names))
