"""Slots: places in a prompt at which a model's probabilities are asked for, instead of a reply.

The last message of such a request is a table that the model is to have written itself: one line a word, the
word, a tab, and a placeholder where a level would stand. No word holds a tab, so that each tab in the message
is ours, and the slots are what follows them.

    too<TAB>?
    hot<TAB>?

At every slot the model's distribution over its next token is read, given everything before; the placeholder
is part of the prompt, and never part of what is asked. All slots are read in one pass.

Servers give tokens, and not characters. Which token stands at which slot is found by their texts, from the
end, and checked: a token has to begin exactly where the slot begins, and between two slots must stand what
we wrote. Where that is not so, nothing is read (`aligned`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TAB = "\t"
PLACEHOLDER = "?"
"""Stands for a level that is not shown. Neither a letter nor a digit, which some tokenizers put together with
the tab before or the digits of a word."""
LEAST = -9999.0
"""Natural logarithm that stands for a probability of 0, which JSON can't say."""
_DECIMALS = 6
"""Kept of a logarithm: a probability is then right to a millionth of itself."""
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_MARKS = str.maketrans({"Ġ": " ", "▁": " ", "ĉ": "\t", "Ċ": "\n"})
"""How tokenizers print blanks when they are asked for tokens and not for their text."""
WHO_CAN = (
    "local models (hf:FOLDER) do, and servers with prompt_logprobs or logprob_token_ids, such as vLLM; "
    "--simulator sparse needs neither"
)
"""What to use instead, in messages."""
_NOT_COMPARED = re.compile(r"[^!-~]+")

Odds = tuple[float | None, ...]
"""Natural logarithms of the probabilities of the levels, in their order; None where one was not told."""


@dataclass(frozen=True, slots=True)
class Slots:
    """What is asked at the slots of a request's last message."""

    levels: tuple[str, ...]
    """Texts whose probabilities are asked for; each of one token in any tokenizer: single digits are."""

    @property
    def facts(self) -> dict[str, Any]:
        """For a request's key and its record: the slots stand where the message has the mark."""
        return {"levels": list(self.levels), "mark": TAB + PLACEHOLDER}


def table(words: Iterable[str]) -> str:
    """A message with one slot a word.

    Raises:
        ValueError: a word is empty, or holds a tab or a line break, and so could pass for a slot.
    """
    lines = []
    for word in words:
        if not word or TAB in word or "\n" in word or "\r" in word:
            raise ValueError(f"{word!r} can't stand on a line of a table of levels")
        lines.append(f"{word}{TAB}{PLACEHOLDER}")
    return "\n".join(lines)


def count_slots(text: str) -> int:
    """How many slots a message has."""
    return text.count(TAB + PLACEHOLDER)


def aligned(tokens: Sequence[str], text: str) -> list[int] | None:
    """Find the token at every slot of a message.

    Args:
        tokens: texts (`texts_of`) of the tokens of a prompt that ends with the message, and perhaps with some
            tokens of a chat format after it. Bytes of a character may be unreadable.
        text: the message, by `table`.

    Returns:
        Positions in `tokens`, one a slot in order, or None where the tokens don't show the message.
    """
    at = [
        i
        for i in range(1, len(tokens))
        if tokens[i - 1].endswith(TAB) and tokens[i][:2] in (PLACEHOLDER, PLACEHOLDER + "\n")
    ]
    n = count_slots(text)
    if len(at) < n or n == 0:
        return None
    at = at[-n:]
    words = [line.rpartition(TAB)[0] for line in text.split("\n")]
    for first, last, word in zip(at, at[1:], words[1:], strict=False):
        between = "".join(tokens[first:last])
        if not _same(between, f"{PLACEHOLDER}\n{word}{TAB}"):
            return None
    before, after = "".join(tokens[: at[0]]), "".join(tokens[at[-1] + 1 :])
    return at if _compared(before).endswith(_compared(words[0])) and TAB not in after else None


def texts_of(tokens: Sequence[str]) -> list[str]:
    """Texts of a prompt's tokens, however a server prints them.

    Some print blanks as they are, others as marks, or name their bytes. A prompt with slots has tabs, so
    where none is to be seen, marks and names stand for them; where one is, what looks like a mark is none.
    """
    if any(TAB in token for token in tokens):
        return list(tokens)
    return [_without_byte(token.translate(_MARKS)) for token in tokens]


def odds_of(told: Iterable[tuple[str, float | None]], levels: Sequence[str]) -> Odds:
    """Sort what a server tells of one position by levels.

    Args:
        told: (text of a token, natural logarithm of its probability); a level may come more than once, with
            and without a blank before it.
        levels: as asked for.
    """
    sums: dict[str, list[float]] = {}
    for token, logprob in told:
        if logprob is not None:
            sums.setdefault(token.strip(" Ġ▁"), []).append(logprob)
    return tuple(rounded(_log_sum(sums[level])) if level in sums else None for level in levels)


def rounded(logprob: float) -> float | None:
    """A logarithm as it is kept: finite; None for one that is no number."""
    return None if math.isnan(logprob) else max(LEAST, round(logprob, _DECIMALS))


def slots_from(stored: Any) -> tuple[Odds | None, ...] | None:
    """What a journal holds of a reply's slots, as it was before it was written."""
    if stored is None:
        return None
    return tuple(None if odds is None else tuple(odds) for odds in stored)


def number_in(entry: Any) -> float | None:
    """A logarithm in a server's reply, bare or as "logprob"; None where there is none that can be read."""
    value = entry.get("logprob") if isinstance(entry, Mapping) else entry
    if not isinstance(value, int | float) or isinstance(value, bool) or not value < math.inf:
        return None
    return float(value)


def _log_sum(logprobs: Sequence[float]) -> float:
    """Logarithm of a sum of probabilities."""
    most = max(logprobs)
    if most == -math.inf:
        return most
    return most + math.log(math.fsum(math.exp(logprob - most) for logprob in logprobs))


def _without_byte(token: str) -> str:
    """A token's text, where it is not the name of a byte."""
    byte = _BYTE.fullmatch(token)
    if byte is None:
        return token
    code = int(byte[1], 16)
    return chr(code) if code < 0x80 else "\ufffd"


def _same(got: str, wanted: str) -> bool:
    """Do tokens show what was written, as far as single bytes, blanks and other scripts let it be told?"""
    if got.count(TAB) != wanted.count(TAB) or got.count("\n") != wanted.count("\n"):
        return False
    return _compared(got) == _compared(wanted)


def _compared(text: str) -> str:
    """Those characters of a text that every tokenizer gives back as they were."""
    return _NOT_COMPARED.sub("", text)
