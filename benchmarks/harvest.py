"""What a harvest costs beside the forward pass, and what it needs of memory.

    python -m benchmarks.harvest [--json] [--threads 1] [--rounds 3] [--memory] [--latents] [--device cuda]

1. GPT-2-small's shape with random weights, the residual stream after layer 6, contexts of 128 tokens, a
   top-32 autoencoder of 16,384 latents with random weights; and the neurons of layer 3 of all-MiniLM-L6-v2.
   The same text three ways, in turns: the forward pass up to the site and the encoder alone; the whole
   harvest; and one pass of the whole model, GPT-2's with its language-model head, with every activation of
   the dictionary stored, as tools do that sort them afterwards. A harvest that took no time beside the
   first would be faster than the last by `most_that_could_be`: the deeper the site, the less that is.
2. Reading the evidence of that harvest: all features in order, and one alone in a file just opened.
3. --memory: peak memory of a harvest of a very small model at 1 and at 10 million tokens.
4. --latents: peak memory of a keeper of 131,072 latents, against the formula in datastore/keeper.py.

Rates are of CPU time, which a busy machine disturbs little; on a GPU (--device cuda, never tried: there was
none) of the clock, in bfloat16 and batches of 32,768 tokens. Ratios are medians over rounds, each within one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import numpy as np

from benchmarks.harvest_memory import at_many_latents, at_many_tokens
from exegete.datastore.evidence import AgentEvidence
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.records import Plan
from exegete.subjects import harvest as harvesting
from exegete.subjects.capture import hooked
from exegete.subjects.causal import open_causal
from exegete.subjects.corpora import StdlibDocs
from exegete.subjects.dictionaries import Dictionary, Neurons
from exegete.subjects.harvest import harvest
from exegete.subjects.huggingface import HuggingFaceSubject, open_subject
from exegete.subjects.reading import Batch, Place, batches
from exegete.subjects.spec import HarvestSpec

N_LATENTS, K = 16_384, 32


@dataclass
class Case:
    """A subject, a site and a dictionary."""

    subject: HuggingFaceSubject
    spec: HarvestSpec
    dictionary: Dictionary
    whole: Callable[[list[Any]], Any]
    """Run the whole model once on token ids; what passed at the site, (contexts, longest, width)."""


class TopK:
    """A top-k autoencoder's encoder with random weights."""

    name, n_features, sparse = f"topk-{N_LATENTS}-{K}@random", N_LATENTS, True

    def __init__(self, width: int) -> None:
        import torch

        self.width = width
        generator = torch.Generator().manual_seed(0)
        self._W_dF = torch.randn((width, N_LATENTS), generator=generator) / width**0.5

    def fire(self, acts_ND: Any) -> Any:
        """The K largest of each token that are above 0."""
        import torch

        self._W_dF = self._W_dF.to(acts_ND.device)
        value_NK, feature_NK = torch.topk(acts_ND.float() @ self._W_dF, K)
        token, rank = (value_NK > 0).nonzero(as_tuple=True)
        return token, feature_NK[token, rank], value_NK[token, rank]


def gpt2(folder: Path, device: str) -> Case:
    """GPT-2 small's shape, a tokenizer of bytes and common words, and the autoencoder."""
    import torch
    from transformers import GPT2Config, GPT2Model

    from tests.subjects.tiny import byte_level

    torch.manual_seed(0)
    GPT2Model(GPT2Config()).save_pretrained(folder)
    byte_level().save_pretrained(folder)
    subject = open_subject(str(folder), device)
    causal = open_causal(str(folder), device)
    site = causal.reader.site("blocks.6.hook_resid_post")

    def whole(ids: list[Any]) -> Any:
        passed: list[Any] = []
        handle = hooked(causal.module(site), site, passed.append)
        causal.logits(ids)
        handle.remove()
        return passed[0]

    spec = HarvestSpec("blocks.6.hook_resid_post", dictionary="topk")
    return Case(subject, spec, cast("Dictionary", TopK(768)), whole)


def minilm(device: str) -> Case:
    """Layer 3 of the embedded default."""
    subject = open_subject("all-MiniLM-L6-v2", device)
    spec = HarvestSpec("encoder.layer.3.intermediate")

    def whole(ids: list[Any]) -> Any:
        return subject.activations_at([spec.site, "encoder.layer.5"], ids)[spec.site]

    return Case(subject, spec, Neurons(1536), whole)


def forward_and_encode(case: Case, read: list[Batch]) -> None:
    """The least that a harvest has to do: the model up to the site, the dictionary, and what fires."""
    import torch

    n = case.dictionary.n_features
    threshold, features = torch.full((n,), 1e9, device=case.subject.device), torch.arange(n)
    for batch in read:
        ids = [context.token_ids for context in batch]
        acts_BTD = case.subject.activations(case.spec.site, ids)
        acts_ND = torch.cat([acts_BTD[row, : len(own)] for row, own in enumerate(ids)])
        if case.dictionary.sparse:
            case.dictionary.fire(acts_ND)
        else:
            (case.dictionary.encode(acts_ND, features) > threshold).any()


def store_everything(case: Case, read: list[Batch]) -> None:
    """The whole model, and every activation of every feature kept in memory (of a dense one, above 0)."""
    kept: list[Any] = []
    for batch in read:
        acts_BTD = case.whole([context.token_ids for context in batch])
        acts_ND = acts_BTD.reshape(-1, acts_BTD.shape[-1])
        kept.append(case.dictionary.fire(acts_ND))


def timed(work: Callable[[], Any], device: str) -> float:
    """CPU seconds; with a GPU, seconds of the clock until it is done."""
    import torch

    on_cpu = device == "cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    begun = clock()
    work()
    if not on_cpu:
        torch.accelerator.synchronize()
    return clock() - begun


def rates(case: Case, n_tokens: int, rounds: int, folder: Path) -> dict[str, float]:
    """Tokens a second three ways, and their ratios."""
    device = case.subject.device
    batch = case.spec.batch if device == "cpu" else 32_768 // case.spec.context
    spec, corpus = replace(case.spec, tokens=n_tokens, batch=batch), StdlibDocs()
    read = [b for b in batches(case.subject, corpus, spec) if not isinstance(b, Place)]
    n = sum(len(c.token_ids) for b in read for c in b)
    found: dict[str, list[float]] = {"forward_and_encode": [], "harvest": [], "store_everything": []}
    with patch.object(harvesting, "open_dictionary", lambda *_: case.dictionary):
        forward_and_encode(case, read[:2])
        for number in range(rounds):
            ways: dict[str, Callable[[], Any]] = {
                "forward_and_encode": lambda: forward_and_encode(case, read),
                "harvest": lambda at=folder / str(number): harvest(case.subject, corpus, spec, at),
                "store_everything": lambda: store_everything(case, read),
            }
            for name in sorted(ways, reverse=bool(number % 2)):
                found[name].append(n / timed(ways[name], device))
    result: dict[str, float] = {"tokens": n}
    result |= {f"{name}_tokens_a_second": statistics.median(values) for name, values in found.items()}
    for name, way, other in (
        ("ratio_to_forward_and_encode", "harvest", "forward_and_encode"),
        ("ratio_to_storing_everything", "harvest", "store_everything"),
        ("most_that_could_be", "forward_and_encode", "store_everything"),
    ):
        pairs = zip(found[way], found[other], strict=True)
        result[name] = statistics.median(a / b for a, b in pairs)
    return result


def reading(path: Path) -> dict[str, float]:
    """Milliseconds to read all stored rows of a feature: in order, in chunks of 64; and alone."""
    file = EvidenceFile(path)
    features = file.features[:4096]
    begun = time.process_time()
    for at in range(0, len(features), 64):
        file.prefetch(features[at : at + 64])
    chunked = 1000 * (time.process_time() - begun) / len(features)
    file.close()
    alone, whole = [], []
    for feature in features[:: max(1, len(features) // 10)][:10]:
        file = EvidenceFile(path)
        begun = time.process_time()
        file.rows(feature)
        alone.append(1000 * (time.process_time() - begun))
        begun = time.process_time()
        AgentEvidence(file).explain(feature, Plan())
        whole.append(1000 * (time.process_time() - begun))
        file.close()
    return {
        "rows_in_chunks_ms": chunked,
        "rows_alone_ms": float(np.median(alone)),
        "first_excerpts_ms": float(np.median(whole)),
    }


def main() -> None:
    """Run what was asked for and print it."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=8_000, help="of GPT-2; MiniLM reads 8 times as many")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--latents", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        if given.rounds:
            cases = (
                ("gpt2_sae", gpt2(root / "gpt2", given.device), 1),
                ("minilm_neurons", minilm(given.device), 8),
            )
            for case_name, case, times in cases:
                results[case_name] = rates(case, given.tokens * times, given.rounds, root / case_name)
                (path,) = (root / case_name / "0").glob("*.duckdb")
                results[case_name] |= reading(path)
        if given.memory:
            results["memory"] = at_many_tokens()
        if given.latents:
            results["latents"] = at_many_latents()
    if given.json:
        print(json.dumps(results))
        return
    for part, values in results.items():
        print(part)
        for key, value in values.items():
            print(f"  {key:36}{value:12,.3f}")


if __name__ == "__main__":
    main()
