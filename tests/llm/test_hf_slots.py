"""Slots of local models: one forward pass against a literal loop over slots, one token at a time."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from exegete.errors import LLMUnavailable
from exegete.llm import Journal, Message, Reply, Request, open_llm, parse
from exegete.llm.hf import HuggingFace
from exegete.llm.hf_slots import SlotPrompt, slot_odds
from exegete.llm.hf_weights import Weights
from exegete.llm.slots import Odds, Slots, table
from tests.llm import local

LEVELS = tuple("0123456789")
SMALL: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
}
KV = {**SMALL, "num_key_value_heads": 2}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", KV),
    "gpt2": ("GPT2", {"vocab_size": 300, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 256}),
    "gpt_neox": ("GPTNeoX", SMALL),
    "qwen3": ("Qwen3", {**KV, "head_dim": 8}),
    "mistral, in a window": ("Mistral", {**KV, "sliding_window": 16}),
    "gemma2, capped, in a window": ("Gemma2", {**KV, "head_dim": 8, "sliding_window": 16}),
    "no attention": ("Mamba", {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2}),
}


def model_of(kind: str) -> Any:
    """A small model with random weights."""
    name, options = KINDS[kind]
    torch.manual_seed(1)
    config = getattr(transformers, f"{name}Config")(**options)
    causal = {"GPT2": "GPT2LMHeadModel"}.get(name, f"{name}ForCausalLM")
    return getattr(transformers, causal)(config).eval()


def one_by_one(model: Any, prompt: SlotPrompt) -> np.ndarray:
    """The same by a pass for every slot, over the tokens before it and nothing else."""
    rows = []
    for at in prompt.at:
        with torch.inference_mode():
            p = model(torch.tensor([prompt.ids[:at]])).logits[0, -1].double().softmax(-1)
        rows.append([float(np.log(sum(float(p[token]) for token in level))) for level in prompt.levels])
    return np.array(rows)


def prompts_of(n: int, shared: int) -> list[SlotPrompt]:
    """Prompts of different lengths that begin with the same tokens."""
    rng = random.Random(n)
    first = [rng.randrange(300) for _ in range(shared)]
    made = []
    for row in range(n):
        ids = [*first, *(rng.randrange(300) for _ in range(10 + 9 * row))]
        at = tuple(sorted(rng.sample(range(shared + 2, len(ids)), 2 + row)))
        made.append(SlotPrompt(ids, at, tuple((5 * level, 5 * level + 1) for level in range(10))))
    return made


@pytest.mark.parametrize(("kind", "shared"), [("llama", 0), *((kind, 60) for kind in KINDS)])
def test_one_pass_is_as_good_as_one_token_at_a_time(kind: str, shared: int) -> None:
    """Whatever the architecture, its windows and caps, a batch gives what a loop gives, within 1e-4."""
    model, prompts = model_of(kind), prompts_of(3, shared)
    told = slot_odds(model, prompts, pad=7)
    for prompt, rows in zip(prompts, told, strict=True):
        expected = one_by_one(model, prompt)
        assert np.abs(expected).max() > 1
        np.testing.assert_allclose(np.array(rows, float), expected, atol=1e-4)
    for prompt, rows in zip(prompts, told, strict=True):
        (alone,) = slot_odds(model, [prompt], pad=0)
        np.testing.assert_allclose(np.array(alone, float), np.array(rows, float), atol=1e-4)


@pytest.mark.parametrize(("kind", "shares"), [("llama", True), ("mistral, in a window", False)])
def test_what_is_the_same_is_run_once(kind: str, shares: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where keys and values are kept whole, a common beginning is run once; logits are of slots only."""
    model, prompts = model_of(kind), prompts_of(3, 60)
    seen: list[torch.Size] = []
    real = type(model).forward

    def forward(self: Any, *args: Any, **more: Any) -> Any:
        out = real(self, *args, **more)
        seen.append(more["input_ids"].shape)
        seen.append(out.logits.shape)
        return out

    monkeypatch.setattr(type(model), "forward", forward)
    slot_odds(model, prompts, pad=0)
    n, longest = sum(len(prompt.at) for prompt in prompts), max(len(prompt.ids) for prompt in prompts)
    whole = [(3, longest), (1, n, 300)]
    parts = [(1, 60), (1, 1, 300), (3, longest - 60), (1, n, 300)]
    assert [tuple(shape) for shape in seen] == (parts if shares else whole)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """A model without a chat template, and one with; its tokenizer knows bytes and a few words."""
    root = tmp_path_factory.mktemp("models")
    return {
        chat: local.save(root / str(chat), template=local.TEMPLATE if chat else None)
        for chat in (False, True)
    }


@pytest.fixture
def made() -> Iterator[Callable[..., HuggingFace]]:
    """Opens models, and closes them."""
    opened: list[HuggingFace] = []

    def make(folder: Path, **options: Any) -> HuggingFace:
        opened.append(HuggingFace(parse(f"hf:{folder}"), **options))
        return opened[-1]

    yield make
    for llm in opened:
        asyncio.run(llm.close())


PASSAGES = (
    ["the", "lazy", "dog", "said", ":", "twice", "?"],
    ["日本", "ü", "?", "12", "9"],
    ["[assistant]", "\u202e", "<s>", "fox"],
)


def asking(llm: HuggingFace, words: Sequence[str], **options: Any) -> Request:
    """A request for the levels of words."""
    turns = (Message("user", "label\t?\nfox"), Message("assistant", table(words)))
    return Request(str(llm.name), "be", turns, slots=Slots(LEVELS), **options)


def together(llm: HuggingFace, requests: Sequence[Request]) -> list[Reply]:
    """All requests at once."""

    async def run() -> list[Reply]:
        return await asyncio.gather(*(llm.complete(request) for request in requests))

    return asyncio.run(run())


@pytest.mark.parametrize("chat", [False, True])
def test_requests(chat: bool, folders: dict[bool, Path], made: Callable[..., HuggingFace]) -> None:
    """At every slot of a conversation stands what the model makes of the text before it, cut as text."""
    where = folders[chat]
    llm = made(where)
    replies = together(llm, [asking(llm, words) for words in PASSAGES])
    model = AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32).eval()
    tokenizer = local.tokenizer(where)
    texts = {
        token: tokenizer.decode([token]) for token in range(model.config.vocab_size) if token < len(tokenizer)
    }
    levels = [[token for token, text in texts.items() if text.strip() == level] for level in LEVELS]
    for words, reply in zip(PASSAGES, replies, strict=True):
        told = table(words).replace("<s>", "< s>")  # a control token in a text is none
        begun = f"[system]be[user]label\t?\nfox[assistant]{told}"
        written = begun if chat else f"be\n\nUser: label\t?\nfox\n\nAssistant: {told}"
        at = [match.start() + 1 for match in re.finditer("\t\\?", written)][-len(words) :]
        assert reply.slots is not None
        assert len(reply.slots) == len(words)
        for place, odds in zip(at, reply.slots, strict=True):
            ids = tokenizer(written[:place], add_special_tokens=not chat)["input_ids"]
            with torch.inference_mode():
                p = model(torch.tensor([ids])).logits[0, -1].double().softmax(-1)
            expected = [float(np.log(sum(float(p[token]) for token in level))) for level in levels]
            assert odds is not None
            np.testing.assert_allclose(np.array(odds, float), expected, atol=1e-4)
        n = len(tokenizer(written, add_special_tokens=not chat)["input_ids"])
        assert (reply.text, reply.finish, reply.input_tokens, reply.output_tokens) == ("", "stop", n, 0)


def test_company_changes_nothing(folders: dict[bool, Path], made: Callable[..., HuggingFace]) -> None:
    """Alone, beside other tables, beside requests for words, in small batches: the same probabilities."""
    llm, small = made(folders[True]), made(folders[True], batch_size=2, batch_tokens=150)
    requests = [asking(llm, words) for words in PASSAGES]
    alone = [together(llm, [request])[0] for request in requests]
    spoken = Request(str(llm.name), "be", (Message("user", "fox"),), max_tokens=4)
    mixed = together(llm, [requests[0], spoken, *requests[1:]])
    others = together(small, requests)
    for got in ([mixed[0], *mixed[2:]], others):
        for one, other in zip(got, alone, strict=True):
            np.testing.assert_allclose(rows(one), rows(other), atol=1e-4)
    assert mixed[1].slots is None
    assert mixed[1].output_tokens == 4


def rows(reply: Reply) -> np.ndarray:
    """The numbers of a reply."""
    assert reply.slots is not None
    return np.array(reply.slots, float)


def test_too_little_memory(
    folders: dict[bool, Path], made: Callable[..., HuggingFace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that does not fit is halved until it does."""
    llm = made(folders[True])
    requests = [asking(llm, words) for words in PASSAGES]
    calm = together(llm, requests)
    real, sizes = Weights.slot_odds, []

    def limited(self: Weights, prompts: Sequence[SlotPrompt]) -> list[tuple[Odds, ...]]:
        sizes.append(len(prompts))
        if len(prompts) > 1:
            raise torch.OutOfMemoryError("no")
        return real(self, prompts)

    monkeypatch.setattr(Weights, "slot_odds", limited)
    for one, other in zip(together(llm, requests), calm, strict=True):
        np.testing.assert_allclose(rows(one), rows(other), atol=1e-4)
    assert max(sizes) == 3


def test_longer_than_the_context(folders: dict[bool, Path], made: Callable[..., HuggingFace]) -> None:
    """A table that fills the context to the last token is read; a longer one is refused in a sentence."""
    llm = made(folders[True])
    words, n = ["a"], together(llm, [asking(llm, ["a"])])[0].input_tokens or 0
    step = (together(llm, [asking(llm, ["a", "a"])])[0].input_tokens or 0) - n
    words = ["a"] * (1 + (512 - n) // step)
    assert len(together(llm, [asking(llm, words)])[0].slots or ()) == len(words)
    with pytest.raises(LLMUnavailable, match="longer than the model's context of 512: choose"):
        together(llm, [asking(llm, ["a", *words])])


def test_a_model_without_such_tokens(
    folders: dict[bool, Path], made: Callable[..., HuggingFace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a level is no token of the model, or the slots are not to be found, all slots are missing."""
    llm = made(folders[True])
    asked = asking(llm, ["a", "b"])
    odd = Request(asked.model, "be", asked.messages, slots=Slots(("0", "10")))
    assert together(llm, [odd])[0].slots == (None, None)
    monkeypatch.setattr(llm._chat, "text_of", lambda token: "x")
    assert together(llm, [asked])[0].slots == (None, None)


def test_in_the_stack(folders: dict[bool, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened by name, its slots are journalled, and a later process reads the very same from the journal."""
    name = f"hf:{folders[True]}"
    asked = Request(
        str(parse(name)), "be", (Message("user", "x"), Message("assistant", "a\t?")), slots=Slots(LEVELS)
    )

    async def once() -> Reply:
        with Journal(tmp_path / "journal") as journal:
            llm = open_llm(name, journal=journal)
            try:
                return await llm.complete(asked)
            finally:
                await llm.close()

    first = asyncio.run(once())
    monkeypatch.setattr(Weights, "slot_odds", lambda *_: pytest.fail("computed again"))
    second = asyncio.run(once())
    assert second.journalled
    assert first.slots == second.slots
    assert first.slots
    assert first.usd == 0.0
