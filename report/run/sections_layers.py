"""The section that sets a run beside those of the workspace's other harvests."""

from __future__ import annotations

from exegete.report.run import figures_scores as figures
from exegete.report.run.facts import Facts
from exegete.report.run.layers import Layer
from exegete.report.run.sections import DASH, NONE, Plot, Section, Table, count, k_of, score, share_within


def by_layer(facts: Facts) -> Section:
    """This run beside those of the workspace's other harvests."""
    rows = [
        (
            _place(layer),
            layer.row["run"] + (" (this run)" if layer.row["run"] == facts.chosen.name else ""),
            layer.row["explainer"] or DASH,
            score(layer.row["threshold"]),
            count(layer.row["attempted"]),
            k_of(layer.row["accepted"], layer.row["attempted"]),
            score(layer.row["median"]),
            NONE if isinstance(layer.coverage, str) else _held(layer),
        )
        for layer in facts.layers
    ]
    columns = ("site", "run", "explainer", "threshold", "attempted", "accepted", "median score", "mass held")
    alone = len(rows) == 1
    note = (
        "This workspace has labels of one harvest only: `exegete harvest --site …` and `exegete label` on "
        "further sites fill this section."
    )
    listed = [
        (_place(layer), layer.coverage, layer.row["accepted"] / layer.row["attempted"])
        for layer in facts.layers
    ]
    words = "; ".join(f"{place}: {share:.0%} of features accepted" for place, _, share in listed)
    return Section(
        "layers",
        "By layer",
        "A harvest reads one site, so this run stands beside the latest run of each other harvest here; "
        "compare only rows with the same explainer and threshold.",
        plots=() if alone else (Plot("layers", figures.layers(listed), f"By site: {words}."),),
        tables=(Table("Labelled harvests of this workspace, by layer", columns, rows),),
        notes=(note,) if alone else (),
    )


def _held(layer: Layer) -> str:
    assert not isinstance(layer.coverage, str)
    share = layer.coverage.accepted()
    return share_within(share.value, share.low, share.high)


def _place(layer: Layer) -> str:
    number = layer.row["layer"]
    return ("" if number is None else f"{number}: ") + f"{layer.row['site']}, {layer.row['dictionary']}"
