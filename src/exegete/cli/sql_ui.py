"""Serving the page of `exegete sql --ui`, on loopback only."""

from __future__ import annotations

import socket
import webbrowser
from contextlib import suppress
from threading import Timer

from exegete.cli.show import out
from exegete.datastore.query import query
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError

_HOST = "127.0.0.1"


def serve(space: Workspace, *, limit: int, timeout_s: float, port: int, open_browser: bool) -> None:
    """Serve until Ctrl-C.

    Args:
        space: the workspace.
        limit: rows of a result at most.
        timeout_s: seconds a query may take.
        port: of loopback; 0 takes any that is free.
        open_browser: whether to open the page.

    Raises:
        UsageError: what it needs is not installed, or the port is taken.
        WorkspaceError: the workspace can't be used.
    """
    query(space.labels, "SELECT 1", 1, timeout_s)  # a file that can't be opened ends it before it begins
    try:
        import uvicorn

        from exegete.review.sql_page import create_sql_app
    except ImportError as error:
        raise UsageError(f"the page needs the package {error.name}: pip install 'exegete[web]'") from error
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((_HOST, port))
        listening.listen()  # before the address is said: a browser that is quick waits, and is not refused
    except OSError as error:
        listening.close()
        raise UsageError(f"port {port} is taken ({error.strerror}): choose another with --port") from error
    address = f"http://{_HOST}:{listening.getsockname()[1]}/"
    out.print(f"{address} until Ctrl-C", soft_wrap=True)
    if open_browser:
        Timer(0.5, webbrowser.open, [address]).start()
    app = create_sql_app(space, limit=limit, timeout_s=timeout_s)
    with listening:
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
        with suppress(KeyboardInterrupt):  # how it is ended
            uvicorn.Server(config).run(sockets=[listening])
