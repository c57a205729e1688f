"""The plots of a page: what is told apart is told apart by place, shape or words, never by colour alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from exegete.controls.wrong import WRONGNESS
from exegete.report.contrast import RIGHT, Told
from exegete.report.evaluation import Evaluation, Rate

INK, FAINT = "#1b3a4b", "#8a9aa3"
_ROW = 26
"""Pixels a row of a plot."""


def figures(evaluation: Evaluation) -> dict[str, str]:
    """Every plot that there is something to show in, as HTML that needs plotly.js on its page.

    Returns:
        HTML by name: "recovery", "false_accepts", "auroc", "values", "reliability".
    """
    made: dict[str, Callable[[Evaluation], Any]] = {
        "recovery": _recovery,
        "false_accepts": _false_accepts,
        "auroc": _auroc,
        "values": _values,
        "reliability": _reliability,
    }
    found = {}
    for name, make in made.items():
        figure = make(evaluation)
        if figure is not None:
            options = {"displayModeBar": False, "responsive": True}
            found[name] = figure.to_html(
                full_html=False, include_plotlyjs=False, config=options, div_id=f"plot-{name}"
            )
    return found


def _recovery(evaluation: Evaluation) -> Any:
    rates = {kind: rate for kind, rate in evaluation.recovery.items() if rate.n}
    if not rates:
        return None
    figure = _rates(rates, "recovered")
    accepted = evaluation.accepted
    figure.add_scatter(
        x=[accepted[kind].value for kind in rates],
        y=[escape(kind) for kind in rates],
        mode="markers",
        name="accepted, right or not",
        marker={"symbol": "line-ns-open", "size": 14, "color": FAINT, "line": {"width": 2}},
    )
    return figure


def _false_accepts(evaluation: Evaluation) -> Any:
    rates = {kind: rate for kind, rate in evaluation.false_accepts.items() if rate.n}
    return _rates(rates, "accepted") if rates else None


def _rates(rates: Mapping[str, Rate], name: str) -> Any:
    """Shares with their intervals, a row a kind, the first on top."""
    values = [rate.value or 0.0 for rate in rates.values()]
    ends = [rate.interval or (0.0, 1.0) for rate in rates.values()]
    figure = _figure(len(rates))
    figure.add_scatter(
        x=values,
        y=[escape(kind) for kind in rates],
        mode="markers+text",
        name=f"{name}, with its 95% interval",
        text=[f"{rate.k} of {rate.n}" for rate in rates.values()],
        textposition="top center",
        marker={"symbol": "circle", "size": 9, "color": INK},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [high - value for value, (_, high) in zip(values, ends, strict=True)],
            "arrayminus": [value - low for value, (low, _) in zip(values, ends, strict=True)],
            "color": INK,
        },
    )
    figure.update_xaxes(range=[-0.04, 1.04], tickformat=".0%")
    figure.update_yaxes(autorange="reversed")
    return figure


def _auroc(evaluation: Evaluation) -> Any:
    if not evaluation.told:
        return None
    symbols = ("circle", "square", "diamond", "cross", "triangle-up", "star", "x", "pentagon")
    figure = _figure(len(WRONGNESS) + 1)
    for number, (scorer, values) in enumerate(evaluation.auroc.items()):
        there = {how: value for how, value in values.items() if value is not None}
        figure.add_scatter(
            x=list(there.values()),
            y=[escape(how) for how in there],
            mode="markers",
            name=escape(scorer),
            marker={"symbol": symbols[number % len(symbols)], "size": 10, "color": INK, "opacity": 0.75},
        )
    figure.update_xaxes(range=[0, 1.04], title="AUROC, right against wrong labels (.5: not told apart)")
    figure.add_vline(x=0.5, line={"dash": "dot", "color": FAINT})
    figure.update_yaxes(autorange="reversed")
    return figure


def _values(evaluation: Evaluation) -> Any:
    """The primary scorer's values of right and wrong labels, a point a label."""
    if not evaluation.told:
        return None
    scorer = evaluation.told[0].scorer
    own = [t for t in evaluation.told if t.scorer == scorer and t.value is not None]
    figure = _figure(len(WRONGNESS) + 1)
    for how in (RIGHT, *WRONGNESS):
        figure.add_box(
            x=[_drawn(t) for t in own if t.how == how],
            y=[escape(how)] * sum(t.how == how for t in own),
            orientation="h",
            boxpoints="all",
            jitter=0.4,
            pointpos=0,
            marker={"color": INK, "size": 4, "opacity": 0.5},
            line={"color": FAINT},
            fillcolor="rgba(0,0,0,0)",
            name=escape(how),
            showlegend=False,
        )
    figure.update_xaxes(title=f"{escape(scorer)}; a label that predicts the same everywhere is put at -1")
    figure.update_yaxes(autorange="reversed")
    return figure


def _drawn(told: Told) -> float:
    assert told.value is not None
    return max(told.value, -1.0)


def _reliability(evaluation: Evaluation) -> Any:
    bins = evaluation.reliability
    if not bins:
        return None
    figure = _figure(10)
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name="as often right as said", line={"dash": "dot", "color": FAINT}
    )
    figure.add_scatter(
        x=[bin.mean_confidence for bin in bins],
        y=[bin.rate for bin in bins],
        mode="markers+text",
        name="labels of like confidence, with 95% interval",
        text=[f"{bin.n:,}" for bin in bins],
        textposition="middle right",
        marker={"symbol": "circle", "size": 9, "color": INK},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [bin.rate_high - bin.rate for bin in bins],
            "arrayminus": [bin.rate - bin.rate_low for bin in bins],
            "color": INK,
        },
    )
    figure.update_xaxes(range=[-0.04, 1.1], title="confidence the job stated")
    figure.update_yaxes(range=[-0.04, 1.04], title="share that was right")
    return figure


def _figure(rows: int) -> Any:
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.update_layout(
        template="plotly_white",
        height=110 + _ROW * max(4, rows),
        margin={"l": 10, "r": 10, "t": 34, "b": 40},
        font={"family": "system-ui, sans-serif", "color": "#111"},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
    )
    figure.update_yaxes(automargin=True)
    return figure


def marked(words: Sequence[str], activations: Sequence[float]) -> list[tuple[str, int]]:
    """An excerpt's words, each with its level from 0 to 10 of the excerpt's strongest."""
    peak = max(activations, default=0.0) or 1.0
    tenths = np.ceil(np.asarray(activations, dtype=np.float64) / peak * 10).astype(int).tolist()
    return list(zip(words, tenths, strict=True))
