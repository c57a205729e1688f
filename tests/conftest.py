"""No test reaches beyond this machine, whatever the code under test tries."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

# A busy machine is slow, not wrong. The same examples every time, so that a change that fails is to blame for
# it; `--hypothesis-profile=explore` draws others (what it finds becomes an @example).
settings.register_profile("exegete", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=300)
settings.load_profile("exegete")

# Before anything imports the libraries that read them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""  # on a machine with a GPU, too, tests compare float32 on the CPU
os.environ["LANGSMITH_TRACING"] = "false"
os.environ["OMP_NUM_THREADS"] = "1"  # the models are small, and threads that wait for each other spin

KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")


class BeyondLoopback(AssertionError):
    """A test tried to open a connection to another machine."""


def is_loopback(address: object) -> bool:
    """Is a socket address on this machine? Unix sockets (paths) are."""
    if not isinstance(address, tuple):
        return True
    host = str(address[0])
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Refuse connections to other machines and look-ups of their names."""
    real = {name: getattr(socket.socket, name) for name in ("connect", "connect_ex")}
    look_up = socket.getaddrinfo

    def guarded(name: str) -> Any:
        def connect(self: socket.socket, address: Any) -> Any:
            if not is_loopback(address):
                raise BeyondLoopback(f"a test tried to connect to {address}")
            return real[name](self, address)

        return connect

    def local_look_up(host: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name is not None and not is_loopback((name,)):
            raise socket.gaierror(socket.EAI_NONAME, f"tests look up no names of other machines ({name})")
        return look_up(host, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        for name in real:
            patch.setattr(socket.socket, name, guarded(name))
        patch.setattr(socket, "getaddrinfo", local_look_up)
        yield


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees, or prints, the keys of whoever runs it."""
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that no worker is left with a long one when the others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in words what was left out for want of a browser."""
    left_out = [r for r in terminalreporter.stats.get("skipped", ()) if "no browser" in str(r.longrepr)]
    if left_out:
        terminalreporter.write_line(
            f"{len(left_out)} tests of pages were left out for want of a browser: install chromium for them"
        )
