"""Which request shows which ability, by API; and what needs no asking."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from exegete.llm.abilities import Ability, AbilityName
from exegete.llm.llm import Reply
from exegete.llm.names import ModelName
from exegete.llm.wire import deep, listed

_WORD = "quartzite"
"""Nobody says this for a greeting unless a schema makes them."""
_SCHEMA = {
    "title": "probe",
    "type": "object",
    "properties": {"word": {"type": "string", "enum": [_WORD]}},
    "required": ["word"],
    "additionalProperties": False,
}
_TOKEN_IDS = (5, 6, 7)
"""Any will do: they are not among the likeliest, so only a server that was told to tells of them."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A request that shows an ability."""

    seen: str
    """What is said when it does."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the request."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Parameters beside it, as they are on the wire."""
    shown: Callable[[Mapping[str, Any], Reply], bool] = lambda body, reply: True
    """Is it in the reply? Default: a reply is enough."""
    nonsense: Trial | None = None
    """A request that only a server without the ability takes."""
    of_hello: Callable[[Reply | None], Ability] | None = None
    """The reply to the plain request shows it: no request is made."""
    listing: bool = False
    """The list of batches shows it."""
    echoed: Trial | None = None
    """A text that the server is to repeat, which shows the ability as well, where the request itself didn't;
    only `seen` and `shown` are used of it."""


def known(name: ModelName, wanted: Collection[AbilityName]) -> dict[AbilityName, Ability]:
    """What needs no asking: abilities of providers whose code decides them, or whose API lacks them."""
    return {ability: found for ability, found in _known_of(name).items() if ability in wanted}


def trials_for(name: ModelName, wanted: Collection[AbilityName]) -> dict[AbilityName, Trial]:
    """What has to be asked of a server to learn what is wanted; nothing of providers of other packages."""
    apis = {"openai": _CHAT if name.url else _RESPONSES, "anthropic": _MESSAGES}
    return {ability: trial for ability, trial in apis.get(name.provider, {}).items() if ability in wanted}


def _keeps_to_schema(body: Mapping[str, Any], reply: Reply) -> bool:
    """Did the schema decide what was said?"""
    try:
        return bool(json.loads(reply.text) == {"word": _WORD})
    except ValueError:
        return False


def _with_tops(tokens: Any) -> bool:
    """Is this a list of tokens with logprobs, the first with some of others beside its own?"""
    return _is_number(deep(tokens, 0, "logprob")) and bool(listed(deep(tokens, 0, "top_logprobs")))


def _chat_logprobs(body: Mapping[str, Any], reply: Reply) -> bool:
    return _with_tops(deep(body, "choices", 0, "logprobs", "content"))


def _response_logprobs(body: Mapping[str, Any], reply: Reply) -> bool:
    parts = [part for item in listed(body.get("output")) for part in listed(deep(item, "content"))]
    return any(_with_tops(deep(part, "logprobs")) for part in parts)


def _prompt_logprobs(body: Mapping[str, Any], reply: Reply) -> bool:
    positions = listed(body.get("prompt_logprobs"))
    entries = [
        entry for position in positions if isinstance(position, Mapping) for entry in position.values()
    ]
    return bool(entries) and all(_is_number(deep(entry, "logprob")) for entry in entries)


def _echoed_logprobs(body: Mapping[str, Any], reply: Reply) -> bool:
    told = deep(body, "choices", 0, "logprobs")
    tops = [top for top in listed(deep(told, "top_logprobs")) if isinstance(top, Mapping) and top]
    return bool(tops) and all(_is_number(number) for top in tops for number in top.values())


def _chosen_logprobs(body: Mapping[str, Any], reply: Reply) -> bool:
    tops = listed(deep(body, "choices", 0, "logprobs", "content", 0, "top_logprobs"))
    told = {deep(top, "token") for top in tops if _is_number(deep(top, "logprob"))}
    return {f"token_id:{token}" for token in _TOKEN_IDS} <= told


def _counts_cache(hello: Reply | None) -> Ability:
    if hello is not None and hello.cached_tokens is not None:
        return Ability(True, "replies count cached tokens")
    return Ability(None, "replies count no cached tokens")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_EVERYWHERE: dict[AbilityName, Trial] = {
    "structured_output": Trial("a schema was kept to", {"schema": _SCHEMA}, shown=_keeps_to_schema),
    "temperature": Trial(
        "0 is taken, -1 refused",
        {"temperature": 0.0},
        nonsense=Trial("taken, and so is -1: perhaps ignored", {"temperature": -1.0}),
    ),
    "caching": Trial("", of_hello=_counts_cache),
    "batch": Trial("its list of batches came back", listing=True),
}
_CHAT: dict[AbilityName, Trial] = _EVERYWHERE | {
    "output_logprobs": Trial(
        "they came back", more={"logprobs": True, "top_logprobs": 2}, shown=_chat_logprobs
    ),
    "prompt_logprobs": Trial(
        "they came back",
        more={"prompt_logprobs": 1},
        shown=_prompt_logprobs,
        echoed=Trial("completions repeat them", shown=_echoed_logprobs),
    ),
    "token_id_logprobs": Trial(
        "they came back",
        more={
            "logprobs": True,
            "top_logprobs": 1,
            "logprob_token_ids": list(_TOKEN_IDS),
            "return_tokens_as_token_ids": True,
        },
        shown=_chosen_logprobs,
    ),
}
_RESPONSES: dict[AbilityName, Trial] = _EVERYWHERE | {
    "output_logprobs": Trial(
        "they came back",
        more={"include": ["message.output_text.logprobs"], "top_logprobs": 2},
        shown=_response_logprobs,
    ),
}
_MESSAGES = _EVERYWHERE

_NO_LOGPROBS: tuple[AbilityName, ...] = ("output_logprobs", "prompt_logprobs", "token_id_logprobs")


def _known_of(name: ModelName) -> Mapping[AbilityName, Ability]:
    """All that is known of a provider without asking."""
    api_lacks = Ability(False, "its API has none")
    if name.provider == "anthropic":
        return dict.fromkeys(_NO_LOGPROBS, api_lacks)
    if name.provider == "openai":
        return {} if name.url else {"prompt_logprobs": api_lacks, "token_id_logprobs": api_lacks}
    not_given = dict.fromkeys(_NO_LOGPROBS, Ability(False, "not passed on"))
    if name.provider == "hf":
        return not_given | {
            "prompt_logprobs": Ability(True, "read from its logits"),
            "structured_output": Ability(False, "no grammar here"),
            "temperature": Ability(True, "seeded by the request"),
            "caching": Ability(False, "nothing is kept between calls"),
            "batch": Ability(False, "it runs here"),
        }
    if name.provider == "scripted":
        return not_given | {
            "structured_output": Ability(True, "replies are what the file says"),
            "temperature": Ability(True, "replies don't depend on it"),
            "caching": Ability(False, "nothing is sent"),
            "batch": Ability(False, "nothing is sent"),
        }
    return {}
