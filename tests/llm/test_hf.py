"""Local models: what is asked of them, in which company, and what becomes of it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from exegete.errors import LLMUnavailable
from exegete.llm import Journal, Message, Reply, Request, load_prices, open_llm, parse
from exegete.llm.hf import HuggingFace
from exegete.llm.hf_weights import Continuation, Prompt, Weights
from exegete.llm.schema import in_words
from tests.llm import local

TEXTS = ("fox", "the quick fox jumps over", "a", "dog said: twice?", "ü", "lazy lazy lazy dog moment")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chat model of Llama's kind."""
    return local.save(tmp_path_factory.mktemp("models") / "chat", template=local.TEMPLATE)


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


def asking(llm: HuggingFace, text: str, **options: Any) -> Request:
    """A short question."""
    turns = (Message("user", text),)
    return Request(**({"model": str(llm.name), "system": "be", "messages": turns, "max_tokens": 9} | options))


def together(llm: HuggingFace, requests: Sequence[Request]) -> list[Reply]:
    """All requests at once."""

    async def run() -> list[Reply]:
        return await asyncio.gather(*(llm.complete(request) for request in requests))

    return asyncio.run(run())


def watched(llm: HuggingFace, patch: pytest.MonkeyPatch) -> list[list[Prompt]]:
    """Every batch that will be run."""
    batches: list[list[Prompt]] = []
    real = Weights.continued

    def continued(self: Weights, prompts: Sequence[Prompt], *more: Any) -> list[Continuation]:
        batches.append(list(prompts))
        return real(self, prompts, *more)

    patch.setattr(Weights, "continued", continued)
    return batches


@pytest.mark.parametrize("kind", ["llama", "gpt2-lm"])
def test_a_batch_is_as_good_as_one_by_one(
    kind: str, tmp_path: Path, made: Callable[..., HuggingFace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Greedy in float32, a padded prompt is continued as by a literal loop over the tokens of it alone."""
    where = local.save(tmp_path / "m", kind)
    llm = made(where)
    batches = watched(llm, monkeypatch)
    lengths = (9, 3, 7, 9, 5, 1)
    requests = [asking(llm, text, max_tokens=n) for text, n in zip(TEXTS, lengths, strict=True)]
    replies = together(llm, requests)
    (batch,) = batches
    assert sorted(len(prompt.ids) for prompt in batch)[0] < max(len(prompt.ids) for prompt in batch)
    model = AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(where)
    for text, n, reply in zip(TEXTS, lengths, replies, strict=True):
        ids = tokenizer(f"be\n\nUser: {text}\n\nAssistant:")["input_ids"]
        assert reply.input_tokens == len(ids)
        new: list[int] = []
        while len(new) < n and (not new or new[-1] != tokenizer.eos_token_id):
            with torch.inference_mode():
                new.append(int(model(torch.tensor([ids + new])).logits[0, -1].argmax()))
        assert reply.output_tokens == len(new)
        assert reply.text == tokenizer.decode(new, skip_special_tokens=True).strip()
        assert reply.finish == ("stop" if new[-1] == tokenizer.eos_token_id else "length")


def test_it_ends_where_the_model_ends_it(tmp_path: Path, made: Callable[..., HuggingFace]) -> None:
    """An end token of the generation settings ends a reply, is counted, and is not part of its text."""
    where = local.save(tmp_path / "m", template=local.TEMPLATE)
    llm = made(where)
    (reply,) = together(llm, [asking(llm, "fox")])
    assert (reply.finish, reply.output_tokens) == ("length", 9)
    third = local.continued(where, "[system]be[user]fox[assistant]", 3)[-1]
    local.set_ends(where, [third])
    again = made(where)
    assert again.name != llm.name
    (ended,) = together(again, [asking(again, "fox")])
    assert (ended.finish, ended.output_tokens) == ("stop", 3)
    assert ended.served_by == f"{where} (float32 on cpu)"


def test_settings_a_model_brings_along_change_nothing(
    tmp_path: Path, made: Callable[..., HuggingFace]
) -> None:
    """Sampling, penalties and lengths in generation_config.json are not used."""
    plain, spoilt = (local.save(tmp_path / name, template=local.TEMPLATE) for name in ("plain", "spoilt"))
    local.set_generation(spoilt, do_sample=True, temperature=5.0, repetition_penalty=9.0, max_length=3)
    texts = []
    for folder in (plain, spoilt):
        llm = made(folder)
        texts.append([reply.text for reply in together(llm, [asking(llm, text) for text in TEXTS])])
    assert texts[0] == texts[1]


def test_sampling_is_a_function_of_the_request(folder: Path, made: Callable[..., HuggingFace]) -> None:
    """With a temperature, a request gives the same reply in any company, another sample another one."""
    llm = made(folder)
    one = asking(llm, "fox", temperature=1.5)
    more = [asking(llm, "fox", temperature=1.5, sample=n) for n in range(1, 6)]
    alone = together(llm, [one])[0].text
    first, *others = (reply.text for reply in together(llm, [one, *more]))
    assert first == alone
    assert len({alone, *others}) == 6
    assert (
        together(llm, [asking(llm, "fox", temperature=0.0)])[0].text
        == together(llm, [asking(llm, "fox")])[0].text
    )


def test_sampling_is_from_the_softmax(folder: Path, made: Callable[..., HuggingFace]) -> None:
    """First tokens of many seeds come as often as softmax(logits / temperature) says."""
    from scipy.stats import chisquare

    llm = made(folder)
    ids = llm._prompt(asking(llm, "fox")).ids
    n, temperature = 2000, 3.0
    prompts = [Prompt(ids, 1, temperature, seed) for seed in range(n)]
    tokens = [made.ids[0] for made in llm._weights.continued(prompts)]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        p = (model(torch.tensor([ids])).logits[0, -1].double() / temperature).softmax(-1)
    likely = p.argsort(descending=True)[:10].tolist()
    seen = [tokens.count(token) for token in likely]
    expected = [float(p[token]) * n for token in likely]
    assert min(expected) > 5
    assert chisquare([*seen, n - sum(seen)], [*expected, n - sum(expected)]).pvalue > 1e-4


def test_who_waits_together_is_answered_together(
    folder: Path, made: Callable[..., HuggingFace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """16 at once are one batch; no batch passes its size or its tokens, and nobody is left behind."""
    llm = made(folder)
    batches = watched(llm, monkeypatch)
    replies = together(llm, [asking(llm, f"fox {n}") for n in range(16)])
    assert [len(batch) for batch in batches] == [16]
    batches.clear()
    small = made(folder, batch_size=5, batch_tokens=200)
    long = asking(small, "the quick fox " * 20, max_tokens=60)
    requests = [asking(small, f"fox {n}") for n in range(16)]
    again = together(small, [requests[0], long, *requests[1:]])
    assert sum(len(batch) for batch in batches) == 17
    for batch in batches:
        width = max(len(p.ids) for p in batch) + max(p.room for p in batch)
        assert len(batch) == 1 or (len(batch) <= 5 and len(batch) * width <= 200)
    assert max(len(batch) for batch in batches) > 1
    assert [r.text for r in (again[0], *again[2:])] == [r.text for r in replies]


def test_schema_goes_into_words(
    folder: Path, made: Callable[..., HuggingFace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last turn says which JSON is wanted."""
    llm = made(folder)
    batches = watched(llm, monkeypatch)
    schema = {"title": "L", "type": "object", "properties": {"n": {"type": "integer"}}}
    together(llm, [asking(llm, "fox", schema=schema)])
    sent = local.tokenizer(folder).decode(batches[0][0].ids)
    assert sent == f"[system]be[user]fox\n\n{in_words(schema)}[assistant]"


def test_longer_than_the_context(folder: Path, made: Callable[..., HuggingFace]) -> None:
    """A prompt that fills the context is refused in a sentence; a reply gets the room that is left."""
    llm = made(folder)
    with pytest.raises(
        LLMUnavailable, match=r"a request of [\d,]+ tokens leaves no room .* context of 512: show"
    ):
        together(llm, [asking(llm, "fox " * 600)])
    (reply,) = together(llm, [asking(llm, "the " * 230, max_tokens=400)])
    assert reply.input_tokens is not None
    assert reply.output_tokens is not None
    assert reply.input_tokens + reply.output_tokens <= 512
    assert reply.finish == "length"


def test_cancelling(folder: Path, made: Callable[..., HuggingFace], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is cancelled in line is never run; who is cancelled under way ends early; neighbours get theirs."""
    llm = made(folder)
    calm = [reply.text for reply in together(llm, [asking(llm, text) for text in TEXTS])]
    batches, rows = watched(llm, monkeypatch), []
    begun, go_on = threading.Event(), threading.Event()
    real = llm._batcher._run

    def run(prompts: Any, given_up: Any) -> Any:
        begun.set()
        assert go_on.wait(20)
        rows.append(real(prompts, given_up))
        return rows[-1]

    monkeypatch.setattr(llm._batcher, "_run", run)

    async def scenario() -> list[str]:
        tasks = [asyncio.create_task(llm.complete(asking(llm, text))) for text in TEXTS[:3]]
        long = asyncio.create_task(llm.complete(asking(llm, "long", max_tokens=300)))
        await asyncio.to_thread(begun.wait, 20)
        late = [asyncio.create_task(llm.complete(asking(llm, text))) for text in TEXTS[3:]]
        await asyncio.sleep(0.05)
        for task in (long, late[0]):
            task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        done = await asyncio.gather(*tasks, long, *late, return_exceptions=True)
        assert [isinstance(one, asyncio.CancelledError) for one in done] == [False] * 3 + [
            True,
            True,
            False,
            False,
        ]
        return [one.text for one in done if isinstance(one, Reply)]

    assert asyncio.run(scenario()) == [calm[0], calm[1], calm[2], calm[4], calm[5]]
    assert [len(batch) for batch in batches] == [4, 2]
    assert len(rows[0][3].ids) < 300


def test_too_little_memory(
    folder: Path, made: Callable[..., HuggingFace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that does not fit is halved until it does; a single request that doesn't is refused."""
    llm = made(folder)
    requests = [asking(llm, text) for text in TEXTS]
    calm = [reply.text for reply in together(llm, requests)]
    real, most = Weights.continued, 2

    def continued(self: Weights, prompts: Sequence[Prompt], *more: Any) -> list[Continuation]:
        if len(prompts) > most:
            raise torch.OutOfMemoryError("no")
        return real(self, prompts, *more)

    monkeypatch.setattr(Weights, "continued", continued)
    assert [reply.text for reply in together(llm, requests)] == calm
    most = 0
    with pytest.raises(LLMUnavailable, match="too little memory for a request of"):
        together(llm, requests[:1])


def test_closing(folder: Path, made: Callable[..., HuggingFace]) -> None:
    """Closing ends what is under way within a token, fails who waits, takes nobody more, frees the model."""
    llm = made(folder, batch_size=1)

    async def scenario() -> list[Any]:
        both = [asyncio.create_task(llm.complete(asking(llm, text, max_tokens=450))) for text in TEXTS[:2]]
        await asyncio.sleep(0.05)
        await llm.close()
        done = await asyncio.gather(*both, return_exceptions=True)
        with pytest.raises(LLMUnavailable, match="closed"):
            await llm.complete(asking(llm, "late"))
        return done

    assert all(isinstance(one, LLMUnavailable) for one in asyncio.run(scenario()))
    assert llm._weights._model is None
    assert not [thread for thread in threading.enumerate() if thread.name == "exegete-hf"]


def test_in_the_stack(folder: Path, tmp_path: Path) -> None:
    """Opened by name it costs nothing, its replies are journalled, and it is asked nothing twice."""
    name = f"hf:{folder}"
    with Journal(tmp_path / "journal") as journal:
        llm = open_llm(name, journal=journal)

        async def run() -> list[Reply]:
            asked = Request(str(parse(name)), "be", (Message("user", "fox"),), max_tokens=4)
            replies = [await llm.complete(asked), await llm.complete(asked)]
            await llm.close()
            return replies

        first, second = asyncio.run(run())
    assert (first.usd, first.prices) == (0.0, load_prices().version)
    assert (first.journalled, second.journalled) == (False, True)
    assert first.text == second.text


def test_torch_is_not_imported_with_the_package() -> None:
    """`import exegete.llm` is quick: torch and transformers come with the first local model."""
    code = (
        "import sys, exegete.llm; assert not {'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
