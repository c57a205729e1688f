"""`exegete doctor --llm NAME`: does this model answer, what can it do, and what does that cost?"""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from exegete.cli.show import out, safe, to_json
from exegete.datastore.workspace import Workspace
from exegete.errors import LLMError, UsageError, WorkspaceError
from exegete.llm import ModelName, anthropic, load_prices, openai, parse
from exegete.llm.abilities import ABILITIES, USES, Abilities
from exegete.llm.abilities_file import NAME, remember
from exegete.llm.llm import Reply
from exegete.llm.meter import Spent
from exegete.llm.prepare import used_up
from exegete.llm.prices import Price
from exegete.llm.probe import probe

KEYS = {"openai": openai.KEY, "anthropic": anthropic.KEY}
_OFFICIAL = {"openai": openai.OFFICIAL, "anthropic": anthropic.OFFICIAL}
_SAID = {True: ("yes", "green"), False: ("no", "yellow"), None: ("unknown", "dim")}


@dataclass(slots=True)
class Report:
    """What is known of a model, and what came of asking."""

    model: str
    provider: str
    url: str | None
    """None: nothing is sent anywhere."""
    key: str | None
    """The environment variable its key is read from."""
    key_set: bool
    price: Price | None
    abilities: Abilities
    error: str | None = None
    """Why it can't be used at all."""
    hello: Reply | None = None
    """What it answered to the smallest call."""
    spent: Spent = field(default_factory=Spent)
    remembered: Path | None = None
    """The file that its abilities are kept in; None: no workspace is there."""


def diagnose(spec: str, workspace: Path, *, json: bool) -> int:
    """Ask a model all there is to ask, remember it in the workspace if there is one, and print it.

    Args:
        spec: the model's name.
        workspace: its folder, which may not exist.
        json: print JSON.

    Returns:
        The exit code: 1 when the model can't be used at all.

    Raises:
        UsageError: the name is none.
    """
    name = parse(spec)
    report = _known(name)
    try:
        findings = asyncio.run(probe(name, ABILITIES))
    except (LLMError, UsageError) as error:
        report.error = str(error)
    else:
        report.abilities, report.hello, report.spent = findings.abilities, findings.hello, findings.spent
        report.remembered = _remembered(workspace, report)
    if json:
        out.print(to_json(_facts(report)), soft_wrap=True)
    else:
        _show(report)
    return 1 if report.error else 0


def _known(name: ModelName) -> Report:
    """What is known without asking."""
    key = KEYS.get(name.provider)
    return Report(
        model=str(name),
        provider=name.provider,
        url=name.url or _OFFICIAL.get(name.provider),
        key=key,
        key_set=bool(key and os.environ.get(key, "").strip()),
        price=load_prices().find(str(name)),
        abilities=Abilities(str(name)),
    )


def _remembered(workspace: Path, report: Report) -> Path | None:
    """Keep findings for the workspace's jobs; models that need no asking are not kept."""
    if not report.spent.calls or report.url is None:
        return None
    try:
        root = Workspace.open(workspace).root
    except WorkspaceError:
        return None
    remember(root, report.abilities)
    return root / NAME


def _facts(report: Report) -> dict[str, Any]:
    """A report as JSON."""
    hello, price = report.hello, report.price
    return {
        "model": report.model,
        "usable": report.error is None,
        "error": report.error,
        "url": report.url,
        "key": {"variable": report.key, "set": report.key_set} if report.key else None,
        "price": price.model_dump(mode="json") if price else None,
        "latency_s": hello.latency_s if hello else None,
        "served_by": hello.served_by if hello else None,
        "spent": asdict(report.spent),
        "abilities": {
            name: {"has": report.abilities.of(name).has, "seen": report.abilities.of(name).seen}
            for name in ABILITIES
        },
        "remembered": str(report.remembered) if report.remembered else None,
    }


def _show(report: Report) -> None:
    """Print a report."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for what, said in _lines(report):
        style = "bold red" if what == "can't be used" else ""
        table.add_row(Text(what, style=style), Text(safe(said)))
    out.print(table)
    if report.error is None:
        out.print()
        out.print(_ability_table(report.abilities))


def _lines(report: Report) -> list[tuple[str, str]]:
    """What is said above the table."""
    lines = [("model", report.model), ("address", report.url or "none: it runs in this process")]
    if report.key:
        of_its_own = report.url != _OFFICIAL[report.provider]
        own = ", which is fine if this server wants none" if of_its_own else ""
        lines.append(("key", f"{report.key} is " + ("set" if report.key_set else f"not set{own}")))
    lines.append(("price", _price_in_words(report.price)))
    if report.error:
        return [*lines, ("can't be used", report.error)]
    if report.hello is not None:
        said = f"after {report.hello.latency_s:.2f} s, as {report.hello.served_by}"
        lines.append(("answers", said))
    if report.spent.calls:
        lines.append(("asked", used_up(report.spent)))
    if report.remembered is not None:
        lines.append(("kept in", f"{report.remembered}, for jobs of the next 30 days"))
    return lines


def _price_in_words(price: Price | None) -> str:
    """A row of the price table."""
    if price is None:
        return "no price known: `exegete label --prices FILE` takes your own"
    if not price.input and not price.output:
        return f"free: {price.source}"
    seen = f", seen {price.seen}" if price.seen else ""
    return f"${price.input:g} in, ${price.output:g} out per million tokens ({price.source}{seen})"


def _ability_table(abilities: Abilities) -> Table:
    """What it can do, what was seen, and what that means."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("ability", min_width=17)
    table.add_column("has", no_wrap=True)
    table.add_column("what was seen", ratio=4)
    table.add_column("used for", ratio=5)
    for name in ABILITIES:
        ability, use = abilities.of(name), USES[name]
        said, style = _SAID[ability.has]
        table.add_row(
            use.title,
            Text(said, style=style),
            Text(safe(ability.seen)),
            use.used_for + (f". Instead: {use.without}" if ability.has is False and use.without else ""),
        )
    return table
