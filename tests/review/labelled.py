"""Workspaces with labels and nothing else, as a finished run leaves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.review.keys import Key
from tests.agent.harness import store_at

BEGUN = datetime(2026, 3, 1)
SCORER = "simulation@1(fake@1)"


def key(index: int, harvest: str = "h") -> Key:
    """The positive side of a feature."""
    return Key(harvest, index, "+")


def outcome(index: int, **more: Any) -> dict[str, Any]:
    """A row of `outcomes` that waits for review, but for what is given."""
    row = {
        "run": "r",
        "harvest": "h",
        "feature_index": index,
        "polarity": "+",
        "status": "review",
        "label_id": f"id{index}",
        "label": f"label {index}",
        "author": "lexical@1",
        "confidence": 0.5,
        "why": "r = .50 [.40, .60] straddles .50",
        "rounds": 1,
        "candidates": 3,
        "scorer": SCORER,
        "score": 0.5,
        "low": 0.4,
        "high": 0.6,
        "chance": 0.0,
        "p_value": 0.001,
        "refine_score": 0.5,
        "density": 0.001,
        "maximum": 2.0,
        "reasons": ["interval straddles the threshold"],
        "senses": [],
        "independence": "no model",
        "tests": None,
        "tests_held": None,
        "made_at": BEGUN,
    }
    return row | more


def workspace_of(
    root: Path, outcomes: Sequence[dict[str, Any]], twins: Mapping[int, int] | None = None, **tables: Any
) -> Workspace:
    """A workspace with these outcomes of one or more runs of one or more harvests.

    Args:
        root: its folder, new.
        outcomes: rows, as `outcome` makes them.
        twins: by feature index.
        **tables: rows of further tables.
    """
    workspace = Workspace.open_or_create(root)
    harvest = {"subject": "s", "site": "l", "layer": 3, "dictionary": "d", "tokens": 1, "sha256": "0"}
    run = {"kind": "job", "digest": "d", "version": "1", "made_at": BEGUN}
    parameters = {"threshold": 0.5, "scorers": ["simulation", "detection"], "scorer_versions": [SCORER]}
    names = sorted({(row["run"], row["harvest"]) for row in outcomes})
    q_values = [
        {
            **{name: row[name] for name in ("run", "scorer", "feature_index", "polarity")},
            "q_value": 0.01,
            "twins": (twins or {}).get(row["feature_index"], 0),
        }
        for row in outcomes
        if row["scorer"] is not None
    ]
    Store(workspace.labels).insert(
        {
            "harvests": [
                harvest | {"harvest": name, "parameters": "{}", "kind": "harvest"}
                for name in sorted({name for _, name in names})
            ],
            "runs": [run | {"run": name, "harvest": of, "parameters": parameters} for name, of in names],
            "outcomes": list(outcomes),
            "q_values": q_values,
            **tables,
        }
    )
    return workspace


def row_of(workspace: Workspace, index: int) -> dict[str, Any]:
    """A feature's row of the view `labels`."""
    (row,) = store_at(workspace.labels).read("SELECT * FROM labels WHERE feature_index = ?", [index])
    return row
