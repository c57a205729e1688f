"""Language models of transformers, run in this process: no server, no key, no cost.

Requests that wait at the same time are answered as one batch: `--concurrency 16` means batches of up to 16.
A reply is a function of its request: greedy unless a temperature is given, and then seeded by the request's
key. Rounding is the one exception, see hf_weights.py.

There is no grammar here: the schema of a reply goes into words. Slots (slots.py) are read from the logits of
a forward pass, all of a batch's at once (hf_slots.py).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from exegete.errors import LLMUnavailable, UsageError
from exegete.llm.hf_files import folder_of
from exegete.llm.hf_queue import Batcher
from exegete.llm.hf_slots import MOST_LOGITS, SlotPrompt
from exegete.llm.hf_text import ChatFormat
from exegete.llm.hf_weights import Continuation, Prompt, Weights, first_line, quieten
from exegete.llm.llm import Reply, Request
from exegete.llm.names import ModelName
from exegete.llm.schema import with_schema_in_words
from exegete.llm.slots import Odds, aligned, count_slots, texts_of
from exegete.llm.wire import conversation, refuse_other_models

log = logging.getLogger(__name__)

Asked = Prompt | SlotPrompt
Answer = Continuation | tuple[Odds, ...]

BATCH_SIZE = 64
BATCH_TOKENS = 65_536


class HuggingFace:
    """A local model."""

    def __init__(
        self, name: ModelName, *, batch_size: int = BATCH_SIZE, batch_tokens: int = BATCH_TOKENS
    ) -> None:
        """Load the model, which can take a while.

        Args:
            name: of a folder or of a hub model that is on this machine.
            batch_size: requests of a batch at most.
            batch_tokens: tokens of a batch at most, padding and the room for replies included; a request that
                is larger goes alone.

        Raises:
            UsageError: it is not there, can't be loaded, or has no safetensors weights.
        """
        from transformers import AutoTokenizer

        quieten()
        self.name = name
        folder = folder_of(name.name)
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                str(folder), trust_remote_code=False, local_files_only=True
            )
        except Exception as error:  # which kind depends on which byte of which file is wrong
            raise UsageError(
                f"the tokenizer in {folder} can't be loaded ({first_line(error)}): save it with the model"
            ) from error
        self._chat = ChatFormat(str(name), tokenizer)
        self._weights = Weights(folder, tokenizer, None if self._chat.templated else self._chat.over)
        self._batch_tokens = batch_tokens
        self._batcher: Batcher[Asked, Answer] = Batcher(self._run, self._fits, most=batch_size)

    async def complete(self, request: Request) -> Reply:
        """Answer one request; who is cancelled leaves the batch.

        Raises:
            LLMUnavailable: it is longer than the model's context, or the device has too little memory for it.
        """
        refuse_other_models(self.name, request)
        started = time.monotonic()
        if request.slots is not None:
            asked, odds = await self._odds(request)
            reply = self._reply(asked, "", slots=odds)
        else:
            prompt = self._prompt(request)
            made = await asyncio.wrap_future(self._batcher.submit(prompt))
            assert isinstance(made, Continuation)
            reply = self._reply(
                prompt.ids,
                self._chat.text(made.ids),
                finish="stop" if made.ended else "length",
                output_tokens=len(made.ids),
            )
        return replace(reply, latency_s=time.monotonic() - started)

    async def close(self) -> None:
        """Stop, and give the memory back."""
        await asyncio.to_thread(self._batcher.close)
        self._weights.free()

    def _reply(self, ids: Sequence[int], text: str, **more: Any) -> Reply:
        """A reply to a prompt of those tokens."""
        usual = {"finish": "stop", "output_tokens": 0, "cached_tokens": 0, "latency_s": 0.0}
        served_by = f"{self.name.name} ({self._weights.where})"
        return Reply(text=text, served_by=served_by, input_tokens=len(ids), **{**usual, **more})

    async def _odds(self, request: Request) -> tuple[list[int], tuple[Odds | None, ...]]:
        """A request's tokens, and the log probabilities at its slots; None where those can't be found."""
        assert request.slots is not None
        ids = self._chat.ids(conversation(request, system_role="system"), unfinished=True)
        if self._weights.limit is not None and len(ids) > self._weights.limit:
            raise LLMUnavailable(
                f"{self.name}: a request of {len(ids):,} tokens is longer than the model's context of "
                f"{self._weights.limit:,}: choose a model with a longer context, or shorter excerpts"
            )
        text = request.messages[-1].text
        at = aligned(texts_of([self._chat.text_of(token) for token in ids]), text)
        levels = tuple(tuple(self._chat.ids_of(level)) for level in request.slots.levels)
        if at is None or not all(levels):
            return ids, (None,) * count_slots(text)
        odds = await asyncio.wrap_future(self._batcher.submit(SlotPrompt(ids, tuple(at), levels)))
        assert isinstance(odds, tuple)
        return ids, odds

    def _prompt(self, request: Request) -> Prompt:
        """A request in tokens."""
        texts = conversation(request, system_role="system")
        if request.schema is not None:
            texts = with_schema_in_words(texts, request.schema)
        ids = self._chat.ids(texts)
        room, limit = request.max_tokens, self._weights.limit
        if limit is not None:
            if len(ids) >= limit:
                raise LLMUnavailable(
                    f"{self.name}: a request of {len(ids):,} tokens leaves no room for a reply in the "
                    f"model's context of {limit:,}: show it fewer examples, or choose a model with a longer "
                    "context"
                )
            room = min(room, limit - len(ids))
        return Prompt(ids, room, request.temperature, int(request.key[:15], 16))

    def _fits(self, prompts: Sequence[Asked]) -> bool:
        """May these be one batch?"""
        width = max(len(prompt.ids) for prompt in prompts)
        continued = [prompt for prompt in prompts if isinstance(prompt, Prompt)]
        slotted = [prompt for prompt in prompts if isinstance(prompt, SlotPrompt)]
        if continued:
            width += max(prompt.room for prompt in continued)
        alike = not (continued and slotted) and len({prompt.levels for prompt in slotted}) <= 1
        logits = sum(len(prompt.at) for prompt in slotted) * self._weights.vocabulary
        return alike and width * len(prompts) <= self._batch_tokens and logits <= MOST_LOGITS

    def _run(self, prompts: Sequence[Asked], given_up: Callable[[int], bool]) -> list[Answer]:
        """Answer a batch, in halves if the device can't hold it; in the batcher's thread."""
        import torch

        try:
            continued = [prompt for prompt in prompts if isinstance(prompt, Prompt)]
            if continued:
                return [*self._weights.continued(continued, given_up)]
            return [*self._weights.slot_odds([p for p in prompts if isinstance(p, SlotPrompt)])]
        except torch.OutOfMemoryError:
            pass  # left behind first: what the traceback holds is memory too
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        half = len(prompts) // 2
        if not half:
            raise LLMUnavailable(
                f"{self.name}: the device has too little memory for a request of {len(prompts[0].ids):,} "
                "tokens: show it fewer examples, or choose a smaller model"
            )
        log.info("%s: a batch of %d does not fit into memory, halving it", self.name, len(prompts))
        first = self._run(prompts[:half], given_up)
        return first + self._run(prompts[half:], lambda position: given_up(position + half))
