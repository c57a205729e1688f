"""How fast texts are run on a subject, and what batches over several questions would give.

    python -m benchmarks.laboratory [--subject all-MiniLM-L6-v2 --site encoder.layer.3.intermediate] [--json]

A question is what a scorer or a round of falsification asks: twenty texts of a dozen words for one feature.
"one by one" and "sixteen at once" go through `exegete.subjects.laboratory`, with and without measurements
written down; "one batch" is the bare model on the texts of sixteen questions together, sorted by length.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from exegete.datastore.evidence_file import EvidenceFile
from exegete.subjects.corpora import open_corpus
from exegete.subjects.harvest import harvest
from exegete.subjects.huggingface import open_subject
from exegete.subjects.laboratory import Laboratory
from exegete.subjects.spec import HarvestSpec

QUESTIONS, TEXTS, WORDS = 16, 20, 12
TURNS = 5


def questions(seed: int) -> list[list[str]]:
    """Texts of common words, no two alike."""
    rng = np.random.default_rng(seed)
    words = (
        "the a of with read write file value error list object thread returns function called when is not it"
    )
    choice = words.split()
    return [
        [" ".join([*rng.choice(choice, int(rng.integers(6, 2 * WORDS - 6))), str(rng.integers(10**6))])
         for _ in range(TEXTS)]
        for _ in range(QUESTIONS)
    ]  # fmt: skip


def rate(work: Callable[[int], None]) -> float:
    """Texts a second: the median of a few turns, each with new texts."""
    took = []
    for turn in range(TURNS + 1):
        begun = time.perf_counter()
        work(turn)
        took.append(time.perf_counter() - begun)
    return QUESTIONS * TEXTS / float(np.median(took[1:]))


def measure(subject: str, site: str, folder: Path) -> dict[str, float]:
    """Texts a second, by the way they are asked about."""
    spec = HarvestSpec(site, features=tuple(range(QUESTIONS)), tokens=100_000)
    reader = open_subject(subject)
    manifest, _ = harvest(reader, open_corpus("stdlib-docs"), spec, folder)
    file = EvidenceFile(folder / f"{manifest.name}.duckdb")
    plain = Laboratory.open(file)
    kept = Laboratory.open(file, remembered=folder / "measurements")

    def one_by_one(turn: int) -> None:
        for feature, texts in zip(file.features, questions(turn), strict=True):
            asyncio.run(plain.measure(feature, texts))

    def at_once(lab: Laboratory, turn: int) -> None:
        async def ask() -> None:
            asked = zip(file.features, questions(turn), strict=True)
            await asyncio.gather(*(lab.measure(feature, texts) for feature, texts in asked))

        asyncio.run(ask())

    def one_batch(turn: int) -> None:
        tokens = [reader.tokenise(text).ids for texts in questions(turn) for text in texts]
        reader.activations(site, sorted(tokens, key=len))

    found = {
        "one by one": rate(one_by_one),
        "sixteen at once": rate(lambda turn: at_once(plain, 100 + turn)),
        "sixteen at once, written down": rate(lambda turn: at_once(kept, 200 + turn)),
        "one batch, the bare model": rate(one_batch),
    }
    plain.close()
    kept.close()
    file.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--subject", default="all-MiniLM-L6-v2")
    parser.add_argument("--site", default="encoder.layer.3.intermediate")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(given.subject, given.site, Path(folder))
    if given.json:
        print(json.dumps(found))
        return
    for name, texts in found.items():
        print(f"{name:32} {texts:8,.0f} texts a second")


if __name__ == "__main__":
    main()
