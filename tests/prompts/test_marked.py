"""Marked text: its marks are those that were asked for, whatever the text holds."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from exegete.prompts.marked import marked_text
from exegete.prompts.material import shown_word

WORDS = st.lists(st.tuples(st.text(max_size=6), st.booleans()), min_size=1, max_size=8)


def test_a_passage() -> None:
    """Words keep their own spaces and line breaks; marked ones stand between marks."""
    tokens = (" the", " soup", ",", " far", "\n too", " hot")
    assert marked_text(tokens, [2, 3, 5]) == "the soup<<,>> <<far>> ⏎ too <<hot>>"
    assert marked_text((), ()) == ""


@given(WORDS)
@example([(" <<", True), ("<", False), (" >>", False), (" a>", True)])
@example([("<", False), ("<", True)])
def test_marks_can_not_be_forged(words: list[tuple[str, bool]]) -> None:
    """There are as many marks as marked words, and between them those words, angle brackets aside."""
    text = marked_text(
        [token for token, _ in words], [place for place, (_, mark) in enumerate(words) if mark]
    )

    def plain(part: str) -> str:
        return part.replace("<", "‹").replace(">", "›")

    found = [plain(part) for part in re.findall("<<(.*?)>>", text)]
    assert found == [plain(shown_word(token)) for token, mark in words if mark]
    assert "\n" not in text
