"""Running text with marked words: `the soup was <<far>> too hot`, and marks that no text can forge."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from exegete.prompts.material import LINE_BREAK, Printed, breaks_line, shown_word

# Private stand-ins for the marks while the text's own angle brackets are told apart from them.
_OPEN, _CLOSE = "\x01", "\x02"
_NEAR_MARK = {
    "<": re.compile("<(?=[<\x01])|(?<=[<\x01])<"),
    ">": re.compile(">(?=[>\x02])|(?<=[>\x02])>"),
}


def marked_text(tokens: Sequence[str], places: Iterable[int]) -> str:
    """Print a passage on one line, with its own spaces, some words between << and >>.

    Args:
        tokens: words or tokens with their leading whitespace.
        places: which of them to mark, counted from 0.

    Returns:
        The passage; angle brackets of its own that could be taken for marks are printed as ‹ and ›.
    """
    printed = _running.of(tokens)
    for place in places:
        printed[place] = _between_marks[tokens[place]]
    text = "".join(printed).strip()
    for bracket, printed_as in (("<", "‹"), (">", "›")):
        if bracket in text:
            text = _NEAR_MARK[bracket].sub(printed_as, text)
    return text.replace(_OPEN, "<<").replace(_CLOSE, ">>")


def _before(token: str) -> str:
    """The space or line break before a word of running text."""
    if breaks_line(token):
        return f" {LINE_BREAK} "
    return " " if token[:1].isspace() else ""


_running = Printed(lambda token: _before(token) + shown_word(token))
_between_marks = Printed(lambda token: f"{_before(token)}{_OPEN}{shown_word(token)}{_CLOSE}")
"""Words of running text after what stands before them, plain and marked."""
