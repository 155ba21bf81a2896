"""What the released code of IDI does, for comparison: it differs from its paper.

It never tests whether a candidate is anomalous itself, draws noise once, and shares one graph
among the incidents of a scenario, from which nodes removed for one stay removed for the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from workbench.core.saving import saveable
from workbench.diagnosis import IDI, Incident, System
from workbench.diagnosis.incident import Case


@saveable
class ReleasedIDI(IDI):
    """IDI with a single draw and, unless asked for, without the own-node test.

    An incident is taken to be one whatever its target's deviation is.

    Args:
        threshold: From which a parent (and with the test a node) is anomalous.
        own_node_test: Whether a candidate must be anomalous itself.
        random_state: Seed of the one draw.
    """

    def __init__(self, threshold=5.0, own_node_test: bool = False, random_state=0):
        super().__init__(threshold=threshold, n_draws=2, random_state=random_state)
        self.own_node_test = own_node_test

    def _answer(self, case: Case):
        if case.trigger is None or not case.system.candidates(case.target):
            return super()._answer(case)
        findings = self._rank(case)
        if findings.blamed.any():
            return "found", "", findings
        return "no root cause found", "no fix lowers the target's score", findings

    def _candidates(self, case: Case) -> tuple[list[str], list[str]]:
        players, reasons = super()._candidates(case)
        if self.own_node_test:
            return players, reasons
        system = case.system
        usual = [
            node
            for node in system.candidates(case.target)
            if not any(
                case.anomalous[system.position[p]]
                for m in system.members(node)
                for p in system.parents(m)
            )
        ]
        return usual, reasons

    def _scores(self, world, alone: np.ndarray, observed: float):
        gain = observed - alone[:, 0]
        return gain, np.full(len(gain), np.nan)


def leaky(system: System, incidents: Iterable[Incident]) -> Iterator[tuple[System, Incident]]:
    """Each incident with the system that the ones before it have left behind.

    Args:
        system: Fresh.
        incidents: In the order of the release: that of their names as text.
    """
    for incident in incidents:
        window = system.encode(incident.window)
        lost = [
            m
            for m, seen in zip(system.metrics, np.isfinite(window).any(axis=0), strict=True)
            if not seen and m != incident.target
        ]
        system = system.without(lost, "removed for an earlier incident")
        yield system, incident
