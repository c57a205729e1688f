"""Are features' effects found, and only where there are any? Planted neurons, random directions, latents.

    python -m benchmarks.outputs [--json] [--planted 12] [--share 1] [--random 96] [--latents 24]

The subject is the small language model that comes with exegete, on the Python documentation, in its third
block. Planted features are neurons that are written into it: they fire on a word, and add a known token's row
of the unembedding to the stream (benchmarks/written_neurons.py); random ones are isotropic directions of the
stream, into which nothing was written; latents are those of its own autoencoder, drawn at random among those
that fire. Labels and judges are the ones that ask no model. Printed are

- how often the planted token comes first in the lens and in the token change;
- how often ablation, and the push that steering takes, are found at p <= .05 and above all 50 random
  directions, and ablation's mean p, which is one half where features are random directions themselves;
- how often continuations are told by the direction's own label at p <= .05, and by another direction's;
- seconds a feature, by step.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from safetensors.torch import save_file

from benchmarks.written_neurons import SITE as NEURONS
from benchmarks.written_neurons import write_neurons
from exegete.agent.output import OutputFindings, OutputStudy
from exegete.agent.output_texts import own_contexts
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.records import FeatureId, Label, Score
from exegete.scorers.steering import LexicalJudge, deal, steering_score
from exegete.subjects import bundled
from exegete.subjects.causal import CausalSubject, open_causal
from exegete.subjects.corpora import open_corpus
from exegete.subjects.harvest import harvest
from exegete.subjects.huggingface import open_subject
from exegete.subjects.laboratory import Laboratory
from exegete.subjects.output_tokens import token_names
from exegete.subjects.spec import HarvestSpec

SITE = "blocks.2.hook_resid_post"
CORPUS = "stdlib-docs"
ALPHA = 0.05


@dataclass(frozen=True)
class Studied:
    """One feature."""

    token: str | None
    """What was planted."""
    found: OutputFindings
    by_another: Score
    """Steering by the label of the feature studied before it."""
    seconds: float


def planted_tokens(subject: CausalSubject, n: int, seed: int) -> list[int]:
    """Whole words of the vocabulary, drawn at random."""
    ids = np.random.default_rng(seed).permutation(len(subject.reader.tokenizer)).tolist()
    names = dict(zip(ids, token_names(subject, ids), strict=True))
    words = [i for i in ids if names[i][:1] == " " and names[i][1:].isalpha() and len(names[i]) > 4]
    return words[:n]


def write_directions(subject: CausalSubject, n: int, path: Path) -> str:
    """Isotropic directions of length 1 as a dictionary; its name."""
    rows = torch.randn((n, subject._head.weight.shape[1]), generator=torch.Generator().manual_seed(1))
    save_file({"rows": rows / rows.norm(dim=-1, keepdim=True)}, path)
    return f"directions:{path}"


def harvested(subject: str, spec: HarvestSpec, folder: Path) -> EvidenceFile:
    """Evidence of some features."""
    manifest, _ = harvest(open_subject(subject, "cpu"), open_corpus(CORPUS), spec, folder)
    return EvidenceFile(folder / f"{manifest.name}.duckdb")


def study(file: EvidenceFile, features: Sequence[FeatureId], tokens: Sequence[str | None]) -> list[Studied]:
    """Study features one after another; the first one's controls are made before, and not counted."""
    lab = Laboratory.open(file, device="cpu")
    try:
        studied = OutputStudy.open(lab, file, explainer=(None, None), judge=(None, None), seed=0)
        start = time.perf_counter()
        studied._steering_of.compare(lab.feature(features[0]))
        first = features[0]
        studied._ablation_of.compare(
            lab.feature(first), own_contexts(file, first), file.summary(first).density
        )
        Console(stderr=True).print(f"controls of {file.name}: {time.perf_counter() - start:.1f} s")
        found: list[Studied] = []
        for feature, token in zip(features, tokens, strict=True):
            start = time.perf_counter()
            one = asyncio.run(studied.study(feature))
            seconds = time.perf_counter() - start
            before = found[-1].found.label if found else None
            wrong = Label(feature, before.text if before else 'raises "nothing"', "x", side="output")
            compared = studied._steering_of.compare(lab.feature(feature))
            rounds = [] if isinstance(compared, str) else deal(wrong, compared.own, compared.controls, 0)
            score = asyncio.run(steering_score(wrong, rounds, LexicalJudge(0)))
            found.append(Studied(token, one, score, seconds))
        return found
    finally:
        lab.close()


def measured(some: Sequence[Studied]) -> dict[str, Any]:
    """The figures of one kind."""
    ablations = [one.found.ablation for one in some if one.found.ablation.value is not None]
    steerings = [s for one in some if (s := one.found.steering) is not None and s.value is not None]
    pushes = [s.details["p_push"] for s in steerings]
    others = [one.by_another for one in some[1:] if one.by_another.value is not None]

    def share(values: Sequence[float | None], at_most: float) -> float | None:
        known = [value for value in values if value is not None]
        return round(float(np.mean(np.asarray(known) <= at_most)), 3) if known else None

    def median(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return round(float(np.median(known)), 4) if known else None

    def mean(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return round(float(np.mean(known)), 3) if known else None

    def first(kind: str) -> float | None:
        tops = [
            (each.top_tokens[0], one.token)
            for one in some
            for each in one.found.tokens
            if each.kind == kind and one.token is not None
        ]
        return round(float(np.mean([top == token for top, token in tops])), 3) if tops else None

    return {
        "features": len(some),
        "lens_first": first("logit lens"),
        "change_first": first("token change"),
        "ablated": len(ablations),
        "ablation_median": median([s.value for s in ablations]),
        "ratio_median": median([s.details["ratio"] for s in ablations]),
        "ablation_found": share([s.p_value for s in ablations], ALPHA),
        "movement_found": share([s.details["p_movement"] for s in ablations], ALPHA),
        "ablation_p_mean": mean([s.p_value for s in ablations]),
        "ablation_first": share([s.p_value for s in ablations], 1 / 51 + 1e-9),
        "above_others_median": median([s.details["share_of_others_below"] for s in ablations]),
        "push_found": share(pushes, ALPHA),
        "push_first": share(pushes, 1 / 51 + 1e-9),
        "push_median": median([s.details["push"] for s in steerings]),
        "steering_mean": round(float(np.mean([s.value or 0 for s in steerings])), 3) if steerings else None,
        "told": share([s.p_value for s in steerings], ALPHA),
        "told_by_another": share([s.p_value for s in others], ALPHA),
        "seconds_median": median([one.seconds for one in some]),
    }


def study_planted(n: int, given: argparse.Namespace, folder: Path) -> list[Studied]:
    """Neurons written into the model."""
    subject = open_causal(bundled.NAME, "cpu")
    ids = planted_tokens(subject, n, 0)
    model = write_neurons(subject, open_corpus(CORPUS), ids, given.share, folder)
    spec = HarvestSpec(site=NEURONS, features=tuple(range(n)), tokens=given.tokens, sample=60, quiet=300)
    with closing(harvested(str(model), spec, folder)) as file:
        return study(file, file.features, token_names(subject, ids))


def study_random(n: int, given: argparse.Namespace, folder: Path) -> list[Studied]:
    """Directions into which nothing was written."""
    rows = write_directions(open_causal(bundled.NAME, "cpu"), n, folder / "directions.safetensors")
    spec = HarvestSpec(site=SITE, dictionary=rows, tokens=given.tokens, sample=60, quiet=300)
    with closing(harvested(bundled.NAME, spec, folder)) as file:
        return study(file, file.features, [None] * n)


def study_latents(n: int, given: argparse.Namespace, folder: Path) -> list[Studied]:
    """Latents of the model's own autoencoder that fire often enough."""
    spec = HarvestSpec(site=SITE, dictionary=bundled.DICTIONARY, tokens=given.tokens, sample=60, quiet=300)
    with closing(harvested(bundled.NAME, spec, folder)) as file:
        alive = [f for f in file.features if file.summary(f).fired_contexts["report"] >= 10]
        drawn = sorted(np.random.default_rng(0).permutation(len(alive))[:n])
        return study(file, [alive[i] for i in drawn], [None] * len(drawn))


STUDIES = {"planted": study_planted, "random": study_random, "latents": study_latents}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--latents", type=int, default=24)
    parser.add_argument("--planted", type=int, default=12)
    parser.add_argument("--random", type=int, default=96)
    parser.add_argument("--share", type=float, default=1.0, help="what neurons add, by the stream's length")
    parser.add_argument("--tokens", type=int, default=60_000)
    given = parser.parse_args()
    values: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, n in (("planted", given.planted), ("random", given.random), ("latents", given.latents)):
            if n:
                made = STUDIES[kind](n, given, Path(folder))
                values[kind] = measured(made)
    Console().print_json(json.dumps(values)) if given.json else Console().print(values)


if __name__ == "__main__":
    main()
