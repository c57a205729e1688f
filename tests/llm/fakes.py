"""Small stand-ins shared by the tests of exegete.llm."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from exegete.llm import Message, Reply, Request


def request(text: str = "hello", **options: Any) -> Request:
    """A request to the model "m"."""
    return Request(**({"model": "m", "system": "be brief", "messages": (Message("user", text),)} | options))


def reply(text: str = "ok", **options: Any) -> Reply:
    """A complete reply."""
    return Reply(
        **(
            {
                "text": text,
                "finish": "stop",
                "served_by": "m-0001",
                "input_tokens": 3,
                "output_tokens": 1,
                "cached_tokens": None,
                "latency_s": 0.5,
            }
            | options
        )
    )


class FakeLLM:
    """Answers with given replies or errors in order (the last one for ever), or by a function."""

    def __init__(self, answers: Sequence[Reply | Exception] | Callable[[Request], Reply]) -> None:
        self._answers = answers
        self.asked: list[Request] = []
        self.under_way = 0
        self.peak = 0
        self.closed = 0
        self.gate: asyncio.Event | None = None
        """When set, calls wait for it."""

    async def complete(self, request: Request) -> Reply:
        self.asked.append(request)
        self.under_way += 1
        self.peak = max(self.peak, self.under_way)
        try:
            await (self.gate.wait() if self.gate else asyncio.sleep(0))
            if callable(self._answers):
                return self._answers(request)
            answer = self._answers[min(len(self.asked), len(self._answers)) - 1]
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            self.under_way -= 1

    async def close(self) -> None:
        self.closed += 1


def echo() -> FakeLLM:
    """Answers with the question."""
    return FakeLLM(lambda asked: reply(f"re: {asked.messages[0].text}"))
