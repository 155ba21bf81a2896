"""`workbench ...`: every command is a few lines over :class:`workbench.Study`.

Data goes to stdout, messages to stderr. Exit codes: 0 fine, 1 a finding (something odd, no plan,
no cause), 2 the question or the files can't be used.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from . import __version__
from .core.errors import CausalWarning, QuestionError, WorkbenchError
from .core.results import number

if TYPE_CHECKING:
    import pandas as pd

    from .core.results import Result
    from .study import Study

app = typer.Typer(
    help="From a table to a decision: which graph, which effect, what to do about it.",
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


@dataclass(frozen=True)
class Options:
    """What every command takes."""

    out: Out = None
    seed: Seed = 0
    as_json: Json = False
    quiet: Quiet = False
    force: Force = False
    debug: Debug = False


def command(name: str) -> Callable[[Callable[..., int]], Callable[..., None]]:
    """Register a command: refusals become one line on stderr and exit code 2.

    The command's function takes the common :class:`Options` first; on the command line they
    stand beside its own.
    """

    def register(function: Callable[..., int]) -> Callable[..., None]:
        @wraps(function)
        def run(**given: Any) -> None:
            options = Options(**{f.name: given.pop(f.name) for f in fields(Options)})
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.simplefilter("always", CausalWarning)
                warnings.showwarning = _hide if options.quiet else _show
                try:
                    code = function(options, **given)
                except (WorkbenchError, OSError) as error:
                    if options.debug:
                        raise
                    typer.echo(f"workbench {name}: {error}", err=True)
                    raise typer.Exit(2) from None
                except KeyboardInterrupt:
                    typer.echo(f"workbench {name}: stopped", err=True)
                    raise typer.Exit(130) from None
            raise typer.Exit(code or 0)

        hints = get_type_hints(function, include_extras=True)
        own = [
            p.replace(annotation=hints[p.name], kind=p.KEYWORD_ONLY)
            for p in list(signature(function).parameters.values())[1:]
        ]
        shared = [
            Parameter(f.name, Parameter.KEYWORD_ONLY, default=f.default, annotation=kind)
            for f, kind in zip(fields(Options), _option_types(), strict=True)
        ]
        run.__signature__ = Signature([*own, *shared])
        run.__annotations__ = {p.name: p.annotation for p in [*own, *shared]}
        app.command(name)(run)
        return run

    return register


def _option_types() -> list[Any]:
    hints = get_type_hints(Options, include_extras=True)
    return [hints[f.name] for f in fields(Options)]


def _show(message: Warning | str, *_: Any, **__: Any) -> None:
    typer.echo(f"! {message}", err=True)


def _hide(*_: Any, **__: Any) -> None:
    """Say nothing."""


@command("check")
def check(
    options: Options,
    table: Table,
    outcome: Annotated[str | None, typer.Option(help="Look for columns that leak it.")] = None,
) -> int:
    """Say what is odd about a table before anything is estimated from it."""
    report = _study(table).check(outcome)
    _print(report, options, index=False)
    return 0 if report.ok else 1


@command("discover")
def discover(
    options: Options,
    table: Table,
    method: Annotated[str, typer.Option(help="Which algorithm.")] = "boss",
    knowledge: KnowledgeFile = None,
    boot: Annotated[int, typer.Option(help="Resamples for edge confidence; 0 for none.")] = 100,
    format: Annotated[GraphFormat, typer.Option(help="Of the graph.")] = GraphFormat.dot,
) -> int:
    """Learn a causal graph; with --json also how stable its edges are."""
    study = _study(table, seed=options.seed)
    graph = study.discover(method, knowledge=_knowledge(knowledge), n_boot=boot)
    if options.as_json:
        found = {"edges": [list(e) for e in graph.edges], "kind": graph.kind}
        if study.ensemble is not None:
            found["confidence"] = _records(study.ensemble.to_frame())
        _write(json.dumps(found, indent=1), options)
        return 0
    from .graph.files import write_graph

    if study.ensemble is not None and not options.quiet:
        typer.echo(study.ensemble.summary(), err=True)
    _write(str(write_graph(graph, format=format.value)).rstrip("\n"), options)
    return 0


@command("effect")
def effect(
    options: Options,
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
    T0: Annotated[str | None, typer.Option("--T0", help="Compare with this value.")] = None,
    T1: Annotated[str | None, typer.Option("--T1", help="The value to compare.")] = None,
    modifier: Annotated[
        list[str] | None, typer.Option(help="By which the effect may differ; repeat it.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Column of rows that belong together.")
    ] = None,
) -> int:
    """Estimate an average effect with its interval and its conditions."""
    study = _study(table, graph, options.seed, cluster)
    if not study.has_graph and adjust_for is None:
        raise QuestionError(
            "an effect needs a graph or columns to adjust for",
            advice="Pass --graph, or --adjust-for once per column.",
        )
    found = study.effect(
        treatment,
        outcome,
        adjust_for=adjust_for,
        target=target,
        T0=_value(T0),
        T1=_value(T1),
        modifiers=modifier or (),
        estimator=estimator,
        refute=refute,
    )
    _print(found, options)
    return 1 if found.verdict().startswith(("Not supported", "Doubtful")) else 0


@command("recourse")
def recourse(
    options: Options,
    table: Table,
    rows: Annotated[str, typer.Option(help="Who, e.g. 'progression > 250'.")],
    target: Annotated[str, typer.Option(help="What to reach, e.g. 'progression < 200'.")],
    graph: Graph = None,
    fixed: Annotated[
        list[str] | None, typer.Option(help="A column nobody can act on; repeat it.")
    ] = None,
) -> int:
    """Find the smallest changes that bring people across a threshold."""
    study = _study(table, graph, options.seed)
    if fixed:
        study.schema = study.schema.correct({name: {"actionable": False} for name in fixed})
    found = study.recourse(rows, target=target)
    _print(found, options)
    return 0 if found.status.isin(["found", "already accepted"]).all() else 1


@command("diagnose")
def diagnose(
    options: Options,
    table: Annotated[
        str | None, typer.Argument(help="A table, to ask about its rows; or see --metrics.")
    ] = None,
    target: Annotated[
        str, typer.Option(help="The unusual column, or the service (or metric) of the alarm.")
    ] = ...,
    rows: Annotated[
        str | None, typer.Option(help="The unusual rows of a table: a label or a condition.")
    ] = None,
    graph: Annotated[
        Path | None,
        typer.Option("--graph", "-g", help="A causal graph; with --metrics: who calls whom."),
    ] = None,
    metrics: Annotated[
        list[Path] | None,
        typer.Option("--metrics", "-m", help="Prometheus JSON, parquet or csv; repeat it."),
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="Time of the alarm, ISO 8601, UTC without a zone.")
    ] = None,
    changes: Annotated[
        Path | None, typer.Option(help="Deploys and the like: csv with time, service, what.")
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="METRIC=KIND where a name misleads; repeat it.")
    ] = None,
    service_label: Annotated[
        str | None, typer.Option(help="The Prometheus label that names the service.")
    ] = None,
    edges: Annotated[
        str, typer.Option(help="What an edge of a plain graph file means: calls or causes.")
    ] = "calls",
    baseline: Annotated[
        str | None, typer.Option(help="Fault-free rows, START/END; all before by default.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="A diagnosis method, by name.")] = None,
) -> int:
    """Say what made a service fail (--metrics --at), or rows of a table unusual (TABLE --rows)."""
    if metrics:
        for name, value in (("--graph", graph), ("--at", at)):
            if value is None:
                raise QuestionError(f"--metrics needs {name}", advice="See diagnose --help.")
        if table is not None or rows is not None:
            raise QuestionError("give either TABLE and --rows, or --metrics and --at")
        return _investigate(
            options, target, graph, metrics, at, changes, kind, service_label, edges, baseline,
            method,
        )  # fmt: skip
    if table is None or rows is None:
        raise QuestionError(
            "nothing to diagnose",
            advice="Give TABLE and --rows, or --graph, --metrics and --at.",
        )
    study = _study(table, graph, options.seed)
    found = study.diagnose(_label(rows), target, method=method)
    _print(found, options)
    return 0 if found.status == "found" else 1


@command("report")
def report(
    options: Options,
    study_file: Annotated[Path, typer.Argument(help="A study file (TOML).")],
) -> int:
    """Ask a study file's questions and write the memo to --out (report.html)."""
    from .study_file import run as run_file

    study, title = run_file(study_file, report=False)
    typer.echo(study.report(options.out or Path("report.html"), title, options.force))
    return 0


@command("run")
def run(
    options: Options,
    study_file: Annotated[Path, typer.Argument(help="A study file (TOML).")],
) -> int:
    """Run a study file: ask its questions, print the answers, write its report."""
    from .study_file import run as run_file

    study, _ = run_file(study_file, force=options.force)
    if options.as_json:
        _write(json.dumps([_answer(a.kind, a.result) for a in study.answers], indent=1), options)
        return 0
    for answer in study.answers:
        if hasattr(answer.result, "summary"):
            typer.echo(f"{answer.kind}: {answer.result.summary()}")
    return 0


@command("datasets")
def datasets(options: Options) -> int:
    """List the data sets that ship with the project; use one as dataset:NAME."""
    from .datasets.catalogue import available

    frame = available()
    typer.echo(
        json.dumps(_records(frame.reset_index()), indent=1)
        if options.as_json
        else frame.to_string()
    )
    return 0


@command("demo")
def demo(
    options: Options,
) -> int:
    """From a table of real patients to a decision, with a report in the folder --out (demo)."""
    from .demo import demonstrate

    out = options.out or Path("demo")

    say = _hide if options.quiet else lambda text: typer.echo(text, err=True)
    typer.echo(demonstrate(out, seed=options.seed, force=options.force, say=say))
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


def _investigate(
    options: Options,
    target: str,
    graph: Path,
    metrics: list[Path],
    at: str,
    changes: Path | None,
    kind: list[str] | None,
    service_label: str | None,
    edges: str,
    baseline: str | None,
    method: str | None,
) -> int:
    """Answer an alarm: text or JSON to stdout, with --out the page."""
    from .diagnosis.oncall import OnCall, named

    if options.out is not None and options.out.exists() and not options.force:
        raise FileExistsError(f"{options.out} exists; pass --force to replace it")
    watch = OnCall.from_files(
        graph=graph,
        metrics=metrics,
        changes=changes,
        method=named(method, options.seed),
        kinds=dict(_pair(text, "=", "--kind") for text in kind or ()),
        service_label=service_label,
        edges=edges,
    )
    span = None if baseline is None else _pair(baseline, "/", "--baseline")
    found = watch.investigate(target, at, baseline=span)
    _print(found, replace(options, out=None))
    if options.out is not None:
        from .report import incident_memo, write_memo

        asked = {"graph": str(graph), "metrics": ", ".join(map(str, metrics)), "at": at}
        asked |= {} if changes is None else {"changes": str(changes)}
        asked |= {"seed": str(options.seed), "version": __version__}
        write_memo(incident_memo(found, asked), options.out, options.force)
        if not options.quiet:
            typer.echo(f"page: {options.out}", err=True)
    return 0 if found.status == "found" else 1


def _pair(text: str, separator: str, option: str) -> tuple[str, str]:
    left, found, right = text.partition(separator)
    if not (left and found and right):
        raise QuestionError(f"{option} is written A{separator}B", value=text)
    return left, right


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


def _value(text: str | None) -> Any:
    """A value given as text: a number if it reads like one."""
    try:
        number = float(text)
    except (TypeError, ValueError):
        return text
    return int(number) if number.is_integer() else number


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


def _print(result: Result, options: Options, index: bool = True) -> None:
    if options.as_json:
        _write(json.dumps(_answer(type(result).__name__, result), indent=1), options)
        return
    lines = [result.summary(), result.verdict()]
    frame = result.glance()
    if len(frame):
        lines.append(frame.to_string(index=index, max_colwidth=90, float_format=number, na_rep=""))
    _write("\n".join(line for line in lines if line), options)


def _write(text: str, options: Options) -> None:
    if options.out is None:
        try:
            typer.echo(text)
        except BrokenPipeError:  # e.g. piped into head
            sys.stderr.close()
        return
    if options.out.exists() and not options.force:
        raise FileExistsError(f"{options.out} exists; pass --force to replace it")
    options.out.write_text(text + "\n", encoding="utf-8")
