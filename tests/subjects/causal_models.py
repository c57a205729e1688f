"""Small causal language models with random weights, and what their remaining layers make of a stream."""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from exegete.subjects.causal import CausalSubject
from exegete.subjects.huggingface import HuggingFaceSubject
from tests.subjects.tiny import HEADS, LAYERS, NEURONS, POSITIONS, WIDTH, byte_level

KINDS = ("gpt2", "llama", "qwen2", "qwen3")


def language_model(kind: str) -> Any:
    """A model of a family, in eval mode, whose norms' gains differ from channel to channel."""
    torch.manual_seed(1)
    usual = {
        "vocab_size": 400,
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": 1,
        "intermediate_size": NEURONS,
        "max_position_embeddings": POSITIONS,
        "initializer_range": 0.4,
        "tie_word_embeddings": False,
    }
    gpt2 = {
        "vocab_size": 400,
        "n_embd": WIDTH,
        "n_layer": LAYERS,
        "n_head": HEADS,
        "n_positions": POSITIONS,
        "n_inner": NEURONS,
        "initializer_range": 0.4,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    made = {
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**gpt2)),
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**usual)),
        "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**usual)),
        "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**usual, head_dim=WIDTH // HEADS)),
    }
    model = made[kind]().eval()
    for name, weight in model.named_parameters():
        if "norm" in name or "ln_" in name:
            weight.data.copy_(torch.linspace(0.5, 1.5, weight.numel()))
    return model


def causal_subject(kind: str) -> CausalSubject:
    """The model as a subject; all but GPT-2's begin every text with a token of their own."""
    model = language_model(kind)
    tokenizer = byte_level(bos=kind != "gpt2")
    return CausalSubject(HuggingFaceSubject(kind, model.base_model, tokenizer), model)


def rest_of(model: Any, kind: str, layer: int, stream_TD: torch.Tensor) -> torch.Tensor:
    """(T, vocabulary) logits that the layers after one make of a stream, by a model that has only those."""
    shorter = copy.deepcopy(model)
    embedded = stream_TD[None]
    if kind == "gpt2":
        shorter.transformer.h = shorter.transformer.h[layer + 1 :]
        embedded = embedded - shorter.transformer.wpe.weight[: len(stream_TD)]
    else:
        shorter.model.layers = shorter.model.layers[layer + 1 :]
    shorter.config.num_hidden_layers = LAYERS - layer - 1
    logits: torch.Tensor = shorter(inputs_embeds=embedded, use_cache=False).logits[0]
    return logits
