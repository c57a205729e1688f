"""Running text with marked words: `the soup was <<far>> too hot`, and marks that no text can forge."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from exegete.prompts.material import LINE_BREAK, WORDS_REMEMBERED, breaks_line, shown_word

# Private stand-ins for the marks while the text's own angle brackets are told apart from them.
_OPEN, _CLOSE = "\x01", "\x02"
_NEAR_MARK = {
    "<": re.compile("<(?=[<\x01])|(?<=[<\x01])<"),
    ">": re.compile(">(?=[>\x02])|(?<=[>\x02])>"),
}


def marked_text(tokens: Sequence[str], marked: Sequence[bool]) -> str:
    """Print a passage on one line, with its own spaces, some words between << and >>.

    Args:
        tokens: words or tokens with their leading whitespace.
        marked: which of them to mark.

    Returns:
        The passage; angle brackets of its own that could be taken for marks are printed as ‹ and ›.
    """
    text = "".join([_printed(token, mark) for token, mark in zip(tokens, marked, strict=True)])
    text = _NEAR_MARK["<"].sub("‹", text.strip())
    text = _NEAR_MARK[">"].sub("›", text)
    return text.replace(_OPEN, "<<").replace(_CLOSE, ">>")


@lru_cache(WORDS_REMEMBERED)
def _printed(token: str, mark: bool) -> str:
    """A word of running text after what stands before it, between marks or not."""
    word = shown_word(token)
    return _before(token) + (f"{_OPEN}{word}{_CLOSE}" if mark else word)


def _before(token: str) -> str:
    """The space or line break before a word of running text."""
    if breaks_line(token):
        return f" {LINE_BREAK} "
    return " " if token[:1].isspace() else ""
