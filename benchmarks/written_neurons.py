"""Neurons of known effect, written into a trained model.

A neuron of the third block's MLP is overwritten so that it fires on one frequent word of a corpus (its gate
and its input both read how far the block's input lies in that word's mean direction) and adds one direction
to the stream. That direction is a token's row of the unembedding: what the neuron does is known.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from exegete.subjects import bundled
from exegete.subjects.causal import CausalSubject, Ids
from exegete.subjects.corpora import Corpus
from exegete.subjects.output_tokens import token_names

LAYER = 2
SITE = f"blocks.{LAYER}.mlp.hook_post"
"""Where such neurons are read."""
_BEFORE = 3.0
"""What gate and input come to on the neuron's word, on the mean."""
_CONTEXTS, _LENGTH = 256, 100


def write_neurons(
    subject: CausalSubject, corpus: Corpus, tokens: Sequence[int], share: float, folder: Path
) -> Path:
    """Overwrite the first neurons of a block, and save the model.

    Args:
        subject: the model that comes with exegete.
        corpus: whose frequent words they fire on.
        tokens: ids of the tokens that they write.
        share: length of what a neuron adds on its word, in lengths of the stream.
        folder: where the model's folder is made.

    Returns:
        The model's folder.
    """
    batch = _contexts(subject, corpus)
    inputs_nD = _at_own(subject, f"layers.{LAYER}.post_attention_layernorm", batch)
    length = float(_at_own(subject, f"blocks.{LAYER}.hook_resid_post", batch).norm(dim=-1).median())
    read_nD = _reading(subject, batch, inputs_nD, len(tokens))
    rows_nD = _writing(subject, tokens)
    fired = float(torch.nn.functional.silu(torch.tensor(_BEFORE))) * _BEFORE
    model = AutoModelForCausalLM.from_pretrained(bundled.model_folder(), dtype=torch.float32)
    mlp = model.model.layers[LAYER].mlp
    with torch.no_grad():
        for i, (read_D, row_D) in enumerate(zip(read_nD, rows_nD, strict=True)):
            mlp.gate_proj.weight[i] = read_D
            mlp.up_proj.weight[i] = read_D
            mlp.down_proj.weight[:, i] = row_D * (share * length / fired)
    made = folder / "written"
    shutil.copytree(bundled.model_folder(), made, ignore=shutil.ignore_patterns("sae", "*.safetensors"))
    model.save_pretrained(made)
    return made


def _contexts(subject: CausalSubject, corpus: Corpus) -> list[Ids]:
    """Beginnings of the corpus's documents."""
    found: list[Ids] = []
    for document in corpus.documents():
        ids = subject.reader.tokenise(document.text).ids
        if len(ids) >= _LENGTH:
            found.append(ids[:_LENGTH])
        if len(found) == _CONTEXTS:
            break
    return found


def _at_own(subject: CausalSubject, site: str, batch: Sequence[Ids]) -> torch.Tensor:
    """(contexts · _LENGTH, width) what passes at a site."""
    parts = [subject.reader.activations(site, batch[at : at + 32]) for at in range(0, len(batch), 32)]
    return torch.cat([part[:, :_LENGTH].float().flatten(0, 1) for part in parts])


def _reading(subject: CausalSubject, batch: Sequence[Ids], inputs_nD: torch.Tensor, n: int) -> torch.Tensor:
    """(n, width) one direction a word, the most frequent words first."""
    ids = np.concatenate(batch)
    counts = Counter(ids.tolist())
    names = dict(zip(counts, token_names(subject, list(counts)), strict=True))
    words = [i for i, _ in counts.most_common() if names[i][:1] == " " and names[i][1:].isalpha()][:n]
    mean_D = inputs_nD.mean(0)
    unit_D = mean_D / mean_D.norm()
    rows = []
    for word in words:
        own_D = inputs_nD[torch.from_numpy(ids == word)].mean(0)
        away_D = own_D - mean_D
        away_D = away_D - (away_D @ unit_D) * unit_D  # silent on the ordinary
        rows.append(away_D * (_BEFORE / (away_D @ own_D)))
    return torch.stack(rows)


def _writing(subject: CausalSubject, tokens: Sequence[int]) -> torch.Tensor:
    """(n, width) unit rows whose lens is highest at each token."""
    head = subject._head.weight.detach().float()
    rows = (head[list(tokens)] - head.mean(0)) / subject._last_norm.weight.detach().float()
    return rows / rows.norm(dim=-1, keepdim=True)
