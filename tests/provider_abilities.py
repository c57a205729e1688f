"""What the provider server does with parameters beyond the usual: refuses, obeys or ignores them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from tests.provider_slots import Odds, completion, id_of, prompt_logprobs, rendered, tokens_of, usual_odds

KNOWS = frozenset({"logprobs", "prompt_logprobs", "logprob_token_ids", "temperature", "echo"})
"""All that it can be told to know."""


def complaint(body: Mapping[str, Any], knows: Collection[str], refuses: Collection[str]) -> str | None:
    """The parameter of a request that is refused, or None."""
    if "temperature" in knows and body.get("temperature", 0.0) < 0.0:
        return "temperature"
    return next((name for name in body if name in refuses), None)


def with_extras(
    api: str,
    asked: Mapping[str, Any],
    text: str,
    body: dict[str, Any],
    knows: Collection[str],
    odds: Odds = usual_odds,
) -> dict[str, Any]:
    """A reply's body with what was asked for and is known; anything else is ignored, as many servers do."""
    words = text.split()
    if api == "chat" and asked.get("logprobs") and "logprobs" in knows:
        chosen = asked.get("logprob_token_ids") if "logprob_token_ids" in knows else None
        n = asked.get("top_logprobs", 0)
        body["choices"][0]["logprobs"] = {"content": [_token(word, n, chosen) for word in words]}
    if api == "chat" and asked.get("prompt_logprobs") and "prompt_logprobs" in knows:
        prompt = rendered(asked)
        body["prompt_logprobs"] = prompt_logprobs(prompt, asked["prompt_logprobs"], odds)
        if asked.get("return_token_ids"):
            body["prompt_token_ids"] = [id_of(token) for token in tokens_of(prompt)]
    if api == "completions":
        body["choices"] = completion(asked, knows, odds)
    if api == "responses" and "message.output_text.logprobs" in asked.get("include", []):
        told = [_token(word, asked.get("top_logprobs", 0), None) for word in words]
        body["output"][-1]["content"][0]["logprobs"] = told if "logprobs" in knows else []
    return body


def _token(word: str, n: int, chosen: list[int] | None) -> dict[str, Any]:
    """One token with its own logprob, and those of the likeliest or of chosen tokens."""
    names = [f"token_id:{token}" for token in chosen] if chosen else [word, "other", "third"][:n]
    tops = [{"token": name, "logprob": -0.1 * place} for place, name in enumerate(names)]
    return {"token": word, "logprob": -0.1, "top_logprobs": tops}
