"""What the tests of harvests share: small corpora, parameters, ways to stop, all the rows of a harvest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exegete.datastore import keeper as keeper_module
from exegete.datastore import partition
from exegete.datastore.database import connect
from exegete.subjects import checkpoint, reading
from exegete.subjects.huggingface import HuggingFaceSubject
from exegete.subjects.spec import HarvestSpec, Progress
from tests.subjects.tiny import WORDS

Subjects = dict[str, HuggingFaceSubject]
SPEC = HarvestSpec(
    site="blocks.1.hook_mlp_out",
    features=(0, 3, 11, 15),
    polarity="both",
    context=14,
    batch=5,
    top=4,
    sample=20,
    quiet=24,
    firing_quantile=0.95,
    calibration=12,
)
TABLES = ("meta", "features", "contexts", "examples", "quiet_activations")


def distinct_corpus(folder: Path) -> Path:
    """60 documents of 9 to 60 words that end with their number; no two contexts are alike."""
    rng = np.random.default_rng(0)
    words = [*WORDS] * 4 + ["unlocking", "déjà", "it's", "(twice)", "…"]
    path = folder / "c.jsonl"
    texts = [" ".join([*rng.choice(words, int(rng.integers(9, 60))), str(100 + i)]) for i in range(60)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def uneven_corpus(folder: Path) -> Path:
    """120 documents of 1 to 60 words; every tenth is the one before it again."""
    rng = np.random.default_rng(0)
    path = folder / "c.jsonl"
    texts = [" ".join([*rng.choice(WORDS, int(rng.integers(1, 60))), str(100 + i)]) for i in range(120)]
    texts[9::10] = texts[8::10]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


@contextmanager
def impatient() -> Iterator[None]:
    """Blocks of some documents, partitions of three slots, and compaction every few pairs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "BLOCK", 8)
        patch.setattr(checkpoint, "_COST", 0)
        patch.setattr(partition, "PENDING", 8)
        patch.setattr(partition, "SLOTS", 3)
        patch.setattr(keeper_module, "_CONTEXTS", 8)
        yield


def tables(folder: Path, name: str) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of a harvest, by table."""
    with connect(folder / f"{name}.duckdb", read_only=True) as con:
        return {table: con.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}


class Stopped(Exception):
    """Raised in the middle of a harvest."""


def stop_after(n: int) -> Any:
    """A listener that raises on the n-th batch that was harvested."""
    seen = 0

    def listen(progress: Progress) -> None:
        nonlocal seen
        seen += progress.stage == "harvesting"
        if seen == n:
            raise Stopped

    return listen
