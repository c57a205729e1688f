"""Requests and replies in the forms of the APIs that the provider of tests/provider.py speaks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from exegete.llm.llm import Finish, Message, Request

Api = Literal["chat", "responses", "messages", "completions"]


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    api: Api
    model: str
    system: str
    turns: tuple[tuple[str, str], ...]
    """(role, text)."""
    schema: Mapping[str, Any] | None
    schema_name: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]

    @property
    def text(self) -> str:
        """Text of the last turn."""
        return self.turns[-1][1] if self.turns else ""

    @property
    def digest(self) -> str:
        """sha256 of the body: equal requests have equal digests."""
        return hashlib.sha256(json.dumps(self.body, sort_keys=True).encode()).hexdigest()

    def as_request(self) -> Request:
        """The request as rules see it."""
        turns = tuple(
            Message("assistant" if role == "assistant" else "user", text) for role, text in self.turns
        )
        tags = {"purpose": self.schema_name}
        return Request(model=self.model, system=self.system, messages=turns, schema=self.schema, tags=tags)


@dataclass(frozen=True)
class Said:
    """One reply as the model would give it."""

    text: str
    finish: Finish = "stop"
    cached_tokens: int = 0
    usage: bool = True
    """False: the server does not say how many tokens there were."""


def asked_in(api: Api, body: Mapping[str, Any], headers: Mapping[str, str]) -> Asked:
    """Read a request of any of the three APIs."""
    if api == "completions":
        return Asked(api, body["model"], "", (("user", str(body["prompt"])),), None, "", body, headers)
    turns = [(turn["role"], turn["content"]) for turn in body["input" if api == "responses" else "messages"]]
    system, name, schema = "", "", None
    if api == "chat":
        system = "".join(text for role, text in turns if role == "system")
        turns = [turn for turn in turns if turn[0] != "system"]
        described = body.get("response_format", {}).get("json_schema", {})
        name, schema = described.get("name", ""), described.get("schema")
    elif api == "responses":
        system = body.get("instructions", "")
        described = body.get("text", {}).get("format", {})
        name, schema = described.get("name", ""), described.get("schema")
    else:
        system = "".join(part["text"] for part in body.get("system", []))
        schema = body.get("output_config", {}).get("format", {}).get("schema")
        name = (schema or {}).get("title", "")
    return Asked(api, body["model"], system, tuple(turns), schema, name, body, headers)


def input_tokens(asked: Asked) -> int:
    """Tokens of a request, by the same rule of thumb as a scripted LLM's."""
    return len("\n".join((asked.system, *(text for _, text in asked.turns)))) // 4


def _chat_body(asked: Asked, said: Said) -> dict[str, Any]:
    refused = said.finish == "refusal"
    message = {"role": "assistant", "content": None if refused else said.text}
    message["refusal"] = said.text if refused else None
    reason = {"length": "length", "filtered": "content_filter"}.get(said.finish, "stop")
    body: dict[str, Any] = {
        "id": f"chatcmpl-{asked.digest[:12]}",
        "object": "chat.completion",
        "created": 0,
        "model": f"{asked.model}-0001",
        "choices": [{"index": 0, "message": message, "finish_reason": reason, "logprobs": None}],
    }
    tokens_in, tokens_out = input_tokens(asked), len(said.text) // 4
    usage = {
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
        "prompt_tokens_details": {"cached_tokens": said.cached_tokens},
    }
    return body | {"usage": usage if said.usage else None}


def _responses_body(asked: Asked, said: Said) -> dict[str, Any]:
    part = {"type": "output_text", "text": said.text, "annotations": []}
    if said.finish == "refusal":
        part = {"type": "refusal", "refusal": said.text}
    reason = {"length": "max_output_tokens", "filtered": "content_filter"}.get(said.finish)
    tokens_in, tokens_out = input_tokens(asked), len(said.text) // 4
    usage = {
        "input_tokens": tokens_in,
        "input_tokens_details": {"cached_tokens": said.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": tokens_out,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": tokens_in + tokens_out,
    }
    return {
        "id": f"resp_{asked.digest[:12]}",
        "object": "response",
        "created_at": 0,
        "model": f"{asked.model}-0001",
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "error": None,
        "output": [
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]},
        ],
        "usage": usage if said.usage else None,
    }


def _messages_body(asked: Asked, said: Said) -> dict[str, Any]:
    reason = {"length": "max_tokens", "refusal": "refusal", "filtered": "refusal"}.get(
        said.finish, "end_turn"
    )
    usage = {
        "input_tokens": input_tokens(asked) - said.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": said.cached_tokens,
        "output_tokens": len(said.text) // 4,
    }
    return {
        "id": f"msg_{asked.digest[:12]}",
        "type": "message",
        "role": "assistant",
        "model": f"{asked.model}-0001",
        "content": [{"type": "text", "text": said.text}],
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": usage if said.usage else None,
    }


def _completions_body(asked: Asked, said: Said) -> dict[str, Any]:
    tokens_in = input_tokens(asked)
    usage = {"prompt_tokens": tokens_in, "completion_tokens": 0, "total_tokens": tokens_in}
    return {
        "id": f"cmpl-{asked.digest[:12]}",
        "object": "text_completion",
        "created": 0,
        "model": f"{asked.model}-0001",
        "choices": [],
        "usage": usage if said.usage else None,
    }


BODIES: Mapping[Api, Callable[[Asked, Said], dict[str, Any]]] = {
    "chat": _chat_body,
    "responses": _responses_body,
    "messages": _messages_body,
    "completions": _completions_body,
}
