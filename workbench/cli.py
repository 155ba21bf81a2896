"""`workbench ...`: every command is a few lines over :class:`workbench.Study`.

Data goes to stdout, messages to stderr. Exit codes: 0 fine, 1 a finding (something odd, no plan,
no cause), 2 the question or the files can't be used.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import __version__
from .core.errors import CausalWarning, WorkbenchError

if TYPE_CHECKING:
    import pandas as pd

    from .core.results import Result
    from .study import Study

app = typer.Typer(
    help=__doc__.split("\n")[0].replace("`", ""),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Table = Annotated[str, typer.Argument(help="A csv, tsv, parquet or arrow file, or dataset:NAME.")]
Graph = Annotated[
    Path | None, typer.Option("--graph", "-g", help="A graph file (dot, graphml, json, csv, ...).")
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Write here instead of stdout.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Seed = Annotated[int, typer.Option("--seed", help="Rules everything that is random.", min=0)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No messages on stderr.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files that exist.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
KnowledgeFile = Annotated[
    Path | None, typer.Option("--knowledge", "-k", help="A Tetrad knowledge file: tiers, edges.")
]


class GraphFormat(StrEnum):
    """Formats that graphs are written in."""

    dot = "dot"
    graphml = "graphml"
    json = "json"
    dagitty = "dagitty"
    csv = "csv"


def command(name: str) -> Callable[[Callable[..., int]], Callable[..., None]]:
    """Register a command: refusals become one line on stderr and exit code 2."""

    def register(function: Callable[..., int]) -> Callable[..., None]:
        @wraps(function)
        def run(**options: Any) -> None:
            debug, quiet = options.pop("debug", False), options.get("quiet", False)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.simplefilter("always", CausalWarning)
                warnings.showwarning = _show if not quiet else _hide
                try:
                    code = function(**options)
                except (WorkbenchError, OSError) as error:
                    if debug:
                        raise
                    typer.echo(f"workbench {name}: {error}", err=True)
                    raise typer.Exit(2) from None
                except KeyboardInterrupt:
                    typer.echo(f"workbench {name}: stopped", err=True)
                    raise typer.Exit(130) from None
            raise typer.Exit(code or 0)

        run.__annotations__ = {**function.__annotations__, "return": None}
        app.command(name)(run)
        return run

    return register


def _show(message: Warning | str, *_: Any, **__: Any) -> None:
    typer.echo(f"! {message}", err=True)


def _hide(*_: Any, **__: Any) -> None:
    """Say nothing."""


@command("check")
def check(
    table: Table,
    outcome: Annotated[str | None, typer.Option(help="Look for columns that leak it.")] = None,
    out: Out = None,
    as_json: Json = False,
    quiet: Quiet = False,
    force: Force = False,
    debug: Debug = False,
) -> int:
    """Say what is odd about a table before anything is estimated from it."""
    report = _study(table).check(outcome)
    _print(report, out, as_json, force, index=False)
    return 0 if report.ok else 1


@command("discover")
def discover(
    table: Table,
    method: Annotated[str, typer.Option(help="Which algorithm.")] = "pc",
    knowledge: KnowledgeFile = None,
    boot: Annotated[int, typer.Option(help="Resamples for edge confidence; 0 for none.")] = 100,
    format: Annotated[GraphFormat, typer.Option(help="Of the graph.")] = GraphFormat.dot,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    force: Force = False,
    debug: Debug = False,
) -> int:
    """Learn a causal graph; with --json also how stable its edges are."""
    study = _study(table, seed=seed)
    graph = study.discover(method, knowledge=_knowledge(knowledge), n_boot=boot)
    if as_json:
        found = {"edges": [list(e) for e in graph.edges], "kind": graph.kind}
        if study.ensemble is not None:
            found["confidence"] = _records(study.ensemble.to_frame())
        _write(json.dumps(found, indent=1), out, force)
        return 0
    from .graph.files import write_graph

    if study.ensemble is not None and not quiet:
        typer.echo(study.ensemble.summary(), err=True)
    _write(str(write_graph(graph, format=format.value)).rstrip("\n"), out, force)
    return 0


@command("effect")
def effect(
    table: Table,
    treatment: Annotated[str, typer.Option("--treatment", "-t", help="Column.")],
    outcome: Annotated[str, typer.Option("--outcome", "-y", help="Column.")],
    graph: Graph = None,
    adjust_for: Annotated[
        list[str] | None, typer.Option("--adjust-for", help="Instead of a graph; repeat it.")
    ] = None,
    target: Annotated[str, typer.Option(help="ATE or ATT.")] = "ATE",
    estimator: Annotated[str | None, typer.Option(help="By name.")] = None,
    refute: Annotated[bool, typer.Option(help="Try to refute the number.")] = True,
    cluster: Annotated[
        str | None, typer.Option(help="Column of rows that belong together.")
    ] = None,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    force: Force = False,
    debug: Debug = False,
) -> int:
    """Estimate an average effect with its interval and its conditions."""
    study = _study(table, graph, seed, cluster)
    found = study.effect(
        treatment,
        outcome,
        adjust_for=adjust_for,
        target=target,
        estimator=estimator,
        refute=refute,
    )
    _print(found, out, as_json, force)
    return 1 if found.verdict().startswith(("Not supported", "Doubtful")) else 0


@command("recourse")
def recourse(
    table: Table,
    rows: Annotated[str, typer.Option(help="Who, e.g. 'progression > 250'.")],
    target: Annotated[str, typer.Option(help="What to reach, e.g. 'progression < 200'.")],
    graph: Graph = None,
    fixed: Annotated[
        list[str] | None, typer.Option(help="A column nobody can act on; repeat it.")
    ] = None,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    force: Force = False,
    debug: Debug = False,
) -> int:
    """Find the smallest changes that bring people across a threshold."""
    study = _study(table, graph, seed)
    if fixed:
        study.schema = study.schema.correct({name: {"actionable": False} for name in fixed})
    found = study.recourse(rows, target=target)
    _print(found, out, as_json, force)
    return 0 if found.status.isin(["found", "already accepted"]).all() else 1


@command("diagnose")
def diagnose(
    table: Table,
    target: Annotated[str, typer.Option(help="The column that is unusual.")],
    rows: Annotated[str, typer.Option(help="The unusual rows: a label or a condition.")],
    graph: Graph = None,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
    force: Force = False,
    debug: Debug = False,
) -> int:
    """Say which columns made rows unusual."""
    study = _study(table, graph, seed)
    found = study.diagnose(_label(rows), target)
    _print(found, out, as_json, force)
    return 0 if found.status == "found" else 1


@command("report")
def report(
    study_file: Annotated[Path, typer.Argument(help="A study file (TOML).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The HTML file.")] = Path("report.html"),
    quiet: Quiet = False,
    force: Force = False,
    debug: Debug = False,
) -> int:
    """Ask a study file's questions and write the memo to a file of your choice."""
    from .study_file import run as run_file

    study, title = run_file(study_file, report=False)
    typer.echo(study.report(out, title, force))
    return 0


@command("run")
def run(
    study_file: Annotated[Path, typer.Argument(help="A study file (TOML).")],
    as_json: Json = False,
    quiet: Quiet = False,
    force: Force = False,
    debug: Debug = False,
) -> int:
    """Run a study file: ask its questions, print the answers, write its report."""
    from .study_file import run as run_file

    study, _ = run_file(study_file, force=force)
    if as_json:
        _write(
            json.dumps([_answer(a.kind, a.result) for a in study.answers], indent=1), None, False
        )
        return 0
    for answer in study.answers:
        if hasattr(answer.result, "summary"):
            typer.echo(f"{answer.kind}: {answer.result.summary()}")
    return 0


@command("datasets")
def datasets(as_json: Json = False, quiet: Quiet = False, debug: Debug = False) -> int:
    """List the data sets that ship with the project; use one as dataset:NAME."""
    from .datasets.catalogue import available

    frame = available()
    typer.echo(
        json.dumps(_records(frame.reset_index()), indent=1) if as_json else frame.to_string()
    )
    return 0


@command("demo")
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")] = Path("demo"),
    seed: Seed = 0,
    quiet: Quiet = False,
    force: Force = False,
    debug: Debug = False,
) -> int:
    """From a table of real patients to a decision, with a report."""
    from .demo import demonstrate

    say = _hide if quiet else lambda text: typer.echo(text, err=True)
    typer.echo(demonstrate(out, seed=seed, force=force, say=say))
    return 0


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit()


def main() -> None:
    """Entry point of the command line."""
    app()


def _study(
    source: str, graph: Path | None = None, seed: int = 0, cluster: str | None = None
) -> Study:
    from .study import Study
    from .study_file import read_source

    frame, schema, drawn = read_source(source)
    if cluster is not None:
        schema = schema.correct({cluster: {"role": "cluster"}})
    return Study(frame, graph or drawn, schema, seed)


def _knowledge(path: Path | None) -> Any:
    from .graph.knowledge import Knowledge

    return None if path is None else Knowledge.from_file(path)


def _label(text: str) -> Any:
    """Row labels are numbers more often than not."""
    return int(text) if text.removeprefix("-").isdigit() else text


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(frame.to_json(orient="records", date_format="iso", default_handler=str))


def _answer(kind: str, result: Result | Any) -> dict[str, Any]:
    if not hasattr(result, "summary"):
        return {"question": kind, "edges": [list(e) for e in result.edges]}
    return {
        "question": kind,
        "summary": result.summary(),
        "verdict": result.verdict(),
        "warnings": [{"code": w.code, "message": w.message} for w in result.warnings],
        "table": _records(result.to_frame().reset_index()),
    }


def _print(
    result: Result, out: Path | None, as_json: bool, force: bool, index: bool = True
) -> None:
    if as_json:
        _write(json.dumps(_answer(type(result).__name__, result), indent=1), out, force)
        return
    lines = [result.summary(), result.verdict()]
    frame = result.to_frame()
    if len(frame):
        lines.append(frame.to_string(index=index, max_colwidth=90))
    _write("\n".join(line for line in lines if line), out, force)


def _write(text: str, out: Path | None, force: bool) -> None:
    if out is None:
        try:
            typer.echo(text)
        except BrokenPipeError:  # e.g. piped into head
            sys.stderr.close()
        return
    if out.exists() and not force:
        raise FileExistsError(f"{out} exists; pass --force to replace it")
    out.write_text(text + "\n", encoding="utf-8")
