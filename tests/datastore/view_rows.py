"""Rows of a labels file for tests of its views."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

START = datetime(2031, 1, 1)
Row = dict[str, Any]
Tables = dict[str, list[Row]]

HARVEST: Row = {
    "harvest": "h", "subject": "s@1", "site": "layers.3", "layer": 3, "dictionary": "neurons", "corpus": "c",
    "tokens": 1000, "sha256": "0", "parameters": {},
}  # fmt: skip


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


def of(feature: int) -> Row:
    return {"harvest": "h", "feature_index": feature, "polarity": "+"}


def outcome(feature: int, minute: int, label: str | None, run: str, **more: Any) -> Row:
    scored = {"scorer": "simulation@1", "score": 0.6, "low": 0.4, "high": 0.8, "chance": 0.1, "p_value": 0.01}
    row = {
        **of(feature), "run": run, "status": "review", "label": label, "author": "highlight/m@1",
        "confidence": 0.7, "why": "w", "rounds": 1, "candidates": 3, "refine_score": 0.65, "density": 0.002,
        "maximum": 4.0, "made_at": at(minute),
        "label_id": None if label is None else f"{feature}:{label}",
    }  # fmt: skip
    return row | (scored if label is not None else dict.fromkeys(scored)) | more


def review(feature: int, minute: int, decision: str, before: str | None, text: str | None = None) -> Row:
    return {
        **of(feature), "decision": decision, "text": text, "label_before": before, "reviewer": f"r{minute}",
        "label_id": f"{feature}:{text}" if decision == "edit" else None, "made_at": at(minute),
    }  # fmt: skip


def score(feature: int, minute: int, text: str, run: str, value: float, **more: Any) -> Row:
    return {
        "run": run, "label_id": f"{feature}:{text}", "scorer": "simulation@1", "split": "report",
        "value": value, "low": value - 0.1, "high": value + 0.1, "chance": 0.05, "p_value": 0.02,
        "n_asked": 9, "n_read": 9, "why_none": None, "details": {}, "made_at": at(minute),
    } | more  # fmt: skip


def label(feature: int, minute: int, text: str, run: str, author: str = "person") -> Row:
    return {
        **of(feature), "run": run, "label_id": f"{feature}:{text}", "round": 0, "text": text,
        "author": author, "made_at": at(minute),
    }  # fmt: skip


def q_value(feature: int, run: str, value: float, scorer: str = "simulation@1") -> Row:
    return {
        "run": run, "scorer": scorer, "feature_index": feature, "polarity": "+", "q_value": value,
    }  # fmt: skip
