"""`exegete review agreement` and `… calibration`: what reviews say of reviewers and of scores."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from exegete.cli.options import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, user_name
from exegete.cli.show import interval, number, out, plain_table, safe, to_json
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError


def agreement(workspace: WorkspaceOption = DEFAULT_WORKSPACE, json: JsonOption = False) -> None:
    """Say how far reviewers agree who decided about the same labels."""
    from exegete.review.agreement import agreement as measure

    found = measure(Store(Workspace.open(workspace).labels))
    if json:
        facts = asdict(found) | {
            "kappa": [
                {"reviewers": list(pair), **asdict(kappa)} for pair, kappa in sorted(found.kappa.items())
            ]
        }
        out.print(to_json(facts), soft_wrap=True)
        return
    if found.alpha.n == 0:
        out.print("no label was decided by two people yet: docs/review.md says how second reviews come about")
        return
    rows = [("alpha, all reviewers", *_coefficient(found.alpha))]
    rows += [(f"kappa, {a} and {b}", *_coefficient(kappa)) for (a, b), kappa in sorted(found.kappa.items())]
    out.print(plain_table(("agreement", "value [95%]", "labels"), rows))
    out.print(
        f"{number(found.same)} of pairs of decisions are the same; {found.disagreements:,} features wait for "
        "a third decision: exegete review list --which disagreements",
        soft_wrap=True,
    )


def calibration(
    run: Annotated[
        str | None, typer.Option(help="Run; default: the one with most of the current labels.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Say what this threshold would change; default: the one found.")
    ] = None,
    rate: Annotated[float, typer.Option(help="Share of labels that people are to accept.")] = 0.95,
    apply: Annotated[bool, typer.Option("--apply", help="Set --threshold for the run's labels.")] = False,
    reviewer: Annotated[str | None, typer.Option(help="Who sets it; default: your user name.")] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """Say how often people accept labels, by score, and which threshold would hold to a rate."""
    from exegete.agent.rethreshold import set_threshold
    from exegete.review import calibrating

    if apply and threshold is None:
        raise UsageError("--apply sets the threshold that --threshold names: give it")
    if not 0 < rate < 1:
        raise UsageError(f"--rate {rate:g} is no share: give one between 0 and 1, such as 0.95")
    store = Store(Workspace.open(workspace).labels)
    run = run or _usual_run(store)
    calibrating.refresh(store, run)
    cards = calibrating.audited(store, run)
    bands, found = calibrating.accept_rates(cards), calibrating.threshold_for(cards, rate)
    wanted = found.value if threshold is None else threshold
    change = None if wanted is None else calibrating.preview(store, run, wanted)
    if apply and threshold is not None:
        set_threshold(store, run, threshold, reviewer or user_name())
    used = store.read("SELECT source, n, n_right FROM calibrations WHERE run = ? AND used", [run])
    if json:
        facts: dict[str, Any] = {
            "run": run,
            "mapped_by": used[0] if used else None,
            "bands": [asdict(band) for band in bands],
            "threshold": asdict(found),
            "change": _as_json(change),
            "applied": apply,
        }
        out.print(to_json(facts), soft_wrap=True)
        return
    _print(run, used, bands, found)
    if change is not None:
        _print_change(change, applied=apply)


def _usual_run(store: Store) -> str:
    rows = store.read("SELECT run FROM labels GROUP BY run ORDER BY count(*) DESC, run LIMIT 1")
    if not rows:
        raise UsageError("nothing is labelled yet: run `exegete label` first")
    return str(rows[0]["run"])


def _print(run: str, used: list[dict[str, Any]], bands: Any, found: Any) -> None:
    if bands:
        rows = [
            (
                f"{number(band.low)} to {number(band.high)}",
                f"{band.accepted} of {band.n}",
                interval(band.rate, band.rate_low, band.rate_high),
            )
            for band in bands
        ]
        out.print(plain_table(("score", "accepted", "rate [95%]"), rows))
    out.print(f"run {safe(run)}, by the random cards that were decided", style="dim", soft_wrap=True)
    if used:
        source = {"audit": "random cards", "reviews": "reviewed cards", "controls": "planted features"}
        by = f"{used[0]['n_right']:,} of {used[0]['n']:,} {source[used[0]['source']]} were right"
        out.print(f"confidence is mapped: {by}", soft_wrap=True)
    else:
        out.print("confidence is not mapped: too little is known of this run's labels")
    if found.value is None:
        out.print(f"no threshold for {found.wanted:.0%}: {found.why_none}", soft_wrap=True)
        return
    span = f"[{number(found.low)}, {'none' if found.high is None else number(found.high)}]"
    out.print(
        f"{found.wanted:.0%} are accepted from a threshold of {number(found.value)} {span} on, "
        f"by a rising curve fitted to {found.n} random cards; of the {found.n_above} above it "
        f"{found.accepted_above} were accepted",
        soft_wrap=True,
    )


def _print_change(change: Any, *, applied: bool) -> None:
    rows = [
        (status, change.before.get(status, 0), change.after.get(status, 0))
        for status in sorted({*change.before, *change.after})
    ]
    out.print(plain_table((f"at {number(change.threshold)}", "before", "after"), rows))
    kept = f"; {change.decided:,} decided by people stay" if change.decided else ""
    out.print(f"{sum(change.moved.values()):,} labels change{kept}{', and are changed' if applied else ''}")


def _coefficient(found: Any) -> tuple[str, int]:
    if found.value is None:
        return "undefined", found.n
    return interval(found.value, found.low, found.high), found.n


def _as_json(change: Any) -> dict[str, Any] | None:
    if change is None:
        return None
    moved = [{"from": old, "to": new, "n": n} for (old, new), n in change.moved.items()]
    return {
        "threshold": change.threshold,
        "before": dict(change.before),
        "after": dict(change.after),
        "moved": moved,
        "decided": change.decided,
    }
