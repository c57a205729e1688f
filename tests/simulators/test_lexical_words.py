"""How words are compared: folds, forms, affixes, pieces and classes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.prompts.material import is_hidden
from exegete.simulators.word_classes import ALIASES, CLASSES, classes_of
from exegete.simulators.word_forms import begins_with, ends_in, fold, pieces, stem
from tests.simulators.lexical_strategies import RAW


@given(st.one_of(st.text(min_size=1), RAW))
def test_a_fold_can_stand_in_a_label(token: str) -> None:
    """It is visible, without whitespace, never empty, and folding it again changes nothing."""
    folded = fold(token)
    assert folded
    assert not any(char.isspace() or is_hidden(char) for char in folded)
    assert fold(folded) == folded


@given(st.text(alphabet=st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1))
def test_case_and_space_around_do_not_count(word: str) -> None:
    """Folding is stripping and lower case on plain text."""
    assert fold(f" {word}\n") == fold(word.upper()) == word.lower()


@pytest.mark.parametrize(
    "forms",
    [
        "get gets getting",
        "use uses used using",
        "make makes making",
        "search searches searching searched",
        "try tries tried trying",
        "call calls called calling",
        "do doing",
        "class classes",
        "number numbers",
        "size sizes sized sizing",
        "stop stops stopped stopping",
        "city cities",
        "pass passes passed",
    ],
)
def test_forms_share_a_stem(forms: str) -> None:
    """Regular forms of a verb or noun have one key."""
    assert len({stem(word) for word in forms.split()}) == 1


def test_other_words_do_not_share_a_stem() -> None:
    """Short words, derived words and words that only end alike are kept apart."""
    words = [
        "us",
        "use",
        "of",
        "off",
        "need",
        "king",
        "string",
        "status",
        "state",
        "general",
        "generate",
        "is",
        "i",
    ]
    assert len({stem(word) for word in words}) == len(words)


@given(st.text(min_size=1))
def test_any_word_has_a_stem(text: str) -> None:
    """Whatever is not all letters is its own key; all else has a key no word is."""
    word = fold(text)
    assert stem(word) == word if not word.isalpha() else not stem(word).isalpha()


def test_affixes_need_a_word_around_them() -> None:
    """An ending is not the whole word, and underscores around a name are not part of it."""
    assert ends_in("getting", "ing")
    assert not ends_in("king", "ing")
    assert ends_in("__running__", "ing")
    assert not ends_in("__ing__", "ing")
    assert begins_with("__getattr__", "get")
    assert begins_with("__getattr__", "__")
    assert not begins_with("get", "get")


def test_pieces_are_cut_as_contexts_are() -> None:
    """Where a context shows several words, a quoted text falls into as many."""
    assert pieces("Don't do") == ("don", "'", "t", "do")
    assert pieces("such  as") == ("such", "as")
    assert pieces("__init__") == ("__init__",)
    assert pieces("...") == ("...",)
    assert pieces("日本") == ("日", "本")
    assert pieces(" ") == ()


@pytest.mark.parametrize(
    ("token", "classes"),
    [
        (" 42", {"numbers"}),
        ("3.14", {"numbers"}),
        (" x86", {"words with digits"}),
        ("(", {"punctuation", "opening brackets"}),
        ("))", {"punctuation", "closing brackets"}),
        ("”", {"punctuation", "quotation marks"}),
        (" Monday", {"capitalised words", "days of the week"}),
        (" I", {"capitalised words", "single letters", "pronouns"}),
        (" HTTP", {"words in capitals"}),
        (" getItem", {"camel case names"}),
        (" get_item", {"names with underscores"}),
        (" without", {"prepositions", "negations"}),
        ("\nThe", {"capitalised words", "articles", "first words of a line"}),
        ("\n", {"line breaks"}),
        (" ", set()),
        (" plain", set()),
    ],
)
def test_classes(token: str, classes: set[str]) -> None:
    """What each kind of word is called."""
    assert classes_of(token) == classes


@given(st.text())
def test_classes_are_known_ones(token: str) -> None:
    """Any text has classes of those there are, and aliases mean those too."""
    assert classes_of(token) <= set(CLASSES)
    assert set(ALIASES.values()) <= set(CLASSES)
