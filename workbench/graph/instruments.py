"""Instruments: columns that move the treatment and reach the outcome in no other way."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..core.saving import saveable
from .mixed import MoralGraph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .question import Question


@saveable
@dataclass(frozen=True)
class Instrument:
    """An instrument and the columns it must be conditioned on."""

    name: str
    given: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.name} | {', '.join(sorted(self.given))}" if self.given else self.name


def instruments(question: Question, limit: int) -> list[Instrument]:
    """Instruments by the graphical criterion, nearest to the treatment first.

    z is an instrument given W if neither it nor W may descend from the treatment, W does not
    separate z from t, and W separates z from y once the first edges of the directed paths from t
    to y are taken out.

    All unconditional instruments are found in linear time (up to ``limit``). Conditional ones are
    looked for among the ``limit`` nodes nearest to the treatment, with W among the ancestors of z
    and y: for each of these nodes such a W is found if there is one. In a graph with up to
    ``limit`` candidates that is complete in this sense: if any node is an instrument given any
    set, then some instrument is returned.

    References:
        Brito and Pearl, "Generalized instrumental variables", UAI 2002; van der Zander, Textor
        and Liskiewicz, "Efficiently finding conditional instruments for causal inference",
        IJCAI 2015; Henckel, Buttenschön and Maathuis, "Graphical tools for selecting conditional
        instrumental sets", Biometrika, 2024.
    """
    if question.undecided or not question.mediating:
        return []
    names, t, y = question.graph.nodes, question.t, question.y
    usable = question.observed - question.possibly_after
    relevant, tied = question.mixed.reach([t]), question.cut.reach([y])
    found, others = [], []
    for z in _outwards(question):
        if len(found) == limit:
            break
        if z in usable and z in relevant and z not in tied:
            found.append(Instrument(names[z]))
        elif z in usable and len(others) < limit:
            others.append(z)
    for z in others:
        if len(found) == limit:
            break
        given = _conditions(question, z, usable - {z})
        if given is not None and t in question.mixed.reach([z], given):
            found.append(Instrument(names[z], question.names(given)))
    return found


def _conditions(question: Question, z: int, usable: set[int]) -> set[int] | None:
    """The separator of z and y nearest to y: it leaves z as free as possible to move t."""
    moral = MoralGraph(question.cut, question.cut.ancestors([z, question.y]))
    return moral.nearest(z, question.y, usable)


def _outwards(question: Question) -> Iterator[int]:
    """Nodes by distance from the treatment, whatever the direction of the edges."""
    mixed = question.mixed
    queue, seen = deque([question.t]), {question.t}
    while queue:
        node = queue.popleft()
        for other in (*mixed.parents[node], *mixed.spouses[node], *mixed.children[node]):
            if other not in seen:
                seen.add(other)
                queue.append(other)
                yield other
