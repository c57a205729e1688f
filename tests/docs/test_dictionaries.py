"""docs/dictionaries.md names every architecture, class and hook that is read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from exegete.subjects import coder, dictionary_learning, saelens, sites
from exegete.subjects.dictionaries import FORMATS

PAGE = (Path(__file__).parents[2] / "docs" / "dictionaries.md").read_text(encoding="utf-8")
CODE = set(re.findall(r"`([^`\n]+)`", PAGE))
HOOKS = re.findall(r"[\w.]*hook_\w+", sites._HOOK.pattern.replace("\\", ""))


@pytest.mark.parametrize(
    "name",
    [*saelens.ARCHITECTURES, *dictionary_learning._KINDS, *get_args(coder.Scaling), "topk", "groupmax"],
)
def test_kinds(name: str) -> None:
    """Every architecture, class and normalisation stands in a table."""
    assert any(f"`{name}`" in line for line in PAGE.splitlines() if line.startswith("|"))


def test_files() -> None:
    """So does every file that is read."""
    files = {name for f in FORMATS for name in (f.CONFIG, *f.WEIGHTS)}
    named = {path.rsplit("/", 1)[-1] for path in CODE}
    assert files <= named


@pytest.mark.parametrize("hook", HOOKS)
def test_hooks(hook: str) -> None:
    """And every hook name."""
    assert {hook, f"blocks.L.{hook}"} & CODE


def test_there_are_hooks() -> None:
    """The names above are those of the pattern, all nine."""
    assert len(HOOKS) == 9
