"""Pages from templates. Everything is escaped; text from outside is made visible, too."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import Response

from exegete.review.pages.room import Room
from exegete.review.pages.scores import interval, number, small
from exegete.review.pages.texts import visible
from exegete.review.web_safety import csrf_token

_FOLDER = Path(__file__).parent.parent / "templates"
RETRY_S = "2"
"""Seconds after which a busy page is asked for again."""


def page(request: Request, name: str, status: int = 200, **known: Any) -> Response:
    """Render a template.

    Args:
        request: what is answered.
        name: of the template, without ".html".
        status: HTTP status.
        known: what the template shows.
    """
    room: Room = request.app.state.room
    context = {"csrf": csrf_token(request), "reviewer": room.reviewer, "blind": room.blind, **known}
    return _TEMPLATES.TemplateResponse(request, f"{name}.html", context, status_code=status)


def message(request: Request, status: int, title: str, words: str, *, retry: bool = False) -> Response:
    """A page that says one thing; with `retry`, that it is asked for again in a moment."""
    again = str(request.url.path) + (f"?{request.url.query}" if request.url.query else "")
    safe_to_repeat = retry and request.method == "GET"
    answer = page(
        request,
        "message",
        status,
        title=title,
        words=words,
        again=again if safe_to_repeat else "",
        retry=retry,
    )
    if safe_to_repeat:
        answer.headers["Retry-After"] = RETRY_S
    return answer


def _shown(text: str | None) -> str:
    """Text from outside; "–" where there is none."""
    return "–" if text is None else visible(text)


def _when(at: datetime | None) -> str:
    return "" if at is None else at.strftime("%Y-%m-%d %H:%M")


def _thousands(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _percent(value: float | None) -> str:
    """A share: "12%", ".03%"."""
    if value is None:
        return "–"
    return f"{100 * value:.0f}%" if value >= 0.1 else f"{100 * value:.2g}%"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "visible": _shown,
        "number": number,
        "small": small,
        "when": _when,
        "thousands": _thousands,
        "percent": _percent,
    }
    environment.globals |= {"interval": interval}
    return environment


_TEMPLATES = Jinja2Templates(env=_environment())
