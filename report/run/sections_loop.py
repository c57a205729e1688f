"""Sections on the loop: what revising gained, what was tried on the subject, and what was decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exegete.report.run import figures
from exegete.report.run.facts import Facts
from exegete.report.run.sections import DASH, Plot, Section, Table, count, k_of, score, significant

SHOWN = 40
"""Rows of a table of decisions at most."""


def gain(facts: Facts) -> Section:
    """What revising gained."""
    rows = facts.tables["rounds"]
    cells = [
        (
            count(r["round"]),
            count(r["features"]),
            count(r["labels"]),
            score(r["best_so_far"]),
            score(r["gain"]),
            k_of(r["improved"], r["features"]),
            count(r["chosen"]),
            score(r["report"]),
        )
        for r in rows
    ]
    columns = (
        "round",
        "features",
        "labels tried",
        "best so far",
        "gain over round 0",
        "improved",
        "chosen from it",
        "their report score",
    )
    return Section(
        "rounds",
        "Gain by round",
        "The best refine score so far, against that of the first proposal, among the features that reached "
        "the round; it is optimistic, because labels are chosen by it, and later rounds hold the harder "
        "features.",
        plots=(
            Plot(
                "rounds",
                figures.rounds(rows),
                "Mean gain on the refine split, by round; the table has the numbers.",
            ),
        )
        if len(rows) > 1
        else (),
        tables=(Table("Rounds of candidates, means over features", columns, cells),) if cells else (),
        notes=tuple(_on_gain(facts)),
    )


def _on_gain(facts: Facts) -> list[str]:
    chosen, notes = facts.one("optimism"), []
    if len(facts.tables["rounds"]) == 1:
        notes.append(
            "Only first proposals were tried: the explainer writes no other labels when asked again, "
            "`--rounds 0` was given, or no feature needed one."
        )
    if chosen["features"]:
        notes.append(
            f"The chosen labels have a mean of {score(chosen['refine'])} on the split they were chosen on, "
            f"and {score(chosen['report'])} on the report split: choosing flatters by "
            f"{score(chosen['optimism'])}."
        )
    return notes


def experiments(facts: Facts) -> Section:
    """What was tried on the subject itself."""
    rows = facts.tables["experiments"]
    notes = [] if rows else ["No label was tested on the subject: a run with `--falsify` has tests."]
    notes += [f"{r['n']:,} not run: {r['why']}." for r in facts.tables["not_run"]]
    sums = {
        name: sum(r[name] for r in facts.tables["interventions"])
        for name in ("generated", "ablated", "steered")
    }
    if not sums["generated"]:
        notes.append(
            "No texts were written from frozen labels: a run with `generation` among its `--scorers` has "
            "that."
        )
    if not sums["ablated"] and not sums["steered"]:
        notes.append(
            "Nothing was done to the model: a run with `--effects` on a causal subject ablates and steers."
        )
    plot = Plot(
        "experiments",
        figures.experiments(rows),
        "Tests by kind: "
        + "; ".join(f"{r['kind']}: {r['held']:,} held, {r['failed']:,} failed" for r in rows)
        + ".",
    )
    return Section(
        "experiments",
        "Experiments on the subject",
        "Tests were predicted from a label before the subject ran them, and a failed one sends the label to "
        "be revised; generation intervenes on inputs, ablation and steering on the model: three kinds of "
        "evidence that need not agree.",
        plots=(plot,) if rows else (),
        tables=(*_tests(rows), *(_interventions(facts) if any(sums.values()) else ())),
        notes=tuple(notes),
    )


def _tests(rows: Sequence[Mapping[str, Any]]) -> tuple[Table, ...]:
    cells = [
        (
            r["kind"],
            count(r["features"]),
            count(r["written"]),
            k_of(r["held"], r["held"] + r["failed"]),
            count(r["failed"]),
            count(r["not_run"]),
        )
        for r in rows
    ]
    columns = ("kind of test", "features", "written", "held, of those run", "failed", "not run")
    return (Table("Tests of labels, by kind", columns, cells),) if cells else ()


def _interventions(facts: Facts) -> tuple[Table, ...]:
    cells = [
        (
            r["status"],
            count(r["features"]),
            count(r["generated"]),
            score(r["generation"]),
            significant(r["ablation"]),
            k_of(r["ablation_told"], r["ablated"]),
            score(r["steering"]),
            k_of(r["steering_told"], r["steered"]),
            count(r["output_labels"]),
        )
        for r in facts.tables["interventions"]
    ]
    columns = (
        "verdict",
        "features",
        "with generation",
        "its median",
        "median ablation, nats a token",
        "p at most .05",
        "median steering",
        "p at most .05 ",
        "output labels",
    )
    return (Table("Interventions, by what the simulation score concluded", columns, cells),)


def decisions(facts: Facts) -> Section:
    """What was decided in the loop, and on which number."""
    rows = facts.tables["decisions"]
    cells = [
        (
            r["step"],
            r["action"],
            count(r["decisions"]),
            count(r["features"]),
            r["quantity"] or DASH,
            significant(r["median"]),
            r["example"],
        )
        for r in rows[:SHOWN]
    ]
    notes = [] if rows else ["No decision of the loop was recorded in this run."]
    if len(rows) > SHOWN:
        notes.append(f"The {SHOWN} most frequent of {len(rows)} are shown; the view `decisions` has all.")
    columns = ("after", "what was done", "times", "features", "on", "its median", "the first, in words")
    return Section(
        "decisions",
        "What was decided in the loop",
        "Where features left the loop or got another round, and the number it was decided on; rounds that "
        "no number asked for were not paid for.",
        tables=(Table("Decisions, most frequent first", columns, cells),) if cells else (),
        notes=tuple(notes),
    )
