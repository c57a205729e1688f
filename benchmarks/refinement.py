"""Do rounds of tests pay? Four ways to spend tokens on a label, with scripted models, on planted features.

    python -m benchmarks.refinement [--json] [--features 12] [--neurons 0] [--seed 0]

    one shot             one label, scored
    best of k            k labels from one prompt; the refine split chooses
    revise from errors   one label, revised from its worst errors on the refine split, up to so many times
    falsify and revise   the same, the label tested on the subject before each revision, by 8 texts

1. So many features of each kind that the lexical grammar can say are planted on the Python documentation; a
   fifth of its contexts is kept apart, as what the scripted model knows of the language.
2. The model (guesser.py) has one of three habits. It is asked through the job's own graph, prompts and
   simulator; the bench computes the planted rule.
3. Every strategy is given at least the tokens of `falsify and revise` with two rounds, or as many as it
   takes: the smallest setting that spends as many. Scores are of the report split; gains over one shot, and
   over revising from errors alone, are paired by feature, with percentile bootstrap intervals. Tokens are
   characters / 4; those of the report split, which all strategies pay alike, are not counted.

`--neurons` adds the same on so many neurons of layer 3 of all-MiniLM-L6-v2, with the model itself as bench.
What the scripted model is shown decides what it says, but it is no language model: that a real one errs so,
or is moved so by a test, is not shown here.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.guesser import HABITS, Guesser, Habit
from benchmarks.guessing import Knowledge
from benchmarks.labelling import neurons
from exegete.agent.graph import build_graph, run_case
from exegete.agent.parts import open_parts
from exegete.agent.spec import JobSpec
from exegete.agent.subject import Subject
from exegete.agent.tags import Tags, at_work_on
from exegete.controls.bench import PlantedBench
from exegete.controls.suite import SuiteSpec, make_suite
from exegete.controls.text import Text, corpus_text
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.workspace import Workspace
from exegete.llm import LLM, Reply, Request
from exegete.subjects.bench import Bench
from exegete.subjects.corpora import open_corpus

KINDS = ("token", "token class", "form", "after a word", "or", "negated")
"""Of planted features: those that a label of the lexical grammar can say, with one strength."""
KEPT_APART = 5
"""Every so many-th context is general knowledge, on which nothing is planted."""
KNOWN = 150
"""Contexts of general knowledge."""

STRATEGIES: Mapping[str, tuple[dict[str, Any], ...]] = {
    "one shot": ({"candidates": 1, "rounds": 0},),
    "best of k": tuple({"candidates": k, "rounds": 0} for k in (2, 3, 4, 6, 8)),
    "revise from errors": tuple({"candidates": 1, "rounds": n} for n in (1, 2, 3, 4, 6)),
    "falsify and revise": ({"candidates": 1, "rounds": 2, "falsify": True},),
}
"""Settings of each strategy, the cheapest first."""
REFERENCE = "falsify and revise"


@dataclass(frozen=True)
class Case:
    """What a strategy came to on one feature."""

    label: str
    score: float
    """On the report split; 0 where a label predicts nothing."""
    tokens: Mapping[str, int]
    """Input and output, by stage."""

    @property
    def searched(self) -> int:
        """Tokens until the label was frozen."""
        return sum(n for stage, n in self.tokens.items() if stage != "report")


class Counting:
    """An LLM whose tokens are counted by stage."""

    def __init__(self, inner: LLM) -> None:
        self.inner = inner
        self.tokens: Counter[str] = Counter()
        self._tags = Tags()

    async def complete(self, request: Request) -> Reply:
        """Answer, and count."""
        reply = await self.inner.complete(request)
        self.tokens[self._tags["stage"]] += (reply.input_tokens or 0) + (reply.output_tokens or 0)
        return reply

    async def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class One:
    """A job's only model."""

    llm: LLM

    def open(self, spec: str | None) -> tuple[LLM | None, str | None]:
        """The model, whatever it is called."""
        return self.llm, spec


def run(file: EvidenceFile, bench: Bench, guesser: Guesser, setting: Mapping[str, Any]) -> list[Case]:
    """Label all features of a file one way."""
    spec = JobSpec(
        **{"explainer": "highlight", "llm": "scripted:guesser", "nulls": 0, "stop_early": False, **setting}
    )
    llm = Counting(guesser)
    graph = build_graph(open_parts(spec, file, One(llm), subject=Subject(bench)).nodes())

    async def label() -> list[Case]:
        found = []
        for feature in file.features:
            at_work_on(feature)
            llm.tokens.clear()
            state = await run_case(graph, feature)
            scores = state.get("scores")
            if not scores:
                continue
            text = state["verdict"].label.text
            found.append(Case(text, scores[0].value or 0.0, dict(llm.tokens)))
        return found

    return asyncio.run(label())


def split_off(text: Text) -> tuple[Text, Knowledge]:
    """The text to plant on, and what is kept apart."""
    apart = text.contexts[::KEPT_APART][:KNOWN]
    rest = tuple(c for i, c in enumerate(text.contexts) if i % KEPT_APART)
    known = Knowledge(tuple(word for c in apart for word in c.text.split("\x1f")))
    return replace(text, contexts=rest, digest=f"{text.digest} less 1 in {KEPT_APART}"), known


def searched(cases: Sequence[Case]) -> float:
    """Mean tokens a feature until its label was frozen."""
    return float(np.mean([case.searched for case in cases]))


def gain(cases: Sequence[Case], base: Sequence[Case]) -> tuple[float, float, float]:
    """Mean gain over another strategy, with its 95% interval: features are resampled."""
    from scipy.stats import bootstrap

    differences = np.asarray([a.score - b.score for a, b in zip(cases, base, strict=True)])
    if not differences.any():
        return 0.0, 0.0, 0.0
    interval = bootstrap((differences,), np.mean, n_resamples=5000, method="percentile", rng=0)
    return (
        float(differences.mean()),
        float(interval.confidence_interval.low),
        float(interval.confidence_interval.high),
    )


def at_equal_tokens(file: EvidenceFile, bench: Bench, guesser: Guesser) -> dict[str, dict[str, Any]]:
    """All strategies with one model, each with as many tokens as the reference, or as many as it takes."""
    (reference,) = STRATEGIES[REFERENCE]
    done = {REFERENCE: (reference, run(file, bench, guesser, reference))}
    room = searched(done[REFERENCE][1])
    for name, settings in STRATEGIES.items():
        if name == REFERENCE:
            continue
        for setting in settings:
            done[name] = setting, run(file, bench, guesser, setting)
            if searched(done[name][1]) >= room:
                break
    others = {name: done[name][1] for name in ("one shot", "revise from errors")}
    return {name: measured(*done[name], others) for name in STRATEGIES}


def measured(
    setting: Mapping[str, Any], cases: Sequence[Case], others: Mapping[str, Sequence[Case]]
) -> dict[str, Any]:
    """The figures of a strategy, with its gains over others."""
    stages = sorted({stage for case in cases for stage in case.tokens})
    return {
        "setting": dict(setting),
        "features": len(cases),
        "score": float(np.mean([case.score for case in cases])),
        "gain_over": {name: gain(cases, other) for name, other in others.items()},
        "tokens": round(searched(cases)),
        "by_stage": {
            stage: round(float(np.mean([case.tokens.get(stage, 0) for case in cases]))) for stage in stages
        },
    }


@contextmanager
def planted(folder: Path, n: int, seed: int) -> Iterator[tuple[EvidenceFile, Bench, Knowledge]]:
    """Planted features, n of each kind, and the text that was kept apart."""
    text, known = split_off(corpus_text(open_corpus("stdlib-docs"), seed))
    counts = tuple((kind, n) for kind in KINDS)
    space = Workspace.open_or_create(folder)
    manifest, _ = make_suite(text, SuiteSpec(counts, seed), space.evidence)
    file = space.open_evidence(manifest.name)
    try:
        yield file, PlantedBench(file), known
    finally:
        file.close()


@contextmanager
def real(folder: Path, n: int, seed: int) -> Iterator[tuple[EvidenceFile, Bench, Knowledge]]:
    """Neurons of a trained model, and the model."""
    from exegete.subjects.laboratory import Laboratory

    _, known = split_off(corpus_text(open_corpus("stdlib-docs"), seed))
    space = Workspace.open_or_create(folder)
    file = space.open_evidence(neurons(space, n, shuffle=False))
    laboratory = Laboratory.open(file)
    try:
        yield file, laboratory, known
    finally:
        laboratory.close()
        file.close()


def show(title: str, results: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """Print the strategies of one model."""
    table = Table(title=title, title_justify="left", box=None)
    for column in ("strategy", "", "score", "over one shot [95%]", "over errors [95%]", "tokens", "by stage"):
        table.add_column(column)
    for name, found in results.items():
        of = found["setting"]
        size = f"k = {of['candidates']}" if name == "best of k" else f"{of['rounds']} rounds"
        stages = ", ".join(f"{stage} {n:,}" for stage, n in found["by_stage"].items() if stage != "report")
        gains = ["{:+.3f} [{:+.3f}, {:+.3f}]".format(*some) for some in found["gain_over"].values()]
        table.add_row(name, size, f"{found['score']:.3f}", *gains, f"{found['tokens']:,}", stages)
    console.print(table)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--features", type=int, default=12)
    parser.add_argument("--neurons", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    console = Console(width=180)
    results: dict[str, dict[Habit, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        sources = {"planted": (planted, given.features), "neurons": (real, given.neurons)}
        for source, (opened, n) in sources.items():
            if not n:
                continue
            with opened(Path(folder) / source, n, given.seed) as (file, bench, known):
                results[source] = {h: at_equal_tokens(file, bench, Guesser(h, known)) for h in HABITS}
    if given.json:
        print(json.dumps(results))
        return
    for source, by_habit in results.items():
        for habit, found in by_habit.items():
            show(f"{source}, a model of {habit} guesses", found, console)


if __name__ == "__main__":
    main()
