"""Every entry asked about an odd table, and the table of what came out."""

import warnings
from time import process_time

import numpy as np
import pandas as pd
import pytest

from workbench import CausalGraph, StructuralCausalModel, Study, discover
from workbench.checks.estimator import OUTCOMES, CaseResult, Heard, judge
from workbench.checks.odd_inputs import EDGES, EFFECT, TOLERANCE, clean_table
from workbench.core.errors import CausalWarning
from workbench.diagnosis import CounterfactualAttribution, Incident, System
from workbench.recourse import RecourseProblem
from workbench.recourse.over_graphs import recommend

ROLES = "baty"
# The default search asks for strong evidence: with 300 rows b -> t hides behind y, since b and t
# given y are all but independent in this law.
ROWS = {"discovery": 600}
TARGET = 1.0  # what y is to reach in the recourse question
PEOPLE = (4, 10, 12)


def graph_of(case):
    names = {r: str(case.column(r)) for r in ROLES}
    return CausalGraph(list(names.values()), [(names[u], names[v]) for u, v in EDGES])


def ask_discovery(case, df):
    graph = discover(df)
    roles = [r for r in ROLES if r not in case.expected["discovery"].without]
    names = {str(case.column(r)): r for r in roles}
    pairs = {frozenset((names[u], names[v])) for u, v, *_ in graph.edges if {u, v} <= set(names)}
    truth = {frozenset(edge) for edge in EDGES if set(edge) <= set(roles)}
    codes = {w["code"] for w in graph.info["warnings"]}
    return pairs == truth, f"{sorted(map(sorted, pairs ^ truth))} differ", codes


def ask_recourse(case, df):
    outcome = str(case.column("y"))
    model = StructuralCausalModel(graph_of(case)).fit(df, progress=False)
    problem = RecourseProblem.in_world(model, outcome, above=TARGET, data=df)
    people = df.iloc[list(PEOPLE)]
    found = recommend(problem, people)
    status = found.status.to_numpy()
    right = np.isin(status, ["found", "already accepted"]).all()
    after = found.outcomes["score_after"].to_numpy()
    right &= bool((after >= TARGET - 1e-6).all())
    told = "chance-response" in {w.code for w in found.warnings}
    right &= told or bool((found.outcomes["validity"] >= 0.95).all())
    if case.name == "constant outcome":  # nothing moves it, and that is the answer
        right = bool(np.isin(status, ["not found", "infeasible"]).all())
    codes = {w.code for w in found.warnings}
    shown = found.outcomes[["cost", "validity"]].round(2).to_numpy().tolist()
    return right, f"{list(status)} {shown}", codes


def ask_diagnosis(case, df):
    b, y = str(case.column("b")), str(case.column("y"))
    system = System(graph_of(case), df)
    changed = case.change(with_incident(len(clean_table())))
    at = 0 if case.name == "rows in reverse" else len(changed) - 1
    window = changed.iloc[[at]] if len(df) > 3 else changed
    ranking = CounterfactualAttribution().fit(system).rank(Incident(window, y))
    right = ranking.status == "found" and ranking.nodes[0] == b
    return right, ranking.sentence, {w.code for w in ranking.warnings}


def ask_study(case, df):
    study = Study(df, graph_of(case))
    study.check()
    t, y = str(case.column("t")), str(case.column("y"))
    found = study.effect(t, y, T0=case.arms[0], T1=case.arms[1], refute=False)
    right = abs(found.value - EFFECT) <= TOLERANCE
    assert repr(found) and found._repr_html_()
    return right, found.summary(), {w.code for w in found.warnings}


ASK = {
    "discovery": ask_discovery,
    "recourse": ask_recourse,
    "diagnosis": ask_diagnosis,
    "study": ask_study,
}


def with_incident(n):
    """The clean table and a row in which b, and through it y, is far out."""
    row = pd.DataFrame({"b": [9.0], "a": [0.2], "t": [1], "y": [EFFECT + 9.1]}, index=[n])
    return pd.concat([clean_table(n), row])


def run_entry(entry, case):
    """One case of one entry, judged as an estimator's are."""
    df = case.change(clean_table(ROWS.get(entry, 300)))
    before, mark = df.copy(deep=True), fingerprint(df)
    started = process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            right, text, codes = ASK[entry](case, df)
            heard = Heard(bool(right), text, None, frozenset(codes), _generic(caught))
        except Exception as error:
            heard = Heard(text=str(error), error=error)
    seconds = process_time() - started
    pd.testing.assert_frame_equal(df, before, check_exact=True)
    assert fingerprint(df) == mark
    columns = [str(case.column(r)) for r in ROLES]
    expected = case.expected[entry]
    outcome, met = judge(heard, expected, case.problem, columns)
    message = f"{type(heard.error).__name__}: {heard.text}" if heard.error else heard.text
    if heard.codes:
        message += f" {sorted(heard.codes)}"
    return CaseResult(case.name, expected.outcome, outcome, met, message, seconds)


def _generic(caught):
    quiet = CausalWarning | DeprecationWarning | FutureWarning
    return any(not issubclass(w.category, quiet) for w in caught)


def fingerprint(df):
    """What a table is, to the byte; cells that can't be hashed by their text."""
    cells = [str(df.iloc[:, j].tolist()) for j in range(df.shape[1])]
    return hash(
        (*cells, tuple(df.columns), tuple(map(str, df.dtypes)), str(df.attrs), str(df.flags))
    )


def table_of(results):
    """Outcome by entry, as printed."""
    found = {
        entry: pd.Series([r.outcome for r in rows]).value_counts()
        for entry, rows in results.items()
    }
    return pd.DataFrame(found).reindex(list(OUTCOMES)).fillna(0).astype(int)


@pytest.fixture(scope="session")
def entries():
    """``run_entry`` and ``table_of`` for tests."""
    return run_entry, table_of
