"""Spans: what they hold, what they never hold, and that nobody pays for them who does not listen."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import timeit
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes as gen_ai
from opentelemetry.semconv.attributes import error_attributes, server_attributes
from opentelemetry.trace import SpanKind, StatusCode

from exegete.errors import LLMStop
from exegete.llm import Journal, open_llm
from exegete.llm.traced import Traced, listened_to, span
from tests.llm.fakes import request
from tests.provider import Act, ProviderServer, Said

SECRET = "xylophone-canary"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Spans of this process, as a user's own provider sees them."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)  # the real one can be set only once
    yield exporter
    provider.shutdown()


def attributes(found: ReadableSpan) -> dict[str, Any]:
    """A span's attributes."""
    return dict(found.attributes or {})


def test_a_call_is_a_span(spans: InMemorySpanExporter, tmp_path: Path) -> None:
    """Model, server and usage by the conventions' own names; attempts, journalled and tags by ours."""
    with ProviderServer(lambda asked: Said("four words and more", cached_tokens=3)) as server:
        server.acts.append(Act(status=503, headers={"retry-after-ms": "1"}))
        name = f"openai:some/model@{server.url}/v1"
        asked = request(
            "a question of some length",
            model=name,
            max_tokens=77,
            temperature=0.25,
            tags={"run": "night", "feature": "9+", "purpose": "propose"},
        )

        async def main() -> None:
            with Journal(tmp_path) as journal:
                llm = open_llm(name, journal=journal)
                await llm.complete(asked)
                await llm.complete(asked)
                await llm.close()

        asyncio.run(main())
        port = int(server.url.rpartition(":")[2])
    paid, remembered = spans.get_finished_spans()
    expected = {
        gen_ai.GEN_AI_OPERATION_NAME: gen_ai.GenAiOperationNameValues.CHAT.value,
        gen_ai.GEN_AI_PROVIDER_NAME: gen_ai.GenAiProviderNameValues.OPENAI.value,
        gen_ai.GEN_AI_REQUEST_MODEL: "some/model",
        gen_ai.GEN_AI_REQUEST_MAX_TOKENS: 77,
        gen_ai.GEN_AI_REQUEST_TEMPERATURE: 0.25,
        gen_ai.GEN_AI_OUTPUT_TYPE: gen_ai.GenAiOutputTypeValues.TEXT.value,
        gen_ai.GEN_AI_RESPONSE_MODEL: "some/model-0001",
        gen_ai.GEN_AI_RESPONSE_FINISH_REASONS: ("stop",),
        gen_ai.GEN_AI_USAGE_INPUT_TOKENS: server.ledger[0]["input_tokens"],
        gen_ai.GEN_AI_USAGE_OUTPUT_TOKENS: server.ledger[0]["output_tokens"],
        gen_ai.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: 3,
        server_attributes.SERVER_ADDRESS: "127.0.0.1",
        server_attributes.SERVER_PORT: port,
        "exegete.run": "night",
        "exegete.feature": "9+",
        "exegete.purpose": "propose",
        "exegete.attempts": 2,
        "exegete.journalled": False,
    }
    assert (paid.name, paid.kind) == ("chat some/model", SpanKind.CLIENT)
    assert attributes(paid) == expected
    assert attributes(remembered) == expected | {"exegete.journalled": True}


def test_calls_are_children_of_their_case(spans: InMemorySpanExporter) -> None:
    """Also across tasks; and two cases at once keep their own calls."""

    async def call() -> None:
        with span("call"):
            await asyncio.sleep(0)

    async def case(feature: str) -> None:
        with span("case", feature=feature) as mine:
            await asyncio.gather(*(asyncio.create_task(call()) for _ in range(3)))
            mine.set(status="accepted", score=None)

    async def main() -> None:
        await asyncio.gather(case("1+"), case("2+"))

    asyncio.run(main())
    found = spans.get_finished_spans()
    cases = {one.context.span_id: attributes(one) for one in found if one.name == "case"}
    assert sorted(one["exegete.feature"] for one in cases.values()) == ["1+", "2+"]
    assert all(one["exegete.status"] == "accepted" for one in cases.values())
    assert all("exegete.score" not in one for one in cases.values()), "missing is left out"
    parents = [one.parent.span_id for one in found if one.name == "call" and one.parent]
    assert sorted(parents) == sorted(3 * list(cases))


def test_no_words_and_no_key(spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a call that fails with the prompt and the key in its error, a span holds the error's type."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-000111")
    with ProviderServer(lambda asked: SECRET) as server:
        echo = {"error": {"message": f"sk-canary-000111 may not say {SECRET}"}}
        server.acts += [Act(), Act(status=401, body=echo)]
        name = f"openai:m@{server.url}/v1"

        async def main() -> None:
            llm = open_llm(name)
            await llm.complete(request(SECRET, system=SECRET, model=name))
            with pytest.raises(LLMStop, match=SECRET), span("case"):
                await llm.complete(request(SECRET, model=name))
            await llm.close()

        asyncio.run(main())
    _, failed, case = found = spans.get_finished_spans()
    for one in (failed, case):
        assert attributes(one)[error_attributes.ERROR_TYPE] == "LLMStop"
        assert one.status.status_code is StatusCode.ERROR
    assert not any(one.events for one in found)
    told = "".join(one.to_json() for one in found)
    assert SECRET not in told
    assert "canary" not in told


def test_nobody_listens() -> None:
    """Without a provider a stack has no part for spans, and a span is an object that does nothing."""
    assert not listened_to()
    assert not isinstance(open_llm("openai:m@http://127.0.0.1:1/v1"), Traced)
    with span("case", feature="1+") as first, span("call") as second:
        first.set(status="accepted")
    assert first is second


def test_it_costs_nothing() -> None:
    """Less than 20 microseconds a span, on a busy machine too; a case takes some ten milliseconds."""

    def one() -> None:
        with span("case", feature="1+", run="night"):
            pass

    assert min(timeit.repeat(one, number=1000, repeat=5)) / 1000 < 20e-6


@pytest.mark.slow
def test_not_installed() -> None:
    """Everything works without OpenTelemetry, and nothing of ours imports it."""
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from exegete.llm import open_llm\n"
        "from exegete.llm.traced import span\n"
        "import exegete.agent.job, exegete.cli\n"
        "with span('case', feature='1') as one: one.set(status='accepted')\n"
        "open_llm('openai:m@http://127.0.0.1:1/v1')\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry.')]\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
