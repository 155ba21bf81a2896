import tomllib

import numpy as np
import pandas as pd
import pytest

from workbench import CausalGraph, Knowledge, Schema, Study
from workbench.core.errors import FileFormatError
from workbench.effects import LinearDML
from workbench.study_file import run

pytestmark = pytest.mark.filterwarnings("ignore::workbench.CausalWarning")

PLAN = """
title = "A <small> study"
table = "t.csv"
graph = "g.dot"
random_state = 3
report = "memo.html"

[schema.dose]
unit = "mg"
bounds = [-inf, 10]

[[check]]

[[effect]]
treatment = "dose"
outcome = "harm"
refute = false

[[recourse]]
rows = "harm > 4"
target = "harm < 4"

[[diagnose]]
rows = [3]
target = "harm"
"""


@pytest.fixture
def folder(tmp_path):
    r = np.random.default_rng(0)
    dose = r.normal(size=300)
    marker = 2 * dose + r.normal(size=300)
    df = pd.DataFrame({"dose": dose, "marker": marker, "harm": 1.5 * marker + r.normal(size=300)})
    df.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "g.dot").write_text("digraph { dose -> marker -> harm }")
    (tmp_path / "study.toml").write_text(PLAN)
    return tmp_path


def test_a_study_file_asks_its_questions_and_reports(folder):
    study, title = run(folder / "study.toml")
    assert title == "A <small> study"
    assert [a.kind for a in study.answers] == ["check", "effect", "recourse", "diagnose"]
    assert study.random_state == 3 and study.schema["dose"].unit == "mg"
    assert "A &lt;small&gt; study" in (folder / "memo.html").read_text(encoding="utf-8")
    with pytest.raises(FileExistsError):
        run(folder / "study.toml")
    run(folder / "study.toml", force=True)


def test_a_study_written_and_run_again_gives_the_same_answers(folder):
    first, _ = run(folder / "study.toml")
    first.to_toml(folder / "again.toml", "t.csv")
    tomllib.loads((folder / "again.toml").read_text())
    second = Study.from_toml(folder / "again.toml")
    assert second.graph == first.graph and second.schema == first.schema
    for one, two in zip(first.answers, second.answers, strict=True):
        assert one.kind == two.kind and one.result.summary() == two.result.summary()


def test_discovery_with_knowledge_round_trips(folder):
    df = pd.read_csv(folder / "t.csv").rename(columns={"dose": 'do "se', "harm": "härm;\\"})
    df.to_csv(folder / "odd.csv", index=False)
    study = Study(df, schema=Schema.infer(df).correct({"härm;\\": {"unit": "µg"}}))
    study.discover(knowledge=Knowledge(tiers=[['do "se'], ["marker"], ["härm;\\"]]), n_boot=3)
    study.effect('do "se', "härm;\\", refute=False)
    study.to_toml(folder / "odd.toml", "odd.csv")
    again = Study.from_toml(folder / "odd.toml")
    assert again.graph == study.graph
    assert again.answers[-1].result.value == study.answers[-1].result.value


def test_what_toml_cannot_say_is_said(folder):
    study = Study(pd.read_csv(folder / "t.csv"), CausalGraph(["dose", "harm"], [("dose", "harm")]))
    study.effect("dose", "harm", estimator=LinearDML(), refute=False)
    study.to_toml(folder / "s.toml", "t.csv")
    assert "not repeated here: estimator" in (folder / "s.toml").read_text()
    with pytest.raises(FileExistsError):
        study.to_toml(folder / "s.toml", "t.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("table = ", "bad.toml: is not TOML"),
        ("tabel = 't.csv'", "'tabel' is no entry.*Did you mean 'table'"),
        ("title = 'x'", "no entry 'table'"),
        ("table = 't.csv'\n[schema.dose]\nunt = 'x'", "'unt' is no field of 'dose'.*mean 'unit'"),
        ("table = 't.csv'\n[schema.dos]\nunit = 'x'", "'dos'.*Did you mean 'dose'"),
        ("table = 't.csv'\n[effect]\ntreatment = 'dose'", r"write \[\[effect\]\]"),
        ("table = 't.csv'\ngraph = 'g.dot'\n[[effect]]\ntreatment = 'dose'", "no entry 'outcome'"),
        ("table = 't.csv'\ngraph = 'g.dot'\n[[effect]]\ntreatmnt = 'dose'", "mean 'treatment'"),
        ("table = 't.csv'\ngraph = 'g.dot'\n[discover]", "both 'graph' and"),
        ("table = 't.csv'\n[knowledge]\ntier = []\n[discover]", "'tier'.*Did you mean 'tiers'"),
        ("table = 't.csv'\n[[effect]]\ntreatment='dose'\noutcome='harm'", "no graph yet"),
    ],
)
def test_mistakes_are_named(folder, text, message):
    (folder / "bad.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        run(folder / "bad.toml")


def test_a_missing_or_huge_file_is_refused(folder):
    with pytest.raises(FileNotFoundError):
        run(folder / "nowhere.toml")
    (folder / "huge.toml").write_text("#" * (11 * 2**20))
    with pytest.raises(FileFormatError, match="too large"):
        run(folder / "huge.toml")
