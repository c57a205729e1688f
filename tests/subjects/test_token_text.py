"""Tokens known by their ids: their text is that of a harvest, whatever kind the tokenizer is of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from exegete.errors import FormatError, SubjectError
from exegete.subjects.huggingface import HuggingFaceSubject
from exegete.subjects.token_text import TokenText, open_token_text
from tests.subjects import tiny


def decoding(tokenizer: Any, decoder: Any) -> Tokenizer:
    """A tokenizer of the tests with the decoder that those of its kind come with."""
    made = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    made.decoder = decoder
    return made


BYTES = tiny.byte_level()
LEVEL = decoding(BYTES, decoders.ByteLevel())
MINE = TokenText("bytes", LEVEL)
SUBJECT = HuggingFaceSubject("gpt2", tiny.model_of("gpt2"), BYTES)


def ids_of(tokenizer: Any, text: str) -> np.ndarray[Any, Any]:
    return np.asarray(tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int64)


@pytest.mark.parametrize(
    "text", [tiny.TEXT, " the quick fox\n\n\tjumps  twice", "日本 語é🦊x", "naïve", "a", " "]
)
def test_as_a_harvest_has_it(text: str) -> None:
    """From ids alone comes the text that a harvest reads off the passage, token by token.

    Which token a space between two of them is shown with may differ, where it is a token itself.
    """
    pieces = MINE.texts(ids_of(LEVEL, text))
    display = SUBJECT.tokenise(text).display
    assert [piece.strip() for piece in pieces] == [piece.strip() for piece in display]
    assert "".join(pieces).split() == "".join(display).split()


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=20))
def test_joined(text: str) -> None:
    """Joined, the tokens of a text are the text, with runs of whitespace within a token as one space."""
    pieces = MINE.texts(ids_of(LEVEL, text))
    assert re.sub(r"\s", "", "".join(pieces)) == re.sub(r"\s", "", text)


def test_a_cut_character() -> None:
    """Part of a character at the edge of a context stays a part, and what is between is not touched."""
    ids = ids_of(LEVEL, "🦊 the 日")
    pieces = MINE.texts(ids[1:-1])  # four tokens of bytes less the first, the word, three less the last
    assert pieces == ["\ufffd", "\ufffd", "\ufffd", " ", "the", " ", "\ufffd", "\ufffd"]


def test_word_pieces() -> None:
    """Pieces that go on words have no space before them, others have one."""
    tokenizer = decoding(tiny.word_piece(), decoders.WordPiece())
    ids = [tokenizer.token_to_id(t) for t in ("[CLS]", "unlock", "##ing", "the", "fox", "##able", "[SEP]")]
    pieces = TokenText("pieces", tokenizer).texts(np.asarray(ids))
    assert [piece.strip() for piece in pieces] == ["[CLS]", "unlock", "ing", "the", "fox", "able", "[SEP]"]
    assert [piece.startswith(" ") for piece in pieces] == [True, True, False, True, True, False, True]


def test_marked_spaces() -> None:
    """Where a tokenizer strips the space before the first token, each token keeps its own."""
    words = ["<unk>", "▁the", "▁fox", "es", "▁a", "a", "."]
    tokenizer = Tokenizer(models.Unigram([(word, -1.0) for word in words], unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    assert tokenizer.decode([1, 2]) == "the fox"
    assert TokenText("marked", tokenizer).texts(np.asarray([1, 2, 3, 6, 4, 5])) == [
        " the",
        " fox",
        "es",
        ".",
        " a",
        "a",
    ]


@pytest.mark.parametrize("id_", [-1, 100_000, 2**31, 2**62])
def test_unknown_ids(id_: int) -> None:
    """An id that the tokenizer does not have is named."""
    with pytest.raises(FormatError, match=f"token {id_} is not one of the tokenizer bytes"):
        MINE.texts(np.asarray([0, id_]))


def test_opening(tmp_path: Path) -> None:
    """A folder needs nothing but tokenizer.json, and is named with a digest of it."""
    LEVEL.save(str(tmp_path / "tokenizer.json"))
    opened = open_token_text(str(tmp_path))
    assert re.fullmatch(rf"{re.escape(tmp_path.name)}@[0-9a-f]{{12}}", opened.name)
    assert opened.texts(np.asarray([5])) == MINE.texts(np.asarray([5]))


def test_not_to_be_had(tmp_path: Path) -> None:
    """No folder, no tokenizer in it, or none that can be read: each says what to pass."""
    with pytest.raises(SubjectError, match="there is no folder 'gpt2': pass one with"):
        open_token_text("gpt2")
    with pytest.raises(SubjectError, match=r"has no tokenizer\.json: pass a folder"):
        open_token_text(str(tmp_path))
    BYTES.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(SubjectError, match="has no decoder"):
        open_token_text(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(SubjectError, match="can't be loaded"):
        open_token_text(str(tmp_path))
