"""Features of a real model for which no label should be right: random directions, and random weights.

Both are read on the same text as the planted features, and fire as often as those do: above a quantile of
their own activations on a sample of the contexts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from exegete.controls.planting import Fired
from exegete.datastore.kept import KeptContext
from exegete.datastore.records import Floats

if TYPE_CHECKING:
    import torch

    from exegete.subjects.huggingface import HuggingFaceSubject

NEURONS = "encoder.layer.3.intermediate"
"""Where the model of random weights is read: the neurons that the demo labels in the trained one."""
BATCH = 32
SAMPLE = 256
"""Contexts on which thresholds are set."""


def random_directions(
    subject: HuggingFaceSubject, site: str, contexts: Sequence[KeptContext], densities: Floats, seed: int
) -> list[Fired]:
    """Fire along random directions of a trained model's space.

    Args:
        subject: the model, whose token ids the contexts have.
        site: where its activations are read.
        contexts: the text.
        densities: (n,) share of tokens on which each feature is to fire.
        seed: draws the directions.
    """
    import torch

    width = subject.width(site)
    rows = np.random.default_rng([seed, 1]).normal(size=(len(densities), width)).astype(np.float32)
    directions_nd = torch.from_numpy(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    read = ((at, acts @ directions_nd.T) for at, acts in _read(subject, site, contexts, seed))
    return _fired(read, densities)


def random_weights(
    folder: Path, contexts: Sequence[KeptContext], densities: Floats, seed: int
) -> list[Fired]:
    """Fire as neurons of the same architecture do before it has learnt anything.

    Args:
        folder: config.json and the tokenizer whose token ids the contexts have.
        contexts: the text.
        densities: (n,) share of tokens on which each feature is to fire; neurons come again after the last.
        seed: draws the weights and the neurons.
    """
    import torch

    subject = _untrained(folder, seed)
    width = subject.width(NEURONS)
    drawn = np.random.default_rng([seed, 2]).permutation(width)
    neurons = torch.from_numpy(drawn[np.arange(len(densities)) % width])
    return _fired(((at, acts[:, neurons]) for at, acts in _read(subject, NEURONS, contexts, seed)), densities)


def _untrained(folder: Path, seed: int) -> HuggingFaceSubject:
    """A folder's architecture with weights as they are drawn before training."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    from exegete.subjects.huggingface import HuggingFaceSubject

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModel.from_config(AutoConfig.from_pretrained(folder)).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False)
    return HuggingFaceSubject(f"random weights {seed}", model, tokenizer)


Part = tuple[list[tuple[int, int]], "torch.Tensor"]
"""(context, position) of some tokens, and (n_tokens, n) activations on them."""


def _read(
    subject: HuggingFaceSubject, site: str, contexts: Sequence[KeptContext], seed: int
) -> Iterator[Part]:
    """(n_tokens, width) activations, batch by batch; in random order, as the first are a sample."""
    import torch

    order = np.random.default_rng([seed, 3]).permutation(len(contexts)).tolist()
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        with torch.no_grad():
            acts_BTD = subject.activations(site, [contexts[row].token_ids for row in rows]).float().cpu()
        lengths = [len(contexts[row].token_ids) for row in rows]
        places = [(row, position) for row, n in zip(rows, lengths, strict=True) for position in range(n)]
        yield places, torch.cat([acts_BTD[i, :n] for i, n in enumerate(lengths)])


def _fired(parts: Iterator[Part], densities: Floats) -> list[Fired]:
    """What lies above each feature's quantile, thresholds set on the first contexts."""
    held: list[tuple[NDArray[np.int64], Floats]] = []
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], Floats]] = []
    bar: Floats | None = None
    n_contexts = 0
    for places, acts in parts:
        held.append((np.asarray(places, dtype=np.int64), acts.numpy()))
        n_contexts += BATCH
        if bar is None and n_contexts >= SAMPLE:
            bar = _bars(held, densities)
        if bar is not None:
            found += [_above(at, values, bar) for at, values in held]
            held = []
    if held:
        bar = _bars(held, densities)
        found += [_above(at, values, bar) for at, values in held]
    place, slot, value = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.argsort(slot, kind="stable")
    edges = np.searchsorted(slot[order], np.arange(len(densities) + 1)).tolist()
    pieces = (order[a:b] for a, b in pairwise(edges))
    return [Fired(place[some, 0], place[some, 1], value[some]) for some in pieces]


def _bars(held: Sequence[tuple[NDArray[np.int64], Floats]], densities: Floats) -> Floats:
    """(n,) the quantile of each feature's activations that its density asks for, never below 0."""
    values = np.sort(np.concatenate([some for _, some in held]), axis=0)
    at = np.clip(((1.0 - densities) * len(values)).astype(np.int64), 0, len(values) - 1)
    return np.asarray(np.maximum(values[at, np.arange(len(densities))], 0.0), dtype=np.float32)


def _above(
    places: NDArray[np.int64], values: Floats, bar: Floats
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """(place, slot, value) of what lies above the thresholds."""
    token, slot = np.nonzero(values > bar)
    return places[token], slot, values[token, slot]
