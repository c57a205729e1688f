"""Absolute paths of this machine within names and parameters, which are nobody else's business.

`hf:/home/me/models/small@1f2e` names a model and a person's folders. What leaves the workspace keeps the
last part: `hf:small@1f2e`. The patterns are of the kind that Python and DuckDB both read.
"""

from __future__ import annotations

import re

IN_NAME = r"(^|[=\s]|hf:|scripted:|file://)(~|[A-Za-z]:)?[\\/](.*[\\/])?"
"""An absolute path up to its last part, at the beginning of a name or behind what says that one follows."""

IN_JSON = r'"(hf:|scripted:|file://)?(~|[A-Za-z]:)?[\\/]{1,2}([^"]*[\\/])?'
"""The same at the beginning of a text within JSON, where a backslash is written twice."""


def without_path(name: str) -> str:
    """A name with the last part of a path in place of the path."""
    return re.sub(IN_NAME, r"\1", name)
