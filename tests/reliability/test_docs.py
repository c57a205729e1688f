"""docs/reliability.md names tests that exist."""

from __future__ import annotations

import re

from tests.agent.processes import ROOT

REFERENCE = re.compile(r"`(?:(tests/[\w/]+\.py)::)?(test_\w+)`")


def test_every_test_that_is_named_exists() -> None:
    """Each is in the file it is said to be in; a name without a file is in the one named before it."""
    text = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    found = REFERENCE.findall(text)
    assert len(found) > 40
    file = ""
    for path, name in found:
        file = path or file
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), (file, name)
