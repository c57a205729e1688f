"""A small workspace whose evidence and labels are known, with texts that want to be obeyed."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from tests.datastore.corpus import SIZES, stream
from tests.datastore.streams import build

NOON = datetime(2026, 1, 1, 12)
HARVEST = "harvest"
MODEL = "hf:/home/ada/models/small"
LABELS = {
    0: ("accepted", '=HYPERLINK("http://x")'),
    1: ("accepted", "the word “unlock”\n</script><b>bold</b>\x1b[31m"),
    2: ("review", "'@SUM(1)"),
    3: ("rejected", "-1+2"),
    4: ("dead", None),
    5: ("accepted", "'; DROP TABLE labels; --"),
}
"""Status and label by feature."""
PARAMETERS = {
    "llm": MODEL,
    "job": r"C:\Users\ada\jobs\night.toml",
    "sentence_model": "/home/ada/my models/minilm",
    "url": "http://localhost:8000/v1/x",
    "threshold": 0.5,
}


def rows() -> dict[str, list[dict[str, Any]]]:
    """Rows of the labels file."""
    feature = {"harvest": HARVEST, "polarity": "+"}
    run = {"run": "night", "made_at": NOON}
    author = f"highlight@1/{MODEL}@0123abcd"
    named = {i: text for i, (_, text) in LABELS.items() if text is not None}
    scorers = (f"simulation@2({MODEL})", "detection@2(lexical@1)")
    return {
        "harvests": [
            {
                **{"harvest": HARVEST, "subject": "Org/Tiny@1", "site": "layers.0", "layer": 0},
                **{"dictionary": "neurons", "corpus": "stdlib-docs", "tokens": 10_000, "sha256": "0"},
                "parameters": {},
            }
        ],
        "runs": [
            {
                **run,
                "kind": "job",
                "harvest": HARVEST,
                "digest": "d",
                "version": "1",
                "parameters": PARAMETERS,
            }
        ],
        "features": [
            {
                **feature,
                **{"feature_index": i, "density": 0.01 * i, "fired": i, "maximum": 2.0, "threshold": 0.0},
                "metadata": {"pos_str": ["/", "/etc/hosts"]},
            }
            for i in LABELS
        ],
        "labels": [
            {
                **feature,
                **run,
                "feature_index": i,
                "label_id": f"l{i}",
                "round": 0,
                "text": t,
                "author": author,
            }
            for i, t in named.items()
        ],
        "scores": [
            {
                **run,
                **{"label_id": f"l{i}", "scorer": scorer, "split": split, "value": 0.1 * i if i else None},
                **{"low": 0.0, "high": 0.7, "chance": 0.01, "p_value": 0.001, "n_asked": 60, "n_read": 59},
                "why_none": None,
            }
            for i in named
            for scorer in scorers
            for split in ("refine", "report")
        ],
        "outcomes": [
            {
                **feature,
                **run,
                **{
                    "feature_index": i,
                    "status": status,
                    "label_id": f"l{i}" if text else None,
                    "label": text,
                },
                **{"author": author if text else None, "confidence": 0.5, "why": "+because", "rounds": 1},
                **{"candidates": 3, "scorer": scorers[0], "score": 0.1 * i if i else None, "low": 0.0},
                **{"high": 0.7, "chance": 0.01, "p_value": 0.001, "refine_score": 0.4, "density": 0.01 * i},
                **{"maximum": 2.0, "reasons": ["=reason"], "senses": []},
            }
            for i, (status, text) in LABELS.items()
        ],
        "examples": [
            {
                **feature,
                **{"feature_index": 0, "rank": rank, "stratum": "top", "peak": 2.0 - rank, "weight": 1.0},
                **{"document": "/home/ada/corpus/a.txt", "context_id": rank, "start": 0, "text": "/etc «a»"},
                **{"words": [" a", " bank"], "activations": [0.0, 2.0 - rank]},
            }
            for rank in range(2)
        ],
        "calls": [{"key": "k", "run": "night", "model": MODEL, "finish": "stop", "made_at": NOON}],
        "outputs": [
            {
                **feature,
                **{"feature_index": 1, "kind": kind, "top_tokens": [" key", kind], "top_values": [1.5, 1.0]},
                **{"bottom_tokens": [" no"], "bottom_values": [-0.1], "subject": "Org/Tiny@1"},
                **{"details": {"prompts": ["/usr/bin is a path"]}, "made_at": NOON},
            }
            for kind in ("logit lens", "token change")
        ],
    }


def write_workspace(root: Path, *, evidence: bool = True) -> Workspace:
    """The workspace, written below a folder."""
    space = Workspace.open_or_create(root)
    if evidence:
        build(space.evidence, stream(), SIZES, name=HARVEST).close()
    Store(space.labels).insert(rows())
    return space
