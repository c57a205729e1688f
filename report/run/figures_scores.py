"""Plots of scores: against chance, by density and by layer, their intervals, and their q-values."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil, floor, log10
from typing import Any

from exegete.report.run.coverage import Coverage
from exegete.report.run.drawing import BLUE, GREY, RUST, VIOLET, Row, drawn, ends, histogram, line
from exegete.report.run.questions import Q_BIN, SCORE_BIN, WIDTH_BIN

_KINDS = {
    "own label": ("solid", BLUE, 3),
    "another feature": ("dash", RUST, 2),
    "lexical": ("dot", VIOLET, 2),
    "empty": ("longdashdot", GREY, 2),
}
_STATUS = {
    "accepted": ("circle", BLUE),
    "review": ("diamond-open", RUST),
    "rejected": ("x-thin-open", GREY),
}


def scores(rows: Sequence[Row], bar: float | None) -> dict[str, Any]:
    """Distributions of one scorer's values: of the run's labels, and of labels that are not the feature's."""
    traces = []
    for kind, (dash, hue, width) in _KINDS.items():
        own = {row["bin"]: row["n"] for row in rows if row["kind"] == kind}
        if not own:
            continue
        total = sum(own.values())
        bins = range(min(own) - 1, max(own) + 2)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "line": {"shape": "hvh", "dash": dash, "color": hue, "width": width},
                "x": [round((bin + 0.5) * SCORE_BIN, 4) for bin in bins],
                "y": [own.get(bin, 0) / total for bin in bins],
                "name": f"{kind} ({total:,})",
            }
        )
    lowest = min((row["bin"] for row in rows), default=0) * SCORE_BIN
    return drawn(
        traces,
        xaxis={"title": {"text": "score on the report split"}, "range": [min(-0.1, lowest), 1.02]},
        yaxis={"title": {"text": "share"}, "tickformat": ".0%", "rangemode": "tozero"},
        shapes=[] if bar is None else [line(x0=bar, x1=bar, y0=0, y1=1, yref="paper")],
    )


def densities(points: Sequence[Row], quarters: Sequence[Row], threshold: float) -> dict[str, Any]:
    """Score against density, a point a feature, with the median of each quarter of a power of ten."""
    traces: list[dict[str, Any]] = []
    for status, (symbol, hue) in _STATUS.items():
        own = [row for row in points if row["status"] == status]
        if own:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": status,
                    "x": [row["density"] for row in own],
                    "y": [round(row["score"], 4) for row in own],
                    "text": [f"feature {row['feature_index']}{_side(row)}" for row in own],
                    "marker": {
                        "symbol": symbol,
                        "size": 6,
                        "color": hue,
                        "opacity": 0.7,
                        "line": {"width": 1.5, "color": hue},
                    },
                }
            )
    there = [row for row in quarters if row["median"] is not None]
    traces.append(
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": "median of a quarter of a power of ten",
            "x": [10 ** ((row["quarter"] + 0.5) / 4) for row in there],
            "y": [row["median"] for row in there],
            "line": {"color": VIOLET, "width": 2, "dash": "dash"},
            "marker": {"symbol": "square", "size": 9, "color": VIOLET},
        }
    )
    return drawn(
        traces,
        height=380,
        xaxis={
            "type": "log",
            "dtick": 1,
            "range": _powers([x for trace in traces for x in trace["x"]]),
            "exponentformat": "power",
            "title": {"text": "share of tokens it fires on"},
        },
        yaxis={"title": {"text": "score"}},
        shapes=[line(x0=0, x1=1, xref="paper", y0=threshold, y1=threshold)],
    )


def layers(rows: Sequence[tuple[str, Coverage | str, float]]) -> dict[str, Any]:
    """Coverage by layer, with its interval, and the share of features with an accepted label."""
    there = [(name, found.accepted()) for name, found, _ in rows if not isinstance(found, str)]
    held = {
        "type": "scatter",
        "mode": "markers",
        "name": "firing mass that accepted labels hold, with 95% interval",
        "x": [share.value for _, share in there],
        "y": [escape(name) for name, _ in there],
        "marker": {"symbol": "circle", "size": 10, "color": BLUE},
        "error_x": ends([(s.value, s.low, s.high) for _, s in there]),
    }
    features = {
        "type": "scatter",
        "mode": "markers",
        "name": "features with an accepted label",
        "x": [share for *_, share in rows],
        "y": [escape(name) for name, *_ in rows],
        "marker": {"symbol": "diamond-open", "size": 10, "color": RUST, "line": {"width": 2}},
    }
    return drawn(
        [held, features],
        height=130 + 36 * len(rows),
        xaxis={"tickformat": ".0%", "rangemode": "tozero"},
        yaxis={"autorange": "reversed", "type": "category"},
    )


def widths(rows: Sequence[Row]) -> dict[str, Any]:
    """How wide intervals are."""
    return histogram(rows, WIDTH_BIN, "width of the 95% interval")


def q_values(rows: Sequence[Row]) -> dict[str, Any]:
    """How q-values are spread, 0 to 1."""
    return histogram(rows, Q_BIN, "q-value", range=[0, 1])


def _powers(values: Sequence[float]) -> list[float]:
    """Exponents of the powers of ten around some values, with a little room: a power a tick, two at least."""
    exponents = [log10(value) for value in values if value > 0] or [0.0]
    return [floor(min(exponents)) - 0.05, max(floor(min(exponents)) + 1, ceil(max(exponents))) + 0.05]


def _side(row: Row) -> str:
    return "" if row["polarity"] == "+" else str(row["polarity"])
