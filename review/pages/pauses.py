"""When nobody waits for a page, so that what is made ahead does not hold up what is asked for.

Python runs one thread at a time, and a store's reads take turns: a card made in the background costs a
request that comes meanwhile as long as the request itself takes. People pause between pages, to read them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

PAUSE_S = 0.1
"""How long no page must have been asked for: browsers ask for styles and drafts right after a page."""


class Pauses:
    """Counts requests under way, and waits for a pause between them."""

    def __init__(self) -> None:
        """Nothing is under way."""
        self._under_way = 0
        self._last = -PAUSE_S
        self._closed = False
        self._changed = threading.Condition()

    @contextmanager
    def request(self) -> Iterator[None]:
        """A request is under way."""
        with self._changed:
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._last = time.monotonic()
                self._changed.notify_all()

    def wait(self, at_most: float | None = None) -> bool:
        """Wait for a pause.

        Args:
            at_most: seconds after which not to wait any longer; None for as long as it takes.

        Returns:
            Whether to go on: False once this is closed.
        """
        until = None if at_most is None else time.monotonic() + at_most
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                rest = PAUSE_S if self._under_way else self._last + PAUSE_S - now
                if rest <= 0 or (until is not None and now >= until):
                    break
                self._changed.wait(rest)
            return not self._closed

    def close(self) -> None:
        """Let whoever waits go, and stop."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Counting:
    """Counts an application's requests, as ASGI middleware."""

    def __init__(self, app: Callable[..., Awaitable[None]], pauses: Pauses) -> None:
        """Count the requests of `app` in `pauses`."""
        self._app, self._pauses = app, pauses

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._pauses.request():
            await self._app(scope, receive, send)
