"""What the wrong marks of fuzzing give away, and what its scorers say of right and of swapped labels.

    python -m benchmarks.marks [--features 128] [--workspace FOLDER]

On neurons of layer 3 of all-MiniLM-L6-v2 over the Python documentation, report sets of a default job:

1. How near wrong marks stand to the places of right ones, and how many are on words of the same kind.
2. The fuzzing score of simulators that go by places, or by looks (capitals, marks), and by nothing else.
3. Medians of each scorer with a neuron's own lexical label and with another one's, and the AUROC between.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.labelling import neurons
from exegete import explainers, scorers
from exegete.agent.spec import JobSpec
from exegete.datastore.evidence import AgentEvidence, ReportEvidence
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.records import Context, Evidence, Label
from exegete.datastore.workspace import Workspace
from exegete.scorers.fuzzing import FuzzingScorer
from exegete.scorers.marking import Marked, kind, marks_of, substitutes
from exegete.scorers.together import score_together
from exegete.simulators.lexical import LexicalSimulator
from exegete.simulators.simulator import Simulation

SCORERS = ("simulation", "detection", "fuzzing", "discrimination")
BLIND: dict[str, Callable[[int, int, str], float]] = {
    "first word": lambda i, n, word: 8.0 * (i == 0),
    "last two words": lambda i, n, word: 8.0 * (i >= n - 2),
    "middle third": lambda i, n, word: 8.0 * (n / 3 <= i < 2 * n / 3),
    "every third word": lambda i, n, word: 8.0 * (i % 3 == 0),
    "rising": lambda i, n, word: 10.0 * i / n,
    "capitals": lambda i, n, word: 8.0 * word.strip()[:1].isupper(),
    "marks": lambda i, n, word: 8.0 * (kind(word)[0] == 2),
}
"""Level of word i of n, whatever the label."""


class Blind:
    """A simulator that reads neither the label nor, mostly, the words."""

    name = "blind"

    def __init__(self, level: Callable[[int, int, str], float]) -> None:
        self._level = level

    async def simulate(self, label: str, contexts: Sequence[Context]) -> Simulation:
        """One level a word."""
        found = [
            np.array([self._level(i, len(c.tokens), w) for i, w in enumerate(c.tokens)], dtype=np.float32)
            for c in contexts
        ]
        return Simulation(tuple(found), (None,) * len(found))


def nearness(shown: Evidence) -> list[tuple[int, bool, bool]]:
    """Of every wrong mark: words from the right one's place, same class, same kind."""
    firing = range(len(shown.activating))
    true = [Marked(row, marks_of(shown.excerpts[row])) for row in firing]
    found = []
    for hosts in (firing, range(len(firing), len(shown.excerpts))):
        for model, false in zip(true, substitutes(shown.excerpts, true, hosts, 0), strict=True):
            if false is None:
                continue
            kinds = [
                sorted(kind(shown.excerpts[own.row].context.tokens[place]) for place in own.places)
                for own in (model, false)
            ]
            away = np.abs(model.places - false.places).tolist()
            found += [(d, a[0] == b[0], a == b) for d, a, b in zip(away, *kinds, strict=True)]
    return found


def blind_values(shown: Sequence[Evidence], level: Callable[[int, int, str], float]) -> np.ndarray:
    """Fuzzing scores of a blind simulator."""
    scorer = FuzzingScorer(Blind(level), "report", 0.75, 0, 0, 0)
    found = [asyncio.run(scorer.score(Label(e.feature, "", "benchmark"), e)).value for e in shown]
    return np.array([value for value in found if value is not None])


def own_and_swapped(shown: Sequence[Evidence], labels: Sequence[Label]) -> dict[str, np.ndarray]:
    """(2, n) values of every scorer with own labels and with the next feature's; NaN where undefined."""
    simulator = LexicalSimulator()
    built = [
        scorers.build(name, simulator, "report", threshold=0.5, seed=0, n_boot=0, n_perm=0)
        for name in SCORERS
    ]

    def scored(some: Sequence[Label]) -> list[list[float | None]]:
        pairs = zip(some, shown, strict=True)
        return [[one.value for one in asyncio.run(score_together(built, *pair))] for pair in pairs]

    found = [scored(some) for some in (labels, [*labels[1:], labels[0]])]
    return dict(zip(SCORERS, np.array(found, dtype=float).transpose(2, 0, 1), strict=True))


def labelled(file: EvidenceFile) -> tuple[list[Evidence], list[Label]]:
    """Report evidence and the lexical label of every feature that gets one."""
    plan = JobSpec(scorers=SCORERS).report_plan
    report, agent, explainer = ReportEvidence(file), AgentEvidence(file), explainers.build("lexical")
    shown, labels = [], []
    for feature in file.features:
        proposed = asyncio.run(explainer.explain(agent.explain(feature, explainer.plan), 1))
        if proposed:
            shown.append(report.report(feature, plan))
            labels.append(proposed[0])
    return shown, labels


def show(console: Console, shown: Sequence[Evidence], labels: Sequence[Label]) -> None:
    """Print a line on marks, and the two tables."""
    marks = np.array([mark for evidence in shown for mark in nearness(evidence)])
    there, near = np.mean(marks[:, 0] == 0), np.mean(marks[:, 0] <= 1)
    console.print(f"{len(shown)} neurons, {len(marks):,} wrong marks", soft_wrap=True)
    console.print(f"{there:.0%} at the place of a right one, {near:.0%} within a word", soft_wrap=True)
    console.print(f"{marks[:, 1].mean():.0%} on the same class of word, {marks[:, 2].mean():.0%} of one kind")
    table = Table("blind simulator", "mean fuzzing score", "standard error", "sd")
    for name, level in BLIND.items():
        values = blind_values(shown, level)
        spread = values.std()
        table.add_row(name, *(f"{x:.3f}" for x in (values.mean(), spread / len(values) ** 0.5, spread)))
    console.print(table)
    table = Table("scorer", "own label, median", "another's, median", "AUROC", "undefined")
    for name, values in own_and_swapped(shown, labels).items():
        own, other = (row[~np.isnan(row)] for row in values)
        above = (own[:, None] > other).mean() + (own[:, None] == other).mean() / 2
        cells = [f"{x:.2f}" for x in (np.median(own), np.median(other), above)]
        table.add_row(name, *cells, str(int(np.isnan(values).sum())))
    console.print(table)


def main() -> None:
    """Harvest, label and print."""
    parser = argparse.ArgumentParser(description="What wrong marks give away.")
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--workspace", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        space = Workspace.open_or_create(given.workspace or Path(folder) / "workspace")
        file = space.open_evidence(neurons(space, given.features, shuffle=False))
        show(Console(), *labelled(file))
        file.close()


if __name__ == "__main__":
    main()
