"""A study as a small TOML file: what to read, what is known, what to ask, where to report."""

from __future__ import annotations

import inspect
import json
import math
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .core.errors import FileFormatError, did_you_mean
from .study import Study
from .tables.read import read_table
from .tables.schema import Feature, Schema

if TYPE_CHECKING:
    import pandas as pd

    from .graph.causal_graph import CausalGraph
    from .graph.knowledge import Knowledge

_MAX_BYTES = 10 * 2**20
_TOP = ("title", "table", "graph", "random_state", "report")
_QUESTIONS = ("check", "falsify", "effect", "recourse", "diagnose")
_KNOWLEDGE = ("tiers", "required", "forbidden")


def run(path: str | Path, force: bool = False, report: bool = True) -> tuple[Study, str | None]:
    """Run a study file: read the table, learn or read the graph, ask the questions, report.

    ::

        title = "Progression of diabetes"
        table = "dataset:diabetes"        # or a file beside this one
        graph = "diabetes.dot"            # or leave it out and give [discover]
        random_state = 0
        report = "memo.html"

        [schema.age]
        unit = "years"
        actionable = false

        [knowledge]
        tiers = [["age", "sex"], ["bmi", "bp"], ["progression"]]

        [discover]
        n_boot = 100

        [[effect]]
        treatment = "bmi"
        outcome = "progression"

        [[recourse]]
        rows = "progression > 250"
        target = "progression < 200"

        [[diagnose]]
        rows = [17]
        target = "progression"

    Args:
        path: The file.
        force: Replace a report that exists.
        report: Write the report that the file names.

    Returns:
        The study with its answers, and the title.

    Raises:
        FileFormatError: Not TOML, or an entry that means nothing; the closest one is suggested.
    """
    path = Path(path)
    plan = _read(path)
    study = _study(plan, path)
    if "discover" in plan:
        study.discover(knowledge=_knowledge(plan, study), **plan["discover"])
    for kind in _QUESTIONS:
        for question in plan.get(kind, []):
            _ask(study, kind, dict(question), path)
    study.source = str(plan["table"])
    if report and "report" in plan:
        study.report(path.parent / plan["report"], plan.get("title"), force)
    return study, plan.get("title")


def write(study: Study, path: str | Path, table: str | Path, force: bool = False) -> Path:
    """Write the questions asked so far as a study file."""
    path = Path(path)
    if path.exists() and not force:
        raise FileExistsError(f"{path} exists; pass force=True to replace it")
    text = to_text(study, str(table), beside=path)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
    return path


def to_text(study: Study, table: str, beside: Path | None = None) -> str:
    """The study file as text. A graph that no search gave as it is is written ``beside`` it."""
    lines = [f"table = {_toml(table)}", f"random_state = {_toml(study.random_state)}"]
    found = [a.result for a in study.answers if a.kind == "discover"]
    learned = bool(found) and study.has_graph and found[-1] == study.graph
    if study.has_graph and not learned:
        from .graph.files import write_graph

        name = "graph.json" if beside is None else f"{beside.stem}.graph.json"
        if beside is not None:
            write_graph(study.graph, beside.with_name(name), force=True)
        lines.append(f"graph = {_toml(name)}")
    lines += _schema_lines(study.schema, Schema.infer(study.df))
    if study.knowledge is not None:
        known = {k: getattr(study.knowledge, k) for k in _KNOWLEDGE}
        lines += ["", "[knowledge]", *(f"{k} = {_toml(v)}" for k, v in known.items() if v)]
    for answer in study.answers:
        if answer.kind == "discover" and not (learned and answer.result is found[-1]):
            continue  # the graph in use is another one, and written above
        given = {k: v for k, v in answer.asked.items() if v not in ((), [], None)}
        asked = {k: v for k, v in given.items() if _is_plain(v)}
        lines += ["", "[discover]" if answer.kind == "discover" else f"[[{answer.kind}]]"]
        lines += [f"{k} = {_toml(v)}" for k, v in asked.items()]
        lost = [k for k in given if k not in asked]
        if lost:
            lines.append(f"# given in Python and not repeated here: {', '.join(lost)}")
    return "\n".join(lines) + "\n"


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if path.stat().st_size > _MAX_BYTES:
        raise FileFormatError("is too large for a study file", path=path)
    try:
        plan = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FileFormatError(f"is not TOML: {error}", path=path) from error
    known = [*_TOP, "schema", "knowledge", "discover", *_QUESTIONS]
    _refuse_unknown(plan, known, "entry", path)
    for kind in _QUESTIONS:
        if not isinstance(plan.get(kind, []), list):
            raise FileFormatError(f"write [[{kind}]], with two brackets", path=path)
    if "table" not in plan:
        raise FileFormatError("has no entry 'table'", path=path, advice="Name a file or a dataset.")
    if "graph" in plan and "discover" in plan:
        raise FileFormatError("has both 'graph' and [discover]", path=path, advice="Keep one.")
    return plan


def _study(plan: Mapping[str, Any], path: Path) -> Study:
    frame, schema, drawn = read_source(str(plan["table"]), path.parent)
    changes = {}
    for name, entries in plan.get("schema", {}).items():
        _refuse_unknown(entries, [f.name for f in fields(Feature)], f"field of {name!r}", path)
        changes[name] = {k: tuple(v) if isinstance(v, list) else v for k, v in entries.items()}
    graph = plan.get("graph")
    if graph is not None:
        drawn = path.parent / graph
    elif "discover" in plan:
        drawn = None
    return Study(frame, drawn, schema.correct(changes), plan.get("random_state", 0))


def read_source(
    source: str, folder: Path | None = None
) -> tuple[pd.DataFrame, Schema, CausalGraph | None]:
    """Table, schema and graph (if one is known) of a file or of ``dataset:NAME``."""
    if source.startswith("dataset:"):
        from .datasets.catalogue import load

        data = load(source.removeprefix("dataset:"))
        return data.frame, data.schema, data.graph
    frame = read_table(source if folder is None else folder / source)
    return frame, Schema.infer(frame), None


def _knowledge(plan: Mapping[str, Any], study: Study) -> Knowledge | None:
    entries = plan.get("knowledge")
    if entries is None:
        return None
    from .graph.knowledge import Knowledge

    accepted = [n for n in inspect.signature(Knowledge).parameters if n != "self"]
    _refuse_unknown(entries, accepted, "entry of [knowledge]", None)
    return Knowledge(**{k: _pairs(v) if k != "tiers" else v for k, v in entries.items()})


def _pairs(value: list) -> list:
    return [tuple(v) if isinstance(v, list) else v for v in value]


def _ask(study: Study, kind: str, question: dict[str, Any], path: Path) -> None:
    method = getattr(study, kind)
    signature = inspect.signature(method).parameters
    accepted = [n for n in signature if n not in ("method", "model", "window")]
    if kind == "diagnose":
        accepted.append("rows")
    elif kind == "recourse":
        accepted += ["cost", "scale", "constraints", "max_changes", "budget", "immutable"]
    _refuse_unknown(question, accepted, f"entry of [[{kind}]]", path)
    for name, parameter in signature.items():
        needed = parameter.default is parameter.empty and parameter.kind != parameter.VAR_KEYWORD
        name = "rows" if name == "window" else name
        if needed and name not in question:
            raise FileFormatError(f"[[{kind}]] has no entry {name!r}", path=path)
    if kind == "diagnose":
        method(question.pop("rows"), **question)
    else:
        method(**question)


def _refuse_unknown(
    entries: Mapping[str, Any], known: Iterable[str], what: str, path: Path | None
) -> None:
    for name in entries:
        if name not in known:
            raise FileFormatError(
                f"{name!r} is no {what}", path=path, advice=did_you_mean(name, known)
            )


def _schema_lines(schema: Schema, guessed: Schema) -> list[str]:
    lines = []
    for feature in schema:
        other = guessed[feature.name] if feature.name in guessed else Feature(feature.name)
        changed = {
            f.name: getattr(feature, f.name)
            for f in fields(Feature)
            if getattr(feature, f.name) != getattr(other, f.name)
            and getattr(feature, f.name) is not None
        }
        if "bounds" in changed:  # TOML has no null: an open end is infinite
            ends = zip(changed["bounds"], (-math.inf, math.inf), strict=True)
            changed["bounds"] = [end if b is None else b for b, end in ends]
        if changed:
            lines += ["", f"[schema.{_key(feature.name)}]"]
            lines += [f"{k} = {_toml(v)}" for k, v in changed.items() if _is_plain(v)]
    return lines


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(v) for v in value)
    return isinstance(value, bool | int | float | str)


def _key(name: str) -> str:
    return name if name.isidentifier() and name.isascii() else _toml(name)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return f"[{', '.join(_toml(v) for v in items)}]"
    # TOML's basic strings have JSON's escapes; DEL is the one character that JSON leaves alone.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
