"""Parameters a server refuses: left out, remembered, and said.

Models differ in what they take, and there is no list to look it up in: some refuse `temperature`, some
compatible servers refuse JSON schemas. A 400 that names such a parameter is answered by asking again without
it. What was learnt holds for this model for as long as the process lives, and is logged once. What was learnt
in an earlier one can be said beforehand (`expect_refusals`).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from exegete.llm.failure import CallFailed
from exegete.llm.llm import Reply, Request

log = logging.getLogger(__name__)

Send = Callable[[frozenset[str]], Awaitable[Reply]]
"""Sends one request without the named parameters."""

_REFUSALS = frozenset({400, 422})
_EXPECTED: dict[str, frozenset[str]] = {}
"""By canonical model name, the parameters to do without from the first request on."""


def expect_refusals(model: str, parameters: frozenset[str]) -> None:
    """Do without parameters of a model in all of this process: it was seen to refuse or ignore them before.

    Args:
        model: canonical name.
        parameters: those of `Downgrades`, "schema" and "temperature"; what was expected before is forgotten.
    """
    _EXPECTED[model] = parameters


def optional_in(request: Request) -> frozenset[str]:
    """The parameters of a request that any model may refuse."""
    values = {"temperature": request.temperature, "schema": request.schema}
    return frozenset(name for name, value in values.items() if value is not None)


class Downgrades:
    """What one model does without."""

    def __init__(self, model: str, words: Mapping[str, tuple[str, ...]]) -> None:
        """Start with nothing refused.

        Args:
            model: named in the log.
            words: by parameter, the words by which servers name it when they refuse it.
        """
        self._refused: frozenset[str] = frozenset()
        self._model = model
        self._words = words

    @property
    def refused(self) -> frozenset[str]:
        """What is left out by now."""
        return self._refused | _EXPECTED.get(self._model, frozenset())

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
                return reply if sent == reply.attempts else replace(reply, attempts=sent)
        raise AssertionError("every round leaves out one more parameter")

    def learn(self, failed: CallFailed, used: frozenset[str]) -> bool:
        """Leave out from now on what a refusal names, for requests that are not sent by `run`.

        Args:
            failed: how the request ended.
            used: the parameters it was sent with.

        Returns:
            Was that the reason, and so is it worth asking again?
        """
        named = self._named_in(failed) & used
        self._remember(dict.fromkeys(named, str(failed)))
        return bool(named)

    def _named_in(self, failed: CallFailed) -> frozenset[str]:
        """The parameters a refusal names."""
        if failed.status not in _REFUSALS:
            return frozenset()
        text = f"{failed.parameter} {failed.said}".lower()
        return frozenset(name for name, words in self._words.items() if any(word in text for word in words))

    def _remember(self, reasons: Mapping[str, str]) -> None:
        """Keep what was refused, and say so once."""
        for name in sorted(set(reasons) - self.refused):
            log.warning("%s refuses %s: asking without it from now on", self._model, name)
            log.debug("%s said: %s", self._model, reasons[name])  # a server may repeat the prompt
        self._refused |= reasons.keys()
