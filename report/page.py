"""One self-contained page about a run over controls: plots, tables, and what went wrong, label by label.

Everything it needs is in the file, plotly.js too, so that it can be read without a network, and printed.
Labels and corpus text are escaped by the template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Any

from exegete.controls.truths import POSITIVE
from exegete.controls.wrong import WRONGNESS
from exegete.datastore.store import Store
from exegete.report.evaluation import ALL, Evaluation, Rate
from exegete.report.figures import figures, marked
from exegete.report.judged import AGREES, NAMED, Judged
from exegete.report.whole import write_whole

SHOWN = 200
"""Rows of a table of labels at most."""


def write_page(path: Path, evaluation: Evaluation, store: Store, parameters: Mapping[str, Any]) -> None:
    """Write the page, whole or not at all.

    Args:
        path: where to.
        evaluation: what it shows.
        store: the labels file, for one excerpt of each kind.
        parameters: the run's: its explainer, its simulator, and "source", the text that was planted on.

    Raises:
        WorkspaceError: it can't be written there.
    """
    write_whole(path, page(evaluation, store, parameters))


def page(evaluation: Evaluation, store: Store, parameters: Mapping[str, Any]) -> str:
    """The page's HTML; see `write_page`."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    plots = figures(evaluation)

    def plot(name: str) -> Markup:
        return Markup('<div class="plot">{}</div>').format(Markup(plots[name])) if name in plots else Markup()

    template = (files("exegete.report") / "page.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    by_word = parameters["simulator"].startswith("lexical")
    return environment.from_string(template).render(
        run=evaluation.run,
        plotly=get_plotlyjs(),
        source=parameters["source"],
        how=f"explainer {parameters['explainer']}, simulator {parameters['simulator']}",
        agrees=said(AGREES),
        lexical=f", and it names {NAMED:.0%} of the words it can't be right without" if by_word else "",
        left_out=", ".join(evaluation.left_out),
        plot=plot,
        recovered=_recovered(evaluation),
        false_accepts=_false_accepts(evaluation),
        hows=(*WRONGNESS, ALL),
        auroc=[
            (scorer, *(said(values[how]) for how in (*WRONGNESS, ALL)))
            for scorer, values in evaluation.auroc.items()
        ],
        ece=said(evaluation.ece),
        missed=[_missed(j) for j in evaluation.judged if j.control.positive and not j.recovered][:SHOWN],
        believed=[
            (j.control.kind, j.label, said(j.score), j.why)
            for j in evaluation.judged
            if not j.control.positive and j.accepted
        ][:SHOWN],
        examples=_examples(evaluation, store),
    )


def said(value: float | None) -> str:
    """A number in two decimals; a dash where there is none."""
    return "–" if value is None else f"{value:.2f}"


def interval_said(rate: Rate) -> str:
    """A share's interval."""
    return "–" if rate.interval is None else f"{rate.interval[0]:.2f} to {rate.interval[1]:.2f}"


def _recovered(evaluation: Evaluation) -> list[tuple[str, ...]]:
    return [
        (
            kind,
            f"{rate.n:,}",
            f"{evaluation.accepted[kind].k:,}",
            f"{rate.k:,} ({said(rate.value)})",
            interval_said(rate),
            _median(j.score for j in _of(evaluation, kind, positive=True)),
            _median(j.agreement for j in _of(evaluation, kind, positive=True)),
        )
        for kind, rate in evaluation.recovery.items()
    ]


def _false_accepts(evaluation: Evaluation) -> list[tuple[str, ...]]:
    return [
        (
            kind,
            f"{rate.n:,}",
            f"{rate.k:,}",
            said(rate.value),
            interval_said(rate),
            _median(j.score for j in _of(evaluation, kind, positive=False)),
            f"{sum(not j.scored for j in _of(evaluation, kind, positive=False)):,}",
        )
        for kind, rate in evaluation.false_accepts.items()
    ]


def _of(evaluation: Evaluation, kind: str, *, positive: bool) -> Sequence[Judged]:
    """The controls of a kind; of "all", all that have a truth, or that have none."""
    if kind != ALL:
        return evaluation.of_kind(kind)
    return [j for j in evaluation.judged if j.control.positive == positive]


def _median(values: Any) -> str:
    known = [value for value in values if value is not None]
    return said(median(known)) if known else "–"


def _missed(j: Judged) -> tuple[str, ...]:
    truth = j.control.truth
    assert truth is not None
    return (
        j.control.kind,
        truth.right,
        j.label or "–",
        said(j.score),
        said(j.agreement),
        f"{j.status}: {j.why}",
    )


def _examples(evaluation: Evaluation, store: Store) -> list[tuple[str, str, list[tuple[str, int]]]]:
    """For each kind that has a truth, its first control's strongest excerpt."""
    found = []
    for kind in POSITIVE:
        for j in evaluation.of_kind(kind)[:1]:
            rows = store.read(
                "SELECT e.words, e.activations FROM store.examples e JOIN store.runs r USING (harvest) "
                "WHERE r.run = ? AND e.feature_index = ? AND e.rank = 0",
                [evaluation.run, j.control.index],
            )
            truth = j.control.truth
            if rows and truth is not None:
                found.append((kind, truth.right, marked(rows[0]["words"], rows[0]["activations"])))
    return found
