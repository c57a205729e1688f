"""What follows from a run's figures, in sentences for a page and a terminal; null results too."""

from __future__ import annotations

from exegete.report.run.coverage import NOT_ATTEMPTED
from exegete.report.run.facts import Facts
from exegete.report.run.sections import (
    dollars,
    percent,
    percent_of,
    plural,
    score,
    share_within,
)

NO_GAIN = 0.01
"""A mean gain below this is called none."""


def shown(facts: Facts) -> list[str]:
    """What the run shows, the most important first."""
    return [
        sentence
        for sentence in (_accepted(facts), _held(facts), _scores(facts), _right(facts), _spent(facts))
        if sentence
    ]


def negative(facts: Facts) -> list[str]:
    """What it does not show: null results, doubts, and what is missing."""
    return [
        *_verdicts(facts),
        *_chance(facts),
        *_loop(facts),
        *_subject(facts),
        *_judged(facts),
    ]


def _accepted(facts: Facts) -> str:
    counts = {r["status"]: r["features"] for r in facts.tables["statuses"]}
    rest = [f"{n:,} {_WORDS[status]}" for status, n in counts.items() if status != "accepted"]
    return (
        f"{facts.accepted:,} of {plural(facts.attempted, 'attempted feature')} "
        f"({percent_of(facts.accepted, facts.attempted)}) have an accepted label"
        + (f"; {', '.join(rest)}." if rest else ".")
    )


_WORDS = {
    "review": "wait for a person",
    "rejected": "rejected",
    "unscorable": "unscorable",
    "dead": "dead",
    "failed": "failed",
}


def _held(facts: Facts) -> str | None:
    found = facts.coverage
    if isinstance(found, str):
        return None
    mass, firings = found.accepted(), found.accepted("firings")
    left = found.shares[NOT_ATTEMPTED]["mass"].value
    rest = f"; attempted features hold {percent(1 - left)} of the mass" if left else ""
    return (
        f"Accepted labels hold {share_within(mass.value, mass.low, mass.high)} of the firing mass in the "
        f"quiet pool, and {percent(firings.value)} of the firings{rest}."
    )


def _scores(facts: Facts) -> str | None:
    row = next((r for r in facts.tables["scorers"] if r["scorer"] == facts.primary), None)
    if row is None or row["median"] is None:
        return None
    null = next(
        (n for n in facts.tables["nulls"] if n["scorer"] == facts.primary and n["kind"] == "another feature"),
        None,
    )
    other = (
        ""
        if null is None or null["mean"] is None
        else f"; another feature's label reaches {score(null['mean'])} on average"
    )
    return (
        f"The median score is {score(row['median'])} ({row['scorer'].partition('@')[0]}), "
        f"{score(row['chance'])} on average with predictions dealt at random{other}."
    )


def _right(facts: Facts) -> str | None:
    rows = facts.tables["controls"]
    planted = sum(r["planted"] for r in rows if r["positive"] and r["checked"])
    empty = sum(r["scored"] for r in rows if not r["positive"])
    if not planted and not empty:
        return None
    recovered = sum(r["recovered"] for r in rows if r["positive"])
    believed = sum(r["accepted"] for r in rows if not r["positive"])
    return (
        f"Of planted features {recovered:,} of {planted:,} were recovered, and {believed:,} of {empty:,} "
        "with nothing to find were accepted."
    )


def _spent(facts: Facts) -> str | None:
    row = facts.chosen.row
    if not row["calls"]:
        return None
    tokens = (row["input_tokens"] or 0) + (row["output_tokens"] or 0)
    known = row["usd"] is not None and not row["unpriced"]
    each = (
        f", {dollars(row['usd'] / facts.accepted)} for each accepted label"
        if known and facts.accepted
        else ""
    )
    price = f"{dollars(row['usd'])}{each}" if known else "a price that is not known"
    return f"It took {plural(row['calls'], 'call')}, {tokens:,} tokens and {price}."


def _verdicts(facts: Facts) -> list[str]:
    counts = {r["status"]: r["features"] for r in facts.tables["statuses"]}
    found = []
    if not facts.accepted:
        found.append(
            f"Nothing was accepted: no label of {facts.attempted:,} features clears "
            f"{score(facts.chosen.threshold)}."
        )
    if rejected := counts.get("rejected", 0):
        found.append(
            f"Put to the test, {plural(rejected, 'label')} ({percent_of(rejected, facts.attempted)} of the "
            f"attempted) stayed below {score(facts.chosen.threshold)}: this explainer found no words that "
            f"predict {'this feature' if rejected == 1 else 'these features'}."
        )
    silent = counts.get("unscorable", 0) + counts.get("dead", 0)
    if silent:
        found.append(
            f"{plural(silent, 'feature')} could not be scored or never fired: nothing is known of "
            f"{'it' if silent == 1 else 'them'}, which is not the same as a low score."
        )
    if failed := counts.get("failed", 0):
        found.append(
            f"{plural(failed, 'feature')} failed, and {'is' if failed == 1 else 'are'} tried again when the "
            "run is gone on with."
        )
    return found


def _chance(facts: Facts) -> list[str]:
    found = []
    qs = facts.one("qs")
    if by_luck := qs["with_q"] - qs["to_05"]:
        found.append(
            f"{by_luck:,} of {plural(qs['with_q'], 'label')} {'is' if by_luck == 1 else 'are'} not told from "
            "predictions dealt at random (q above .05)."
        )
    for row in facts.tables["nulls"]:
        if row["scorer"] != facts.primary or not row["compared"]:
            continue
        worse = row["compared"] - row["own_better"]
        if row["kind"] == "another feature" and worse:
            found.append(
                f"On {worse:,} of {row['compared']:,} features another feature's label does as well as "
                "their own."
            )
        if row["kind"] == "another feature" and row["accepted"]:
            found.append(
                f"{row['accepted']:,} of {row['scored']:,} labels of other features would have been accepted."
            )
        if row["kind"] == "lexical" and row["lift"] is not None and row["lift"] <= NO_GAIN:
            found.append(
                f"Lexical labels, which no model wrote, reach {score(row['mean'])} where this run's reach "
                f"{score(row['own'])}: the explainer is no better than counting words."
            )
    scored = [r for r in facts.tables["widths"] if r["with_interval"]]
    if scored:
        widest = max(scored, key=lambda r: r["with_interval"])
        found.append(
            f"A typical interval of the {widest['with_interval']:,} scores under “{widest['status']}” is "
            f"{score(widest['median'])} wide: labels that differ by less are not told apart."
        )
    return found


def _loop(facts: Facts) -> list[str]:
    rounds, row = facts.tables["rounds"], facts.one("optimism")
    found = []
    if len(rounds) > 1 and rounds[-1]["gain"] is not None and rounds[-1]["gain"] < NO_GAIN:
        found.append(
            f"Revising gained nothing to speak of: {score(rounds[-1]['gain'])} on the refine split after "
            f"round {rounds[-1]['round']}, optimistic as that is."
        )
    if row["optimism"] is not None and row["optimism"] > NO_GAIN:
        found.append(
            f"On the split they were chosen on, labels look {score(row['optimism'])} better than on fresh "
            f"text ({score(row['refine'])} against {score(row['report'])})."
        )
    return found


def _subject(facts: Facts) -> list[str]:
    found = []
    held, failed = (sum(r[name] for r in facts.tables["experiments"]) for name in ("held", "failed"))
    if failed:
        found.append(
            f"{failed:,} of {plural(held + failed, 'prediction')} that the subject ran did not come true."
        )
    accepted = next((r for r in facts.tables["interventions"] if r["status"] == "accepted"), None)
    if accepted is not None:
        for what, told, n in (
            ("Ablating", "ablation_told", "ablated"),
            ("Steering", "steering_told", "steered"),
        ):
            silent = accepted[n] - accepted[told]
            if silent:
                found.append(
                    f"{what} {silent:,} of {accepted[n]:,} features with an accepted label has no effect "
                    "that is told from its controls: the label predicts, and nothing shows that the feature "
                    "causes."
                )
    return found


def _judged(facts: Facts) -> list[str]:
    found = []
    for row in facts.tables["judges"]:
        if row["independence"] == "same model":
            found.append(
                f"The model that wrote them judged {plural(row['labels'], 'label')}: such scores flatter."
            )
        elif row["independence"] == "same family":
            found.append(f"A model of the family that wrote them judged {plural(row['labels'], 'label')}.")
    twins = facts.one("twins")
    if twins["features"]:
        found.append(
            f"Of {plural(twins['features'], 'feature')} with an accepted label another feature has the same "
            "one: it does not tell them apart."
        )
    again = facts.one("looks")["again"]
    if again:
        found.append(
            f"Of {plural(again, 'feature')} the report split was looked at more than once: only the first "
            "score there is on fresh text."
        )
    lost = [r for r in facts.tables["missing"] if r["missing"] and r["scorer"] == facts.primary]
    found += [
        f"{percent_of(r['missing'], r['asked'])} of the judgements could not be read, and count neither way."
        for r in lost
    ]
    return found
