"""How often do 95% intervals hold the truth on a real model's neurons, with labels that a job chose?

    python -m benchmarks.coverage_real [--features 128] [--repeats 20] [--level .95] [--json]

1. Neurons of layer 3 of all-MiniLM-L6-v2 are harvested from the Python documentation and labelled by the
   lexical job, as in `make demo`.
2. A neuron's population is all that was kept of it, of all splits: excerpts by kind, simulated from its
   label. Their r, each kind in the design's proportion, is the truth.
3. Excerpts are drawn from it with replacement, as many of a kind as the design has, and scored.

The labels were found on part of the population. That makes some of them good, and is no matter here: the
question is how a population looks through a sample of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.coverage import DESIGNS, plain_bootstrap
from benchmarks.labelling import label, neurons
from benchmarks.simulated_labels import Design
from exegete.datastore.evidence import AgentEvidence, ReportEvidence
from exegete.datastore.records import Excerpt, FeatureId, Floats, Plan
from exegete.datastore.workspace import Workspace
from exegete.scorers.intervals import correlation_draws
from exegete.scorers.reading import GROUPS, group_of
from exegete.scorers.resampling import percentile_interval
from exegete.scorers.statistics import Array, Paired, correlation, pair
from exegete.simulators.lexical import LexicalSimulator

EVERYTHING = Plan(top=20, per_decile=1000, quiet=200, hard=40)
LEAST = 10
"""Excerpts of a kind; a neuron with fewer is left out."""
BANDS = {"good": (0.6, 1.0), "middling": (0.3, 0.6), "poor": (-1.0, 0.3)}
"""Labels by the truth."""


@dataclass(frozen=True)
class Population:
    """All excerpts of a feature, by kind in the order of `GROUPS`."""

    simulated: tuple[tuple[Floats, ...], ...]
    true: tuple[tuple[Floats, ...], ...]

    def truth(self, design: Design) -> float:
        """r of the population, each kind in the design's proportion."""
        sizes = (design.top, design.sampled, design.quiet, design.hard)
        total: Array = np.zeros(6)
        for size, x, y in zip(sizes, self.simulated, self.true, strict=True):
            total = total + (size * pair(x, y).moments.mean(0) if size else 0)
        return float(correlation(total))

    def sample(self, rng: np.random.Generator, design: Design) -> Paired:
        """As many excerpts of every kind as a design has, with replacement."""
        simulated, true = [], []
        sizes = (design.top, design.sampled, design.quiet, design.hard)
        for size, x, y in zip(sizes, self.simulated, self.true, strict=True):
            for i in rng.integers(len(y), size=size):
                simulated.append(x[i])
                true.append(y[i])
        return pair(simulated, true)


def populations(space: Workspace, n_features: int) -> Iterator[Population]:
    """Harvest, label, and simulate every labelled neuron on all that was kept of it."""
    name = neurons(space, n_features, shuffle=False)
    rows, _ = label(space, name)
    texts = {row["feature_index"]: row["label"] for row in rows if row["score"] is not None}
    file = space.open_evidence(name)
    agent, report = AgentEvidence(file), ReportEvidence(file)
    for feature in file.features:
        if feature.index in texts:
            made = _population(agent, report, feature, texts[feature.index])
            if min(len(kind) for kind in made.true) >= LEAST:
                yield made
    file.close()


def _population(agent: AgentEvidence, report: ReportEvidence, feature: FeatureId, text: str) -> Population:
    kinds: dict[str, list[Excerpt]] = {group: [] for group in GROUPS}
    for split in (agent.explain, agent.refine, report.report):
        evidence = split(feature, EVERYTHING)
        for place, excerpt in enumerate(evidence.excerpts):
            kinds[group_of(excerpt.stratum, place < len(evidence.activating))].append(excerpt)
    simulator, simulated = LexicalSimulator(), []
    for members in kinds.values():
        levels = asyncio.run(simulator.simulate(text, [e.context for e in members])).levels
        simulated.append(tuple(x for x in levels if x is not None))
    true = tuple(tuple(e.activations for e in members) for members in kinds.values())
    return Population(tuple(simulated), true)


def measure(
    found: list[Population], design: Design, n_repeats: int, level: float
) -> Mapping[tuple[str, str], list[tuple[float, float, float]]]:
    """Intervals of all features by band and method, each with its truth."""
    rng = np.random.default_rng(0)
    held: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for population in found:
        truth = population.truth(design)
        band = next((band for band, (low, high) in BANDS.items() if low <= truth < high), None)
        for _ in range(n_repeats if band else 0):  # no r, no band: the label predicts nothing here
            paired = population.sample(rng, design)
            draws = {
                "r, bootstrap": plain_bootstrap(paired.moments, design.strata, rng, 2000),
                "r, as scored": correlation_draws(paired, design.strata, 0, 2000),
            }
            for method, values in draws.items():
                interval = percentile_interval(values, level)
                if interval.low is not None and interval.high is not None:
                    held.setdefault((band or "", method), []).append((interval.low, interval.high, truth))
    return held


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="How often do intervals hold the truth, on real neurons?")
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=20, help="samples a neuron")
    parser.add_argument("--level", type=float, default=0.95)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = list(populations(Workspace.open_or_create(Path(folder) / "workspace"), options.features))
    lines = []
    for design in DESIGNS:
        held = measure(found, design, options.repeats, options.level)
        for (band, method), ends in sorted(held.items()):
            low, high, truth = np.array(ends).T
            lines.append(
                {
                    "excerpts": f"{design.total} ({'+'.join(str(n) for n in design.strata)})",
                    "band": band,
                    "method": method,
                    "neurons": len(ends) // options.repeats,
                    "coverage": float(np.mean((low <= truth) & (truth <= high))),
                    "low_above": float(np.mean(low > truth)),
                    "high_below": float(np.mean(high < truth)),
                    "width": float(np.median(high - low)),
                }
            )
    if options.json:
        print(json.dumps(lines, indent=1))
        return
    print("excerpts           label     method        neurons  coverage   low>  high<  width")
    for line in lines:
        print(
            f"{line['excerpts']:17}  {line['band']:8}  {line['method']:12}  {line['neurons']:7}  "
            f"{line['coverage']:8.1%} {line['low_above']:6.1%} {line['high_below']:6.1%}  "
            f"{line['width']:5.2f}"
        )


if __name__ == "__main__":
    main()
