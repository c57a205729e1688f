"""Sections on scores: against chance, by density, how sure they are, and after correction."""

from __future__ import annotations

from exegete.report.run import figures_scores as figures
from exegete.report.run.facts import Facts
from exegete.report.run.questions import POINTS
from exegete.report.run.sections import (
    NONE,
    Plot,
    Section,
    Table,
    count,
    k_of,
    percent_of,
    plural,
    score,
)


def against_chance(facts: Facts) -> Section:
    """Scores by scorer, beside what chance and other labels reach."""
    rows, nulls = facts.tables["scorers"], facts.tables["nulls"]
    notes = []
    if not rows:
        notes.append("No label has a score on the report split yet: go on with the run.")
    if not nulls:
        notes.append(
            "No label of another feature was scored in this run, so that its own chance level is not known: "
            "a run with `--nulls 100` has one."
        )
    elif facts.chosen.row["nulls_done"] < (facts.chosen.row["nulls_wanted"] or 0):
        notes.append("Some of the other labels are not scored yet: the same command goes on with them.")
    return Section(
        "scores",
        "Scores against chance",
        "A score means something by how far it lies above what the same predictions reach when they are "
        "dealt to the excerpts at random, and above what another feature's label reaches on the same "
        "excerpts.",
        plots=tuple(_distributions(facts)),
        tables=(*_scorers(facts), *_nulls(facts)),
        notes=tuple(notes),
    )


_OTHERS = {
    "another feature": "other features' labels",
    "empty": "the empty label",
    "lexical": "lexical labels",
}


def _distributions(facts: Facts) -> list[Plot]:
    found = []
    scored = [r for r in facts.tables["scorers"] if r["side"] == "input" and r["scored"]]
    for number, row in enumerate(sorted(scored, key=lambda r: r["scorer"] != facts.primary)):
        bins = [b for b in facts.tables["score_bins"] if b["scorer"] == row["scorer"]]
        nulls = [n for n in facts.tables["nulls"] if n["scorer"] == row["scorer"] and n["scored"]]
        bar = facts.chosen.threshold if row["scorer"] == facts.primary else None
        words = f"{row['scorer']}: own labels have a median of {score(row['median'])}" + "".join(
            f", {_OTHERS.get(n['kind'], n['kind'])} a mean of {score(n['mean'])}" for n in nulls
        )
        decides = "" if bar is None else "; the verdict is read from it, and the dotted line is the threshold"
        found.append(Plot(f"scores-{number}", figures.scores(bins, bar), f"{words}{decides}."))
    return found


def _scorers(facts: Facts) -> tuple[Table, ...]:
    rows = [
        (
            r["scorer"],
            r["side"],
            count(r["scored"]),
            count(r["labels"] - r["scored"]),
            score(r["median"]),
            score(r["p05"]),
            score(r["p95"]),
            score(r["chance"]),
            score(r["lift"]),
            k_of(r["better_than_chance"], r["compared"]),
        )
        for r in facts.tables["scorers"]
    ]
    columns = (
        "scorer",
        "of what",
        "scored",
        "no value",
        "median",
        "5% below",
        "95% below",
        "dealt at random",
        "mean lift",
        "q at most .05",
    )
    return (Table("The run's labels on the report split, by scorer", columns, rows),) if rows else ()


def _nulls(facts: Facts) -> tuple[Table, ...]:
    primary = facts.primary
    rows = [
        (
            r["scorer"],
            r["kind"],
            count(r["scored"]),
            count(r["asked"] - r["scored"]),
            score(r["mean"]),
            score(r["p95"]),
            score(r["own"]),
            score(r["lift"]),
            k_of(r["own_better"], r["compared"]),
            count(r["accepted"]) if r["scorer"] == primary else NONE,
        )
        for r in facts.tables["nulls"]
    ]
    columns = (
        "scorer",
        "whose label",
        "scored",
        "no value",
        "mean",
        "95% below",
        "own label's mean",
        "mean lift",
        "own label better",
        "would be accepted",
    )
    return (Table("Other labels on the same excerpts", columns, rows),) if rows else ()


def density(facts: Facts) -> Section:
    """Score against density."""
    rows, points = facts.tables["densities"], facts.tables["points"]
    cells = [
        (
            f"{_edge(r['quarter'])} to {_edge(r['quarter'] + 1)}",
            count(r["features"]),
            count(r["scored"]),
            score(r["median"]),
            k_of(r["accepted"], r["features"]),
        )
        for r in rows
    ]
    scored = sum(r["scored"] for r in rows)
    notes = []
    if len(points) == POINTS and scored > POINTS:
        notes.append(
            f"The plot shows {POINTS:,} of {scored:,} features, drawn by the digest of the run's "
            "parameters; the table counts all."
        )
    if not points:
        notes.append("No feature that fires has a score yet.")
    plot = Plot(
        "densities",
        figures.densities(points, rows, facts.chosen.threshold),
        "Score against density, a point a feature; the dotted line is the threshold. The table has the "
        "medians.",
    )
    return Section(
        "density",
        "Density against score",
        "Features that fire on more of the text are often harder to put into words; the dotted line is the "
        "threshold for acceptance.",
        plots=(plot,) if points else (),
        tables=(
            Table(
                "By the share of tokens on which a feature fires",
                ("density", "features", "scored", "median score", "accepted"),
                cells,
            ),
        )
        if cells
        else (),
        notes=tuple(notes),
    )


def _edge(quarter: int) -> str:
    """Where a quarter of a power of ten begins, in per cent of tokens."""
    return f"{100 * 10 ** (quarter / 4):.2g}%"


def widths(facts: Facts) -> Section:
    """How wide the intervals of scores are."""
    rows = facts.tables["widths"]
    with_interval, scored = sum(r["with_interval"] for r in rows), sum(r["scored"] for r in rows)
    cells = [
        (
            r["status"],
            count(r["scored"]),
            k_of(r["with_interval"], r["scored"]),
            score(r["median"]),
            score(r["p90"]),
        )
        for r in rows
    ]
    notes = () if with_interval else ("No score of this run has an interval yet.",)
    return Section(
        "widths",
        "How sure scores are",
        "Two scores that differ by less than a typical width are not told apart; more excerpts in the "
        "report set make intervals narrower.",
        plots=(
            Plot(
                "widths",
                figures.widths(facts.tables["width_bins"]),
                f"Widths of the 95% intervals of {with_interval:,} scores; the table has the medians.",
            ),
        )
        if with_interval
        else (),
        tables=(
            Table(
                "Widths of 95% intervals, by verdict",
                ("verdict", "scored", "with an interval", "median width", "90% below"),
                cells,
            ),
        )
        if scored
        else (),
        notes=notes,
    )


def q_values(facts: Facts) -> Section:
    """How q-values are spread."""
    row = facts.one("qs")
    cells = [
        ("q at most .01", k_of(row["to_01"], row["with_q"])),
        ("q at most .05", k_of(row["to_05"], row["with_q"])),
        ("accepted, and q at most .05", k_of(row["accepted_to_05"], facts.accepted)),
        ("attempted, without a q-value", count(row["without"])),
    ]
    if not row["with_q"]:
        notes: tuple[str, ...] = (
            "q-values are written at the end of a sitting: let the run end, or go on with it.",
        )
    else:
        notes = (
            f"Of all attempted, {percent_of(row['to_05'], facts.attempted)} are better than chance at q ≤ "
            ".05.",
        )
    words = f"{plural(row['to_05'], 'q-value')} of {row['with_q']:,} are at most .05."
    return Section(
        "q",
        "Better than chance",
        "q is the p-value of doing better than predictions dealt at random, adjusted over all features "
        "attempted [Benjamini & Hochberg 1995]: a small one says “not by luck”, and nothing about how good "
        "a label is.",
        plots=(Plot("q", figures.q_values(facts.tables["q_bins"]), words),) if row["with_q"] else (),
        tables=(Table("q-values of primary scores", ("which", "features"), cells),) if row["with_q"] else (),
        notes=notes,
    )
