"""Sections on what was decided before any result was seen, and what became of the features."""

from __future__ import annotations

import json
from typing import Any

from exegete.datastore.records import STATUSES
from exegete.report.run import figures
from exegete.report.run.facts import Facts
from exegete.report.run.sections import DASH, NONE, Plot, Section, Table, count, k_of, plural

_FIRST = (
    "explainer_version",
    "simulator",
    "scorer_versions",
    "llm",
    "explainer_llm",
    "simulator_llm",
    "threshold",
)
"""Parameters that come before the others."""


def decided(facts: Facts) -> Section:
    """Everything that was written down before the first result."""
    row, parameters = facts.chosen.row, facts.chosen.parameters
    about = [
        ("run", row["run"]),
        ("digest of all parameters", row["digest"]),
        ("exegete", row["version"]),
        ("started", _when(row["started_at"])),
        ("latest result", _when(row["finished_at"])),
        ("subject", row["subject"]),
        ("site", row["site"]),
        ("layer", DASH if row["layer"] is None else str(row["layer"])),
        ("dictionary", row["dictionary"]),
        ("corpus", row["corpus"] or DASH),
        ("tokens harvested", f"{row['tokens']:,}"),
        ("evidence", row["harvest"]),
        ("its sha256", f"{parameters.get('evidence_sha256', DASH)} ({facts.chosen.evidence_is})"),
    ]
    names = [*_FIRST, *(name for name in sorted(parameters) if name not in (*_FIRST, "evidence_sha256"))]
    given = [(name, _said(parameters[name])) for name in names if name in parameters]
    return Section(
        "decided",
        "Decided beforehand",
        "All of this was written down before the first result was seen; the same parameters on the same "
        "evidence have the same digest.",
        tables=(
            Table("The run and its evidence", ("what", "value"), about, pairs=True),
            Table("The job's parameters", ("parameter", "value"), given, pairs=True),
        ),
    )


def outcomes(facts: Facts) -> Section:
    """What became of the features."""
    rows, row = facts.tables["statuses"], facts.chosen.row
    labelled, scored = sum(r["labelled"] for r in rows), sum(r["scored"] for r in rows)
    steps = [
        ("harvested", count(row["harvested"]), NONE),
        ("attempted", count(facts.attempted), NONE),
        ("with a label", count(labelled), k_of(labelled, facts.attempted)),
        ("with a score on the report split", count(scored), k_of(scored, facts.attempted)),
        *((r["status"], count(r["features"]), k_of(r["features"], facts.attempted)) for r in rows),
    ]
    now = {r["status"]: r["features"] for r in facts.tables["now"]}
    changed = any(now.get(r["status"], 0) != r["features"] for r in rows)
    left = (row["harvested"] or 0) - facts.attempted
    notes = [f"{plural(left, 'harvested feature')} not attempted by this run."] if left > 0 else []
    counts = ", ".join(f"{r['features']:,} {r['status']}" for r in rows)
    return Section(
        "outcomes",
        "What became of the features",
        "Every attempted feature ends in one of six ways, and a rejected label is a result like any other; "
        "“unscorable” means that something was missing, never that a score was low.",
        plots=(Plot("statuses", figures.statuses(rows), f"Features by verdict: {counts}."),),
        tables=(
            Table("Features of the run", ("step or verdict", "features", "of the attempted"), steps),
            *_people(facts),
            *(_now(facts) if changed else ()),
        ),
        notes=(*notes, *_without_people(facts)),
    )


def _now(facts: Facts) -> tuple[Table, ...]:
    now = {r["status"]: r["features"] for r in facts.tables["now"]}
    of = sum(now.values())
    rows = [(status, count(now[status]), k_of(now[status], of)) for status in STATUSES if status in now]
    caption = (
        "What is believed now of the features that no later run labelled: decisions of people, and "
        "thresholds set after the run, are in it"
    )
    return (Table(caption, ("status", "features", "of them"), rows),)


def _people(facts: Facts) -> tuple[Table, ...]:
    rows = facts.tables["people"]
    if not rows:
        return ()
    cells = [
        (
            r["decision"],
            count(r["events"]),
            count(r["standing"]),
            count(r["of_the_audit"]),
            count(r["reviewers"]),
        )
        for r in rows
    ]
    columns = ("what was done", "times", "decides now", "on cards dealt at random", "people")
    return (
        Table(
            "What people did about labels of this run; the verdicts above are the run's own", columns, cells
        ),
    )


def _without_people(facts: Facts) -> tuple[str, ...]:
    return (
        () if facts.tables["people"] else ("No person has looked at a label of this run: `exegete review`.",)
    )


def _said(value: Any) -> str:
    """A parameter's value, as it would be written."""
    if value is None:
        return DASH
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _when(moment: Any) -> str:
    return DASH if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"
