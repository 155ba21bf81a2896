"""What a metric measures, told from its name: latency, errors, requests, saturation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Literal, get_args

from ...core.errors import ParameterError, did_you_mean

Kind = Literal["latency", "errors", "availability", "requests", "saturation", "other"]

# The first rule that fits decides. Words come before endings, and what is counted ("errors")
# before what it is counted of ("requests").
RULES: tuple[tuple[Kind, str], ...] = (
    ("availability", r"availab|success|uptime"),
    ("errors", r"error|fail|fault|exception|5xx|reject|drop|timeout"),
    ("latency", r"latency|duration|response_?time|elapsed|delay"),
    (
        "saturation",
        r"cpu|mem|heap|disk|queue|saturat|utili[sz]|thread|connection|pool|backlog|throttl|lag"
        r"|(^|_)(gc|io|load|usage)(_|$)",
    ),
    ("requests", r"request|rps|qps|throughput|calls|traffic|hits"),
    ("latency", r"(^|_)p\d{2,3}(_|$)|(^|_)(ms|seconds)(_|$)"),
)
_UNITS = (
    (r"(milliseconds|millis|ms)(_|$)", "ms"),
    (r"(seconds|secs|sec)(_|$)", "s"),
    (r"(percent|pct)(_|$)", "%"),
    (r"bytes(_|$)", "bytes"),
    (r"(mb|megabytes)(_|$)", "MB"),
    (r"(rps|qps|per_second)(_|$)", "1/s"),
)


def kind_of(metric: str, kinds: Mapping[str, Kind] | None = None) -> Kind:
    """What a metric measures.

    Args:
        metric: Its name without the service.
        kinds: Name or pattern (``*`` and ``?``) -> kind; wins over the rules.

    Example:
        >>> [kind_of(m) for m in ("p99", "http_requests", "request_errors", "cpu_percent")]
        ['latency', 'requests', 'errors', 'saturation']
        >>> kind_of("cpu_stall_time", {"cpu_stall*": "latency"})
        'latency'
    """
    for pattern, kind in (kinds or {}).items():
        if fnmatchcase(metric, pattern):
            return kind
    name = _plain(metric)
    return next((kind for kind, rule in RULES if re.search(rule, name)), "other")


def checked_kinds(kinds: Mapping[str, str] | None) -> dict[str, Kind]:
    """The user's own naming rules, after a look at the kinds.

    Raises:
        ParameterError: A kind that doesn't exist.
    """
    for pattern, kind in (kinds or {}).items():
        if kind not in get_args(Kind):
            raise ParameterError(
                f"says that {pattern!r} is of an unknown kind",
                column="kinds",
                value=kind,
                advice=did_you_mean(kind, get_args(Kind)),
            )
    return dict(kinds or {})


def unit_of(metric: str) -> str:
    """The unit that the ending of a metric's name says; empty where it says none.

    Example:
        >>> unit_of("latency_ms"), unit_of("request_duration_seconds"), unit_of("queue")
        ('ms', 's', '')
    """
    name = _plain(metric)
    return next((unit for rule, unit in _UNITS if re.search(rf"(^|_){rule}", name)), "")


def _plain(metric: str) -> str:
    """Lower case with one kind of separator; camelCase becomes camel_case."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", metric)
    return re.sub(r"[^a-z0-9]+", "_", words.lower())
