"""`exegete review`: the plain queue, and a person's decisions."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer

from exegete.agent.review import Decision, decide_as_person
from exegete.cli.options import DEFAULT_WORKSPACE, HarvestOption, JsonOption, WorkspaceOption
from exegete.cli.show import STYLES, interval, number, out, plain_table, safe, to_json
from exegete.datastore.records import Polarity
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError

app = typer.Typer(help="What waits for a person, and a person's decisions.", rich_markup_mode=None)

FeatureArgument = Annotated[str, typer.Argument(help="Index of the feature; 12- is its negative side.")]
ReviewerOption = Annotated[str | None, typer.Option(help="Who decides; default: your user name.")]


@app.callback(invoke_without_command=True)
def queue(
    context: typer.Context,
    limit: Annotated[int, typer.Option(help="Rows at most.", min=1)] = 20,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """List the labels that wait for a person, least trusted first."""
    if context.invoked_subcommand:
        return
    space = Workspace.open(workspace)
    store = Store(space.labels)
    rows = store.read(
        "SELECT feature_index, polarity, label, score, low, high, confidence, why, harvest FROM labels "
        "WHERE status = 'review' ORDER BY confidence NULLS FIRST, score, feature_index LIMIT ?",
        [limit],
    )
    total = store.read("SELECT count(*) AS n FROM labels WHERE status = 'review'")[0]["n"]
    if json:
        out.print(to_json(rows), soft_wrap=True)
        return
    if not rows:
        out.print("nothing waits for review")
        return
    shown = [
        (
            f"{r['feature_index']}{'' if r['polarity'] == '+' else r['polarity']}",
            r["label"],
            interval(r["score"], r["low"], r["high"]),
            number(r["confidence"]),
        )
        for r in rows
    ]
    out.print(plain_table(("feature", "label", "score [95%]", "confidence"), shown))
    out.print(f"{total:,} wait" + (f", {len(rows)} shown" if total > len(rows) else ""), style="dim")
    out.print('exegete review accept F · edit F --text "…" · reject F --reason "…"', style="dim")


@app.command("accept")
def accept(
    feature: FeatureArgument,
    reviewer: ReviewerOption = None,
    harvest: HarvestOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Accept a label as it is."""
    _record(workspace, feature, "accept", None, reviewer, harvest)


@app.command("edit")
def edit(
    feature: FeatureArgument,
    text: Annotated[str, typer.Option(help="The better label.")],
    reviewer: ReviewerOption = None,
    harvest: HarvestOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Replace a label by your own, and accept that."""
    _record(workspace, feature, "edit", text, reviewer, harvest)
    side = " --polarity -" if feature.endswith("-") else ""
    out.print(
        f'its score is not known yet: exegete score --feature {feature.rstrip("+-")}{side} --label "…"',
        style="dim",
        soft_wrap=True,
    )


@app.command("reject")
def reject(
    feature: FeatureArgument,
    reason: Annotated[str, typer.Option(help="Why: too broad, too narrow, wrong …")],
    reviewer: ReviewerOption = None,
    harvest: HarvestOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Reject a label."""
    _record(workspace, feature, "reject", reason, reviewer, harvest)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        raise UsageError("your user name is not known: say who decides with --reviewer") from None


def _record(
    workspace: Path,
    feature: str,
    decision: Decision,
    text: str | None,
    reviewer: str | None,
    harvest: str | None,
) -> None:
    polarity: Polarity = "-" if feature.endswith("-") else "+"
    digits = feature.rstrip("+-")
    if not digits.isdecimal():
        raise UsageError(f"{feature!r} is no feature: write its index, 12, or 12- for its negative side")
    who = reviewer or _user()
    after = decide_as_person(Workspace.open(workspace), int(digits), polarity, decision, text, who, harvest)
    out.print(f"feature {feature}: ", end="")
    out.print(after["status"], style=STYLES.get(after["status"], ""), end="")
    out.print(f", {safe(after['label'] or 'no label')}", soft_wrap=True)
