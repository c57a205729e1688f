"""What all plots share, as plotly.js takes them. Pages colour text and grid lines by their style sheet.

What is told apart is told apart by shape, dashes or place; the hues only help, and have a contrast of
at least 3 on a page's white and on its black.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

BLUE, RUST, GREY, VIOLET = "#4f86ad", "#c0651f", "#7d8790", "#8a6fb3"
Row = Mapping[str, Any]


def histogram(rows: Sequence[Row], width: float, name: str, **axis: Any) -> dict[str, Any]:
    """Features by the bins of something, each of a width."""
    bars = {
        "type": "bar",
        "x": [round((row["bin"] + 0.5) * width, 4) for row in rows],
        "y": [row["n"] for row in rows],
        "width": width,
        "marker": {"color": BLUE, "line": {"width": 1, "color": "rgba(127,127,127,.6)"}},
    }
    return drawn(
        [bars], xaxis={"title": {"text": name}, **axis}, yaxis={"title": {"text": "features"}}, bargap=0
    )


def ends(values: Sequence[tuple[float, float | None, float | None]]) -> dict[str, Any]:
    """Error bars from values with their intervals; none of a value without."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [0 if high is None else high - value for value, _, high in values],
        "arrayminus": [0 if low is None else value - low for value, low, _ in values],
        "thickness": 1.5,
    }


def line(**ends: Any) -> dict[str, Any]:
    """A dotted line through the plot."""
    return {"type": "line", "line": {"dash": "dot", "color": GREY, "width": 2}, **ends}


def drawn(traces: Sequence[Mapping[str, Any]], height: int = 320, **layout: Any) -> dict[str, Any]:
    """Traces with the layout that all plots share."""
    axis = {"automargin": True, "zeroline": False, "gridcolor": "rgba(127,127,127,.3)"}
    named = sum("name" in trace for trace in traces)
    return {
        "data": [_finite(trace) for trace in traces],
        "layout": {
            "height": height,
            "margin": {"l": 12, "r": 24, "t": 36 if named else 12, "b": 12},
            "font": {"family": "system-ui, sans-serif", "size": 13},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "hovermode": "closest",
            "showlegend": bool(named),
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
            **layout,
            "xaxis": axis | layout.get("xaxis", {}),
            "yaxis": axis | layout.get("yaxis", {}),
        },
    }


def _finite(value: Any) -> Any:
    """A value with None for what JSON has no word for."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value
