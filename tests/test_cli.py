import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from workbench import CausalGraph, write_graph
from workbench.cli import app
from workbench.datasets.catalogue import shipped


@pytest.fixture
def run():
    def go(*arguments):
        return CliRunner().invoke(app, [str(a) for a in arguments])

    return go


@pytest.fixture
def files(tmp_path):
    r = np.random.default_rng(0)
    n = 200
    age = r.normal(50, 8, n)
    treated = (r.random(n) < 1 / (1 + np.exp(-(age - 50) / 8))).astype(int)
    score = 2.0 * treated + 0.1 * age + r.normal(size=n)
    df = pd.DataFrame({"age": age, "treated": treated, "score": score})
    df.to_csv(tmp_path / "t.csv", index=False)
    edges = [("age", "treated"), ("age", "score"), ("treated", "score")]
    write_graph(CausalGraph(["age", "treated", "score"], edges), tmp_path / "g.dot")
    (tmp_path / "k.txt").write_text("/knowledge\naddtemporal\n\n1 age\n2 treated\n3 score\n")
    return tmp_path


def test_check(run, files):
    found = run("check", files / "t.csv")
    assert found.exit_code == 0 and "nothing odd" in found.stdout
    (files / "odd.csv").write_text("a,b\n1.5,7\n2.5,7\n3.5,7\n")
    odd = run("check", files / "odd.csv", "--json")
    assert odd.exit_code == 1
    assert json.loads(odd.stdout)["table"][0]["code"] == "constant"


def test_discover_writes_a_graph(run, files):
    found = run("discover", files / "t.csv", "-k", files / "k.txt", "--boot", 5)
    assert found.exit_code == 0 and found.stdout.startswith("digraph")
    as_json = run("discover", files / "t.csv", "--boot", 5, "--json")
    assert {"edges", "kind", "confidence"} <= json.loads(as_json.stdout).keys()
    out = files / "learned.graphml"
    assert (
        run("discover", files / "t.csv", "--boot", 0, "--format", "graphml", "-o", out).exit_code
        == 0
    )
    again = run("discover", files / "t.csv", "--boot", 0, "-o", out)
    assert again.exit_code == 2 and "--force" in again.stderr
    assert run("discover", files / "t.csv", "--boot", 0, "-o", out, "--force").exit_code == 0


def test_effect(run, files):
    options = ("-t", "treated", "-y", "score", "--no-refute")
    found = run("effect", files / "t.csv", "-g", files / "g.dot", *options, "--json")
    assert found.exit_code == 0
    answer = json.loads(found.stdout)
    assert "treated" in answer["summary"] and 1 < answer["table"][0]["effect"] < 3
    same = run("effect", files / "t.csv", "--adjust-for", "age", *options)
    assert same.exit_code == 0 and "average effect" in same.stdout


def test_recourse_and_diagnose(run, files):
    common = (files / "t.csv", "-g", files / "g.dot")
    plan = run(
        "recourse", *common, "--rows", "score > 8.5", "--target", "score < 8", "--fixed", "age"
    )
    assert plan.exit_code in (0, 1) and "people" in plan.stdout
    odd = run("diagnose", *common, "--target", "score", "--rows", "0", "--json")
    assert odd.exit_code in (0, 1) and "summary" in json.loads(odd.stdout)


def test_diagnose_an_alarm(run, tmp_path):
    shop = ("diagnose", "--graph", shipped("graphs", "shop_services.json"), "--metrics")
    shop = (*shop, shipped("data", "shop_metrics.parquet"), "--target", "checkout")
    changes = ("--changes", shipped("data", "shop_changes.csv"))
    page = tmp_path / "answer.html"
    found = run(*shop, "--at", "2026-03-01T14:32", *changes, "-o", page)
    assert found.exit_code == 0 and "cause: payment cpu_percent" in found.stdout
    html = page.read_text()
    assert html.count("<svg") == 3 and "http" not in html.replace("http_", "")
    again = run(*shop, "--at", "2026-03-01T14:32", "-o", page)
    assert again.exit_code == 2 and "--force" in again.stderr
    found = run(*shop, "--at", "2026-03-01T14:32", "--json")
    tiers = {row["tier"] for row in json.loads(found.stdout)["table"]}
    assert {"cause", "first failure", "impact"} <= tiers
    none = run(*shop, "--at", "2026-03-01T20:44", *changes, "--method", "NSigma", "-q")
    assert none.exit_code == 1 and "no cause in these metrics" in none.stdout
    assert none.stderr == ""


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--at", "2027-01-01"), "outside the metrics"),
        ((), "--metrics needs --at"),
        (("--at", "2026-03-01T14:32", "--rows", "3"), "either TABLE and --rows"),
        (("--at", "2026-03-01T14:32", "--kind", "cpu"), "--kind is written A=B"),
        (("--at", "2026-03-01T14:32", "--kind", "cpu=fast"), "unknown kind"),
        (("--at", "2026-03-01T14:32", "--method", "Nsigma"), "Did you mean 'NSigma'"),
    ],
)
def test_diagnose_refuses_in_one_line(run, more, message):
    shop = ("diagnose", "--graph", shipped("graphs", "shop_services.json"), "--metrics")
    shop = (*shop, shipped("data", "shop_metrics.parquet"), "--target", "checkout", *more)
    found = run(*shop)
    assert found.exit_code == 2 and message in found.stderr
    assert len(found.stderr.strip().split("\n")) == 1


def test_messages_go_to_stderr_and_can_be_silenced(run, files):
    df = pd.read_csv(files / "t.csv")
    df.loc[:5, "age"] = np.nan
    df.to_csv(files / "gaps.csv", index=False)
    options = (
        files / "gaps.csv",
        "-t",
        "treated",
        "-y",
        "score",
        "--adjust-for",
        "age",
        "--no-refute",
    )
    loud = run("effect", *options)
    assert "missing-values" in loud.stderr and "missing-values" not in loud.stdout
    assert run("effect", *options, "--quiet").stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check", "nowhere.csv"), "no file nowhere.csv"),
        (("check", "dataset:diabets"), "Did you mean 'diabetes'"),
        (("effect", "t.csv", "-t", "tretaed", "-y", "score", "-g", "g.dot"), "mean 'treated'"),
        (("effect", "t.csv", "-t", "treated", "-y", "score"), "Pass --graph, or --adjust-for"),
        (("effect", "t.csv", "-t", "treated", "-y", "score", "-g", "bad.dot"), "line 1"),
        (("check", "shifted.csv"), "shifted.csv, line 3"),
        (("run", "bad.toml"), "'tabel'"),
        (("discover", "t.csv", "--method", "pcc"), "Did you mean 'pc'"),
    ],
)
def test_refusals_are_one_line_with_exit_code_2(run, files, monkeypatch, arguments, message):
    monkeypatch.chdir(files)
    (files / "bad.dot").write_text("digraph { a -> }")
    (files / "shifted.csv").write_text("a,b\n1,2\n3,4,5\n")
    (files / "bad.toml").write_text('tabel = "t.csv"\n')
    found = run(*arguments)
    assert found.exit_code == 2 and message in found.stderr
    assert "Traceback" not in found.stderr and found.stdout == ""
    with pytest.raises(Exception, match="."):
        CliRunner().invoke(app, [*map(str, arguments), "--debug"], catch_exceptions=False)


def test_usage_errors_exit_with_2(run):
    assert run("effect").exit_code == 2
    assert run("nonsense").exit_code == 2


def test_datasets_and_version(run):
    assert "diabetes" in run("datasets").stdout
    assert json.loads(run("datasets", "--json").stdout)[0]["name"] == "diabetes"
    assert run("--version").stdout.strip()


def test_the_command_line_starts_quickly():
    code = (
        "import sys, workbench.cli; "
        "print([m for m in ('torch', 'sklearn', 'numba') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
