"""The tests' own guard."""

from __future__ import annotations

import os
import socket

import pytest


def test_other_machines_are_out_of_reach() -> None:
    """No test can connect to another machine or look up its name; loopback works."""
    with socket.socket() as out, pytest.raises(AssertionError, match="tried to connect"):
        out.connect(("192.0.2.1", 80))
    with socket.socket() as out, pytest.raises(AssertionError, match="tried to connect"):
        out.connect_ex(("192.0.2.1", 80))
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("example.com", 443)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()[:2]) as one,
    ):
        assert one.getpeername() == server.getsockname()
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert os.environ["LANGSMITH_TRACING"] == "false"
