"""What servers were found to be able to do, remembered in one small file.

    {"format": 1, "servers": {"openai:m@http://host:8000/v1": {
        "structured_output": {"has": true, "seen": "…", "asked": "2026-11-21", "by": "exegete 0.1.0"}, …}}}

It is a memory and no record: a file that can't be read, or an entry that is too old, is asked again. Of two
processes that write at the same time, one's findings are lost, and asked again.
"""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from exegete import __version__
from exegete.errors import WorkspaceError
from exegete.llm.abilities import ABILITIES, Abilities, Ability

NAME = "abilities.json"
VALID_DAYS = 30
"""Servers are upgraded, and what a hosted model takes changes."""


class _Entry(BaseModel):
    """One finding."""

    has: bool | None
    seen: str
    asked: date
    by: str


class _File(BaseModel):
    """The file."""

    format: Literal[1] = 1
    servers: dict[str, dict[str, _Entry]] = {}


def remembered(folder: Path, model: str, *, today: date | None = None) -> Abilities:
    """What is known of a model; nothing more than 30 days old.

    Args:
        folder: where the file is, or is not.
        model: canonical name.
        today: UTC; None: by the clock.
    """
    today = _today() if today is None else today
    entries = _read(folder / NAME).servers.get(model, {})
    found = {
        name: Ability(entry.has, entry.seen)
        for name in ABILITIES
        if (entry := entries.get(name)) is not None and 0 <= (today - entry.asked).days <= VALID_DAYS
    }
    return Abilities(model).updated(found)


def remember(folder: Path, abilities: Abilities, *, today: date | None = None) -> None:
    """Add what was just found of a model; what is not settled leaves the older finding as it is.

    Args:
        folder: has to exist.
        abilities: what was asked just now, and nothing else.
        today: UTC; None: by the clock.

    Raises:
        WorkspaceError: it can't be written.
    """
    path = folder / NAME
    draft = folder / f".{NAME}.{os.getpid()}"
    file = _read(path)
    asked, by = _today() if today is None else today, f"exegete {__version__}"
    file.servers.setdefault(abilities.model, {}).update(
        {
            name: _Entry(has=found.has, seen=found.seen, asked=asked, by=by)
            for name in ABILITIES
            if (found := abilities.of(name)).settled
        }
    )
    try:
        try:
            draft.write_text(file.model_dump_json(indent=1) + "\n", encoding="utf-8")
            os.replace(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise WorkspaceError(f"can't write {path} ({error.strerror}): make room, or allow it") from error


def _today() -> date:
    return datetime.now(UTC).date()


def _read(path: Path) -> _File:
    """The file, or an empty one in the place of one that can't be read."""
    try:
        return _File.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return _File()
