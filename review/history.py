"""What a reviewer can take back, read from the events alone.

    act     goes on top of what can be undone; what could be redone is gone
    undo    takes the top off, and puts it where it can be redone
    redo    takes it from there, and puts it back

An undo is an event about an event, so it survives a reload, another browser and a killed server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Event = Mapping[str, Any]


def stacks(events: Iterable[Event]) -> tuple[list[Event], list[Event]]:
    """Go through one reviewer's events, oldest first.

    Args:
        events: rows with `event`, `decision` and `target`. Those without an id are of a version that could
            not undo, and stay.

    Returns:
        What can be undone and what can be redone, the next one last.
    """
    undoable: list[Event] = []
    redoable: list[Event] = []
    for event in events:
        if event["event"] is None:
            continue
        if event["decision"] == "undo":
            redoable.append(undoable.pop())
        elif event["decision"] == "redo":
            undoable.append(redoable.pop())
        else:
            undoable.append(event)
            redoable.clear()
    return undoable, redoable
