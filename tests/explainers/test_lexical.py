"""The lexical explainer: it finds known rules, and its labels are fit to be kept."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exegete.datastore.records import Context, Evidence, Excerpt, Label
from exegete.errors import LeakageError
from exegete.explainers import build
from exegete.explainers.hygiene import MAX_LENGTH, clean, same_label, why_refused
from exegete.explainers.lexical import LexicalExplainer, written
from exegete.explainers.lexical_selection import Choice
from exegete.simulators.grammar import Clause, Pattern, render
from exegete.simulators.grammar_reading import parse
from exegete.simulators.lexical import levels_of
from tests.explainers.lexical_corpus import FEATURE, Noise, Rule, activations, evidence, passages


def explained(shown: Evidence, k: int = 3, explainer: LexicalExplainer | None = None) -> list[Label]:
    """Labels of one feature."""
    return asyncio.run((explainer or LexicalExplainer()).explain(shown, k))


def held_out(label: str, rule: Rule) -> float:
    """Correlation of what a label predicts with what the feature does, on passages nobody saw."""
    contexts = passages("report")
    predicted = np.concatenate(levels_of(parse(label), contexts))
    true = np.concatenate([activations(rule, context) for context in contexts])
    return 0.0 if predicted.std() == 0 else float(np.corrcoef(predicted, true)[0, 1])


def among(*wanted: str) -> Rule:
    """Fires on some words."""
    return lambda words, i: float(words[i] in wanted)


def ending(suffix: str) -> Rule:
    """Fires on words with an ending."""
    return lambda words, i: float(words[i].endswith(suffix))


def after(neighbour: str) -> Rule:
    """Fires on whatever comes after a word."""
    return lambda words, i: float(i > 0 and words[i - 1] == neighbour)


def before(neighbour: str) -> Rule:
    """Fires on whatever comes before a word."""
    return lambda words, i: float(i + 1 < len(words) and words[i + 1] == neighbour)


def graded(words: Sequence[str], i: int) -> float:
    """Fires strongly on one word, less on others."""
    return {"house": 9.0, "river": 5.0, "garden": 4.5, "winter": 1.8}.get(words[i], 0.0)


def pair(words: Sequence[str], i: int) -> float:
    """Fires on a word, but only after another."""
    return float(i > 0 and words[i - 1] == "the" and words[i] in ("of", "in"))


@pytest.mark.parametrize(
    ("rule", "label"),
    [
        (among("letter"), 'the word "letter"'),
        (among("walks", "walked", "walking"), 'forms of "walks"'),
        (among("3", "14", "275"), "numbers"),
        (ending("ly"), 'words ending in "-ly"'),
        (after("the"), 'any word after "the"'),
        (before("of"), 'any word before "of"'),
        (pair, '"of" after "the", "in" after "the"'),
    ],
)
def test_a_simple_rule_is_named(rule: Rule, label: str) -> None:
    """Where a rule can be said in one clause or two, the first label says just that."""
    said = explained(evidence(rule))[0].text
    assert sorted(said.split(", ")) == sorted(label.split(", "))
    assert held_out(said, rule) > 0.999


@pytest.mark.parametrize(
    ("rule", "least"),
    [
        (among("house", "question", "collecting", "Monday", "proudly"), 0.99),
        (among("Monday", "Tuesday", "Wednesday", "Thursday", "Friday"), 0.99),
        (lambda words, i: float(words[i][:1].isupper()), 0.99),
        (ending("ing"), 0.99),
        (graded, 0.97),
        (lambda words, i: float(words[i] in ("house", "river") or words[i - 1 : i] == ["with"]), 0.95),
    ],
)
def test_rules_are_recovered(rule: Rule, least: float) -> None:
    """Sets, classes, endings, grades and mixtures hold on passages that were not shown."""
    assert held_out(explained(evidence(rule))[0].text, rule) >= least


def test_strongest_evidence_comes_first() -> None:
    """A graded feature's words are named strongest first, with their strengths."""
    label = explained(evidence(graded))[0].text
    assert label.startswith('the word "house" (strong)')
    assert label.index('"river"') < label.index("(medium)") < label.index('"winter"') < label.index("(weak)")


def test_firing_at_random_is_not_explained() -> None:
    """Labels of features that fire for no reason predict nothing on other passages."""
    scores = []
    for seed in range(12):
        labels = explained(evidence(Noise(seed)))
        scores += [held_out(label.text, Noise(seed)) for label in labels]
    assert len(scores) >= 24
    assert abs(np.mean(scores)) < 0.02
    assert max(scores) < 0.1


@pytest.mark.parametrize("rule", [graded, pair, ending("ed"), Noise(3), Noise(4)])
def test_labels_are_fit_to_be_kept(rule: Rule) -> None:
    """Labels are short, clean, distinct, of round 0, and say exactly what can be read back from them."""
    labels = explained(evidence(rule), k=4)
    assert 1 <= len(labels) <= 4
    for number, label in enumerate(labels):
        assert label.feature == FEATURE
        assert (label.author, label.round) == ("lexical@1", 0)
        assert len(label.text) <= MAX_LENGTH
        assert clean(label.text) == label.text
        assert why_refused(label.text) is None
        assert render(parse(label.text)) == label.text
        assert not any(same_label(label.text, other.text) for other in labels[:number])


@pytest.mark.parametrize("rule", [graded, pair, Noise(5), lambda words, i: float(len(words[i]) == 5)])
def test_order_and_history_change_nothing(rule: Rule) -> None:
    """The same labels come of excerpts in any order, and of an explainer that has seen other features."""
    shown = evidence(rule)
    first = explained(shown)
    shuffled = random.Random(1)
    activating, quiet = list(shown.activating), list(shown.quiet)
    shuffled.shuffle(activating)
    shuffled.shuffle(quiet)
    used = LexicalExplainer()
    explained(evidence(ending("ing"), "explain"), explainer=used)
    explained(replace(evidence(before("a"), "report"), split="explain"), explainer=used)
    again = explained(replace(shown, activating=tuple(activating), quiet=tuple(quiet)), explainer=used)
    assert again == first
    assert explained(shown, explainer=used) == first


def test_ties_are_broken_by_what_is_said() -> None:
    """Words with the same evidence are named in one order, whichever was seen first."""
    names = ("delta", "alpha", "echo", "bravo")
    excerpts = [
        Excerpt(Context(i, "d", 0, (f" {name}",)), np.ones(1, np.float32), "top", 1.0)
        for i, name in enumerate(names)
    ]
    quiet = (Excerpt(Context(9, "d", 0, (" x", " y", " z")), np.zeros(3, np.float32), "quiet", 1.0),)
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        for rename in (order, [0, 1, 2, 3]):
            activating = tuple(
                replace(excerpts[i], context=replace(excerpts[i].context, id=n))
                for i, n in zip(order, rename, strict=True)
            )
            shown = Evidence(FEATURE, "explain", activating, quiet, "word", 1.0)
            labels = [label.text for label in explained(shown)]
            assert labels == ['words such as "echo", "alpha", "bravo", "delta"']


def test_labels_are_cut_to_what_may_be_kept() -> None:
    """Where a rule gets too long in writing, the clauses chosen last are left out."""
    clauses = [Clause(Pattern("word", f"{letter}" * 40)) for letter in "abcdefghij"]
    choices = [Choice(n, clause, 1.0) for n, clause in enumerate(clauses)]
    text = written(choices)
    assert len(text) <= MAX_LENGTH < len(text) + 44
    assert [c.pattern.text[0] for c in parse(text).clauses] == ["a", "b", "c", "d", "e", "f"]
    assert written([Choice(0, Clause(Pattern("word", "a" * 400)), 1.0)]) == ""


def test_fewer_candidates_are_the_first_ones() -> None:
    """k only cuts the list."""
    labels = explained(evidence(Noise(1)), k=4)
    assert len(labels) >= 3
    assert [explained(evidence(Noise(1)), k=k) for k in range(4)] == [labels[:k] for k in range(4)]


def test_other_splits_are_refused() -> None:
    """Evidence it must not learn from is a bug in the caller."""
    with pytest.raises(LeakageError, match="refine"):
        explained(evidence(graded, "refine"))


def test_silence_has_no_label() -> None:
    """A feature that never fires is not explained, whatever excerpts there are."""
    silent = evidence(lambda words, i: 0.0)
    assert explained(silent) == []
    quiet = replace(silent, activating=silent.quiet[:3])
    assert explained(quiet) == []
    assert explained(replace(silent, quiet=())) == []


def test_a_feature_without_quiet_excerpts() -> None:
    """A dense feature is explained from where it is silent in its own contexts."""
    shown = evidence(after("the"))
    assert explained(replace(shown, quiet=()))[0].text == 'any word after "the"'


def test_it_does_not_revise() -> None:
    """Labels are not fitted to the split that compares them."""
    assert asyncio.run(LexicalExplainer().revise(evidence(graded), [], 3)) == []


def test_it_is_found_by_name() -> None:
    """The registry makes it without a model, and it asks for whole contexts of words."""
    made = build("lexical")
    assert isinstance(made, LexicalExplainer)
    assert made.name == "lexical@1"
    assert (made.plan.window, made.plan.unit, made.plan.hard) == (None, "word", 0)


_TOKENS = st.one_of(
    st.text(max_size=5),
    st.sampled_from([" the", '"', "\\", '\\"', " -ing", "pre-", "\n", "", ";", " (strong)"]),
)
_EXCERPTS = st.lists(
    st.lists(st.tuples(_TOKENS, st.sampled_from([0.0, 0.0, 0.5, 3.0])), max_size=8), min_size=1, max_size=5
)


@settings(max_examples=200, deadline=None)
@given(_EXCERPTS, _EXCERPTS)
def test_any_corpus_is_explained(
    loud: list[list[tuple[str, float]]], silent: list[list[tuple[str, float]]]
) -> None:
    """Odd tokens, empty ones and empty passages give labels that are clean and can be read back."""

    def excerpt(number: int, row: list[tuple[str, float]], scale: float) -> Excerpt:
        context = Context(number, "d", 0, tuple(token for token, _ in row))
        return Excerpt(context, np.asarray([scale * a for _, a in row], dtype=np.float32), "top", 1.0)

    activating = tuple(excerpt(i, row, 1.0) for i, row in enumerate(loud))
    quiet = tuple(excerpt(100 + i, row, 0.0) for i, row in enumerate(silent))
    labels = explained(Evidence(FEATURE, "explain", activating, quiet, "token", 3.0))
    assert bool(labels) == any(e.peak > 0 for e in activating)
    for label in labels:
        assert clean(label.text) == label.text
        assert render(parse(label.text)) == label.text
        assert len(label.text) <= MAX_LENGTH
