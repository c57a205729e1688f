"""Features as the JSON files that circuit-tracer's viewer, and Neuronpedia's graphs, read: one a feature.

    OUT/{number}.json     index, layer, examples_quantiles, act_min, act_max, activation_frequency, label …
    OUT/layer_{L}.bin     the same files packed (packed_features.py), which `--features_dir` reads
    OUT/index.json.gz     where they are in it

The number is Cantor's pairing of layer and feature, by which graphs name their features. Fields are those
that github.com/decoderesearch/circuit-tracer (frontend/assets/feature_examples, render-act-histogram.js)
reads, and the schema of github.com/hijohnnylin/neuronpedia (app/api/graph/feature-details-schema.json)
knows; `label`, `status` and the score with its interval are ours, and passed over by both. `top_logits` and
`bottom_logits` are there where the logit lens was looked at, and left out elsewhere, and so are `histogram`
and `quantile_values`, which would have to be of all activations.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import exegete
from exegete.datastore.export_choice import Choice
from exegete.datastore.export_passages import Passage, Shown, numbers, shortest
from exegete.datastore.export_rows import Source, feature_rows, passages_of, refuse_clashes, sources
from exegete.datastore.frozen import frozen
from exegete.datastore.packed_features import PackedFeatures, packed_name, write_index
from exegete.datastore.placed import mark, placed
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError


def export_circuit(
    space: Workspace,
    store: Store,
    choice: Choice,
    out: Path,
    *,
    overwrite: bool,
    on_progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Write one file a feature into a new folder, which appears whole or not at all.

    Args:
        space: the workspace, for its evidence.
        store: its labels file.
        choice: which features.
        out: the folder.
        overwrite: whether an earlier export may be replaced.
        on_progress: told the number of features written so far.

    Returns:
        Features written.

    Raises:
        UsageError: a layer is not known, a feature is a negative side, or two harvests are of one layer.
        WorkspaceError: it can't be written, or the workspace can't be read.
    """
    count = 0
    offsets: dict[int, list[int]] = {}
    with placed(out, overwrite=overwrite) as draft, frozen(store, out.parent) as con:
        found = sources(con, choice)
        refuse_clashes([(_name(source), source) for source in found])
        draft.mkdir()
        for source in found:
            with (
                passages_of(space, con, source) as passages,
                (draft / packed_name(source.layer or 0)).open("wb") as file,
            ):
                packed = PackedFeatures(file)
                for rows in feature_rows(con, choice, source):
                    shown = passages.of([(row["feature_index"], source.polarity) for row in rows])
                    for row in rows:
                        record = feature_record(row, shown[(row["feature_index"], source.polarity)])
                        name = f"{cantor(record['layer'], record['index'])}.json"
                        text = json.dumps(record, ensure_ascii=False, allow_nan=False)
                        (draft / name).write_text(f"{text}\n", encoding="utf-8")
                        packed.add(record["index"], text)
                    count += len(rows)
                    on_progress(count)
            offsets[source.layer or 0] = packed.offsets
        write_index(draft, offsets)
        layers = {source.harvest: source.layer for source in found}
        mark(draft, {"export": "circuit-tracer", "exegete": exegete.__version__, "layers": layers})
    return count


def cantor(layer: int, feature: int) -> int:
    """The number by which a graph names a feature of a layer: Cantor's pairing, a bijection."""
    return (layer + feature) * (layer + feature + 1) // 2 + feature


def feature_record(row: dict[str, Any], shown: Shown) -> dict[str, Any]:
    """A feature's file.

    Args:
        row: as `feature_rows` yields it.
        shown: its excerpts.
    """
    quantiles = [("Top activations", shown.top)] if shown.top else []
    quantiles += [(f"Peak {i.low:.3g} to {i.high:.3g}", i.passages) for i in reversed(shown.intervals)]
    logits = {"top_logits": row["top_tokens"], "bottom_logits": row["bottom_tokens"]}
    return {
        "index": row["feature_index"],
        "layer": row["layer"],
        "act_min": 0.0,
        "act_max": shortest(row["maximum"]),
        # What the viewer finds is shown as a number, null as 0.
        **({} if row["density"] is None else {"activation_frequency": row["density"]}),
        "examples_quantiles": [
            {"quantile_name": name, "examples": [_example(p) for p in passages]}
            for name, passages in quantiles
        ],
        **{name: tokens for name, tokens in logits.items() if tokens is not None},
        **{name: row[name] for name in ("label", "status", "score", "low", "high", "chance", "q_value")},
    }


def _example(passage: Passage) -> dict[str, Any]:
    return {
        "tokens_acts_list": numbers(passage.values),
        "train_token_ind": int(passage.values.argmax()),
        "is_repeated_datapoint": False,
        "tokens": list(passage.tokens),
    }


def _name(source: Source) -> str:
    """What makes a source's numbers its own: its layer.

    Raises:
        UsageError: circuit-tracer has no name for its features.
    """
    if source.layer is None:
        raise UsageError(
            f"the layer of {source.harvest} is not known, and circuit-tracer names features by it: leave the "
            "harvest out with --harvest"
        )
    if source.polarity == "-":
        raise UsageError(
            f"{source.harvest} has features that are the negative side of a neuron, which circuit-tracer has "
            "no name for: export a harvest without them with --harvest"
        )
    return f"layer {source.layer}"
