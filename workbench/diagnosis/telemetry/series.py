"""Telemetry: metrics of services over time, on one grid, with how each came about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ...core.errors import CausalWarning, DataError
from ...tables.gate import count
from .kinds import Kind, checked_kinds, kind_of, unit_of


@dataclass(frozen=True, eq=False)
class Series:
    """One stretch of measurements as a file holds it.

    Attributes:
        service: Who was measured.
        metric: What was measured.
        times: Nanoseconds since 1970 in UTC, shape (n,), any order.
        values: Shape (n,), NaN where nothing was recorded.
        source: What the file calls it.
        labels: What else the file says about it.
    """

    service: str
    metric: str
    times: np.ndarray
    values: np.ndarray
    source: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, repr=False)
class Telemetry:
    """Metrics of services over time.

    Attributes:
        frame: One row per time (UTC, ascending), one column per metric, named
            ``"service metric"``; NaN where nothing was recorded.
        series: One row per column: service, metric, kind, unit, source (what the file calls it)
            and note (what was done to it: turned into a rate, averaged, ...).
        unused: What a file holds that is no metric of a service -> why.
        warnings: The conditions to keep in mind.

    Example:
        >>> times = pd.date_range("2026-03-01", periods=3, freq="min", tz="UTC")
        >>> Telemetry.from_frame(pd.DataFrame({"cart latency_ms": [9.0, 8.0, 9.5]}, index=times))
        Telemetry(1 service, 1 metric, 3 rows from 2026-03-01 00:00 to 00:02 UTC, step 1 min)
    """

    frame: pd.DataFrame
    series: pd.DataFrame
    unused: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[CausalWarning, ...] = ()

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        services: Iterable[str] | None = None,
        kinds: Mapping[str, Kind] | None = None,
    ) -> Telemetry:
        """From a wide table: times in the index or in a column, ``service metric`` in columns.

        Args:
            frame: The table; it is not changed.
            services: Names of services, to tell service from metric in names like ``a_b_c``.
            kinds: Metric or pattern -> kind, where its name misleads.
        """
        from .metrics import from_frame

        return from_frame(frame, services, kinds)

    @property
    def services(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.series["service"]))

    @property
    def step(self) -> pd.Timedelta:
        """Time between rows (median)."""
        if len(self.frame) < 2:
            return pd.Timedelta(minutes=1)
        gaps = np.diff(self.frame.index.as_unit("ns").asi8)
        return pd.Timedelta(int(np.median(gaps)), unit="ns")

    def columns_of(self, service: str, kinds: Sequence[Kind] | None = None) -> list[str]:
        """The columns of one service, of some kinds only."""
        mine = self.series["service"] == service
        if kinds is not None:
            mine &= self.series["kind"].isin(kinds)
        return list(self.series.index[mine])

    def __repr__(self) -> str:
        first, last = self.frame.index[[0, -1]]
        sizes = f"{count(len(self.services), 'service')}, {count(self.frame.shape[1], 'metric')}"
        end = last.strftime("%H:%M" if last.date() == first.date() else "%Y-%m-%d %H:%M")
        return (
            f"Telemetry({sizes}, {count(len(self.frame), 'row')} from {first:%Y-%m-%d %H:%M} to "
            f"{end} UTC, step {shown_span(self.step)})"
        )

    def _repr_html_(self) -> str:
        from html import escape

        table = self.series.reset_index(drop=True).to_html(border=0, na_rep="", max_rows=16)
        return f"<p><b>{escape(repr(self))}</b></p>{table}"


def describe_columns(
    names: Sequence[tuple[str, str]],
    sources: Sequence[str],
    notes: Sequence[str],
    kinds: Mapping[str, Kind] | None,
    units: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The table ``Telemetry.series`` for pairs (service, metric).

    Raises:
        DataError: Two pairs have the same name.
    """
    kinds = checked_kinds(kinds)
    index = [f"{service} {metric}" for service, metric in names]
    seen: dict[str, str] = {}
    for name, source in zip(index, sources, strict=True):
        if name in seen:
            raise DataError(
                f"comes twice, as {seen[name]!r} and as {source!r}",
                column=name,
                advice="Rename one, or leave one out.",
            )
        seen[name] = source
    return pd.DataFrame(
        {
            "service": [service for service, _ in names],
            "metric": [metric for _, metric in names],
            "kind": [kind_of(metric, kinds) for _, metric in names],
            "unit": list(units) if units is not None else [unit_of(m) for _, m in names],
            "source": list(sources),
            "note": list(notes),
        },
        index=pd.Index(index, name="column", dtype=object),
    )


def shown_span(span: pd.Timedelta | float) -> str:
    """A length of time as a person says it.

    Example:
        >>> shown_span(pd.Timedelta(minutes=3)), shown_span(pd.Timedelta(seconds=90))
        ('3 min', '90 s')
        >>> shown_span(pd.Timedelta(hours=36))
        '36 h'
    """
    seconds = pd.Timedelta(span).total_seconds()
    for size, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or seconds == size:
            text = f"{seconds / size:.1f}".removesuffix(".0")
            return f"{text} {'day' if name == 'days' and text == '1' else name}"
    return f"{seconds:g} s"
