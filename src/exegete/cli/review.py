"""`exegete review`: the page, the plain queue, and a person's decisions."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any

import typer

from exegete.cli import review_figures
from exegete.cli.options import (
    DEFAULT_WORKSPACE,
    HarvestOption,
    JsonOption,
    OfHarvestOption,
    WorkspaceOption,
    user_name,
)
from exegete.cli.show import LABEL_CHARACTERS, STYLES, interval, number, out, plain_table, safe, to_json
from exegete.datastore.records import Polarity
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError

app = typer.Typer(help="What waits for a person, and a person's decisions.", rich_markup_mode=None)
app.command("agreement")(review_figures.agreement)
app.command("calibration")(review_figures.calibration)

FeatureArgument = Annotated[str, typer.Argument(help="Index of the feature; 12- is its negative side.")]
ReviewerOption = Annotated[str | None, typer.Option(help="Who decides; default: your user name.")]


class Which(StrEnum):
    """Queues."""

    REVIEW = "review"
    AUDIT = "audit"
    FLAGGED = "flagged"
    DISAGREEMENTS = "disagreements"
    SECOND = "second"
    ALL = "all"


class Form(StrEnum):
    """Forms of the gold set."""

    PARQUET = "parquet"
    JSONL = "jsonl"
    ARGILLA = "argilla"


@app.callback(invoke_without_command=True)
def page(
    context: typer.Context,
    reviewer: ReviewerOption = None,
    blind: Annotated[
        bool, typer.Option("--blind", help="Hide each label until you have written one.")
    ] = False,
    host: Annotated[str, typer.Option(help="Address to listen on; others than loopback need a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="Port; 0 takes any that is free.", min=0, max=65535)] = 8765,
    token: Annotated[
        str | None, typer.Option(help="What visitors have to bring.", envvar="EXEGETE_REVIEW_TOKEN")
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Don't open a browser.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Open the page on which labels are reviewed; `exegete review list` prints the queue."""
    if context.invoked_subcommand:
        return
    space = Workspace.open(workspace)
    from exegete.cli.review_page import serve

    serve(
        space,
        reviewer=reviewer or user_name(),
        blind=blind,
        host=host,
        port=port,
        token=token,
        open_browser=not no_open,
    )


@app.command("list")
def list_queue(
    which: Annotated[Which, typer.Option(help="Which queue.")] = Which.REVIEW,
    search: Annotated[str, typer.Option(help="Part of a label, or a feature's index.")] = "",
    sql: Annotated[
        str | None, typer.Option(help="A SELECT that returns feature_index: a queue of your own.")
    ] = None,
    reviewer: Annotated[str | None, typer.Option(help="Whose queue; adds second reviews.")] = None,
    harvest: OfHarvestOption = None,
    layer: Annotated[int | None, typer.Option(help="Features of this layer only.")] = None,
    run: Annotated[str | None, typer.Option(help="Labels of this run only.")] = None,
    reason: Annotated[
        str | None, typer.Option(help="With this reason only, such as 'scorers disagree'.")
    ] = None,
    limit: Annotated[int, typer.Option(help="Rows at most.", min=1)] = 20,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """List what waits for a person, the look that is worth most first."""
    from exegete.review.queue import LIMIT, queue

    items = queue(
        Store(Workspace.open(workspace).labels),
        which=which.value,
        search=search,
        sql=sql,
        harvest=harvest,
        reviewer=reviewer,
        layer=layer,
        run=run,
        reason=reason,
        limit=max(limit, LIMIT),
    )
    shown = items[:limit]
    if json:
        out.print(to_json([_facts(item) for item in shown]), soft_wrap=True)
        return
    if not items:
        out.print("nothing waits for review" if which is Which.REVIEW else "the queue is empty")
        return
    rows = [
        (
            str(item.key),
            None if item.label is None else shorten(safe(item.label), LABEL_CHARACTERS, placeholder=" …"),
            interval(item.score, item.low, item.high),
            number(item.confidence),
            "; ".join(item.reasons),
        )
        for item in shown
    ]
    out.print(plain_table(("feature", "label", "score [95%]", "confidence", "why"), rows))
    more = f"{len(items):,}{' or more' if len(items) >= LIMIT else ''} wait"
    out.print(more + (f", {len(shown)} shown" if len(items) > len(shown) else ""), style="dim")
    out.print('exegete review accept F · edit F --text "…" · reject F --reason "…" · undo', style="dim")


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
    reason: Annotated[
        str,
        typer.Option(
            help="too broad, too narrow, wrong, output feature, polysemantic, unreadable, dead; or in words."
        ),
    ],
    reviewer: ReviewerOption = None,
    harvest: HarvestOption = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Reject a label."""
    _record(workspace, feature, "reject", reason, reviewer, harvest)


@app.command("undo")
def undo(reviewer: ReviewerOption = None, workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """Take back the latest thing you did; again takes back the one before."""
    from exegete.review.record import undo as take_back

    _say(take_back(Workspace.open(workspace), reviewer or user_name()), "there is nothing to undo")


@app.command("redo")
def redo(reviewer: ReviewerOption = None, workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """Put back what you took back last."""
    from exegete.review.record import redo as put_back

    _say(put_back(Workspace.open(workspace), reviewer or user_name()), "there is nothing to redo")


@app.command("export")
def export(
    to: Annotated[Path, typer.Option("--out", help="File to write.")],
    form: Annotated[Form, typer.Option("--format", help="Of the file (docs/review.md).")] = Form.PARQUET,
    anonymous: Annotated[bool, typer.Option("--anonymous", help="Give reviewers numbers for names.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Write the decided labels with their evidence to one file."""
    from exegete.review.gold import export_gold

    store = Store(Workspace.open(workspace).labels)
    n = export_gold(store, form.value, to, anonymous=anonymous, overwrite=overwrite)
    out.print(safe(f"{to}: {n:,} {'records' if form is Form.ARGILLA else 'decisions'}"), soft_wrap=True)


def _record(
    workspace: Path,
    feature: str,
    decision: str,
    text: str | None,
    reviewer: str | None,
    harvest: str | None,
) -> None:
    """Write down a decision about whatever label is current."""
    from exegete.review.audit import is_dealt
    from exegete.review.keys import find, key_of
    from exegete.review.record import REASONS, Act, record

    polarity: Polarity = "-" if feature.endswith("-") else "+"
    digits = feature.rstrip("+-")
    if not digits.isdecimal():
        raise UsageError(f"{feature!r} is no feature: write its index, 12, or 12- for its negative side")
    who = reviewer or user_name()
    space = Workspace.open(workspace)
    store = Store(space.labels)
    row = find(store, int(digits), polarity, harvest)
    key = key_of(row)
    known = decision == "reject" and text in REASONS
    act = Act(
        key,
        decision,  # type: ignore[arg-type]
        who,
        row["label"],
        text=None if known else text,
        reason=text if known else None,
        audit=store.reading(lambda con: is_dealt(con, row["run"], key)),
    )
    _say(record(space, act), "")


def _say(done: Any, otherwise: str) -> None:
    """Say how a feature stands after an event."""
    if done is None:
        out.print(otherwise)
        return
    row = done.row
    out.print(f"feature {row['feature_index']}{row['polarity'].strip('+')}: ", end="")
    out.print(row["status"], style=STYLES.get(row["status"], ""), end="")
    out.print(f", {safe(row['label'] or 'no label')}", soft_wrap=True)


def _facts(item: Any) -> dict[str, Any]:
    """An item as JSON has it; that it was dealt at random is nobody's business before it is decided."""
    return {
        "feature_index": item.key.index,
        "polarity": item.key.polarity,
        "harvest": item.key.harvest,
        **{name: getattr(item, name) for name in ("label", "status", "score", "low", "high", "confidence")},
        "reasons": list(item.reasons),
        "worth": item.worth,
    }
