"""Sections on what a run took, how much of the model it covers, and what it did not find."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exegete.report.run import figures
from exegete.report.run.coverage import ORDER, Coverage
from exegete.report.run.facts import Facts
from exegete.report.run.findings import negative
from exegete.report.run.sections import (
    DASH,
    NONE,
    Number,
    Plot,
    Section,
    Table,
    count,
    dollars,
    duration,
    k_of,
    percent,
    percent_of,
    share_within,
    significant,
)

_FINISH = {
    "length": "cut at their room",
    "refusal": "refused",
    "filtered": "stopped by a content filter",
    "ambiguous": "sent, maybe billed, never answered",
}


def cost(facts: Facts) -> Section:
    """What a run's calls took, by stage and for an accepted label."""
    rows = facts.tables["costs"]
    if not rows:
        note = "This run asked no model anything: it cost none but this machine's time."
        return Section("cost", "Cost", _COST, notes=(note,))
    notes = []
    unpriced = sum(r["unpriced"] for r in rows)
    if unpriced:
        notes.append(
            f"{unpriced:,} calls have no known price, so that dollars are missing and not zero: `--prices "
            "FILE` gives one."
        )
    if uncounted := sum(r["uncounted"] for r in rows):
        notes.append(
            f"Of {uncounted:,} calls the server did not say how many tokens they took; these are missing."
        )
    if ambiguous := sum(r["ambiguous"] for r in rows):
        most = [r["most_usd"] for r in rows if r["most_usd"] is not None]
        upper = f", {dollars(sum(most))} at most" if most else ""
        notes.append(
            f"{ambiguous:,} requests were sent and never answered: what they cost is not known{upper}."
        )
    return Section(
        "cost", "Cost", _COST, tables=(_by_stage(facts), _each(facts), _models(facts)), notes=tuple(notes)
    )


_COST = (
    "Tokens are the servers' own counts and dollars those of the price table of the day; stages are the "
    "steps of the loop, and `report` and `null` are what measuring costs."
)


def _by_stage(facts: Facts) -> Table:
    def cells(name: str, row: Mapping[str, Any]) -> tuple[str, ...]:
        counted = row["input_tokens"] is not None and row["output_tokens"] is not None
        tokens = row["input_tokens"] + row["output_tokens"] if counted else None
        return (
            name,
            count(row["calls"]),
            count(row["input_tokens"]),
            count(row["output_tokens"]),
            count(None if tokens is None else round(tokens / facts.attempted)),
            percent(row["cached_share"]),
            dollars(row["usd"]),
            count(row["unpriced"]),
        )

    rows = [cells(row["stage"], row) for row in facts.tables["costs"]]
    columns = (
        "stage",
        "calls",
        "tokens in",
        "tokens out",
        "tokens a feature",
        "read from cache",
        "dollars",
        "without a price",
    )
    caption = "Calls by stage, those for planted features included; a feature is an attempted one"
    return Table(caption, columns, [*rows, cells("all", facts.chosen.row)])


def _each(facts: Facts) -> Table:
    row = facts.chosen.row
    tokens = (
        (row["input_tokens"] or 0) + (row["output_tokens"] or 0) if row["input_tokens"] is not None else None
    )

    def each(n: int) -> tuple[Number, ...]:
        if not n:
            return (NONE,) * 3
        return (
            count(round(row["calls"] / n)),
            count(None if tokens is None else round(tokens / n)),
            dollars(None if row["usd"] is None or row["unpriced"] else row["usd"] / n),
        )

    cells = [("attempted feature", *each(facts.attempted)), ("accepted label", *each(facts.accepted))]
    return Table("What each took, over all stages", ("for each", "calls", "tokens", "dollars"), cells)


def _models(facts: Facts) -> Table:
    cells = [
        (
            r["model"],
            r["served_by"] or DASH,
            count(r["calls"]),
            significant(r["latency_s"]),
            r["prices"] or DASH,
        )
        for r in facts.tables["models"]
    ]
    columns = ("model", "as the server names it", "calls", "median seconds", "price table")
    return Table("Models that were asked", columns, cells)


def times(facts: Facts) -> Section:
    """When features were finished, and what went wrong meanwhile."""
    row, rows, retries = facts.one("time"), facts.tables["times"], facts.one("retries")
    seconds = row["seconds"] or 0.0
    rate = facts.attempted / seconds if seconds else None
    about = [
        ("first result", (f"{row['first']:%Y-%m-%d %H:%M:%S} UTC")),
        ("latest result", (f"{row['last']:%Y-%m-%d %H:%M:%S} UTC")),
        ("between them", duration(seconds)),
        ("features an hour", count(None if rate is None else round(rate * 3600))),
        ("calls that took several requests", count(retries["retried"])),
        *(
            (f"calls {_FINISH.get(r['finish'], r['finish'])}", count(r["calls"]))
            for r in facts.tables["faults"]
        ),
    ]
    notes = [] if facts.tables["faults"] or retries["retried"] else ["No call of this run met a fault."]
    plot = Plot(
        "times", figures.times(rows), f"{facts.attempted:,} features finished over {duration(seconds)}."
    )
    return Section(
        "times",
        "Time line",
        "Results are saved in portions, so bars come in steps; a gap is a time when the run stood still or "
        "was not running, and a cross marks calls that ended otherwise than complete, or took several "
        "requests.",
        plots=(plot,),
        tables=(Table("When", ("what", "value"), about, pairs=True),),
        notes=tuple(notes),
    )


def coverage(facts: Facts) -> Section:
    """What share of what fires accepted labels hold."""
    found = facts.coverage
    how = (
        "Of everything that fires in a uniform sample of the corpus, the share that belongs to features "
        "with an accepted label: how much of what this site does has a label that held up; intervals are "
        "over contexts."
    )
    if isinstance(found, str):
        return Section("coverage", "Coverage", how, notes=(found,))
    held, plain = found.accepted(), found.accepted("firings")
    notes = [
        f"Accepted labels hold {share_within(held.value, held.low, held.high)} of the firing mass and "
        f"{share_within(plain.value, plain.low, plain.high)} of the firings in {found.contexts:,} contexts."
    ]
    if found.presumed:
        notes.append("Silence is only presumed in this evidence, so that firings are missing from the pool.")
    words = "; ".join(
        f"{status}: {by_way['mass'].value:.0%} of the mass"
        for status, by_way in found.shares.items()
        if found.features[status]
    )
    return Section(
        "coverage",
        "Coverage",
        how,
        plots=(Plot("coverage", figures.coverage(found), f"Shares by verdict: {words}."),),
        tables=(_shares(found),),
        notes=tuple(notes),
    )


def _shares(found: Coverage) -> Table:
    total = sum(found.features.values())

    def within(status: str, counted: str) -> Number:
        share = found.shares[status][counted]
        return share_within(share.value, share.low, share.high)

    cells = [
        (
            status,
            count(found.features[status]),
            percent_of(found.features[status], total),
            within(status, "firings"),
            within(status, "mass"),
            within(status, "relative mass"),
        )
        for status in ORDER
        if found.features[status]
    ]
    columns = ("verdict", "features", "of all", "firings", "firing mass", "mass, each feature's maximum as 1")
    return Table("What fires in the quiet pool, by the verdict on the feature", columns, cells)


def negatives(facts: Facts) -> Section:
    """What the run did not find, and why."""
    return Section(
        "negative",
        "What this run does not show",
        "Rejected labels, features without a score and comparisons without a difference are findings: they "
        "say where this model resisted, or where the measurement ended.",
        tables=tuple(_tables(facts)),
        notes=tuple(negative(facts)),
    )


def _tables(facts: Facts) -> list[Table]:
    whys, reasons, missing = facts.tables["whys"], facts.tables["reasons"], facts.tables["missing"]
    statuses: dict[str, Any] = {r["status"]: r["features"] for r in facts.tables["statuses"]}
    found = []
    if whys:
        cells = [
            (r["status"], r["kind"], k_of(r["features"], statuses.get(r["status"])), r["example"])
            for r in whys
        ]
        columns = ("verdict", "why, numbers as #", "features", "the first of them")
        found.append(Table("Rejected, unscorable, dead and failed, by reason", columns, cells))
    if reasons:
        waiting = [(r["reason"], k_of(r["features"], statuses.get("review"))) for r in reasons]
        found.append(
            Table(
                "Why labels wait for a person; one can have several reasons", ("reason", "features"), waiting
            )
        )
    if missing:
        lost = [
            (r["scorer"], count(r["asked"]), k_of(r["missing"], r["asked"]), k_of(r["labels"], r["scored"]))
            for r in missing
        ]
        columns = ("scorer", "excerpts asked about", "could not be read", "labels concerned")
        found.append(Table("Judgements that are missing: they count neither way", columns, lost))
    return found
