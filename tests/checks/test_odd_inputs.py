"""Odd tables at every entry: the right answer, a refusal that names the place, a named warning."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from workbench import CausalGraph, Study
from workbench.checks.estimator import PLACED, SILENT, UNPLACED, run_case
from workbench.checks.odd_inputs import EDGES, ENTRIES, TABLES, clean_table
from workbench.checks.odd_questions import effect_cases
from workbench.cli import app
from workbench.core.errors import CausalWarning, WorkbenchError
from workbench.effects.catalogue import ENTRIES as ESTIMATORS
from workbench.effects.catalogue import make
from workbench.graph import bootstrap

pytestmark = pytest.mark.filterwarnings("ignore::workbench.core.errors.CausalWarning")

# Entries that take some time are asked about a part of the tables here, and about all of them in
# the slow tier.
FEW = (
    "empty cell in X",
    "infinite cell in W",
    "nullable Int64 with NA",
    "constant column",
    "column names repeated",
    "all treated",
    "text treatment",
    "outcome of many texts",
    "mixed object column",
    "Decimal objects",
    "dates with a time zone",
    "pyarrow types",
    "column of scale 1e9 around 1e15",
    "single value of 1e12 in a confounder",
    "empty table",
    "three rows",
    "index all zeros",
    "column called with quotes",
    "column called with HTML",
)
FAST = [
    (entry, case)
    for entry in ("discovery", "diagnosis", "study", "recourse")
    for case in TABLES
    if entry in ("discovery", "diagnosis") or case.name in FEW
]


@pytest.fixture(scope="module", autouse=True)
def loaded(entries):
    """Libraries are imported once, outside the tests' own time."""
    run_entry, _ = entries
    for entry in ("study", "recourse"):
        run_entry(entry, TABLES[0])


@pytest.mark.parametrize(("entry", "case"), FAST, ids=lambda v: getattr(v, "name", v))
def test_every_table_comes_out_as_it_has_to(entry, case, entries):
    run_entry, _ = entries
    found = run_entry(entry, case)
    assert found.met, f"{found.outcome}: {found.message}"
    if found.expected == "refusal":
        assert found.seconds < 2


def test_every_case_says_what_is_expected_of_every_entry():
    for case in TABLES:
        assert set(case.expected) == set(ENTRIES)
        for expected in case.expected.values():
            assert expected.outcome != "refusal" or expected.places
            assert expected.outcome != "warning" or expected.codes
    names = [c.name for c in effect_cases()]
    assert len(set(names)) == len(names)
    answerable = sum(c.expected.outcome != "refusal" for c in effect_cases())
    assert answerable > len(names) / 2  # a table of refusals is no pass


def test_changes_leave_the_clean_table_alone(untouched):
    df = untouched(clean_table())
    for case in TABLES:
        case.change(df)


# -- questions to a study ----------------------------------------------------------------------

GRAPH = CausalGraph(list("baty"), sorted(EDGES))

QUESTIONS = {
    "unknown treatment": (lambda s: s.effect("treatd", "y"), ["'treatd'"]),
    "misspelt treatment": (lambda s: s.effect("tt", "y"), ["'tt'"]),
    "treatment is the outcome": (lambda s: s.effect("t", "t"), ["'t'"]),
    "unknown adjustment": (lambda s: s.effect("t", "y", adjust_for=["age"]), ["'age'"]),
    "treatment adjusted for": (lambda s: s.effect("t", "y", adjust_for=["t"]), ["'t'"]),
    "outcome adjusted for": (lambda s: s.effect("t", "y", adjust_for=["y"]), ["'y'"]),
    "consequence as modifier": (lambda s: s.effect("b", "y", modifiers=["t"]), ["'t'"]),
    "unknown modifier": (lambda s: s.effect("t", "y", modifiers=["c"]), ["'c'"]),
    "unknown estimator": (lambda s: s.effect("t", "y", estimator="AIWP"), ["AIWP", "'AIPW'"]),
    "unknown arm": (lambda s: s.effect("t", "y", T1=7, refute=False), ["'t'", "7"]),
    "alpha of 5": (lambda s: s.effect("t", "y", alpha=5), ["'alpha'", "5"]),
    "target in lower case": (lambda s: s.effect("t", "y", target="ate"), ["'target'", "'ate'"]),
    "cyclic graph": (
        lambda s: setattr(s, "graph", "digraph { b -> t; t -> y; y -> b }"),
        ["cycle", "'b'"],
    ),
    "node that is no column": (
        lambda s: setattr(s, "graph", "digraph { bb -> t; t -> y }"),
        ["'bb'", "'b'"],
    ),
    "unknown method of discovery": (lambda s: s.discover("pcc", n_boot=0), ["'pcc'", "'pc'"]),
    "unknown column in recourse": (lambda s: s.recourse([1], target="z > 1"), ["'z'"]),
    "target without a number": (lambda s: s.recourse([1], target="y > big"), ["y > big"]),
    "row that does not exist": (lambda s: s.recourse([99999], target="y > 1"), ["99999"]),
    "condition nobody meets": (lambda s: s.recourse("y > 1e9", target="y < 1"), ["y > 1e9"]),
    "unknown column in diagnosis": (lambda s: s.diagnose([3], "yy"), ["'yy'"]),
    "diagnosis of no rows": (lambda s: s.diagnose(s.df.iloc[:0], "y"), ["'y'", "no rows"]),
    "leak of an unknown outcome": (lambda s: s.check("yy"), ["'yy'"]),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_odd_questions_to_a_study_are_refused_by_name(name, untouched):
    ask, places = QUESTIONS[name]
    study = Study(untouched(clean_table()), GRAPH)
    with pytest.raises(WorkbenchError) as refused:
        ask(study)
    for place in places:
        assert place in str(refused.value)


def test_a_consequence_of_the_treatment_is_adjusted_for_with_a_warning_only():
    answer = Study(clean_table(), GRAPH).effect("b", "y", adjust_for=["t", "a"], refute=False)
    told = [w for w in answer.warnings if w.code == "post-treatment"]
    assert told and told[0].columns == ("t",)


def test_a_study_answers_all_its_questions(untouched):
    df = untouched(clean_table())
    study = Study(df, GRAPH)
    answer = study.effect("t", "y", refute=False)
    assert abs(answer.value - 2) < 0.5 and answer.low < answer.value < answer.high
    assert study.recourse("y < -2", target="y > -2").status.isin(["found"]).all()
    assert study.diagnose(int(df.y.idxmax()), "y").status
    assert study.check().ok
    graph = study.discover(n_boot=0)
    assert {frozenset(e[:2]) for e in graph.edges} == {frozenset(e) for e in EDGES}


def test_one_or_two_workers_give_the_same_edges(untouched):
    df = untouched(clean_table(120))
    one, two = (bootstrap(df, n_boot=6, n_jobs=n).to_frame() for n in (1, 2))
    pd.testing.assert_frame_equal(one, two, check_exact=True)


# -- files at the command line -----------------------------------------------------------------


@pytest.fixture
def cli(tmp_path):
    """Write a text to a file and run a command on it: exit code, stdout, stderr."""

    def run(text, *arguments, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        before = path.read_bytes()
        found = CliRunner().invoke(app, [arguments[0], str(path), *arguments[1:]])
        assert path.read_bytes() == before
        assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
        return found.exit_code, found.stdout, found.stderr

    return run


EFFECT = ("effect", "-t", "t", "-y", "y", "--adjust-for", "b", "--adjust-for", "a", "--no-refute")


def as_csv(df):
    return df.to_csv(index=False)


def test_a_clean_file_is_answered(cli):
    code, out, _ = cli(as_csv(clean_table()), *EFFECT, "--json")
    assert code == 0
    found = json.loads(out)
    assert "2" in found["summary"]


def test_texts_that_look_like_gaps_are_levels(cli):
    df = clean_table()
    df["a"] = np.where(df.a > 0, "NA", "None")
    df["t"] = df.t.map({0: "None", 1: "NA"})
    code, out, err = cli(as_csv(df), *EFFECT, "--json")
    assert code == 0, err
    assert "NA" in out and "missing-values" not in out + err


FILES = {
    "one field too many": (lambda s: s.replace("\n", ",9\n").replace(",9\n", "\n", 1), ["line 2"]),
    "one field too few": (lambda s: s + "1,2\n", ["line 302"]),
    "a name twice": (lambda s: s.replace("b,a", "a,a", 1), ["'a'", "line 1"]),
    "a column without a name": (lambda s: s.replace("b,a", ",a", 1), ["line 1"]),
    "no text at all": (lambda s: "", ["is empty"]),
    "a header and no rows": (lambda s: s.split("\n")[0] + "\n", ["0 rows"]),
    "zero bytes": (lambda s: s.replace("1", "\0", 1), ["zero bytes"]),
    "an open quote": (lambda s: s.replace("\n", '\n"', 1), ["line"]),
    "latin-1": (lambda s: s.replace("b", "ü", 1).encode("latin-1"), ["line 1", "encoding"]),
    "a decimal comma": (lambda s: s.replace(".", ",", 1), ["line 2"]),
    "a word among numbers": (lambda s: s.replace("\n0.", "\nzero.", 1), ["'b'", "zero."]),
}


@pytest.mark.parametrize("name", FILES)
def test_odd_files_are_refused_with_the_line(name, cli):
    spoil, places = FILES[name]
    code, out, err = cli(spoil(as_csv(clean_table())), *EFFECT)
    assert code == 2 and not out and "Traceback" not in err
    for place in places:
        assert place in err


def test_a_file_says_what_is_odd_before_anything_is_estimated(cli):
    df = clean_table().assign(c=1, d=lambda d: 3 * d.b)
    df.loc[3, "a"] = np.nan
    code, out, _ = cli(as_csv(df), "check", "--json")
    codes = {row["code"] for row in json.loads(out)["table"]}
    assert code == 1 and {"constant", "missing"} <= codes


@pytest.mark.parametrize("suffix", ["parquet", "feather"])
def test_odd_types_come_back_from_binary_files(suffix, cli, tmp_path):
    df = clean_table()
    df["a"] = pd.array(df.a.round().astype("Int64"))
    df.loc[3, "a"] = pd.NA
    path = Path(tmp_path) / "made"
    getattr(df, f"to_{suffix}")(path)
    code, out, err = cli(path.read_bytes(), *EFFECT, "--json", name=f"table.{suffix}")
    assert code == 0, err
    assert "missing-values" in out


# -- all of it -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_the_whole_table(entries, capsys):
    run_entry, table_of = entries
    results = {
        e.name: [run_case(make(e.name), case) for case in effect_cases()]
        for e in ESTIMATORS
        if e.cls.treatment != "continuous"  # the questions are about arms
    }
    for entry in ("discovery", "recourse", "diagnosis", "study"):
        results[entry] = [run_entry(entry, case) for case in TABLES]
    with capsys.disabled():
        print("\n" + table_of(results).to_string())  # noqa: T201
    rows = [(entry, r) for entry, found in results.items() for r in found]
    assert not [(e, r) for e, r in rows if r.outcome == SILENT]
    assert not [(e, r) for e, r in rows if not r.met]
    refusals = [r for _, r in rows if r.outcome in (PLACED, UNPLACED)]
    assert sum(r.outcome == PLACED for r in refusals) >= 0.95 * len(refusals)
    assert all(r.seconds < 2 for r in refusals)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(1, 4))
def test_the_expectations_are_no_accident_of_one_table(seed):
    cases = effect_cases(seed)
    wrong = [r for case in cases if not (r := run_case(make("AIPW"), case, seed)).met]
    assert not wrong


def test_warnings_of_a_fit_stay_with_the_estimator():
    for case in effect_cases():
        if case.expected.outcome != "warning" or "extrapolation" in case.expected.codes:
            continue
        asked, estimator = case.ask(), make("AIPW", n_folds=2)
        with pytest.warns(CausalWarning) as shown:
            estimator.fit(asked.Y, asked.T, X=asked.X, W=asked.W)
        shown = {w.message for w in shown if isinstance(w.message, CausalWarning)}
        assert shown == set(estimator.warnings_)
