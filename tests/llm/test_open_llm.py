"""Opening a model by its name."""

from __future__ import annotations

import asyncio
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

import exegete.llm
from exegete.errors import LLMUnavailable, UsageError
from exegete.llm import Budget, Journal, ambiguous_calls, names, open_llm
from exegete.llm.budget import Budgeted
from exegete.llm.journalled import Journalled, Recorded
from exegete.llm.lost import Watched
from exegete.llm.prices import Priced
from exegete.llm.retry import Retrying
from exegete.llm.scripted import Scripted
from exegete.llm.throttle import Paced, Throttled
from tests.llm.fakes import FakeLLM, reply, request
from tests.provider import Act, ProviderServer

THIRD = FakeLLM([reply("third party")])


def test_whole_stack(tmp_path: Path) -> None:
    """A model opened by name retries, is limited, journals, and shares its journal with another model."""
    with ProviderServer(lambda asked: f"{asked.model} says {asked.text}", delay_s=0.02) as server:
        explainer, simulator = f"openai:big@{server.url}/v1", f"anthropic:small@{server.url}"
        server.acts.append(Act(status=503, headers={"retry-after-ms": "1"}))

        async def run() -> list[tuple[str, bool]]:
            with Journal(tmp_path) as journal:
                llms = {
                    name: open_llm(name, journal=journal, concurrency=2) for name in (explainer, simulator)
                }
                asked = [(name, str(n)) for n in range(5) for name in llms]
                replies = await asyncio.gather(
                    *(llms[name].complete(request(text, model=name)) for name, text in asked)
                )
                assert sum(ambiguous_calls(llm) for llm in llms.values()) == 0
                for llm in llms.values():
                    await llm.close()
                return [(one.text, one.journalled) for one in replies]

        expected = [f"{model} says {n}" for n in range(5) for model in ("big", "small")]
        assert asyncio.run(run()) == [(text, False) for text in expected]
        assert asyncio.run(run()) == [(text, True) for text in expected]
        assert len(server.ledger) == 10
        assert len(server.asked) == 11
        assert server.peak <= 4


def test_layers(tmp_path: Path) -> None:
    """Answers of the journal take no slot of the limit; calls keep theirs until their reply is stored."""
    (tmp_path / "script").write_text('{"reply": "x"}')
    name = f"scripted:{tmp_path / 'script'}"
    with Journal(tmp_path / "journal") as journal:
        llm = open_llm(name, journal=journal)
        outer = [Journalled, Throttled, Recorded, Priced, Retrying, Paced]
        assert layers(llm) == [*outer, Watched, Scripted]
        assert layers(open_llm(name, journal=journal, budget=Budget(tokens=1))) == [
            *outer,
            Budgeted,
            Watched,
            Scripted,
        ]
    assert layers(open_llm(name)) == [Throttled, Priced, Retrying, Paced, Scripted]


def layers(llm: object) -> list[type]:
    """The parts of a model's stack, outermost first."""
    parts = [llm]
    while hasattr(parts[-1], "inner"):
        parts.append(parts[-1].inner)
    return [type(part) for part in parts]


def test_no_rule_is_not_retried(tmp_path: Path) -> None:
    """A scripted failure is a failure at once."""
    (tmp_path / "script").write_text('{"match": "never", "reply": "x"}')
    with pytest.raises(LLMUnavailable, match="no rule"):
        asyncio.run(open_llm(f"scripted:{tmp_path / 'script'}").complete(request()))


def test_other_packages_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point adds a provider; built-in names stay what they are."""
    points = EntryPoints(
        [
            EntryPoint("third", "tests.llm.test_open_llm:make", names.ENTRY_POINTS),
            EntryPoint("openai", "tests.llm.test_open_llm:make", names.ENTRY_POINTS),
        ]
    )
    for module in (names, exegete.llm):
        monkeypatch.setattr(module, "entry_points", points.select)
    llm = open_llm("third:model@http://host/v1")
    assert asyncio.run(llm.complete(request())).text == "third party"
    with pytest.raises(UsageError, match="OPENAI_API_KEY"):
        open_llm("openai:gpt-x")


def make(name: names.ModelName) -> FakeLLM:
    """The factory behind the entry points of the test above."""
    assert name == names.ModelName("third", "model", "http://host/v1")
    return THIRD


def test_wrong_use(tmp_path: Path) -> None:
    """Wrong names and limits are refused before anything is opened."""
    (tmp_path / "script").write_text('{"reply": "x"}')
    with pytest.raises(UsageError, match="names no model"):
        open_llm("gpt-x")
    with pytest.raises(UsageError, match="at least 1"):
        open_llm(f"scripted:{tmp_path / 'script'}", concurrency=0)


def test_every_built_in_name_has_a_provider() -> None:
    """Names that parse can be opened."""
    assert set(exegete.llm.PROVIDERS) == names.BUILT_IN
