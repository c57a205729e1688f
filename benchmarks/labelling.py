"""What the lexical pair is worth: against a crude lookup, by chance, and on planted features.

    python -m benchmarks.labelling [--json] [--workspace FOLDER] [--features 128]

1. Layer 3 of all-MiniLM-L6-v2 on the Python documentation: the lexical explainer's held-out r against that of
   a lookup of each neuron's 12 best words (their mean activation in the explain split), on the same excerpts.
2. The same on activations dealt to other contexts: how many labels are accepted although none can be right.
3. Planted features with known truth: how many are recovered, and how many random ones are accepted.
4. The rate of the labelling job, features a second, evidence already harvested.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.planted import write_planted
from exegete.agent.job import Job
from exegete.agent.spec import JobSpec
from exegete.datastore.evidence import AgentEvidence, ReportEvidence
from exegete.datastore.importing import ImportSpec, import_parquet
from exegete.datastore.records import Evidence, Plan
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.scorers.statistics import pair, pearson

SITE = "encoder.layer.3.intermediate"
BEST_WORDS = 12
EVERYTHING = Plan(top=20, per_decile=1000, quiet=100_000, window=None)


def lookup(evidence: Evidence) -> dict[str, float]:
    """A neuron's 12 best words by mean activation over all their occurrences in the explain split."""
    total: dict[str, float] = defaultdict(float)
    count: dict[str, int] = defaultdict(int)
    for excerpt in evidence.excerpts:
        for word, activation in zip(excerpt.context.tokens, excerpt.activations.tolist(), strict=True):
            key = word.strip().lower()
            total[key] += activation
            count[key] += 1
    mean = {word: total[word] / count[word] for word in total}
    return {word: mean[word] for word in sorted(mean, key=lambda w: (-mean[w], w))[:BEST_WORDS]}


def lookup_r(table: dict[str, float], evidence: Evidence) -> float:
    """Held-out r of the lookup; 0 where it predicts nothing."""
    simulated = [
        np.asarray([table.get(w.strip().lower(), 0.0) for w in e.context.tokens], dtype=np.float32)
        for e in evidence.excerpts
    ]
    return pearson(pair(simulated, [e.activations for e in evidence.excerpts])) or 0.0


def label(space: Workspace, harvest: str, **given: Any) -> tuple[list[dict[str, Any]], float]:
    """Run the lexical job; its outcomes, and features a second."""
    began = time.perf_counter()
    report = asyncio.run(Job(space, JobSpec(harvest=harvest, **given)).run())
    seconds = time.perf_counter() - began
    rows = Store(space.labels).read(
        "SELECT * FROM outcomes WHERE run = ? ORDER BY feature_index", [report.run]
    )
    return rows, report.progress.done / seconds


def neurons(space: Workspace, n_features: int, shuffle: bool, tokens: int | None = None) -> str:
    """Harvest the neurons, over all text or so many tokens of it; the harvest's name."""
    from exegete.subjects.corpora import open_corpus
    from exegete.subjects.harvest import harvest
    from exegete.subjects.huggingface import open_subject
    from exegete.subjects.spec import HarvestSpec

    spec = HarvestSpec(SITE, tuple(range(n_features)), tokens=tokens, shuffle=shuffle)
    subject = open_subject("all-MiniLM-L6-v2")
    manifest, _ = harvest(subject, open_corpus("stdlib-docs"), spec, space.evidence)
    return manifest.name


def against_lookup(space: Workspace, n_features: int) -> dict[str, Any]:
    """Part 1, and the rate."""
    name = neurons(space, n_features, shuffle=False)
    rows, rate = label(space, name)
    file = space.open_evidence(name)
    agent, report, plan = AgentEvidence(file), ReportEvidence(file), JobSpec().report_plan
    crude = {
        feature.index: lookup_r(lookup(agent.explain(feature, EVERYTHING)), report.report(feature, plan))
        for feature in file.features
    }
    file.close()
    scored = [row for row in rows if row["score"] is not None]
    ours = np.asarray([row["score"] for row in scored])
    theirs = np.asarray([crude[row["feature_index"]] for row in scored])
    return {
        "features": len(rows),
        "scored": len(scored),
        "lookup_median_r": float(np.median(theirs)),
        "lookup_above_half": int((theirs > 0.5).sum()),
        "lexical_median_r": float(np.median(ours)),
        "lexical_above_half": int((ours > 0.5).sum()),
        "gain_of_median": float(np.median(ours) - np.median(theirs)),
        "interval_above_chance": sum(r["low"] is not None and r["low"] > r["chance"] for r in scored),
        "accepted": sum(row["status"] == "accepted" for row in rows),
        "median_label_characters": float(np.median([len(row["label"]) for row in scored])),
        "features_a_second": rate,
    }


def shuffled(space: Workspace, n_features: int, tokens: int | None = None) -> dict[str, Any]:
    """Part 2, over all text or so many tokens of it."""
    rows, _ = label(space, neurons(space, n_features, shuffle=True, tokens=tokens))
    return {
        "features": len(rows),
        "accepted": sum(row["status"] == "accepted" for row in rows),
        "median_r": float(np.median([row["score"] or 0.0 for row in rows])),
    }


def planted(space: Workspace) -> dict[str, Any]:
    """Part 3."""
    with tempfile.TemporaryDirectory() as folder:
        kinds = write_planted(Path(folder))
        manifest, _ = import_parquet(Path(folder), ImportSpec(dictionary="planted"), space.evidence)
    rows, _ = label(space, manifest.name)
    by_kind: dict[str, dict[str, int]] = defaultdict(lambda: {"features": 0, "accepted": 0, "above .8": 0})
    for row in rows:
        counts = by_kind[kinds[row["feature_index"]]]
        counts["features"] += 1
        counts["accepted"] += row["status"] == "accepted"
        counts["above .8"] += (row["score"] or 0.0) >= 0.8
    return dict(by_kind)


def rate(space: Workspace, n_features: int) -> dict[str, Any]:
    """Part 4: the job alone, on many neurons."""
    name = neurons(space, n_features, shuffle=False)
    rows, a_second = label(space, name, name="rate")
    return {"features": len(rows), "features_a_second": a_second}


def main() -> None:
    """Run all parts and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--rate-features", type=int, default=1000)
    parser.add_argument("--workspace", type=Path, default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        space = Workspace.open_or_create(given.workspace or Path(folder) / "workspace")
        results = {
            "lookup": against_lookup(space, given.features),
            "shuffled": shuffled(space, given.features),
            "planted": planted(space),
            "rate": rate(space, given.rate_features) if given.rate_features else {},
        }
    if given.json:
        print(json.dumps(results))
        return
    console = Console()
    for part, values in results.items():
        table = Table(title=part, title_justify="left", show_header=False, box=None)
        for name, value in values.items():
            table.add_row(name, f"{value:.3f}" if isinstance(value, float) else str(value))
        console.print(table)


if __name__ == "__main__":
    main()
