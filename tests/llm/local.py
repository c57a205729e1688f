"""Tiny chat models with random weights, in folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import decoders
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from tests.subjects import tiny

TEMPLATE = (
    "{% for message in messages %}[{{ message.role }}]{{ message.content }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def save(folder: Path, kind: str = "llama", template: str | None = None) -> Path:
    """A model's folder; its logits are far enough apart for rounding not to matter."""
    torch.manual_seed(0)
    if kind == "llama":
        config = LlamaConfig(
            vocab_size=400,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=48,
            max_position_embeddings=512,
            initializer_range=0.5,
            bos_token_id=0,
            eos_token_id=399,
            pad_token_id=1,
        )
        model: Any = LlamaForCausalLM(config)
    else:
        model = tiny.model_of(kind)
    model.save_pretrained(folder)
    tokens = new_tokenizer()
    tokens.chat_template = template
    tokens.save_pretrained(folder)
    return folder


def save_for_levels(folder: Path) -> Path:
    """A chat model of which every token is about as likely as any other, with room for long prompts."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=400,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=24,
        max_position_embeddings=16_384,
        initializer_range=0.15,
        bos_token_id=0,
        eos_token_id=399,
        pad_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokens = new_tokenizer()
    tokens.chat_template = TEMPLATE
    tokens.save_pretrained(folder)
    return folder


def new_tokenizer() -> Any:
    """A byte-level tokenizer that decodes what it encodes."""
    tokens = tiny.byte_level()
    tokens.backend_tokenizer.decoder = decoders.ByteLevel()
    return tokens


def tokenizer(folder: Path) -> Any:
    """A folder's tokenizer."""
    return AutoTokenizer.from_pretrained(folder)


def continued(folder: Path, text: str, n: int) -> list[int]:
    """The n most likely next tokens, one by one."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = tokenizer(folder)(text, add_special_tokens=False)["input_ids"]
    new: list[int] = []
    for _ in range(n):
        with torch.inference_mode():
            new.append(int(model(torch.tensor([ids + new])).logits[0, -1].argmax()))
    return new


def set_generation(folder: Path, **settings: Any) -> None:
    """Write some of a model's generation settings."""
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def set_ends(folder: Path, tokens: list[int]) -> None:
    """Write which tokens end a reply."""
    set_generation(folder, eos_token_id=tokens)
