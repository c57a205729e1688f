"""Text from a corpus, made fit to stand in a prompt: everything visible, and between marks it can't forge.

A corpus holds whatever people wrote, and some of it was written to be read by a model. So

1. every character that can't be seen, or that moves the others about (controls, terminal escapes, bidi
   controls, line separators, lone surrogates), is replaced by a picture of itself;
2. a word is printed without whitespace inside, so that words are told apart by the spaces between them,
   and a line break is printed as `⏎`, so that a passage never begins a line of the prompt;
3. a block is put between a first and a last line that carry a code computed from the block itself, which
   the block therefore can't contain.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Iterable

LINE_BREAK = "⏎"
"""Stands for a line break of the corpus."""

BLANK = "␣"
"""Stands for whitespace that is a word by itself, or stands inside one."""

_JOINERS = frozenset("\u200c\u200d")
"""Invisible, but Persian, Indic scripts and emoji can't be written without them."""

_PICTURES = {"\n": LINE_BREAK, "\t": "⇥", "\x7f": "␡"}


class Fenced(str):
    """A block that stands between its marks: the only kind of text a prompt takes in."""

    __slots__ = ()


def is_hidden(char: str) -> bool:
    """Say whether a character can't be seen or reorders what stands beside it."""
    return char not in _JOINERS and unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def picture(char: str) -> str:
    """What is printed for a hidden character: `␛` for an escape, `⟨U+202E⟩` for a bidi control."""
    known = _PICTURES.get(char)
    if known is not None:
        return known
    return chr(0x2400 + ord(char)) if ord(char) < 0x20 else f"⟨U+{ord(char):04X}⟩"


class _InBlock(dict[int, str]):
    """Translation of a block: hidden characters become pictures, its own line breaks and tabs stay."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        self[code] = picture(char) if is_hidden(char) and char not in "\n\t" else char
        return self[code]


class _InWord(dict[int, str]):
    """Translation of a word: as in a block, and no whitespace of any kind."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if is_hidden(char):
            self[code] = picture(char)
        else:
            self[code] = BLANK if char.isspace() else char
        return self[code]


_in_block, _in_word = _InBlock(), _InWord()

_PLAIN = bytes([*b"\n\t", *range(0x20, 0x7F)])
"""Bytes of characters that stay in a block as they are, and of no others."""

WORDS_REMEMBERED = 65_536
"""A feature's prompts show some ten thousand words, few of them new."""


class Printed(dict[str, str]):
    """What a function prints for words, worked out once each.

    Prompts are made of millions of words and few different ones: looking one up in here takes half the time
    of a call to a function that remembers.
    """

    def __init__(self, function: Callable[[str], str]) -> None:
        """Begin with no word known."""
        super().__init__()
        self._function = function

    def __missing__(self, token: str) -> str:
        """Print a word that is new, and forget all others when there are too many."""
        if len(self) >= WORDS_REMEMBERED:
            self.clear()
        printed = self[token] = self._function(token)
        return printed

    def of(self, tokens: Iterable[str]) -> list[str]:
        """What is printed for each of these."""
        return list(map(self.__getitem__, tokens))


def shown_word(token: str) -> str:
    """Print one word or token: never empty, without whitespace, canonically composed (NFC).

    Whitespace around the word is dropped; a token that is nothing else is printed as what it is.
    """
    return _words[token]


def shown_words(tokens: Iterable[str]) -> list[str]:
    """Print words or tokens, each as `shown_word` does."""
    return _words.of(tokens)


def _shown_word(token: str) -> str:
    text = unicodedata.normalize("NFC", token)
    return (text.strip() or text or " ").translate(_in_word)


def breaks_line(token: str) -> bool:
    """Say whether a line break stands before the word in its token."""
    return "\n" in token and bool(token.strip()) and "\n" in token[: len(token) - len(token.lstrip())]


def spaced(tokens: Iterable[str]) -> str:
    """Print words one space apart, whatever stood between them, so that each can be told from the next."""
    return " ".join(map(_words_with_breaks.__getitem__, tokens))


def _with_break(token: str) -> str:
    """Print a word after the mark of a line break, if there is one before it."""
    return f"{LINE_BREAK} {shown_word(token)}" if breaks_line(token) else shown_word(token)


_words, _words_with_breaks = Printed(_shown_word), Printed(_with_break)


def fenced(text: str, title: str) -> Fenced:
    """Put a block between two lines that it can't contain.

    Args:
        text: the block; its line breaks are kept, so what it is made of must not bring its own.
        title: what the block is, one word of ours.

    Returns:
        The block between `[begin TITLE CODE]` and `[end TITLE CODE]`; the same text, the same bytes.
    """
    body, raw = text, text.encode("utf-8", "surrogatepass")
    # Most blocks have nothing to replace: saying so takes a fraction of the time of replacing nothing.
    if not raw.translate(None, _PLAIN).decode("utf-8", "surrogatepass").isprintable():
        body = text.translate(_in_block)
        raw = body.encode()
    code, turn = "", 0
    while not code or code in body:
        code = hashlib.sha256(f"{turn}\n{title}\n".encode() + raw).hexdigest()[:12]
        turn += 1
    return Fenced(f"[begin {title} {code}]\n{body}\n[end {title} {code}]")
