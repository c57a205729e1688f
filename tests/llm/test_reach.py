"""A wrong address is said at once."""

from __future__ import annotations

import asyncio
import socket

import pytest

from exegete.errors import LLMUnavailable
from exegete.llm.names import parse
from exegete.llm.reach import check_reachable


def test_a_closed_port_is_named() -> None:
    """Nothing listening there is one sentence with the address."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        port = held.getsockname()[1]
        with pytest.raises(LLMUnavailable, match=f"no server answers at http://127.0.0.1:{port}/v1"):
            asyncio.run(check_reachable(parse(f"openai:m@http://127.0.0.1:{port}/v1")))


def test_an_open_port_passes() -> None:
    """Whoever listens is taken at its word; what it speaks is found out by the first call."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        asyncio.run(check_reachable(parse(f"anthropic:m@http://127.0.0.1:{server.getsockname()[1]}")))


def test_providers_themselves_are_not_checked() -> None:
    """Without a URL nothing is connected to (the test suite would refuse it)."""
    asyncio.run(check_reachable(parse("openai:m")))
