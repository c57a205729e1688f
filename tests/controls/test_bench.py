"""Planted features on texts that they were not planted on."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from exegete.controls.bench import ONE_IN, PlantedBench
from exegete.controls.suite import Control, SuiteSpec, controls_of, make_suite
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.records import Unit
from exegete.simulators.word_forms import fold
from exegete.subjects.bench import Measured, NotRun
from tests.controls.texts import documentation


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> EvidenceFile:
    """A word, a word after another one, and random firing."""
    spec = SuiteSpec((("token", 1), ("after a word", 1), ("random firing", 1)), seed=2)
    folder = tmp_path_factory.mktemp("suites")
    return EvidenceFile(folder / f"{make_suite(documentation(), spec, folder)[0].name}.duckdb")


def control(file: EvidenceFile, kind: str) -> Control:
    """The one of a kind."""
    return next(c for c in controls_of(file) if c.kind == kind)


def measure(file: EvidenceFile, kind: str, text: str, unit: Unit = "word") -> Measured | NotRun:
    """What the planted feature of a kind does on a text."""
    feature = file.feature(control(file, kind).index, "+")
    (found,) = asyncio.run(PlantedBench(file).measure(feature, [text], unit))
    return found


def test_a_truth_runs_any_text(file: EvidenceFile) -> None:
    """A planted word fires wherever it stands, at its level of the explain maximum; nothing else does."""
    known = control(file, "token")
    assert known.truth is not None
    (word,), (level,) = known.truth.rule["words"], known.truth.rule["levels"]
    found = measure(file, "token", f"Never say {word.upper()}; {word}, twice(not {word}y).")
    assert isinstance(found, Measured)
    assert "".join(found.words) == f"Never say {word.upper()}; {word}, twice(not {word}y)."
    maximum = file.summary(file.feature(known.index, "+")).maximum_explain
    expected = [level * maximum if fold(w) == word else 0.0 for w in found.words]
    assert found.activations.tolist() == pytest.approx(expected)
    assert np.count_nonzero(found.activations) == 2
    assert found.peak > PlantedBench(file).threshold(file.feature(known.index, "+"))


def test_a_truth_about_what_stands_before(file: EvidenceFile) -> None:
    """The word after its cue fires, and not the cue; another text knows nothing of it."""
    known = control(file, "after a word")
    assert known.truth is not None
    cue = known.truth.rule["text"]
    found = measure(file, "after a word", f"one {cue} two three")
    assert isinstance(found, Measured)
    assert (found.activations > 0).tolist() == [False, False, True, False]


def test_without_a_truth_it_fires_at_random(file: EvidenceFile) -> None:
    """On one word in `ONE_IN` of many texts, the same ones each time, whatever the words are."""
    texts = [f"{i} " + "word " * 39 for i in range(200)]
    found = [measure(file, "random firing", text) for text in texts]
    fired = np.concatenate([one.activations > 0 for one in found if isinstance(one, Measured)])
    assert len(fired) == 200 * 40
    # Four standard deviations of a share of 8,000.
    assert fired.mean() == pytest.approx(1 / ONE_IN, abs=4 * np.sqrt((1 / ONE_IN) / len(fired)))
    again = measure(file, "random firing", texts[7])
    assert isinstance(again, Measured)
    assert (again.activations > 0).tolist() == fired[7 * 40 : 8 * 40].tolist()


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_a_text_without_words_is_not_run(file: EvidenceFile, text: str) -> None:
    """Nothing is measured on nothing."""
    assert isinstance(measure(file, "token", text), NotRun)


def test_tokens(file: EvidenceFile) -> None:
    """By tokens every mark is a unit of its own, which joins to no word."""
    words, tokens = (measure(file, "token", "a... b", unit) for unit in ("word", "token"))
    assert isinstance(words, Measured)
    assert isinstance(tokens, Measured)
    assert words.words == ("a", "...", " b")
    assert tokens.words == ("a", ".", ".", ".", " b")
    assert len(tokens.activations) == 5
