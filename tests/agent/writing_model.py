"""A small causal model, directions in it that write known tokens, random ones, and a harvest of them all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import decoders
from transformers import LlamaConfig, LlamaForCausalLM

from exegete.datastore.evidence_file import EvidenceFile
from exegete.subjects.corpora import open_corpus
from exegete.subjects.harvest import harvest
from exegete.subjects.huggingface import open_subject
from exegete.subjects.spec import HarvestSpec
from tests.subjects.tiny import WORDS, byte_level

WIDTH, VOCABULARY = 48, 352
SITE = "blocks.1.hook_resid_post"
PLANTED = ("fox", "dog", "lazy", "jump")
"""Tokens that the first directions write; their rows of the unembedding are longer than the others."""
N_RANDOM = 46


@dataclass(frozen=True)
class Written:
    """What was made."""

    model: Path
    file: EvidenceFile
    directions: Path


def make(folder: Path, *, context: int = 40, documents: int = 160) -> Written:
    """The model's folder, the directions' file and the evidence."""
    tokenizer = byte_level(bos=True)
    tokenizer.backend_tokenizer.decoder = decoders.ByteLevel()
    ids = [tokenizer(token, add_special_tokens=False)["input_ids"] for token in PLANTED]
    assert all(len(own) == 1 for own in ids)
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        max_position_embeddings=96,
        initializer_range=0.15,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        head = model.lm_head.weight
        for (token,) in ids:
            head[token] *= 4
        written = torch.stack([head[token] for (token,) in ids])
    model.save_pretrained(folder / "lm")
    tokenizer.save_pretrained(folder / "lm")
    randoms = torch.randn((N_RANDOM, WIDTH), generator=torch.Generator().manual_seed(5))
    rows = torch.cat([written, randoms])
    rows = rows / rows.norm(dim=-1, keepdim=True)
    directions = folder / "directions.safetensors"
    save_file({"rows": rows.detach().contiguous()}, directions)
    corpus = folder / "corpus.jsonl"
    rng = np.random.default_rng(1)
    texts = [" ".join([*rng.choice(WORDS, 24), str(100 + i)]) for i in range(documents)]
    corpus.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    spec = HarvestSpec(
        site=SITE,
        dictionary=f"directions:{directions}",
        context=context,
        batch=16,
        top=6,
        sample=40,
        quiet=160,
        firing_quantile=0.97,
        calibration=40,
    )
    subject = open_subject(str(folder / "lm"), "cpu")
    manifest, _ = harvest(subject, open_corpus(str(corpus)), spec, folder / "evidence")
    return Written(folder / "lm", EvidenceFile(folder / "evidence" / f"{manifest.name}.duckdb"), directions)
