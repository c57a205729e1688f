"""What other packages add: their entry points, looked for once a process."""

from __future__ import annotations

import functools
from importlib.metadata import EntryPoints
from importlib.metadata import entry_points as search


@functools.cache
def entry_points(group: str) -> EntryPoints:
    """Entry points of a group.

    Searching reads a file of every installed package, and a job asks a dozen times.
    """
    return search(group=group)
