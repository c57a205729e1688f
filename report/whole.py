"""Writing a page: whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from exegete.errors import WorkspaceError


def write_whole(path: Path, html: str) -> None:
    """Put a page in its place; an older one stands until the new one is complete.

    Args:
        path: where to.
        html: all of it.

    Raises:
        WorkspaceError: it can't be written there; no draft is left behind.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(html, encoding="utf-8")
        os.replace(draft, path)
    except OSError as error:
        raise WorkspaceError(
            f"the page {path} can't be written ({error.strerror}): name another with --out"
        ) from error
    finally:
        draft.unlink(missing_ok=True)
