"""What all tests of exegete.llm share."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def _one_tls_context() -> Iterator[None]:
    """One TLS context for all clients: making one takes longer than most tests, which use plain http."""
    context = ssl.create_default_context()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", lambda *_, **__: context)
        yield
