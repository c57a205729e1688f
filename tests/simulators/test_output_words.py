"""Output labels without a model: what is written can be read back, whatever tokens hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exegete.explainers.hygiene import clean
from exegete.simulators.output_words import read_label, shown, write_label

TOKENS = st.lists(
    st.text(min_size=1, max_size=8).filter(lambda token: "\ud800" not in repr(token)), max_size=6
)


@given(TOKENS, TOKENS)
def test_what_is_written_is_read(raised: list[str], lowered: list[str]) -> None:
    """Every token comes back on its side, once, as it is shown: quotes, backslashes and verbs in it too."""
    found = read_label(write_label(raised, lowered))
    assert found.raised == tuple(dict.fromkeys(shown(token) for token in raised))
    assert found.lowered == tuple(dict.fromkeys(shown(token) for token in lowered))


@given(TOKENS, TOKENS)
def test_it_can_be_kept(raised: list[str], lowered: list[str]) -> None:
    """Cleaning a label changes no token that would be read from it: nothing in it is hidden."""
    text = write_label(raised, lowered)
    assert all(char.isprintable() for char in text)


def test_the_form() -> None:
    """A label names two lists, or the one that is not empty."""
    assert write_label([" the", "a"], ["0", " 0"]) == 'raises "the", "a"; lowers "0"'
    assert write_label([], ["0"]) == 'lowers "0"'
    assert write_label([], []) == ""
    assert clean(write_label(["\u202e", "\n", "  "], [])) == 'raises "⟨U+202E⟩", "⏎", "␣␣"'


def test_a_models_words() -> None:
    """Tokens that a model quotes are read by the verb they follow; a quoted verb is a token."""
    found = read_label('promotes days such as " Monday" and "lowers"; suppresses closing ")"')
    assert found.raised == ("Monday", "lowers")
    assert found.lowered == (")",)


def test_nothing_to_read() -> None:
    """Quotes before any verb, and verbs without quotes, say nothing."""
    for text in ('days such as "Monday"', "promotes days of the week", "", 'raises "'):
        assert read_label(text).raised == read_label(text).lowered == ()
