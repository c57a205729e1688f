"""Peak memory of a harvest, each measured in a process of its own; see benchmarks/harvest.py."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exegete.datastore.keeper import Keeper
from exegete.datastore.kept import Firings, KeptContext
from exegete.subjects.text_files import Document

SLOTS, TOP, SAMPLE = 131_072, 20, (100, 50, 50)
N_CONTEXTS, N_TOKENS, K = 8192, 128, 32


@dataclass(frozen=True)
class Endless:
    """As many documents of random words as are wanted."""

    name: str = "endless"

    def fingerprint(self) -> str:
        """Always the same."""
        return "endless"

    def documents(self) -> Iterator[Document]:
        """200 words each."""
        words = ["the", "quick", "fox", "jump", "lazy", "dog", "unlock", "moment", "able", "twice", "said"]
        for number in range(1 << 40):
            rng = np.random.default_rng(number)
            yield Document(f"d{number}", " ".join(rng.choice(words, 200)))


def at_many_tokens() -> dict[str, float]:
    """Peak megabytes of a harvest of the smallest model at 1 and at 10 million tokens, and their ratio."""
    peak = [_peak("tokens", str(n)) for n in (1_000_000, 10_000_000)]
    return {"peak_mb_at_1m_tokens": peak[0], "peak_mb_at_10m_tokens": peak[1], "ratio": peak[1] / peak[0]}


def at_many_latents() -> dict[str, float]:
    """Peak megabytes of a keeper of 131,072 latents, and what the formula allows."""
    return {
        "peak_mb": _peak("latents"),
        "formula_mb": formula(SLOTS, N_CONTEXTS, 2.0, N_CONTEXTS * K // 1024),
    }


def formula(n_slots: int, n_contexts: int, firings: float, pairs: int) -> float:
    """Megabytes, as datastore/keeper.py has it.

    Args:
        n_slots: feature slots.
        n_contexts: contexts that are referred to.
        firings: firings a pair.
        pairs: pairs a slot: at most 3 top + sample.
    """
    kept = n_slots * (700 + 1.5 * min(pairs, 3 * TOP + sum(SAMPLE)) * (22 + 6 * firings))
    return (kept + n_contexts * (1000 + 10 * N_TOKENS)) / 1e6 + 400


def _peak(*arguments: str) -> float:
    command = [sys.executable, "-m", "benchmarks.harvest_memory", *arguments]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def harvest_tokens(n: int) -> None:
    """Harvest n tokens with a model of two layers of width 16."""
    import torch

    from exegete.subjects.harvest import harvest
    from exegete.subjects.huggingface import open_subject
    from exegete.subjects.spec import HarvestSpec
    from tests.subjects.tiny import save

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        subject = open_subject(str(save("gpt2", Path(folder) / "model")), "cpu")
        spec = HarvestSpec("blocks.0.mlp.hook_post", tokens=n, context=64, batch=256)
        harvest(subject, Endless(), spec, Path(folder) / "evidence")


def keep_latents() -> None:
    """Feed a keeper of many slots with firings, two positions side by side each."""
    keeper = Keeper(SLOTS, np.arange(SLOTS) * 2, TOP, SAMPLE, (1000, 500, 500), 0)
    rng = np.random.default_rng(0)
    n = 32 * N_TOKENS * K // 2
    for at in range(0, N_CONTEXTS, 32):
        text = "\x1f".join(f" word{at + i % 7}" for i in range(N_TOKENS))
        batch = [
            KeptContext(int(i), int(i) % 3, f"d{at}", 0, np.zeros(N_TOKENS, np.int32), f"{text}{i}")
            for i in rng.integers(1, 1 << 62, 32)
        ]
        slot, row = rng.integers(0, SLOTS, n), np.repeat(np.arange(32), n // 32)
        first = rng.integers(0, N_TOKENS // 2, n) * 2
        # A slot that is drawn twice for a context would fire twice at one place: once is enough.
        kept = np.unique((slot * 32 + row) * N_TOKENS + first)
        key = np.concatenate([kept, kept + 1])
        value = rng.random(len(key)).astype(np.float32) + 0.1
        keeper.add(batch, Firings(key // (32 * N_TOKENS), key // N_TOKENS % 32, key % N_TOKENS, value))
    keeper.finish()


if __name__ == "__main__":
    if sys.argv[1] == "tokens":
        harvest_tokens(int(sys.argv[2]))
    else:
        keep_latents()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
