"""Whose label stands in for chance: against a literal reading of the rule, over random runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from exegete.agent import matching
from exegete.agent.matching import Labelled, Matcher, _draw
from exegete.datastore.evidence import AgentEvidence
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.records import Plan
from exegete.datastore.workspace import Workspace
from tests.agent import planted

TEXTS = ("dogs", "cats", " Dogs ", "the word after")


@pytest.fixture
def evidence(workspace: Workspace) -> Iterator[EvidenceFile]:
    """The planted harvest."""
    file = workspace.open_evidence(None)
    yield file
    file.close()


def heaviest(evidence: EvidenceFile, feature: int) -> str:
    """The word whose activations in the ten strongest explain excerpts sum to most, by a loop."""
    plan = Plan(top=10, per_decile=0, quiet=0, window=32)
    excerpts = AgentEvidence(evidence).explain(evidence.feature(feature), plan).activating
    sums: Counter[str] = Counter()
    for excerpt in excerpts:
        for place, word in enumerate(excerpt.context.tokens):
            sums[word.strip().lower()] += float(excerpt.activations[place])
    most = max(sums.values())
    return min(word for word in sums if sums[word] == most)


def in_pool(evidence: EvidenceFile, word: str) -> tuple[int, int]:
    """How often a word stands in the explain split's quiet pool, and how many words there are."""
    words = [w.strip().lower() for c in evidence.pool("explain", "word").contexts for w in c.units]
    return words.count(word), len(words)


def literal(evidence: EvidenceFile, own: Labelled, others: list[Labelled], seed: int) -> Labelled | None:
    """The rule as it is written, one candidate after the other."""

    def said(text: str) -> str:
        return " ".join(text.lower().split())

    def frequency(one: Labelled) -> int:
        count, total = in_pool(evidence, WORDS[one.feature.index])
        return math.floor(math.log10((count or 0.5) / total))

    best, key = None, None
    for other in others:
        if other.feature == own.feature or said(other.text) == said(own.text):
            continue
        bands = [math.floor(math.log10(one.density) * 3) for one in (own, other)]
        candidate = (
            abs(bands[0] - bands[1]),
            abs(frequency(own) - frequency(other)),
            abs(math.log10(own.density) - math.log10(other.density)),
            _draw(seed, own.feature, other.feature),
        )
        if key is None or candidate < key:
            best, key = other, candidate
    return best


WORDS: dict[int, str] = {}


def test_matched_as_said(evidence: EvidenceFile) -> None:
    """Forty random runs of up to twelve features: density's band, word's band, density, hash; in this order.

    Never itself, and never one that says the same, in whatever case and spacing.
    """
    WORDS.update({feature: heaviest(evidence, feature) for feature in planted.ALIVE})
    assert WORDS[0] == planted.WORD
    assert WORDS[8] == planted.SINGLE[0]
    rng = np.random.default_rng(1)
    by_band = Counter[bool]()
    for seed in range(40):
        chosen = rng.choice(planted.ALIVE, rng.integers(1, 13), replace=False).tolist()
        labelled = [
            Labelled(evidence.feature(f), str(rng.choice(TEXTS)), (), float(10 ** rng.uniform(-4, -2)))
            for f in chosen
        ]
        matcher = Matcher(evidence, "word", 32, seed, labelled)
        for own in labelled:
            found, expected = matcher.match(own), literal(evidence, own, labelled, seed)
            assert found == expected
            if found is not None:
                assert found.feature != own.feature
                assert found.text.strip().lower() != own.text.strip().lower()
                by_band[
                    math.floor(3 * math.log10(found.density)) == math.floor(3 * math.log10(own.density))
                ] += 1
    assert by_band[True] > 50, "bands are met where they can be"
    assert by_band[False] > 50, "and relaxed where they can't"


def test_the_nearest_in_density_alone_are_read(
    evidence: EvidenceFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a large run the words of so many features are compared, and no more; it is one of them."""
    monkeypatch.setattr(matching, "NEAR", 3)
    read: list[int] = []
    real = AgentEvidence.explain

    def explain(self: AgentEvidence, feature: object, plan: Plan) -> object:
        read.append(feature.index)  # type: ignore[attr-defined]
        return real(self, feature, plan)  # type: ignore[arg-type]

    monkeypatch.setattr(AgentEvidence, "explain", explain)
    labelled = [
        Labelled(evidence.feature(f), str(f), (), 0.001 * 1.3**place) for place, f in enumerate(planted.ALIVE)
    ]
    found = Matcher(evidence, "word", 32, 0, labelled).match(labelled[5])
    assert found in [labelled[i] for i in (4, 6, 3, 7)]
    assert len(set(read)) == 4
