"""Messages between a job's process and those it has started, over two sockets that nobody else can open.

A message is any value that can be pickled, as with `multiprocessing`. It is never a file, and both ends are
the same installation, run by the same person.
"""

from __future__ import annotations

import asyncio
import pickle
import struct
from collections.abc import Callable
from typing import Any, cast

_SIZE = struct.Struct("!I")


def settle(waiting: asyncio.Future[Any] | None, outcome: object) -> None:
    """Give whoever waits for an answer what has come, an exception to be raised; somebody may have left."""
    if waiting is None or waiting.done():
        return
    if isinstance(outcome, Exception):
        waiting.set_exception(outcome)
    else:
        waiting.set_result(outcome)


class Wire(asyncio.Protocol):
    """One end. Messages arrive whole, in the order in which they were sent."""

    def __init__(self, on_message: Callable[[Any], None], on_end: Callable[[], None]) -> None:
        """Prepare; `loop.create_unix_connection(lambda: wire, sock=…)` connects it.

        Args:
            on_message: called with every message.
            on_end: called once, when the other end is gone or this one was closed.
        """
        self._on_message, self._on_end = on_message, on_end
        self._transport: asyncio.Transport | None = None
        self._held = bytearray()
        self._leaving: list[bytes] = []

    def send(self, message: object) -> None:
        """Send a message, with all others of this turn of the loop: the other end is woken once for them.

        Once the other end is gone it goes nowhere.

        Raises:
            Exception: it can't be pickled.
        """
        body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        if not self._leaving:
            asyncio.get_running_loop().call_soon(self._flush)
        self._leaving += (_SIZE.pack(len(body)), body)

    def close(self) -> None:
        """Send what is still held, and end."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def _flush(self) -> None:
        if self._transport is not None and self._leaving:
            self._transport.write(b"".join(self._leaving))
        self._leaving.clear()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The wire is up."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Pass on the messages that are complete."""
        held, at = self._held, 0
        held += data
        while len(held) - at >= _SIZE.size:
            (size,) = _SIZE.unpack_from(held, at)
            end = at + _SIZE.size + size
            if end > len(held):
                break
            message = pickle.loads(bytes(held[at + _SIZE.size : end]))  # noqa: S301 (our own process sent it)
            at = end
            self._on_message(message)
        del held[:at]

    def connection_lost(self, exc: Exception | None) -> None:
        """The other end is gone."""
        self._transport = None
        self._on_end()
