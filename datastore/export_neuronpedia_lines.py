"""The lines of a Neuronpedia export; see export_neuronpedia.py for the layout."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from exegete.datastore.export_passages import Passage, Shown, numbers, shortest
from exegete.datastore.export_rows import Source
from exegete.datastore.local_paths import without_path

CREATOR = "clkht01d40000jv08hvalcvly"
"""What Neuronpedia's own converters write where nobody names a creator: its importer wants one there is."""

_TOP = {"binMin": -1.0, "binMax": None, "binContains": -1.0}
"""Of the strongest excerpts; binMax is the feature's maximum."""

_DESCRIBED = {
    "explanation_type": "labels of exegete, method",
    "explanation_model_type": "wrote labels for exegete:",
    "explanation_score_type": "scores of exegete, scorer",
    "explanation_score_model": "simulated or judged for exegete:",
}
"""What each file of config/ describes."""

Line = dict[str, Any]

Named = dict[str, set[str]]
"""Kinds of explanation and score that lines name, by the file of config/ that describes them."""


def ids(source: Source) -> tuple[str, str]:
    """modelId and sourceId of a source: lower case, digits, dashes and underscores, the layer first.

    A negative side of neurons is a source of its own, as Neuronpedia's indices have no sign.
    """
    name = _slug(source.dictionary)
    if source.layer is not None and not name.startswith(f"{source.layer}-"):
        name = f"{source.layer}-{_slug(source.site)}-{name}"
    return _slug(source.subject), name + ("-negative" if source.polarity == "-" else "")


def about(source: Source) -> dict[str, Line]:
    """The lines of release, model, sourceset and source.jsonl."""
    model, name = ids(source)
    public = {"creatorId": CREATOR, "visibility": "PRIVATE"}
    what = f"{source.dictionary} of {source.subject} at {source.site}"
    return {
        "release": {
            "name": f"exegete-{model}",
            "description": f"labels of {source.subject} by exegete",
            "creatorName": "exegete",
            **public,
        },
        "model": {
            "id": model,
            "displayNameShort": model,
            "displayName": source.subject,
            # The database wants numbers here; 0 is what Neuronpedia's converters write.
            "layers": 0,
            "neuronsPerLayer": 0,
            "owner": "",
            **public,
        },
        "sourceset": {
            "modelId": model,
            "name": _set_name(source),
            "description": what,
            "creatorName": "exegete",
            "releaseName": f"exegete-{model}",
            **public,
        },
        "source": {
            "id": name,
            "modelId": model,
            "setName": _set_name(source),
            "dataset": source.corpus,
            "num_prompts": None,
            "num_tokens_in_prompt": None,
            "notes": f"exegete {source.harvest}",
            **public,
        },
    }


def of_feature(source: Source, row: dict[str, Any], shown: Shown, named: Named) -> dict[str, list[Line]]:
    """All lines of one feature, by kind.

    Args:
        source: where it is from.
        row: as `feature_rows` yields it.
        shown: its excerpts.
        named: gets the kinds of explanation and score that the lines name.
    """
    model, layer = ids(source)
    of = {"modelId": model, "layer": layer, "index": str(row["feature_index"])}
    groups = [(_TOP | {"binMax": shortest(row["maximum"])}, shown.top)]
    groups += [
        ({"binMin": i.low, "binMax": i.high, "binContains": i.share}, i.passages) for i in shown.intervals
    ]
    found: dict[str, list[Line]] = {
        "features": [_feature(of, source, row)],
        "activations": [
            _activation(of, source, number, passage, bin_)
            for number, (passage, bin_) in enumerate((p, bin_) for bin_, passages in groups for p in passages)
        ],
        "explanations": [],
        "explanation_scores": [],
    }
    if row["label"] is not None:
        explanation = _explanation(of, row, named)
        found["explanations"] = [explanation]
        found["explanation_scores"] = [
            _score(explanation["id"], score, named)
            for score in row["scores"] or ()
            if score["value"] is not None
        ]
    return found


def _feature(of: Mapping[str, str], source: Source, row: dict[str, Any]) -> Line:
    return {
        **of,
        "sourceSetName": _set_name(source),
        "creatorId": CREATOR,
        "maxActApprox": shortest(row["maximum"]),
        "hasVector": False,
        "hookName": source.site,
        "frac_nonzero": row["density"],
        "pos_str": row["top_tokens"],
        "pos_values": _values(row["top_values"]),
        "neg_str": row["bottom_tokens"],
        "neg_values": _values(row["bottom_values"]),
    }


def _activation(
    of: Mapping[str, str], source: Source, number: int, passage: Passage, bin_: Mapping[str, float | None]
) -> Line:
    values = numbers(passage.values)
    peak = max(values)
    return {
        "id": _id("activation", *of.values(), str(number)),
        **of,
        "creatorId": CREATOR,
        "dataSource": source.corpus,
        "tokens": list(passage.tokens),
        "values": values,
        "maxValue": peak,
        "maxValueTokenIndex": values.index(peak),
        "minValue": min(values),
        **bin_,
    }


def _explanation(of: Mapping[str, str], row: dict[str, Any], named: Named) -> Line:
    method, _, rest = without_path(row["author"] or "unknown").partition("/")
    kind, model = f"exegete_{method}", (rest.rpartition("@")[0] or rest) or None
    named.setdefault("explanation_type", set()).add(kind)
    if model is not None:
        named.setdefault("explanation_model_type", set()).add(model)
    kept = ("status", "confidence", "score", "low", "high", "chance", "q_value", "run")
    notes = {name: row[name] for name in kept} | {"author": without_path(row["author"] or "unknown")}
    return {
        "id": _id("explanation", *of.values(), row["label"], row["author"]),
        **of,
        "authorId": CREATOR,
        "description": row["label"],
        "typeName": kind,
        "explanationModelName": model,
        "notes": json.dumps(notes, ensure_ascii=False),
        "scoreV2": row["score"],
    }


def _score(explanation: str, score: dict[str, Any], named: Named) -> Line:
    scorer = without_path(score["scorer"])
    method, _, judge = scorer.partition("(")
    kind, model = f"exegete_{method}", judge.removesuffix(")") or "none"
    named.setdefault("explanation_score_type", set()).add(kind)
    named.setdefault("explanation_score_model", set()).add(model)
    return {
        "id": _id("score", explanation, scorer),
        "initiatedByUserId": CREATOR,
        "explanationId": explanation,
        "value": score["value"],
        "explanationScoreTypeName": kind,
        "explanationScoreModelName": model,
        "jsonDetails": json.dumps(score | {"scorer": scorer}, ensure_ascii=False),
    }


def config(named: Named) -> dict[str, list[Line]]:
    """Lines that describe the kinds of explanation and score, by file: Neuronpedia has to know them first."""
    found: dict[str, list[Line]] = {}
    for file, names in named.items():
        more = {"creatorId": CREATOR} if file.endswith("_type") and "model" not in file else {}
        found[file] = [
            {
                "name": name,
                "displayName": name,
                "description": f"{_DESCRIBED[file]} {name.removeprefix('exegete_')}",
                "creatorName": "exegete",
                **more,
            }
            for name in sorted(names)
        ]
    return found


def _set_name(source: Source) -> str:
    """The set a source is in: its name without the layer."""
    name = ids(source)[1]
    return name.removeprefix(f"{source.layer}-") if source.layer is not None else name


def _values(values: list[float] | None) -> list[float] | None:
    return None if values is None else [shortest(value) for value in values]


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-")


def _id(*parts: str) -> str:
    """25 characters like the ids of its database, the same for the same thing."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
    return f"c{digest[:24]}"
