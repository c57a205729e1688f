"""Tokens as a person sees them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exegete.subjects.huggingface import HuggingFaceSubject
from tests.subjects.conftest import KINDS
from tests.subjects.tiny import TEXT, byte_level, model_of, word_piece

Subjects = dict[str, HuggingFaceSubject]


def squeezed(text: str) -> str:
    """Runs of whitespace as one space."""
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_are_the_text(kind: str, subjects: Subjects) -> None:
    """The pieces, joined, are the text (runs of whitespace aside), one a token, as it was written."""
    tokens = subjects[kind].tokenise(TEXT)
    assert len(tokens.ids) == len(tokens.display)
    assert squeezed("".join(tokens.display)) == squeezed(TEXT.rstrip() if kind == "bert" else TEXT)


PIECES = {
    "bert": HuggingFaceSubject("bert", model_of("bert"), word_piece()),
    "gpt2": HuggingFaceSubject("gpt2", model_of("gpt2"), byte_level()),
    "llama": HuggingFaceSubject("llama", model_of("llama"), byte_level(bos=True)),
}


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=30), st.sampled_from(sorted(PIECES)))
def test_any_text(text: str, kind: str) -> None:
    """No text breaks it: pieces joined are a prefix of the text, short of it by what no token stands for."""
    tokens = PIECES[kind].tokenise(text)
    joined = squeezed("".join(tokens.display))
    assert squeezed(text).startswith(joined)
    assert len(tokens.ids) == len(tokens.display)
    assert all(len(re.findall(r"\s", piece)) == len(re.findall(" ", piece)) for piece in tokens.display)
    if kind != "bert":
        assert joined == squeezed(text)


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_the_tokenizers(kind: str, subjects: Subjects) -> None:
    """Ids are the tokenizer's own, without special tokens, however long the text."""
    subject = subjects[kind]
    text = TEXT * 40
    encoded = subject._tokenizer._tokenizer.encode(text, add_special_tokens=False)
    assert subject.tokenise(text).ids.tolist() == encoded.ids
    assert len(encoded.ids) > 1000


@pytest.mark.parametrize(("kind", "said"), [("bert", "[SEP]"), ("llama", "<s>")])
def test_special_tokens_in_a_text_are_text(kind: str, said: str, subjects: Subjects) -> None:
    """A text that spells a special token holds its characters: it can't end, or begin, a context."""
    subject = subjects[kind]
    tokens = subject.tokenise(f"the {said} end {said}")
    assert not set(tokens.ids.tolist()) & set(subject._tokenizer.all_special_ids) - {
        subject._tokenizer.unk_token_id
    }
    assert "".join(tokens.display) == f"the {said} end {said}"


def test_leading_spaces_say_where_words_begin(subjects: Subjects) -> None:
    """Pieces of one word follow each other without a space, the next word begins with one."""
    for kind in KINDS:
        display = subjects[kind].tokenise("the unlocking dog").display
        assert [d for d in display if d.startswith(" ")] == [d for d in display if d[:1] == " "]
        assert sum(d.startswith(" ") for d in display) == 2


def test_nothing(subjects: Subjects) -> None:
    """An empty text, or one of whitespace, has no tokens, or only whitespace."""
    for kind in KINDS:
        assert subjects[kind].tokenise("").ids.tolist() == []
        assert "".join(subjects[kind].tokenise(" \n ").display).strip() == ""
