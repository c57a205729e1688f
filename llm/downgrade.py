"""Parameters a server refuses: left out, remembered, and said.

Models differ in what they take, and there is no list to look it up in: some refuse `temperature`, some
compatible servers refuse JSON schemas. A 400 that names such a parameter is answered by asking again without
it. What was learnt holds for this model for as long as the process lives, and is logged once.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from exegete.llm.failure import CallFailed
from exegete.llm.llm import Reply

log = logging.getLogger(__name__)

Send = Callable[[frozenset[str]], Awaitable[Reply]]
"""Sends one request without the named parameters."""

_REFUSALS = frozenset({400, 422})


class Downgrades:
    """What one model does without."""

    def __init__(self, model: str, words: Mapping[str, tuple[str, ...]]) -> None:
        """Start with nothing refused.

        Args:
            model: named in the log.
            words: by parameter, the words by which servers name it when they refuse it.
        """
        self.refused: frozenset[str] = frozenset()
        self._model = model
        self._words = words

    async def run(self, send: Send, used: frozenset[str]) -> Reply:
        """Send one request, again without a parameter if it is refused for that.

        Args:
            send: sends the request.
            used: the parameters this request has; no other one can be the reason.

        Raises:
            CallFailed: as `send` does; its `requests` counts those sent here.
        """
        left_out = self.refused
        reasons: dict[str, str] = {}
        for sent in range(1, len(self._words) + 2):
            try:
                reply = await send(left_out)
            except CallFailed as failed:
                failed.requests = sent
                new = self._named_in(failed) & (used - left_out)
                if not new:
                    raise
                left_out |= new
                reasons |= dict.fromkeys(new, str(failed))
            else:
                self._remember(reasons)
                return replace(reply, attempts=sent)
        raise AssertionError("every round leaves out one more parameter")

    def _named_in(self, failed: CallFailed) -> frozenset[str]:
        """The parameters a refusal names."""
        if failed.status not in _REFUSALS:
            return frozenset()
        text = f"{failed.parameter} {failed.said}".lower()
        return frozenset(name for name, words in self._words.items() if any(word in text for word in words))

    def _remember(self, reasons: Mapping[str, str]) -> None:
        """Keep what was refused, now that the request without it went through."""
        for name in sorted(set(reasons) - self.refused):
            log.warning("%s refuses %s: asking without it from now on (%s)", self._model, name, reasons[name])
        self.refused |= reasons.keys()
