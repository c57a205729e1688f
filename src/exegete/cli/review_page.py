"""Serving the review page, and doing its queued work beside it."""

from __future__ import annotations

import asyncio
import socket
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import quote

from exegete.cli.show import err, out
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError

EVERYWHERE = ("0.0.0.0", "::")
"""Addresses that stand for all that this machine has."""


def serve(
    workspace: Workspace,
    *,
    reviewer: str,
    blind: bool,
    host: str,
    port: int,
    token: str | None,
    open_browser: bool,
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        workspace: whose labels are reviewed.
        reviewer: who reviews.
        blind: hide each label until one is written.
        host: address to listen on; one that other machines reach needs a token.
        port: 0 takes any that is free.
        token: what visitors have to bring.
        open_browser: whether to open the page.

    Raises:
        UsageError: there is no token beyond loopback, the port is taken, or what it needs is not installed.
        WorkspaceError: the labels file can't be used.
    """
    Store(workspace.labels)  # a file that can't be opened ends it before it begins
    try:
        import uvicorn

        from exegete.review.app import LOOPBACK, create_app
    except ImportError as error:
        raise UsageError(f"the page needs the package {error.name}: pip install 'exegete[web]'") from error
    names = [*LOOPBACK, *names_of(host)]
    app = create_app(workspace, reviewer=reviewer, token=token, blind=blind, host_names=names)
    with listening(host, port) as listener, working(workspace):
        name = f"[{host}]" if ":" in host else host
        if host in EVERYWHERE:
            name = socket.gethostname()
        address = f"http://{name}:{listener.getsockname()[1]}/"
        visited = address + (f"?token={quote(token)}" if token else "")
        if host not in LOOPBACK:
            err.print("other machines can reach this page: who has its token can decide in your name")
        out.print(f"{visited} until Ctrl-C", soft_wrap=True)
        if open_browser:
            threading.Timer(0.5, webbrowser.open, [visited]).start()
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=5,
        )
        with suppress(KeyboardInterrupt):  # how it is ended
            uvicorn.Server(config).run(sockets=[listener])


def names_of(host: str) -> list[str]:
    """What a page that listens on an address may be asked for by, beside loopback's names."""
    if host not in EVERYWHERE:
        return [host]
    own = {socket.gethostname(), socket.getfqdn()}
    with suppress(OSError):  # a machine that does not know its own name is asked for by another one
        own |= {str(found[4][0]) for found in socket.getaddrinfo(socket.gethostname(), None)}
    return sorted(own)


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens.

    Raises:
        UsageError: the port is taken, or the address is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()  # before the address is said: a browser that is quick waits, and is not refused
        except OSError as error:
            raise UsageError(
                f"can't listen on {host}:{port} ({error.strerror}): choose another --port or --host"
            ) from error
        yield listener


@contextmanager
def working(workspace: Workspace) -> Iterator[None]:
    """Queued work is done in a thread of its own, so that no page waits for it."""
    from exegete.review.desk import Desk
    from exegete.review.work import Worker

    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    def work() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(Worker(workspace, Desk(workspace)).run(stop))

    thread = threading.Thread(target=work, name="work", daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=5)
        if not thread.is_alive():
            loop.close()
