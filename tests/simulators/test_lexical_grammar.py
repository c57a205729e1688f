"""Labels are read back as they were written, and anybody's are read as something sensible."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exegete.simulators.grammar import ANY, NEVER, Clause, Pattern, Rule, normal, render, rule_of
from exegete.simulators.grammar_reading import LONGEST, parse
from tests.simulators.lexical_strategies import CLAUSES, RAW


def word(text: str, level: int = 10) -> Clause:
    """A clause for one word."""
    return Clause(Pattern("word", text), level)


@settings(max_examples=500)
@given(st.lists(CLAUSES, max_size=8))
def test_a_rule_is_read_back(clauses: list[Clause]) -> None:
    """parse(render(rule)) == rule, whatever the words are."""
    rule = rule_of(clauses)
    assert parse(render(rule)) == rule


@settings(max_examples=300)
@given(st.text())
def test_any_text_is_read(label: str) -> None:
    """No text is refused, and what was understood of it can be written and read back."""
    rule = parse(label)
    assert parse(render(rule)) == rule


PIECES = (
    '"a"',
    "after",
    "before",
    "not",
    "but",
    "or",
    ",",
    ";",
    "(weak)",
    "forms of",
    "ending in",
    "words",
    "-ly",
)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join))
def test_grammar_in_any_order_is_read(label: str) -> None:
    """Words of the grammar may come in any order."""
    rule = parse(label)
    assert parse(render(rule)) == rule


@given(RAW)
def test_a_quoted_word_is_that_word(raw: str) -> None:
    """A label of one word names it, in lower case and without the space around it."""
    rule = rule_of([word(normal(raw))])
    assert render(rule).startswith('the word "')
    assert parse(render(rule)).clauses[0].pattern.text == normal(raw)


def test_a_label_reads_as_english() -> None:
    """One label with all there is, word for word."""
    rule = rule_of(
        [
            word("few", 5),
            word("large"),
            word("most"),
            Clause(Pattern("word", "of"), 10, "after", Pattern("word", "number")),
            Clause(Pattern("forms", "extend")),
            Clause(Pattern("word", "of"), 10, "after", Pattern("word", "list")),
            Clause(Pattern("ending", "est"), 5),
            Clause(Pattern("ending", "ly"), 5),
            Clause(Pattern("beginning", "un"), 2),
            Clause(Pattern("class", "pronouns"), 2),
            Clause(ANY, 2, "before", Pattern("class", "numbers")),
            Clause(Pattern("word", "large"), NEVER, "after", Pattern("word", "too")),
        ]
    )
    assert render(rule) == (
        'words such as "large", "most", "of" after "number" or "list", forms of "extend" (strong); '
        '"few", words ending in "-est" or "-ly" (medium); '
        'words beginning with "un-", pronouns, any word before numbers (weak); '
        'not "large" after "too"'
    )


@pytest.mark.parametrize(
    ("label", "meant"),
    [
        (
            'words such as "large" (strong); "more", "few" (medium); words ending in "-ing"; the word after '
            '"the"; "get" before "item"; numbers',
            'the word "large", "get" before "item", words ending in "-ing", numbers, any word after "the" '
            '(strong); "more", "few" (medium)',
        ),
        ("words about searching and looking", 'forms of "searching" or "looking"'),
        ("Python keywords like 'for', ‘while’ and `if`", 'words such as "for", "while", "if"'),
        ('the following words: "a", "b"', 'words such as "a", "b"'),
        ('adverbs ending with "ly", or "ily"', 'words ending in "-ly" or "-ily"'),
        ('verbs with the suffix "-ed" or “ing”', 'words ending in "-ed" or "-ing"'),
        ("words starting with «re»", 'words beginning with "re-"'),
        ("the phrase “such as”", 'the word "such as"'),
        ("numbers and months (weakly)", "numbers, months (weak)"),
        ("Digits; capitalized words", "numbers, capitalised words"),
        ('words that come right after "to" or "of"', 'any word after "to" or "of"'),
        ('"a" or "b" preceded by "c"', '"a" after "c", "b" after "c"'),
        ('"a" followed by numbers', '"a" before numbers'),
        ('"large", but not "large" after "too"', 'the word "large"; not "large" after "too"'),
        ('not "a"; "b", "c"', 'words such as "b", "c"; not "a"'),
        ('"up" (slightly). "down"', 'the word "down" (strong); "up" (weak)'),
        ("speed, not size", 'forms of "speed"; not forms of "size"'),
        ("-ing forms of verbs", 'forms of "verbs", words ending in "-ing"'),
        ("adverbs in -ly", 'forms of "adverbs", words ending in "-ly"'),
        ("the model's own words", 'forms of "model" or "own"'),
        ('an unfinished "quotation', 'forms of "unfinished" or "quotation"'),
        (r'the escape "\n"', r'the word "\\n"'),
        ('the mark "-" and "--" and "-5"', 'words such as "-", "--", "-5"'),
        ("any word", ""),
        ("the words of a sentence", ""),
        ("", ""),
    ],
)
def test_what_a_label_means(label: str, meant: str) -> None:
    """Labels of people and of models, and what is understood of them."""
    assert render(parse(label)) == meant


def test_order_is_by_level_then_as_given() -> None:
    """Strongest first, then as given; a clause given twice counts once, at its highest level."""
    rule = rule_of([word("b", 2), word("a"), word("c"), word("b", 5), word("a", NEVER)])
    assert [(c.pattern.text, c.level) for c in rule.clauses] == [("a", 10), ("c", 10), ("b", 5), ("a", NEVER)]


@pytest.mark.parametrize(
    "clause",
    [
        word("a", 7),
        word("Large"),
        word(" large"),
        word(""),
        Clause(ANY),
        Clause(Pattern("class", "verbs")),
        Clause(Pattern("forms", "such as")),
        Clause(Pattern("word", "a"), 10, "after"),
        Clause(Pattern("word", "a"), 10, "after", Pattern("ending", "ly")),
    ],
)
def test_what_can_not_be_said(clause: Clause) -> None:
    """A clause that no label could be read back to is refused when the rule is made."""
    with pytest.raises(ValueError, match="no label can say"):
        rule_of([clause])


def test_long_texts_are_read_in_part() -> None:
    """Only the beginning of an endless text is read, and quickly so."""
    assert parse(" " * LONGEST + '"a"') == Rule(())
    assert parse('"\\' * 100_000) == parse(('"\\' * 100_000)[:LONGEST])
