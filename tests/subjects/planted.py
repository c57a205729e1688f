"""A real model with a feature that is known: a channel of its embeddings that only "fox" and "dog" have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from exegete.datastore.evidence_file import EvidenceFile
from exegete.subjects.corpora import open_corpus
from exegete.subjects.harvest import harvest
from exegete.subjects.huggingface import open_subject
from exegete.subjects.spec import HarvestSpec
from tests.subjects.tiny import WORDS, model_of, tokenizer_of

CHANNEL = 0
STRENGTH = {"fox": 3.0, "dog": 2.0}
SPEC = HarvestSpec(
    site="wte",
    features=(CHANNEL, 1, 2, 3),
    context=32,
    firing_quantile=0.92,
    calibration=100,
    top=5,
    quiet=200,
)


def plant(folder: Path) -> Path:
    """Save the model."""
    model, tokenizer = model_of("gpt2"), tokenizer_of("gpt2")
    with torch.no_grad():
        model.wte.weight[:, CHANNEL] = 0.0
        for word, strength in STRENGTH.items():
            (token,) = tokenizer(word, add_special_tokens=False)["input_ids"]
            model.wte.weight[token, CHANNEL] = strength
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def corpus(path: Path) -> Path:
    """200 documents of words that the tokenizer knows whole, and a number that tells them apart."""
    rng = np.random.default_rng(1)
    texts = [" ".join([*rng.choice(WORDS, 6), str(1000 + i)]) for i in range(200)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def planted_evidence(folder: Path) -> EvidenceFile:
    """The planted model's harvest, in a folder that holds everything."""
    model, text = plant(folder / "model"), corpus(folder / "corpus.jsonl")
    manifest, _ = harvest(open_subject(str(model), "cpu"), open_corpus(str(text)), SPEC, folder / "evidence")
    return EvidenceFile(folder / "evidence" / f"{manifest.name}.duckdb")
