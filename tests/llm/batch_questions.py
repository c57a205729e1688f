"""Questions asked in one batch, and what becomes of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from exegete.llm import Reply, wave_states
from tests.llm.batches import journalled, opened, texts
from tests.provider import ProviderServer

TWO_APIS = ("responses", "messages")
QUESTIONS = [f"question {n}" for n in range(6)]
ANSWERS = [f"re: {question}" for question in QUESTIONS]


def ask(
    server: ProviderServer, folder: Path, api: str, *questions: str, **options: Any
) -> list[Reply | BaseException]:
    """What becomes of some questions asked at once."""

    async def main() -> list[Reply | BaseException]:
        async with opened(server, api, folder, **options) as model:
            return await model.outcomes(*(questions or QUESTIONS))

    outcomes = asyncio.run(main())
    assert not any(row.open for row in wave_states(folder / "batches"))
    return outcomes


def answered(server: ProviderServer, folder: Path, api: str) -> list[Reply]:
    """The replies to all questions, which have to be right, and in the journal once each."""
    replies = [reply for reply in ask(server, folder, api) if isinstance(reply, Reply)]
    assert texts(replies) == ANSWERS
    assert len(journalled(folder)) == len(QUESTIONS)
    assert set(journalled(folder).values()) == {1}
    return replies


def kinds(outcomes: list[Reply | BaseException]) -> set[type]:
    """Types of outcomes."""
    return {type(outcome) for outcome in outcomes}
