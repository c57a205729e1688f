"""The page of a run: one file with everything in it, plotly.js too, to be read offline, printed or passed on.

Nothing in it is fetched, and nothing that came from a corpus or a model is obeyed: text is escaped by the
template, plots are data that cannot end their script element, and the page's own policy lets no script run
but the two whose digests it names [W3C, Content Security Policy Level 3, §6.7.2].
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from exegete.datastore.workspace import Workspace
from exegete.report.run.examples import Shown, Which
from exegete.report.run.facts import Facts, collect
from exegete.report.run.findings import shown
from exegete.report.run.sections import DASH, Number, Section, interval, percent, score
from exegete.report.run.sections_before import decided, outcomes
from exegete.report.run.sections_layers import by_layer
from exegete.report.run.sections_loop import decisions, experiments, gain
from exegete.report.run.sections_scores import against_chance, density, q_values, widths
from exegete.report.run.sections_spent import cost, coverage, negatives, times
from exegete.report.run.sections_trust import controls
from exegete.report.whole import write_whole

_SECTIONS = (
    *(decided, outcomes, against_chance, density, by_layer, widths, q_values, controls, gain, experiments),
    *(decisions, cost, times, coverage, negatives),
)
WHICH: tuple[Which, ...] = ("best", "random", "worst")
_LOOKS: Mapping[Which, str] = {
    "best": "The best: the lower end of their interval is the highest.",
    "random": "Drawn at random from all features with a label, by the digest of the run's parameters: what "
    "to expect.",
    "worst": "The worst: the upper end of their interval is the lowest.",
}


def write_report(space: Workspace, name: str | None, path: Path | None) -> tuple[Facts, Path]:
    """Collect what a run shows and write its page, whole or not at all.

    Args:
        space: the workspace; a job may be running in it.
        name: the run's; None takes the job that was started last.
        path: where to; None names it after the run, in the current folder.

    Returns:
        What is on the page, and where it is.

    Raises:
        UsageError: there is no such run, or it has finished nothing.
        WorkspaceError: the page can't be written there.
    """
    facts = collect(space, name)
    place = path or Path(f"report-{facts.chosen.name}.html")
    write_whole(place, page(facts))
    return facts, place


def page(facts: Facts) -> str:
    """The page's HTML."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    sections = [make(facts) for make in _SECTIONS]
    plotly, drawing = get_plotlyjs().replace("\r\n", "\n"), _text("page.js")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["code"] = _code
    environment.tests["number"] = lambda cell: isinstance(cell, Number)
    return environment.from_string(_text("page.html")).render(
        run=facts.chosen.name,
        site=f"{facts.chosen.row['subject']}, {facts.chosen.row['site']}, {facts.chosen.row['dictionary']}",
        policy=f"default-src 'none'; script-src {_digest(plotly)} {_digest(drawing)}; "
        "style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'",
        css=Markup(_text("page.css")),
        plotly=Markup(plotly),
        drawing=Markup(drawing),
        plots=Markup(as_data({plot.name: plot.figure for one in sections for plot in one.plots})),
        findings=shown(facts),
        sections=sections,
        looks=[(which, _LOOKS[which], [_card(one) for one in facts.examples[which]]) for which in WHICH],
    )


def as_data(value: Any) -> str:
    """JSON that may stand in a script element: nothing in it ends the element or opens a comment."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def _digest(script: str) -> str:
    """A script's source expression in the page's policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _card(one: Shown) -> dict[str, Any]:
    """One feature as the template shows it."""
    row = one.row
    numbers = [
        ("score", interval(row["score"], row["low"], row["high"])),
        ("chance", score(row["chance"])),
        (
            "q",
            DASH if row["q_value"] is None else "<.001" if row["q_value"] < 0.001 else score(row["q_value"]),
        ),
        ("confidence", percent(row["confidence"])),
        ("fires on", percent(row["density"])),
    ]
    return {
        "name": f"{row['feature_index']}{'' if row['polarity'] == '+' else row['polarity']}",
        "label": row["label"] or DASH,
        "status": row["status"],
        "why": row["why"],
        "reasons": ", ".join(row["reasons"] or ()),
        "numbers": numbers,
        "output": row["output_label"],
        "tokens": one.tokens,
        "excerpts": one.excerpts,
    }


def _code(sentence: str) -> Any:
    """A sentence with what stands between backticks set as code; all of it is escaped."""
    from markupsafe import Markup

    parts = sentence.split("`")
    whole = (
        Markup("<code>{}</code>").format(part) if i % 2 else Markup.escape(part)
        for i, part in enumerate(parts)
    )
    return Markup().join(whole)


def _text(name: str) -> str:
    """A file that lies beside this one."""
    return (files("exegete.report.run") / name).read_text(encoding="utf-8")


__all__ = ["Section", "as_data", "page", "write_report"]
