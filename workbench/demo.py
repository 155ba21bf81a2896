"""The main job on real patients: which graph, which effect, what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .datasets.catalogue import load
from .study import Study

OUTCOME = "progression"
LIMIT = 250
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
    study.source = "dataset:diabetes"
    say(study.check().summary())
    say("Learning the graph, and how stable it is ...")
    study.discover(knowledge=data.knowledge, n_boot=100)
    say(study.ensemble.summary())
    for treatment, step in (("bmi", 5), ("bp", 10)):
        say(f"Estimating the effect of {treatment} on {OUTCOME} ...")
        median = float(data.frame[treatment].median())
        answer = study.effect(treatment, OUTCOME, T0=median, T1=median - step)
        say(answer.summary())
    say(f"Asking every resampled graph about {treatment} ...")
    say(study.effect(treatment, OUTCOME, T0=median, T1=median - step, over="graphs").summary())
    say(f"Planning for patients with {OUTCOME} above {LIMIT} ...")
    plans = study.recourse(f"{OUTCOME} > {LIMIT}", target=f"{OUTCOME} < {LIMIT}")
    say(plans.summary())
    label, column = _strangest(study)
    say(f"Explaining {column} of row {label} ...")
    say(study.diagnose([label], column).summary())
    study.report(path, TITLE, force)
    study.to_toml(folder / "study.toml", "dataset:diabetes", force)
    return path


def _strangest(study: Study) -> tuple[int, str]:
    """The record and column furthest from usual, among columns that have causes in the graph."""
    caused = [n for n in study.graph.nodes if study.graph.parents(n)]
    deviation = (study.df[caused] - study.df[caused].mean()).abs() / study.df[caused].std()
    label, column = deviation.stack().idxmax()
    return int(label), str(column)
