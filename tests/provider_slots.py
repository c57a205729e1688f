"""What the provider server tells of a prompt's tokens, as vLLM does: at every place, the likeliest tokens.

Its tokenizer splits text into words with the blank before them, single digits, and single other characters;
"?" takes a line break after it along, as tokenizers of today do. A token's id is the checksum of its text.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

Odds = Callable[[str], Mapping[str, float]]
"""Probabilities of the next token after a text; what is left over is nobody's."""

TOKEN = re.compile(r" ?[A-Za-z]+|[0-9]|\?\n?|.", re.DOTALL)
_TEXTS: dict[int, str] = {}
_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_STORED = {byte: chr(byte) for byte in _PRINTABLE} | {
    byte: chr(0x100 + n) for n, byte in enumerate(b for b in range(256) if b not in _PRINTABLE)
}
"""GPT-2's alphabet of bytes, in which a blank is Ġ."""


def tokens_of(text: str) -> list[str]:
    """A text in tokens."""
    return TOKEN.findall(text)


def id_of(token: str) -> int:
    """A token's id."""
    number = zlib.crc32(token.encode("utf-8", "surrogatepass"))
    _TEXTS[number] = token
    return number


def usual_odds(before: str) -> Mapping[str, float]:
    """After a tab, level 7 if the word has seven letters or more, else 0; some doubt, some of it lost."""
    word = before.rstrip("\t").split("\n")[-1].split(" ")[-1]
    likely, other = ("7", "0") if len(word) >= 7 else ("0", "7")
    return {likely: 0.5, other: 0.25, f" {likely}": 0.125, "?": 0.0625} if before.endswith("\t") else {}


def rendered(body: Mapping[str, Any]) -> str:
    """What a chat template makes of a conversation."""
    text = "\n".join(f"<{turn['role']}>\n{turn['content']}" for turn in body["messages"])
    return text if body.get("continue_final_message") else f"{text}<end>\n<assistant>\n"


def prompt_logprobs(text: str, likeliest: int, odds: Odds) -> list[dict[str, Any] | None]:
    """vLLM's `prompt_logprobs`: the token itself first, and so many of the likeliest."""
    places: list[dict[str, Any] | None] = []
    for before, token in _places(text):
        told = _told(before, token, likeliest, odds)
        places.append(
            {str(id_of(one)): {"logprob": value, "decoded_token": one} for one, value in told.items()}
        )
    return [None, *places[1:]]


def completion(body: Mapping[str, Any], knows: Collection[str], odds: Odds) -> list[dict[str, Any]]:
    """The choices of a completion: its prompts repeated with what is told of them, or a token after each."""
    given = body["prompt"]
    prompts: list[str] = (
        [given] if isinstance(given, str) else ["".join(map(_TEXTS.get, ids)) for ids in given]
    )  # type: ignore[arg-type]
    choices = []
    for index, text in enumerate(prompts):
        told: dict[str, Any] | None = None
        if body.get("echo") and "echo" in knows:
            places = list(_places(text))
            tops = [_told(before, token, body["logprobs"], odds) for before, token in places]
            told = {"tokens": [token for _, token in places], "top_logprobs": [None, *tops[1:]]}
        elif "logprob_token_ids" in body and "logprob_token_ids" in knows:
            after = odds(text)
            chosen = {f"token_id:{t}": _log(after.get(_TEXTS[t], 0.0)) for t in body["logprob_token_ids"]}
            told = {"tokens": ["x"], "top_logprobs": [chosen]}
        choices.append({"index": index, "text": "", "logprobs": told, "finish_reason": "length"})
    return choices[::-1]


def tokenized(body: Mapping[str, Any]) -> dict[str, Any]:
    """vLLM's /tokenize: tokens as its tokenizer stores them, blanks as marks."""
    tokens = tokens_of(rendered(body) if "messages" in body else body["prompt"])
    stored = ["".join(_STORED[byte] for byte in token.encode("utf-8", "replace")) for token in tokens]
    return {"count": len(tokens), "tokens": [id_of(token) for token in tokens], "token_strs": stored}


def _places(text: str) -> Sequence[tuple[str, str]]:
    """Every token with the text before it."""
    return [(text[: match.start()], match[0]) for match in TOKEN.finditer(text)]


def _told(before: str, token: str, likeliest: int, odds: Odds) -> dict[str, float]:
    """Logarithms of a place's own token and of the likeliest there."""
    after = odds(before)
    best = sorted(after, key=lambda one: -after[one])[:likeliest]
    return {one: _log(after.get(one, 0.0)) for one in dict.fromkeys((token, *best))}


def _log(p: float) -> float:
    return math.log(p) if p > 0 else -9999.0
