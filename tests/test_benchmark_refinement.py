"""The scripted model of benchmarks/refinement.py: it reads what prompts show; nothing else moves it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from benchmarks.guesser import Guesser
from benchmarks.guessing import Knowledge, cost, hypotheses, marked, predicted, reported
from benchmarks.refinement import Case, gain
from exegete.explainers.shown import as_attempts, as_marked
from exegete.llm import Request
from exegete.llm.llm import Message
from exegete.prompts import render
from tests.explainers.bench_fakes import experiment
from tests.explainers.explainer_fakes import attempt, excerpt

TEXT = "the soup was terribly hot and salty , a terrific and somewhat terse reply from the fair town too"
KNOWLEDGE = Knowledge(tuple(f" {word}" for word in TEXT.split()))
EXCERPTS = as_marked([excerpt("it was terribly cold", [0, 0, 8, 0])] * 3, 8.0)
TESTS = (
    experiment("a terse reply", [0, 0, 0], fires=True),
    experiment("how terribly odd", [0, 3, 0], fires=True),
)


def asked(habit: str, tests: tuple[object, ...] | None, k: int = 1) -> list[str]:
    """Labels of a guesser that is shown three excerpts and perhaps a tested label."""
    tried = None
    if tests is not None:
        label = replace(attempt('words beginning with "te-"'), misses=(), false_alarms=())
        tried = as_attempts([replace(label, experiments=tests)], 8.0)  # type: ignore[arg-type]
    prompt = render("highlight", excerpts=EXCERPTS, attempts=tried, k=k)
    guesser = Guesser(habit, KNOWLEDGE)  # type: ignore[arg-type]
    reply = guesser.answer(Request("m", prompt.system, (Message("user", prompt.user),)))
    return [label["text"] for label in json.loads(reply)["labels"]]


def test_it_reads_what_prompts_show() -> None:
    """Marks, mistakes and tests come back as the words that fire; where a word comes twice it is not sure."""
    (one,) = marked(as_marked([excerpt([" far", " too", " hot", " (", "too", ")"], [0, 8, 0, 0, 3, 0])], 8.0))
    assert [word.strip() for word, fires in zip(one.words, one.fires, strict=True) if fires] == ["too", "too"]
    assert one.known.tolist() == one.fires.tolist()
    miss, alarm, *tests = reported(as_attempts([replace(attempt("x"), experiments=TESTS)], 8.0))
    assert [miss.fires.tolist(), alarm.fires.tolist()] == [[0, 0, 1, 1, 0], [0, 0, 0]]
    assert [test.fires.any() for test in tests] == [False, True]
    assert {test.source for test in tests} == {"test"}
    twice = replace(TESTS[1], words=(" so", " so"), activations=np.asarray([3, 0], np.float32))
    label = replace(attempt("x"), misses=(), false_alarms=(), experiments=(twice,))
    (unsure,) = reported(as_attempts([label], 8.0))
    assert unsure.known.tolist() == [False, False]


def test_habits_differ_and_excerpts_alone_do_not_decide() -> None:
    """Of statements that fit the excerpts alike, one model names the widest, another the narrowest."""
    broad, narrow = asked("broad", None)[0], asked("narrow", None)[0]
    assert cost(broad, marked(EXCERPTS)) == cost(narrow, marked(EXCERPTS)) == 0
    assert KNOWLEDGE.extent(broad) > KNOWLEDGE.extent(narrow) > 0
    assert asked("broad", None, 5) == asked("broad", None, 5)
    assert len(set(asked("scattered", None, 5))) == 5


def test_a_failed_test_moves_it() -> None:
    """Shown that "terse" is silent, the broad model gives up what would make it fire, and else it doesn't."""
    words = (" terse",)
    assert predicted(asked("broad", ())[0], words).any()
    assert not predicted(asked("broad", TESTS)[0], words).any()
    assert predicted(asked("broad", TESTS)[0], (" terribly",)).any()


def test_tests_tell_the_label_from_its_rivals() -> None:
    """As a tester it writes texts on which the label and another fitting statement disagree."""
    tried = as_attempts([replace(attempt('words beginning with "te-"'), misses=(), false_alarms=())], 8.0)
    prompt = render("falsify", excerpts=EXCERPTS, attempt=tried, before=None, n=4)
    reply = Guesser("broad", KNOWLEDGE).answer(Request("m", prompt.system, (Message("user", prompt.user),)))
    tests = json.loads(reply)["tests"]
    assert tests
    rivals = hypotheses(marked(EXCERPTS))
    for test in tests:
        words = tuple(f" {word}" for word in test["text"].split())
        assert predicted('words beginning with "te-"', words).any() == test["fires"]
        assert any(predicted(rival, words).any() != test["fires"] for rival in rivals)


def test_gains_are_paired() -> None:
    """The gain is the mean of the features' differences, and its interval that of a literal bootstrap."""
    rng = np.random.default_rng(1)
    before, after = rng.random(40), rng.random(40)
    mean, low, high = gain(
        [Case("", float(value), {}) for value in after], [Case("", float(value), {}) for value in before]
    )
    differences = after - before
    draws = [rng.choice(differences, 40).mean() for _ in range(5000)]
    assert np.isclose(mean, differences.mean())
    assert np.allclose([low, high], np.percentile(draws, [2.5, 97.5]), atol=0.02)
