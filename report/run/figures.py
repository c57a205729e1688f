"""Plots of what became of features, of what labels are worth, of time and of coverage."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from exegete.report.run.coverage import Coverage
from exegete.report.run.drawing import BLUE, GREY, RUST, VIOLET, Row, drawn, ends
from exegete.report.run.questions import TIME_BINS
from exegete.report.run.reliability import Curve


def statuses(rows: Sequence[Row]) -> dict[str, Any]:
    """Features by verdict, as bars with their counts."""
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [row["features"] for row in rows],
        "y": [row["status"] for row in rows],
        "text": [f"{row['features']:,}" for row in rows],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": BLUE},
    }
    return drawn(
        [bars],
        height=80 + 34 * len(rows),
        xaxis={"title": {"text": "features"}, "rangemode": "tozero"},
        yaxis={"autorange": "reversed"},
    )


def reliability(curve: Curve) -> dict[str, Any]:
    """How often labels of a stated confidence were right, before and after the map."""
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [0, 1],
            "y": [0, 1],
            "name": "as often right as said",
            "line": {"dash": "dot", "color": GREY},
        }
    ]
    for bins, name, symbol, hue in (
        (curve.raw, "before the map", "diamond-open", RUST),
        (curve.mapped, "after it, held out", "circle", BLUE),
    ):
        if bins:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "x": [bin.mean_confidence for bin in bins],
                    "y": [bin.rate for bin in bins],
                    "text": [f"{bin.n:,} labels" for bin in bins],
                    "marker": {"symbol": symbol, "size": 10, "color": hue, "line": {"width": 2}},
                    "error_y": ends([(bin.rate, bin.rate_low, bin.rate_high) for bin in bins]),
                }
            )
    return drawn(
        traces,
        height=380,
        xaxis={"range": [-0.03, 1.03], "title": {"text": "confidence"}},
        yaxis={"range": [-0.03, 1.03], "title": {"text": "share that was right"}},
    )


def rounds(rows: Sequence[Row]) -> dict[str, Any]:
    """The mean of the best refine score so far, by round."""
    line = {
        "type": "scatter",
        "mode": "lines+markers+text",
        "x": [row["round"] for row in rows],
        "y": [row["gain"] for row in rows],
        "text": [f"{row['features']:,} features" for row in rows],
        "textposition": "top center",
        "line": {"color": BLUE},
        "marker": {"size": 10, "color": BLUE},
        "cliponaxis": False,
    }
    return drawn(
        [line],
        xaxis={"title": {"text": "round (0 is the first proposal)"}, "dtick": 1},
        yaxis={"title": {"text": "mean gain on the refine split"}, "rangemode": "tozero"},
    )


def experiments(rows: Sequence[Row]) -> dict[str, Any]:
    """Tests by kind: how many came true, failed, and were not run."""
    parts = (("held", "held", BLUE, ""), ("failed", "failed", RUST, "/"), ("not_run", "not run", GREY, "x"))
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "x": [row[column] for row in rows],
            "y": [escape(row["kind"]) for row in rows],
            "marker": {"color": hue, "pattern": {"shape": shape}},
        }
        for column, name, hue, shape in parts
    ]
    return drawn(
        traces,
        height=110 + 34 * len(rows),
        barmode="stack",
        xaxis={"title": {"text": "tests"}},
        yaxis={"autorange": "reversed", "type": "category"},
    )


def times(rows: Sequence[Row]) -> dict[str, Any]:
    """Features finished in each part of the run's time, and calls with a fault."""
    part = rows[0]["seconds"] / TIME_BINS
    unit, name = (
        (3600.0, "hours")
        if rows[0]["seconds"] > 7200
        else (60.0, "minutes")
        if part > 5
        else (1.0, "seconds")
    )
    bars = {
        "type": "bar",
        "name": "features finished",
        "x": [(row["bin"] + 0.5) * part / unit for row in rows],
        "y": [row["features"] for row in rows],
        "width": part / unit,
        "marker": {"color": BLUE, "opacity": 0.5},
    }
    faulty = [row for row in rows if row["faults"]]
    marks = {
        "type": "scatter",
        "mode": "markers",
        "name": "calls with a fault",
        "x": [(row["bin"] + 0.5) * part / unit for row in faulty],
        "y": [row["faults"] for row in faulty],
        "marker": {"symbol": "x-thin-open", "size": 9, "color": RUST, "line": {"width": 2.5}},
    }
    return drawn(
        [bars, marks] if faulty else [bars],
        xaxis={"title": {"text": f"{name} since the first result or call"}, "rangemode": "tozero"},
        yaxis={"title": {"text": f"in each {part / unit:.2g} {name}"}, "rangemode": "tozero"},
        bargap=0,
    )


def coverage(found: Coverage) -> dict[str, Any]:
    """Shares of features and of firing mass by verdict, one above the other."""
    total = sum(found.features.values())
    marks = {
        "accepted": (BLUE, ""),
        "review": (RUST, "/"),
        "rejected": (GREY, "x"),
        "unscorable": (VIOLET, "."),
        "dead": (GREY, "-"),
        "failed": (RUST, "|"),
        "not attempted": (GREY, "."),
    }
    traces = []
    for status, by_way in found.shares.items():
        hue, shape = marks[status]
        shares = [found.features[status] / total, by_way["firings"].value, by_way["mass"].value]
        if any(shares):
            traces.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "name": status,
                    "x": shares,
                    "y": ["features", "firings", "firing mass"],
                    "marker": {"color": hue, "pattern": {"shape": shape}},
                }
            )
    return drawn(
        traces,
        height=230,
        barmode="stack",
        xaxis={"tickformat": ".0%", "range": [0, 1]},
        yaxis={"autorange": "reversed"},
    )
