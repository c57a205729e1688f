"""The section on what labels are worth: planted features, and confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exegete.report.evaluation import Rate
from exegete.report.page import interval_said
from exegete.report.run import figures
from exegete.report.run.facts import Facts
from exegete.report.run.sections import (
    NONE,
    Number,
    Plot,
    Section,
    Table,
    count,
    k_of,
    score,
)


def controls(facts: Facts) -> Section:
    """Planted features, and whether confidence keeps its word."""
    rows = facts.tables["controls"]
    notes = []
    if not rows:
        notes.append(
            "No features of known truth were planted in this run, so that how often its labels are right is "
            "not known: a run with `--with-controls 32` says so."
        )
    elif any(r["checked"] < r["scored"] for r in rows):
        notes.append(
            "Some planted features are not held against the truth yet: the same `exegete label` command "
            "does that."
        )
    found = facts.tables["calibrations"]
    if not found:
        notes.append(
            "Nothing is known of whether labels of this run are right, so that confidence is raw: reviews "
            "(`exegete review`) or planted features change that."
        )
    notes += [f"No map from {r['source']}: {r['why_none']}." for r in found if r["why_none"]]
    return Section(
        "controls",
        "Planted features, and confidence",
        "Planted features of known truth went through the run blind: they say how often a label is right, "
        "and how often something is believed where there is nothing to find; a confidence that keeps its "
        "word lies on the diagonal.",
        plots=tuple(
            Plot(
                f"reliability-{curve.source}",
                figures.reliability(curve),
                f"How often labels were right, by stated confidence, from {curve.source}: "
                + "; ".join(f"{b.rate:.0%} of {b.n} at {b.mean_confidence:.2f}" for b in curve.raw)
                + ".",
            )
            for curve in facts.curves
        ),
        tables=(*_planted(rows), *_maps(found)),
        notes=tuple(notes),
    )


def _planted(rows: Sequence[Mapping[str, Any]]) -> tuple[Table, ...]:
    columns = (
        "what was planted",
        "label to find",
        "planted",
        "scored",
        "accepted",
        "recovered",
        "95% interval",
        "median",
    )
    cells = []
    for r in rows:
        believed = r["recovered"] if r["positive"] else r["accepted"]
        of = r["planted"] if r["positive"] else r["scored"]
        cells.append(
            (
                r["kind"],
                "yes" if r["positive"] else "none",
                count(r["planted"]),
                count(r["scored"]),
                count(r["accepted"]),
                count(r["recovered"]) if r["positive"] and r["checked"] else NONE,
                Number(interval_said(Rate(believed, of))) if not r["positive"] or r["checked"] else NONE,
                score(r["median"]),
            )
        )
    caption = (
        "Planted features: recovered is accepted with a label that says what was planted; the interval is "
        "of the recovered, and of the falsely accepted where there is nothing to find"
    )
    return (Table(caption, columns, cells),) if cells else ()


def _maps(rows: Sequence[Mapping[str, Any]]) -> tuple[Table, ...]:
    cells = [
        (
            r["source"],
            "yes" if r["used"] else "no",
            count(r["n"]),
            k_of(r["n_right"], r["n"]),
            score(r["ece_raw"]),
            score(r["ece"]),
        )
        for r in rows
    ]
    columns = ("known from", "in use", "labels", "right", "error before", "error after, held out")
    return (
        (Table("Expected calibration error of confidence, before and after its map", columns, cells),)
        if cells
        else ()
    )
