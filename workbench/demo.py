"""The main job on real patients: which graph, which effect, what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .datasets.catalogue import load
from .study import Study

OUTCOME = "progression"
HIGH, GOAL = 290, 200
TITLE = "Diabetes progression: from a table to a decision"


def demonstrate(
    folder: str | Path,
    seed: int = 0,
    force: bool = False,
    say: Callable[[str], object] = print,
) -> Path:
    """Run the demo and return the path of its report.

    442 diabetes patients (Efron et al. 2004): learn the graph with tiers, estimate the effects
    of body mass index and blood pressure on disease progression, plan for the patients with the
    fastest progression, explain one anomalous record.

    Args:
        folder: Where ``report.html`` and ``study.toml`` are written.
        seed: Rules everything.
        force: Replace them if they exist.
        say: Called with one line per step.
    """
    folder = Path(folder)
    path = folder / "report.html"
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists; pass force=True to replace it")
    data = load("diabetes")
    study = Study(data.frame, schema=data.schema, random_state=seed)
    say(study.check().summary())
    say("Learning the graph, and how stable it is ...")
    study.discover(knowledge=data.knowledge, n_boot=100)
    say(study.ensemble.summary())
    for treatment, step in (("bmi", 5), ("bp", 10)):
        say(f"Estimating the effect of {treatment} on {OUTCOME} ...")
        median = float(data.frame[treatment].median())
        answer = study.effect(treatment, OUTCOME, T0=median, T1=median - step)
        say(answer.summary())
    say(f"Planning for patients with {OUTCOME} above {HIGH} ...")
    plans = study.recourse(f"{OUTCOME} > {HIGH}", target=f"{OUTCOME} < {GOAL}")
    say(plans.summary())
    label = _strangest(study)
    say(f"Explaining row {label} ...")
    say(study.diagnose([label], OUTCOME).summary())
    study.report(path, TITLE, force)
    study.to_toml(folder / "study.toml", "dataset:diabetes", force)
    return path


def _strangest(study: Study) -> int:
    """The patient whose progression is furthest above the average."""
    column = study.df[OUTCOME]
    return int((column - column.mean()).idxmax())
