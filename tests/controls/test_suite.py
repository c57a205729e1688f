"""The suite: real enough noise, blind evidence, the same from the same seed."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exegete.controls import planting, subjects
from exegete.controls.choosing import Chooser
from exegete.controls.suite import SuiteSpec, controls_of, make_suite
from exegete.controls.text import Text
from exegete.controls.truths import NEGATIVE, POSITIVE, levels
from exegete.datastore.evidence import AgentEvidence
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.records import Plan
from exegete.errors import CorpusError
from exegete.subjects import minilm
from tests.controls.texts import documentation, passages


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where suites go."""
    return tmp_path_factory.mktemp("suites")


@pytest.fixture(scope="module")
def suite(folder: Path) -> EvidenceFile:
    """Two of each kind, and four of each with nothing to find."""
    manifest, made = make_suite(documentation(), SuiteSpec.of_each(2, 4, 1), folder)
    assert made
    return EvidenceFile(folder / f"{manifest.name}.duckdb")


def test_noise_is_as_described() -> None:
    """A twentieth of the firings is missed, as many weak ones stray, and strengths are log-normal."""
    truth = Chooser(passages(), 0).choose("token class", 1)[0]
    right = np.flatnonzero(levels(truth.rule, passages()) > 0)
    spreads, missed, strayed = [], [], []
    at = {pair: i for i, pair in enumerate(zip(passages().row, passages().token, strict=True))}
    for seed in range(40):
        fired = planting.plant(passages(), levels(truth.rule, passages()), np.random.default_rng(seed))
        places = zip(fired.row, fired.position, strict=True)
        words = np.asarray([at.get(place, -1) for place in places])  # -1: a later token of a word
        words, value = words[words >= 0], fired.value[words >= 0]
        hit = np.isin(words, right)
        missed.append(1 - hit.sum() / len(right))
        strayed.append((~hit).sum() / len(right))
        spreads.append(np.log(value[hit]).std())
        assert value.min() > 0
        if (~hit).any():
            assert value[~hit].max() < np.median(value[hit])
    assert np.mean(missed) == pytest.approx(0.05, abs=0.015)
    assert np.mean(strayed) == pytest.approx(0.05, abs=0.015)
    assert np.mean(spreads) == pytest.approx(0.35, abs=0.03)


def test_dealing_keeps_the_activations_and_moves_them() -> None:
    """Dealt activations are the same values in other contexts, each at most once at a place."""
    truth = Chooser(passages(), 0).choose("token", 1)[0]
    fired = planting.plant(passages(), levels(truth.rule, passages()), np.random.default_rng(0))
    dealt = planting.dealt(passages(), fired, np.random.default_rng(1))
    assert len(dealt.value) >= 0.9 * len(fired.value)
    assert {*dealt.value.tolist()} <= {*fired.value.tolist()}
    assert len({*zip(dealt.row.tolist(), dealt.position.tolist(), strict=True)}) == len(dealt.row)
    lengths = np.asarray([c.n_tokens for c in passages().contexts])
    assert (dealt.position < lengths[dealt.row]).all()
    before, after = (np.isin(f.row, np.unique(fired.row)).mean() for f in (fired, dealt))
    assert before == 1 > after


def test_random_firing_is_as_frequent_as_asked() -> None:
    """So many words fire as were asked for, in all parts of the text."""
    fired = planting.at_random(passages(), 500, np.random.default_rng(0))
    places = {*zip(passages().row.tolist(), passages().token.tolist(), strict=True)}
    assert len({*zip(fired.row.tolist(), fired.position.tolist(), strict=True)} & places) == 500
    assert len(np.unique(fired.row)) > 250


def test_a_suite_has_all_that_was_asked_for(suite: EvidenceFile) -> None:
    """Two of each kind with a truth, and of those that need no model four with nothing to find."""
    controls = controls_of(suite)
    kinds = [control.kind for control in controls]
    assert {kind: kinds.count(kind) for kind in POSITIVE} == dict.fromkeys(POSITIVE, 2)
    assert {kind: kinds.count(kind) for kind in NEGATIVE if kind in kinds} == {
        "random firing": 4,
        "shuffled": 4,
    }
    assert suite.parameters["left_out"] == ["random direction", "random weights"]
    for control in controls:
        assert control.positive == (control.kind in POSITIVE)
        assert ("swapped" in control.wrong) == control.positive
        if control.truth is not None:
            assert control.swapped != control.truth.right


def test_nothing_but_metadata_says_what_a_feature_is(suite: EvidenceFile) -> None:
    """Indices come in no order of kinds, and all else of their names is the same."""
    kinds = [control.kind for control in controls_of(suite)]
    assert [c.index for c in controls_of(suite)] == list(range(len(kinds)))
    assert sum(a == b for a, b in pairwise(kinds)) < len(kinds) / 4
    assert len({(f.subject, f.site, f.dictionary, f.polarity) for f in suite.features}) == 1
    evidence = AgentEvidence(suite).explain(suite.features[0], Plan())
    assert evidence.activating
    assert evidence.quiet


def test_the_same_seed_makes_the_same_suite(suite: EvidenceFile, folder: Path, tmp_path: Path) -> None:
    """Made elsewhere it has the same name and evidence; in the same place it is found; another differs."""
    spec = SuiteSpec.of_each(2, 4, 1)
    again, made = make_suite(documentation(), spec, folder)
    assert (again.name, made) == (suite.name, False)
    other, _ = make_suite(documentation(), spec, tmp_path)
    assert other.name == suite.name
    copy = EvidenceFile(tmp_path / f"{other.name}.duckdb")
    assert controls_of(copy) == controls_of(suite)
    for feature in suite.features[::7]:
        assert copy.summary(feature) == suite.summary(feature)
        assert AgentEvidence(copy).explain(feature, Plan()).activating[0].activations.tolist() == (
            AgentEvidence(suite).explain(feature, Plan()).activating[0].activations.tolist()
        )
    third, _ = make_suite(documentation(), SuiteSpec.of_each(2, 4, 2), tmp_path)
    assert third.name != suite.name


def test_features_of_a_model_fire_as_often_as_planted_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both kinds are read where the suite says, for as many shares as features, each some planted one's."""
    asked: dict[str, Any] = {}

    def read(kind: str, where: object, shares: Any) -> list[planting.Fired]:
        asked[kind] = (where, shares)
        rng = np.random.default_rng(0)
        return [planting.at_random(passages(), int(s * len(passages().word)), rng) for s in shares]

    monkeypatch.setattr(minilm, "wheel_folder", lambda: tmp_path)
    monkeypatch.setattr(
        subjects, "random_directions", lambda model, site, text, shares, seed: read("direction", site, shares)
    )
    monkeypatch.setattr(
        subjects, "random_weights", lambda folder, text, shares, seed: read("weights", folder, shares)
    )
    text = replace(documentation(), subject=object())  # type: ignore[arg-type]
    counts = (("token", 3), ("random direction", 5), ("random weights", 4))
    manifest, _ = make_suite(text, SuiteSpec(counts, site="some.site"), tmp_path)
    file = EvidenceFile(tmp_path / f"{manifest.name}.duckdb")
    kinds = [control.kind for control in controls_of(file)]
    assert {kind: kinds.count(kind) for kind in kinds} == dict(counts)
    assert manifest.parameters["left_out"] == []
    (site, five), (folder, four) = asked["direction"], asked["weights"]
    assert (site, folder, len(five), len(four)) == ("some.site", tmp_path, 5, 4)
    planted = [file.summary(file.feature(c.index)).density for c in controls_of(file) if c.positive]
    for share in (*five, *four):
        assert min(abs(share - density) for density in planted) < 1e-6


@pytest.mark.parametrize("total", [1, 7, 32])
def test_a_mixture_has_exactly_as_many(total: int, tmp_path: Path) -> None:
    """Whatever number is asked for, so many there are, a quarter of them with nothing to find."""
    manifest, _ = make_suite(documentation(), SuiteSpec.mixture(total, 0, 1000), tmp_path)
    file = EvidenceFile(tmp_path / f"{manifest.name}.duckdb")
    controls = controls_of(file)
    assert [c.index for c in controls] == list(range(1000, 1000 + total))
    assert sum(not c.positive for c in controls) == total // 4


def test_too_little_text_is_refused(tmp_path: Path) -> None:
    """A text in which no word is frequent enough is refused in a sentence, and nothing is left behind."""
    whole = documentation()
    little = Text(whole.contexts[:40], "little", "0", "words", None)
    with pytest.raises(CorpusError, match="too short to plant features on: 0 of its words"):
        make_suite(little, SuiteSpec.of_each(1, 1, 0), tmp_path)
    assert not list(tmp_path.iterdir())
