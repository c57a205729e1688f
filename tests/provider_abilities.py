"""What the provider server does with parameters beyond the usual: refuses, obeys or ignores them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

KNOWS = frozenset({"logprobs", "prompt_logprobs", "logprob_token_ids", "temperature"})
"""All that it can be told to know."""


def complaint(body: Mapping[str, Any], knows: Collection[str], refuses: Collection[str]) -> str | None:
    """The parameter of a request that is refused, or None."""
    if "temperature" in knows and body.get("temperature", 0.0) < 0.0:
        return "temperature"
    return next((name for name in body if name in refuses), None)


def with_extras(
    api: str, asked: Mapping[str, Any], text: str, body: dict[str, Any], knows: Collection[str]
) -> dict[str, Any]:
    """A reply's body with what was asked for and is known; anything else is ignored, as many servers do."""
    words = text.split()
    if api == "chat" and asked.get("logprobs") and "logprobs" in knows:
        chosen = asked.get("logprob_token_ids") if "logprob_token_ids" in knows else None
        n = asked.get("top_logprobs", 0)
        body["choices"][0]["logprobs"] = {"content": [_token(word, n, chosen) for word in words]}
    if api == "chat" and asked.get("prompt_logprobs") and "prompt_logprobs" in knows:
        entry = {"logprob": -0.5, "rank": 1, "decoded_token": "x"}
        body["prompt_logprobs"] = [None, {"17": entry}, {"18": entry}]
    if api == "responses" and "message.output_text.logprobs" in asked.get("include", []):
        told = [_token(word, asked.get("top_logprobs", 0), None) for word in words]
        body["output"][-1]["content"][0]["logprobs"] = told if "logprobs" in knows else []
    return body


def _token(word: str, n: int, chosen: list[int] | None) -> dict[str, Any]:
    """One token with its own logprob, and those of the likeliest or of chosen tokens."""
    names = [f"token_id:{token}" for token in chosen] if chosen else [word, "other", "third"][:n]
    tops = [{"token": name, "logprob": -0.1 * place} for place, name in enumerate(names)]
    return {"token": word, "logprob": -0.1, "top_logprobs": tops}
