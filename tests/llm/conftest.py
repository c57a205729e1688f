"""What all tests of exegete.llm share."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

from tests.llm.batches import fresh
from tests.provider import ProviderServer


@pytest.fixture(autouse=True, scope="session")
def _one_tls_context() -> Iterator[None]:
    """One TLS context for all clients: making one takes longer than most tests, which use plain http."""
    context = ssl.create_default_context()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", lambda *_, **__: context)
        yield


@pytest.fixture(scope="module")
def running() -> Iterator[ProviderServer]:
    """One server for all tests of a file."""
    with ProviderServer() as server:
        yield server


@pytest.fixture
def server(running: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> ProviderServer:
    """The server, as new, and a key for it."""
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-openai")
    return fresh(running)
