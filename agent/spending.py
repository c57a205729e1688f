"""What a run has spent in earlier sittings, by the journal: a budget is the run's, not the evening's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from exegete.llm.prices import Prices


@dataclass(frozen=True, slots=True)
class Before:
    """What a run has spent in earlier sittings."""

    usd: float | None
    """Dollars; None when one of its calls has no known price."""
    tokens: int
    """Input and output."""


def spent_before(entries: Iterable[Mapping[str, Any]], run: str, prices: Prices) -> Before:
    """Add up what a run has spent.

    Args:
        entries: of the journal, replies and lost calls (`Journal.entries`).
        run: the run's name; calls that others made first were theirs to pay.
        prices: for calls that were made before a price was known.

    Returns:
        What it has spent. What is not known for sure, of lost calls and of replies that do not say what they
        used, counts at the most it can be.
    """
    own = [entry for entry in entries if (entry.get("tags") or {}).get("run") == run]
    parts = [_lost(entry, prices) if "lost" in entry else _reply(entry, prices) for entry in own]
    known = [part.usd for part in parts if part.usd is not None]
    return Before(sum(known) if len(known) == len(parts) else None, sum(part.tokens for part in parts))


def _lost(entry: Mapping[str, Any], prices: Prices) -> Before:
    tokens, usd = entry["most_tokens"], entry["most_usd"]
    if usd is None:  # there was no price then; which of the tokens were input was not written down
        either = prices.most(entry["model"], tokens, 0), prices.most(entry["model"], 0, tokens)
        usd = None if None in either else max(cost for cost in either if cost is not None)
    return Before(usd, tokens)


def _reply(entry: Mapping[str, Any], prices: Prices) -> Before:
    reply = entry["reply"]
    size, room = reply["input_tokens"], reply["output_tokens"]
    if size is None or room is None:
        size, room = entry["most_input"], entry["max_tokens"]
    usd = reply["usd"]
    return Before(prices.most(entry["model"], size, room) if usd is None else usd, size + room)
