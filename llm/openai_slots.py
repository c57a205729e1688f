"""Slots (slots.py) at servers that speak OpenAI's API: three ways, of which a server may have any.

    prompt    chat completions with `prompt_logprobs`: every token of the prompt comes back with the likeliest
              others at its place [vLLM]
    echo      completions with `echo` and `logprobs`, for servers whose chat tells nothing of the prompt; the
              conversation is written in words, as for local models without a chat template
    chosen    completions with `logprob_token_ids`: the prompt up to each slot, all in one call, and of the
              token that comes next the probabilities of the levels alone [vLLM]

They are tried in this order, and the first that tells something is used from then on. The first two tell of
so many likeliest tokens, and the probability of a level that is not among them is not known; the third tells
of every level, and keeps the server's cache of prompts, but sends as many prompts as there are slots.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from exegete.errors import UsageError
from exegete.llm.failure import CallFailed, body_of, unreadable
from exegete.llm.hf_text import as_text
from exegete.llm.llm import Reply, Request
from exegete.llm.names import ModelName
from exegete.llm.slots import TAB, WHO_CAN, Odds, aligned, count_slots, number_in, odds_of, texts_of
from exegete.llm.wire import conversation, count, deep, listed, plain

if TYPE_CHECKING:
    import openai

log = logging.getLogger(__name__)

LIKELIEST = 20
"""Tokens told of at each place of a prompt: what servers allow by default."""
FEWER = 5
"""What older completions allow."""
_REFUSED = frozenset({400, 404, 405, 422, 501})
_CONTINUED = {"add_generation_prompt": False, "continue_final_message": True}
"""The last message is the model's own, and is not ended."""
_RAW = {"X-Stainless-Raw-Response": "raw"}
"""Makes the SDK return the response itself, as its `with_raw_response` does."""

Way = Callable[[Request], Awaitable[Reply | None]]
"""Answers a request; None where the server took a parameter and ignored it."""


class SlotReader:
    """Asks one model at one server for the probabilities at slots."""

    def __init__(self, name: ModelName, client: openai.AsyncOpenAI, timeout_s: float) -> None:
        """Use a provider's client; nothing is sent yet."""
        self._name, self._client, self._timeout_s = name, client, timeout_s
        self._ways: dict[str, Way] = {
            "prompt_logprobs": self._by_prompt,
            f"echo and {LIKELIEST} logprobs": lambda request: self._by_echo(request, LIKELIEST),
            f"echo and {FEWER} logprobs": lambda request: self._by_echo(request, FEWER),
            "logprob_token_ids": self._by_chosen,
        }
        self._found: str | None = None
        """The way that this server has."""
        self._level_ids: dict[tuple[str, ...], list[int]] = {}

    async def complete(self, request: Request) -> Reply:
        """Answer one request.

        Raises:
            UsageError: the server has none of the ways.
            CallFailed: there was no response, or an error response.
        """
        if self._found is not None:
            reply = await self._ways[self._found](request)
            if reply is None:
                raise unreadable(str(self._name), f"it tells nothing by {self._found}, as earlier ones did")
            return reply
        refused: list[CallFailed] = []
        for sent, (name, way) in enumerate(self._ways.items(), start=1):
            try:
                reply = await way(request)
            except CallFailed as failed:
                if failed.status not in _REFUSED:
                    raise
                refused.append(failed)
                continue
            if reply is not None:
                log.info("%s tells probabilities by %s", self._name, name)
                self._found = name
                return replace(reply, attempts=sent)
        if len(refused) == len(self._ways):
            raise refused[0]  # a prompt too long for the model is refused in all ways, and the server says so
        raise UsageError(f"{self._name} tells no probabilities at places of a prompt: {WHO_CAN}")

    async def _by_prompt(self, request: Request) -> Reply | None:
        """One chat completion, of whose one token nothing is used."""
        more = {"prompt_logprobs": LIKELIEST, "return_token_ids": True, **_CONTINUED}
        call = self._client.chat.completions.with_raw_response.create(
            model=self._name.name,
            messages=_turns(request),
            max_tokens=1,
            extra_body=more,
        )
        body = (await body_of(str(self._name), call, self._timeout_s))[0]
        places = [
            place if isinstance(place, Mapping) else {} for place in listed(body.get("prompt_logprobs"))
        ]
        if not any(places):
            return None
        ids = listed(body.get("prompt_token_ids"))
        # The prompt's own token comes first where the server does not say which it is.
        own = [place.get(str(token)) for place, token in zip(places, ids, strict=False)]
        if len(ids) != len(places):
            own = [next(iter(place.values()), None) for place in places]
        tokens = [plain(deep(entry, "decoded_token")) for entry in own]
        told = [[(plain(deep(e, "decoded_token")), number_in(e)) for e in place.values()] for place in places]
        return self._reply(body, self._read(tokens, told, request))

    async def _by_echo(self, request: Request, likeliest: int) -> Reply | None:
        """One completion that repeats its prompt, and adds nothing to it."""
        text = as_text(conversation(request, system_role="system"), unfinished=True)
        call = echo_of(self._client, self._name.name, text, likeliest)
        body = (await body_of(str(self._name), call, self._timeout_s))[0]
        tokens = [plain(token) for token in listed(deep(body, "choices", 0, "logprobs", "tokens"))]
        tops = listed(deep(body, "choices", 0, "logprobs", "top_logprobs"))
        if len(tops) != len(tokens) or not any(tops):
            return None
        told = [list(_numbers(top)) for top in tops]
        return self._reply(body, self._read(tokens, told, request))

    async def _by_chosen(self, request: Request) -> Reply | None:
        """One completion of as many prompts as there are slots."""
        assert request.slots is not None
        ids, tokens = await self._tokens({"messages": _turns(request), **_CONTINUED})
        text = request.messages[-1].text
        at = aligned(tokens, text)
        levels = await self._ids_of(request.slots.levels)
        if not ids or levels is None:
            return None
        if at is None:  # known before anything is paid for
            nothing = {"usage": {"prompt_tokens": 0, "completion_tokens": 0}}
            return self._reply(nothing, (None,) * count_slots(text))
        call = self._client.completions.with_raw_response.create(
            model=self._name.name,
            prompt=[ids[:place] for place in at],
            max_tokens=1,
            logprobs=len(levels),
            extra_body={"logprob_token_ids": levels, "return_tokens_as_token_ids": True},
        )
        body = (await body_of(str(self._name), call, self._timeout_s))[0]
        choices = {deep(choice, "index"): choice for choice in listed(body.get("choices"))}
        told = [dict(_numbers(deep(choices.get(i), "logprobs", "top_logprobs", 0))) for i in range(len(at))]
        if not any(f"token_id:{level}" in one for one in told for level in levels):
            return None
        names = {
            f"token_id:{token}": level for level, token in zip(request.slots.levels, levels, strict=True)
        }
        by_level = [[(level, one.get(name)) for name, level in names.items()] for one in told]
        return self._reply(body, tuple(odds_of(one, request.slots.levels) for one in by_level))

    def _read(
        self, tokens: Sequence[str], told: Sequence[Sequence[tuple[str, float | None]]], request: Request
    ) -> tuple[Odds | None, ...]:
        """What is told at the slots; None for all of them where they can't be found."""
        assert request.slots is not None
        text = request.messages[-1].text
        at = aligned(texts_of(tokens), text)
        if at is None:
            return (None,) * count_slots(text)
        return tuple(odds_of(told[place], request.slots.levels) for place in at)

    async def _ids_of(self, levels: tuple[str, ...]) -> list[int] | None:
        """The tokens of the levels, each after a tab; None where one is more than one token."""
        if levels not in self._level_ids:
            asked = "\n".join(f"x{TAB}{level}" for level in levels)
            ids, tokens = await self._tokens({"prompt": asked, "add_special_tokens": False})
            after_tab = [
                (token, text)
                for before, token, text in zip(tokens, ids[1:], tokens[1:], strict=False)
                if before.endswith(TAB)
            ]
            if [text for _, text in after_tab] != list(levels):
                return None
            self._level_ids[levels] = [token for token, _ in after_tab]
        return self._level_ids[levels]

    async def _tokens(self, asked: Mapping[str, Any]) -> tuple[list[int], list[str]]:
        """What the server's tokenizer makes of a conversation or a text: ids, and their texts."""
        url = str(self._name.url).removesuffix("/").removesuffix("/v1") + "/tokenize"
        more = {"model": self._name.name, "return_token_strs": True}
        call: Any = self._client.post(url, cast_to=object, body={**more, **asked}, options={"headers": _RAW})
        body = (await body_of(str(self._name), call, self._timeout_s))[0]
        ids = [token for token in listed(body.get("tokens")) if isinstance(token, int)]
        tokens = texts_of([plain(token) for token in listed(body.get("token_strs"))])
        return (ids, tokens) if len(ids) == len(tokens) else ([], [])

    def _reply(self, body: Mapping[str, Any], odds: tuple[Odds | None, ...]) -> Reply:
        return replace(reply_of(body, str(self._name)), slots=odds)


def echo_of(client: openai.AsyncOpenAI, model: str, text: str, likeliest: int) -> Any:
    """A call that repeats a text, adds nothing to it, and tells of the likeliest tokens at each place."""
    return client.completions.with_raw_response.create(
        model=model, prompt=text, echo=True, logprobs=likeliest, max_tokens=0
    )


def reply_of(body: Mapping[str, Any], model: str) -> Reply:
    """A reply of which no words are wanted."""
    usage = body.get("usage")
    return Reply(
        text="",
        finish="stop",
        served_by=str(body.get("model") or model),
        input_tokens=count(usage, "prompt_tokens"),
        output_tokens=count(usage, "completion_tokens"),
        cached_tokens=count(usage, "prompt_tokens_details", "cached_tokens"),
        latency_s=0.0,
    )


def _turns(request: Request) -> Any:
    """A request's messages on the wire."""
    return [{"role": role, "content": text} for role, text in conversation(request, system_role="system")]


def _numbers(tops: Any) -> list[tuple[str, float]]:
    """Tokens with a logarithm that is a number."""
    entries = tops.items() if isinstance(tops, Mapping) else ()
    return [(token, number) for token, value in entries if (number := number_in(value)) is not None]
