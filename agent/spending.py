"""What a run has spent in earlier sittings, by the journal: a budget is the run's, not the evening's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from exegete.llm.budget import Amount
from exegete.llm.prices import Prices


def spent_before(entries: Iterable[Mapping[str, Any]], run: str, prices: Prices) -> Amount:
    """Add up what a run has spent.

    Args:
        entries: of the journal, replies and lost calls (`Journal.entries`).
        run: the run's name; calls that others made first were theirs to pay.
        prices: for calls that were made before a price was known.

    Returns:
        Dollars and tokens. What is not known for sure, of lost calls and of replies that do not say what
        they used, counts at the most it can be.
    """
    usd, tokens = 0.0, 0
    for entry in entries:
        if (entry.get("tags") or {}).get("run") == run:
            amount = _lost(entry) if "lost" in entry else _reply(entry, prices)
            usd += amount.usd
            tokens += amount.tokens
    return Amount(usd, tokens)


def _lost(entry: Mapping[str, Any]) -> Amount:
    return Amount(entry.get("most_usd") or 0.0, entry.get("most_tokens") or 0)


def _reply(entry: Mapping[str, Any], prices: Prices) -> Amount:
    reply = entry["reply"]
    size, room = reply.get("input_tokens"), reply.get("output_tokens")
    if size is None or room is None:
        size, room = entry.get("most_input") or 0, entry["max_tokens"]
    usd = reply.get("usd")
    if usd is None:
        usd = prices.most(entry["model"], size, room)
    return Amount(usd or 0.0, size + room)
