"""From what a case found to rows of the labels file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from exegete.agent.beside import beside
from exegete.agent.nulls import NullCase
from exegete.agent.state import CaseState
from exegete.controls.suite import controls_of
from exegete.datastore.evidence_file import EvidenceFile, FeatureSummary
from exegete.datastore.hashing import digest64
from exegete.datastore.records import Excerpt, FeatureId, Label, Score, Verdict

Tables = dict[str, list[dict[str, Any]]]

_OF_REPLY = (
    *("served_by", "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens"),
    *("usd", "prices", "batch", "latency_s", "attempts"),
)
"""Columns of `calls` that a reply has by the same name."""


def now() -> datetime:
    """UTC, without a zone: how the labels file keeps time."""
    return datetime.now(UTC).replace(tzinfo=None)


def label_id(harvest: str, label: Label) -> str:
    """Identifies a text said about a feature: the same words are the same label, whoever said them."""
    f = label.feature
    # What a feature does is another statement than what makes it fire, though it be in the same words.
    side = () if label.side == "input" else (label.side,)
    return f"{digest64(harvest, f.index, f.polarity, label.text, *side):016x}"


@dataclass(frozen=True, slots=True)
class Case:
    """A finished case."""

    state: CaseState
    summary: FeatureSummary
    harvest: str
    """The evidence it rests on."""
    made_at: datetime | None = None
    """When it was finished, UTC without a zone; None: now."""


def case_rows(run: str, case: Case, independence: str | None) -> Tables:
    """Rows of a finished case: its labels, scores, outcome and shown examples.

    Args:
        run: the run's name.
        case: what was found.
        independence: how independent the run's judge is of its explainer.
    """
    state, harvest, made_at = case.state, case.harvest, case.made_at or now()
    verdict = state["verdict"]
    trials, scores = state.get("trials", ()), state.get("scores", ())
    tables: Tables = {"labels": [], "scores": [], "outcomes": [], "examples": []}
    for trial in trials:
        tables["labels"].append(label_row(run, harvest, trial.label, made_at))
        tables["scores"].append(score_row(run, harvest, trial.label, trial.score, made_at))
    if verdict.label is not None:
        for score in scores:
            tables["scores"].append(score_row(run, harvest, verdict.label, score, made_at))
    attempts = state.get("attempts", ())
    tables["outcomes"].append(
        {
            "run": run,
            "harvest": harvest,
            **_feature(verdict.feature),
            **_verdict(harvest, verdict),
            "rounds": len(state.get("best_by_round", ())),
            "candidates": len(trials),
            **_primary(scores[0] if scores else None),
            "refine_score": attempts[0].score if attempts else None,
            "density": case.summary.density,
            "maximum": case.summary.maximum,
            "independence": independence if verdict.label else None,
            **beside(state),
            "made_at": made_at,
        }
    )
    for rank, excerpt in enumerate(state.get("shown", ())):
        tables["examples"].append(_example_row(harvest, verdict.feature, rank, excerpt))
    return tables


def label_row(run: str, harvest: str, label: Label, made_at: datetime) -> dict[str, Any]:
    """A row of `labels`."""
    return {
        "run": run,
        "label_id": label_id(harvest, label),
        "harvest": harvest,
        **_feature(label.feature),
        "round": label.round,
        "text": label.text,
        "author": label.author,
        "senses": list(label.senses),
        "side": label.side,
        "made_at": made_at,
    }


def score_row(run: str, harvest: str, label: Label, score: Score, made_at: datetime) -> dict[str, Any]:
    """A row of `scores`."""
    return {
        "run": run,
        "label_id": label_id(harvest, label),
        "feature_index": label.feature.index,
        "scorer": score.scorer,
        "split": score.split,
        "value": score.value,
        "low": score.low,
        "high": score.high,
        "chance": score.chance,
        "p_value": score.p_value,
        "n_asked": score.n_asked,
        "n_read": score.n_read,
        "why_none": score.why_none,
        "details": dict(score.details),
        "made_at": made_at,
    }


def null_rows(run: str, case: NullCase) -> list[dict[str, Any]]:
    """Rows of `nulls`: one a scorer, the primary one's with the verdict."""
    null, made_at = case.null, case.made_at or now()
    return [
        {
            "run": run,
            "harvest": case.harvest,
            **_feature(null.feature),
            "kind": null.kind,
            "text": case.text,
            "of_index": null.of.index if null.of else None,
            "of_polarity": null.of.polarity if null.of else None,
            "scorer": score.scorer,
            "value": score.value,
            "low": score.low,
            "high": score.high,
            "p_value": score.p_value,
            "n_asked": score.n_asked,
            "n_read": score.n_read,
            "why_none": score.why_none,
            "status": case.status if score is case.scores[0] else None,
            "made_at": made_at,
        }
        for score in case.scores
    ]


def feature_rows(file: EvidenceFile) -> Tables:
    """A harvest's own row and its features', as they stand in the labels file."""
    p = file.parameters
    harvest = {
        "harvest": file.name,
        "subject": p["subject"],
        "site": p["site"],
        "layer": p.get("layer"),
        "dictionary": p["dictionary"],
        "corpus": p.get("corpus"),
        "tokens": file.tokens,
        "sha256": file.manifest.sha256,
        "parameters": p,
        "kind": CONTROLS if p.get("kind") == CONTROLS else "harvest",
    }
    features = [
        {
            "harvest": file.name,
            **_feature(s.feature),
            "density": s.density,
            "fired": s.fired,
            "maximum": s.maximum,
            "threshold": s.threshold,
            "metadata": s.metadata,
        }
        for s in (file.summary(f) for f in file.features)
    ]
    planted = controls_of(file) if harvest["kind"] == CONTROLS else []
    controls = [
        {
            "harvest": file.name,
            "feature_index": control.index,
            "polarity": "+",
            "kind": control.kind,
            "truth": control.truth.right if control.truth else None,
            "positive": control.positive,
        }
        for control in planted
    ]
    return {"harvests": [harvest], "features": features, "controls": controls}


CONTROLS = "controls"
"""Kind of a harvest whose features are planted."""
AMBIGUOUS = "ambiguous"
"""How a call ended that was sent and never answered: maybe completed, maybe billed, never a score."""


def call_row(entry: dict[str, Any]) -> dict[str, Any]:
    """A row of `calls` from an entry of the journal: a reply, or a call that was lost."""
    tags, reply = entry.get("tags") or {}, entry.get("reply") or {}
    lost = "lost" in entry
    return {
        "key": f"{entry['lost']}@{entry['next']}" if lost else entry["key"],
        "run": tags.get("run"),
        "feature": tags.get("feature"),
        "stage": tags.get("stage"),
        "purpose": tags.get("purpose"),
        "model": entry["model"],
        "prompt": entry.get("prompt_version"),
        "sample": entry.get("sample"),
        "finish": AMBIGUOUS if lost else reply["finish"],
        **{name: reply.get(name) for name in _OF_REPLY},
        "most_usd": entry.get("most_usd") if lost else None,
        "made_at": datetime.fromisoformat(entry["at"]).astimezone(UTC).replace(tzinfo=None),
    }


def _feature(feature: FeatureId) -> dict[str, Any]:
    return {"feature_index": feature.index, "polarity": feature.polarity}


def _verdict(harvest: str, verdict: Verdict) -> dict[str, Any]:
    label = verdict.label
    return {
        "status": verdict.status,
        "label_id": label_id(harvest, label) if label else None,
        "label": label.text if label else None,
        "author": label.author if label else None,
        "confidence": verdict.confidence,
        "why": verdict.why,
        "reasons": list(verdict.reasons),
        "senses": list(label.senses) if label else [],
    }


def _primary(score: Score | None) -> dict[str, Any]:
    return {
        "scorer": score.scorer if score else None,
        "score": score.value if score else None,
        "low": score.low if score else None,
        "high": score.high if score else None,
        "chance": score.chance if score else None,
        "p_value": score.p_value if score else None,
    }


def _example_row(harvest: str, feature: FeatureId, rank: int, excerpt: Excerpt) -> dict[str, Any]:
    context, marked = excerpt.context, list(excerpt.context.tokens)
    if len(marked) != len(excerpt.activations):
        raise ValueError(f"an excerpt of {len(marked)} words has {len(excerpt.activations)} activations")
    for place in (excerpt.activations > 0).nonzero()[0].tolist():
        word = marked[place].lstrip()
        marked[place] = f"{marked[place][: len(marked[place]) - len(word)]}«{word}»"
    return {
        "harvest": harvest,
        **_feature(feature),
        "rank": rank,
        "stratum": excerpt.stratum,
        "peak": excerpt.peak,
        "weight": excerpt.weight,
        "document": context.document,
        "context_id": context.id,
        "start": context.start,
        "text": "".join(marked).strip(),
        "words": [word.strip() for word in context.tokens],
        "activations": excerpt.activations.tolist(),
    }
