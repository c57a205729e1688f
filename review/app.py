"""The review page as a FastAPI application: one workspace, one reviewer.

Pages are made on the server and work without JavaScript: links show, forms do, and a form answers with a
redirect to the page that comes next. What the script adds is keys, drafts that save themselves, and the time
a card took (static/review.js).
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from exegete.datastore.workspace import Workspace
from exegete.errors import ExegeteError, UsageError, WorkspaceBusy
from exegete.review.pages import actions, calibration, views
from exegete.review.pages.pauses import Counting
from exegete.review.pages.render import message
from exegete.review.pages.room import Room
from exegete.review.web_safety import protect

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Names that a page on this machine has."""
SWITCH_S = 0.0001
"""Seconds that a thread keeps Python to itself. A card asks DuckDB a dozen questions, and after each it waits
so long for whatever is worked out in the background."""


def create_app(
    workspace: Workspace,
    *,
    reviewer: str,
    token: str | None = None,
    blind: bool = False,
    host_names: Sequence[str] = LOOPBACK,
) -> FastAPI:
    """The review page of a workspace.

    Args:
        workspace: whose labels are reviewed.
        reviewer: who does it; kept with every decision.
        token: what a visitor has to bring once as `?token=…`; needed beyond loopback.
        blind: hide each label until the reviewer has written one.
        host_names: names the page may be asked for by.

    Raises:
        UsageError: it can be reached from other machines, and has no token.
        WorkspaceError: the labels file can't be used.
    """
    room = Room(workspace, reviewer, blind)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        room.begin()
        yield
        room.close()
        sys.setswitchinterval(before)

    app = FastAPI(title="exegete review", docs_url=None, redoc_url=None, openapi_url=None, lifespan=life)
    app.state.room = room
    app.include_router(views.router)
    app.include_router(actions.router)
    app.include_router(calibration.router)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
    app.add_exception_handler(ExegeteError, _failed)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _unread)
    app.add_middleware(Counting, pauses=room.pauses)
    protect(app, host_names=host_names, token=token)
    return app


def _failed(request: Request, error: Exception) -> Response:
    """What went wrong on purpose, in its own sentence."""
    if isinstance(error, WorkspaceBusy):
        return message(request, 503, "The workspace is busy", str(error), retry=True)
    status, title = (
        (400, "That can't be done") if isinstance(error, UsageError) else (500, "Something is wrong")
    )
    return message(request, status, title, str(error))


def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return message(request, status, "There is no such page", "Go back to the queue.")


def _unread(request: Request, error: Exception) -> Response:
    return message(request, 400, "That can't be done", "The address can't be read: go back to the queue.")
