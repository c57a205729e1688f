"""Do labels with senses pay without a language model? Neurons' excerpts are grouped, and both labels scored.

    python -m benchmarks.senses [--json] [--workspace FOLDER] [--features 128] [--sentences]

Layer 3 of all-MiniLM-L6-v2 on the Python documentation, as in benchmarks.labelling, and the same with
activations dealt to other contexts. The `clustered` explainer around `lexical` proposes; the label with
senses is held against the best plain one on the refine split, and both are scored on the report split,
whichever would have been chosen. `--sentences` groups excerpts by sentence embeddings in place of words.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.labelling import neurons
from exegete.agent.spec import JobSpec
from exegete.agent.strategy import SENSES_GAIN
from exegete.datastore.evidence import AgentEvidence, ReportEvidence
from exegete.datastore.records import Evidence, Label
from exegete.datastore.workspace import Workspace
from exegete.explainers.clustered import ClusteredExplainer
from exegete.explainers.lexical import LexicalExplainer
from exegete.explainers.surroundings import Profile
from exegete.scorers.simulation import SimulationScorer
from exegete.simulators.lexical import LexicalSimulator
from exegete.subjects.sentences import Sentences


@dataclass(frozen=True)
class Compared:
    """A neuron's label with senses against its best plain one."""

    lead: float
    """On the refine split."""
    gain: float
    """On the report split."""
    own: int
    """Senses with a share of their own there."""


def r_of(label: Label, evidence: Evidence) -> tuple[float, int]:
    """The label's r (0 where it is undefined), and its senses with a share of their own."""
    scorer = SimulationScorer(LexicalSimulator(), evidence.split, 0.5, seed=0, n_boot=0, n_perm=0)
    score = asyncio.run(scorer.score(label, evidence))
    return score.value or 0.0, int(score.details.get("own_senses") or 0)


def compare(space: Workspace, harvest: str, explainer: ClusteredExplainer) -> tuple[int, list[Compared]]:
    """How many neurons got labels, and what became of those with senses."""
    spec, n, found = JobSpec(), 0, []
    file = space.open_evidence(harvest)
    agent, report = AgentEvidence(file), ReportEvidence(file)
    for feature in file.features:
        labels = asyncio.run(explainer.explain(agent.explain(feature, explainer.plan), spec.candidates))
        n += bool(labels)
        if not labels or not labels[-1].senses:
            continue
        shown = agent.refine(feature, spec.refine_plan)
        tried = [r_of(label, shown)[0] for label in labels]
        plain = labels[int(np.argmax(tried[:-1]))]
        last = report.report(feature, spec.report_plan)
        whole, own = r_of(labels[-1], last)
        found.append(Compared(tried[-1] - max(tried[:-1]), whole - r_of(plain, last)[0], own))
    file.close()
    return n, found


def measured(n: int, found: list[Compared]) -> dict[str, Any]:
    """Counts, and mean gains on the report split, by the lead asked for on the refine split."""

    def mean(some: list[Compared]) -> float | None:
        return round(float(np.mean([one.gain for one in some])), 3) if some else None

    ahead = [one for one in found if one.lead > 0]
    clear = [one for one in found if one.lead >= SENSES_GAIN]
    return {
        "labelled": n,
        "with_senses": len(found),
        "two_own_senses": sum(one.own > 1 for one in found),
        "gain": mean(found),
        "ahead_on_refine": len(ahead),
        "gain_of_these": mean(ahead),
        f"ahead_by_{SENSES_GAIN}": len(clear),
        "gain_of_those": mean(clear),
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--sentences", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        space = Workspace.open_or_create(given.workspace or Path(folder) / "workspace")
        embedder = Sentences.open(None) if given.sentences else Profile()
        explainer = ClusteredExplainer(LexicalExplainer(), embedder)
        values = {
            name: measured(*compare(space, neurons(space, given.features, shuffle), explainer))
            for name, shuffle in (("neurons", False), ("dealt", True))
        }
    Console().print_json(json.dumps(values)) if given.json else Console().print(values)


if __name__ == "__main__":
    main()
