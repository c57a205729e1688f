"""Small models with random weights and a small tokenizer of every kind, saved as anybody would save them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    Gemma2Config,
    Gemma2Model,
    Gemma3Config,
    Gemma3Model,
    Gemma3TextConfig,
    Gemma3TextModel,
    GemmaConfig,
    GemmaModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    GPTNeoXConfig,
    GPTNeoXModel,
    LlamaConfig,
    LlamaModel,
    MistralConfig,
    MistralModel,
    Olmo2Config,
    Olmo2Model,
    Olmo3Config,
    Olmo3Model,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2Model,
    Qwen3Config,
    Qwen3Model,
)

LAYERS, HEADS, WIDTH, NEURONS, POSITIONS = 3, 2, 16, 24, 64

TEXT = (
    "The quick brown fox jumps over the lazy dog, twice (or so) – unlocking 12 déjà vu moments.\n"
    "Unbelievable! 日本語 naïve fiancée said: it's “fine”… the end\n"
)


WORDS = ("the", "quick", "fox", "jump", "lazy", "dog", "unlock", "ing", "moment", "able", "twice", "said")
"""Words and pieces that a tokenizer knows whole; anything else is spelt."""


WITH_BOS = ("llama", "mistral", "qwen3", "gemma")
"""Architectures whose tokenizer here puts a token before every text."""


def byte_level(bos: bool = False) -> PreTrainedTokenizerFast:
    """GPT-2's kind: bytes, leading spaces marked; with a first token when asked, as Llama 3's.

    Its vocabulary is written down, and not trained: training breaks ties differently from run to run.
    """
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    vocabulary = {token: i for i, token in enumerate(["<s>", "<pad>", *sorted(splitter.alphabet())])}
    merges: list[tuple[str, str]] = []
    for word in (*WORDS, *(f" {word}" for word in WORDS)):
        first, *rest = list(splitter.pre_tokenize_str(word)[0][0])
        for letter in rest:
            if (first, letter) not in merges:
                merges.append((first, letter))
            first += letter
            vocabulary.setdefault(first, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = splitter
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
        )
    else:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", pad_token="<pad>")


def word_piece() -> PreTrainedTokenizerFast:
    """BERT's kind: lower case, accents stripped, pieces, and a token at either end."""
    letters = sorted({letter for letter in TEXT.lower() if not letter.isspace()} | set("aeiouy0123456789"))
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    known += [*WORDS, *(f"##{word}" for word in WORDS)]
    vocabulary = {token: i for i, token in enumerate(known)}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(t, tokenizer.token_to_id(t)) for t in ("[CLS]", "[SEP]")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


def model_of(kind: str) -> Any:
    """A model with random weights, wide enough apart that sites differ, in eval mode."""
    torch.manual_seed(0)
    usual = {
        "vocab_size": 400,
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": NEURONS,
        "max_position_embeddings": POSITIONS,
        "initializer_range": 0.5,
    }
    gpt2 = {
        "vocab_size": 400,
        "n_embd": WIDTH,
        "n_layer": LAYERS,
        "n_head": HEADS,
        "n_positions": POSITIONS,
        "n_inner": NEURONS,
        "initializer_range": 0.5,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    grouped = {"num_key_value_heads": 1}
    of_heads = grouped | {"head_dim": WIDTH // HEADS}
    gemma = of_heads | {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 0}
    seeing = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    made = {
        "bert": lambda: BertModel(BertConfig(**usual)),
        "gpt2": lambda: GPT2Model(GPT2Config(**gpt2)),
        "gpt2-lm": lambda: GPT2LMHeadModel(GPT2Config(**gpt2)),
        "gpt_neox": lambda: GPTNeoXModel(GPTNeoXConfig(**usual)),
        "llama": lambda: LlamaModel(LlamaConfig(**usual, **grouped)),
        "mistral": lambda: MistralModel(MistralConfig(**usual, **of_heads)),
        "qwen2": lambda: Qwen2Model(Qwen2Config(**usual, **grouped)),
        "qwen3": lambda: Qwen3Model(Qwen3Config(**usual, **of_heads)),
        "gemma": lambda: GemmaModel(GemmaConfig(**usual, **gemma)),
        "gemma2": lambda: Gemma2Model(Gemma2Config(**usual, **gemma)),
        "gemma3_text": lambda: Gemma3TextModel(Gemma3TextConfig(**usual, **gemma)),
        "gemma3": lambda: Gemma3Model(
            Gemma3Config(
                text_config=Gemma3TextConfig(**usual, **gemma).to_dict(),
                vision_config=seeing | {"image_size": 8, "patch_size": 4},
                mm_tokens_per_image=4,
            )
        ),
        "olmo2": lambda: Olmo2Model(Olmo2Config(**usual, **grouped, pad_token_id=1)),
        "olmo3": lambda: Olmo3Model(Olmo3Config(**usual, **grouped, pad_token_id=1)),
    }
    return made[kind]().eval()


def tokenizer_of(kind: str) -> PreTrainedTokenizerFast:
    """The tokenizer that goes with a model."""
    return word_piece() if kind == "bert" else byte_level(bos=kind.startswith(WITH_BOS))


def save(kind: str, folder: Path) -> Path:
    """A model's folder."""
    model_of(kind).save_pretrained(folder)
    tokenizer_of(kind).save_pretrained(folder)
    return folder
