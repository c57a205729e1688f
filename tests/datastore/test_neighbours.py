"""Nearest neighbours, and the excerpts in which they fire, against literal sums over the stream."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from exegete.datastore.evidence import AgentEvidence, ReportEvidence
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.neighbours import CONTEXTS, FIRINGS, TOKENS, Neighbours, in_turn
from exegete.datastore.records import SPLITS, Plan
from tests.datastore.streams import Activations, Seen, Sizes, build, context

WORDS = [" bank", " River", " river", " the", " of", " loan", " money", "(", " x", " y", " z", " w"]
FIRES_ON = {
    0: {" bank": 2.0, " loan": 1.0},
    1: {" bank": 1.0, " money": 1.5},
    2: {" River": 1.0, " river": 1.0},
    3: {" river": 2.0, " the": 0.5},
    4: {"(": 1.0},
    5: {},
}
SIZES = Sizes(6, top=14, sample=(20, 10, 10), quiet=(60, 40, 40))


def stream() -> list[Seen]:
    """Contexts of sixteen words; a feature fires on its words in two of three contexts that have them."""
    rng = np.random.default_rng(5)
    found: list[Seen] = []
    for number in range(1, 401):
        tokens = [str(word) for word in rng.choice(WORDS, 16)]
        fired: Activations = {}
        for slot, strengths in FIRES_ON.items():
            if rng.random() < 2 / 3:
                for place, token in enumerate(tokens):
                    if token in strengths:
                        value = float(np.float32(strengths[token] + rng.random()))
                        fired.setdefault(slot, {})[place] = value
        found.append((context(number, int(rng.integers(3)), f"d{number}", tokens), fired))
    return found


@pytest.fixture(scope="module")
def seen() -> list[Seen]:
    """The stream."""
    return stream()


@pytest.fixture(scope="module")
def file(seen: list[Seen], tmp_path_factory: pytest.TempPathFactory) -> Iterator[EvidenceFile]:
    """Its evidence file."""
    opened = build(tmp_path_factory.mktemp("neighbours"), seen, SIZES)
    yield opened
    opened.close()


def profiles(seen: list[Seen]) -> dict[int, dict[str, float]]:
    """Profiles, token by token, of the strongest explain contexts."""
    counted: dict[int, Counter[str]] = {}
    for slot in FIRES_ON:
        own = [(c, f[slot]) for c, f in seen if c.split == 0 and slot in f]
        own.sort(key=lambda pair: -max(pair[1].values()))
        counted[slot] = Counter()
        for full, fired in own[:CONTEXTS]:
            for place, value in fired.items():
                thousandths = round(1000 * value / max(fired.values()))
                counted[slot][full.tokens[place].strip().lower()] += thousandths
    df = Counter(token for own in counted.values() for token in own)
    weighed = {
        slot: {token: n * math.log(len(FIRES_ON) / df[token]) for token, n in own.items()}
        for slot, own in counted.items()
    }
    return {
        slot: dict(sorted(own.items(), key=lambda item: (-item[1], item[0]))[:TOKENS])
        for slot, own in weighed.items()
    }


def cosine(one: dict[str, float], other: dict[str, float]) -> float:
    """Of two profiles."""
    norm = math.sqrt(sum(v * v for v in one.values()) * sum(v * v for v in other.values()))
    return sum(one[token] * other[token] for token in one.keys() & other.keys()) / norm if norm else 0.0


def test_nearest(file: EvidenceFile, seen: list[Seen]) -> None:
    """Cosines of profiles worked out token by token, largest first; none of a feature that never fires."""
    expected, found = profiles(seen), Neighbours(file._con, len(FIRES_ON))
    for slot in FIRES_ON:
        literal = {other: cosine(expected[slot], expected[other]) for other in FIRES_ON if other != slot}
        nearest = found.nearest((slot, "+"), 20)
        assert [key[1] for key, _ in nearest] == ["+"] * len(nearest)
        assert {key[0] for key, _ in nearest} == {other for other, value in literal.items() if value > 0}
        for key, value in nearest:
            assert value == pytest.approx(literal[key[0]], abs=2e-3)
        values = [value for _, value in nearest]
        assert values == sorted(values, reverse=True)
    assert found.nearest((0, "+"), 20)[0][0] == (1, "+")
    assert found.nearest((2, "+"), 1)[0][0] == (3, "+")
    assert len(found.nearest((0, "+"), 1)) == 1
    assert found.nearest((4, "+"), 5) == []
    assert found.nearest((5, "+"), 5) == []


def test_only_explain_decides_who_is_near(tmp_path: Path, seen: list[Seen]) -> None:
    """Other activations in the refine and report splits leave the neighbours as they are."""
    changed = [
        (c, f if c.split == 0 else {4 - slot: own for slot, own in f.items() if slot < 5}) for c, f in seen
    ]
    found = []
    for name, some in (("first", seen), ("second", changed)):
        opened = build(tmp_path, some, SIZES, name=name)
        neighbours = Neighbours(opened._con, len(FIRES_ON))
        found.append([neighbours.nearest((slot, "+"), 5) for slot in FIRES_ON])
        opened.close()
    assert found[0] == found[1]


def test_firings(file: EvidenceFile, seen: list[Seen]) -> None:
    """A feature's strongest firings in one split of the pool: contexts and places of their peaks."""
    found = Neighbours(file._con, len(FIRES_ON))
    for split in SPLITS:
        pool = set(file.pool(split, "token").ids.tolist())
        for slot in FIRES_ON:
            literal = sorted(
                (-max(f[slot].values()), c.id, max(f[slot], key=lambda place, own=f[slot]: own[place]))
                for c, f in seen
                if c.id in pool and slot in f
            )
            assert found.firings((slot, "+"), split) == [(i, place) for _, i, place in literal][:FIRINGS]


def test_excerpts(file: EvidenceFile, seen: list[Seen]) -> None:
    """In excerpts of the right split a near neighbour fires, its peak in sight, and the feature does not."""
    of = {c.id: (c, f) for c, f in seen}
    near = {0: {1}, 1: {0}, 2: {3}, 3: {2}}
    plan = Plan(top=2, per_decile=0, quiet=0, window=6, unit="token", neighbours=8)
    readers = {"explain": AgentEvidence(file).explain, "refine": AgentEvidence(file).refine}
    readers["report"] = ReportEvidence(file).report
    for split, at in zip(SPLITS, range(3), strict=True):
        for slot, others in near.items():
            excerpts = readers[split](file.feature(slot), plan).neighbours
            assert excerpts
            assert len({e.context.id for e in excerpts}) == len(excerpts) <= 8
            for excerpt in excerpts:
                full, fired = of[excerpt.context.id]
                assert full.split == at
                assert slot not in fired
                (other,) = others
                peak = max(fired[other], key=lambda place, own=fired[other]: own[place])
                start = excerpt.context.start
                assert start <= peak < start + len(excerpt.context.tokens)
                assert list(excerpt.context.tokens) == full.tokens[start : start + 6]
                assert not excerpt.activations.any()
                assert (excerpt.stratum, excerpt.weight) == ("neighbour", 0.0)
            again = readers[split](file.feature(slot), plan).neighbours
            assert [e.context for e in again] == [e.context for e in excerpts]
        assert readers[split](file.feature(4), plan).neighbours == ()
        assert readers[split](file.feature(0), Plan(window=6)).neighbours == ()


def test_the_peak_is_anywhere(tmp_path: Path) -> None:
    """Where in its window a neighbour's peak stands gives nothing away."""
    rng = np.random.default_rng(0)
    found: list[Seen] = []
    for number in range(1, 301):
        tokens, place = [f" t{i}" for i in range(120)], int(rng.integers(30, 90))
        tokens[place] = " bank"
        found.append((context(number, 0, f"d{number}", tokens), {number % 2: {place: 1.0 + number}}))
    tokens = [" bank", " x"]
    found.append((context(999, 0, "d999", tokens), {2: {1: 1.0}}))
    opened = build(tmp_path, found, Sizes(3, 5, (5, 1, 1), (301, 1, 1)))
    plan = Plan(top=1, per_decile=0, quiet=0, window=24, unit="token", neighbours=30)
    near = AgentEvidence(opened).explain(opened.feature(0), plan).neighbours
    places = [e.context.tokens.index(" bank") for e in near]
    assert len(places) == 30
    assert len(set(places)) > 10
    assert 4 < np.mean(places) < 20
    opened.close()


def test_presumed_silence_is_not_known(file: EvidenceFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where silence is only presumed, no excerpt is called a neighbour's."""
    monkeypatch.setattr(file, "silence_known", False)
    assert ReportEvidence(file).report(file.feature(0), Plan(neighbours=8)).neighbours == ()


def test_in_turn() -> None:
    """One of each queue, nearest first, then the next of each; none twice, and no more than asked for."""
    queues = [[(1, 10), (2, 20), (3, 30)], [(1, 11), (4, 40)], [(5, 50)]]

    def taken(n: int) -> list[tuple[int, int]]:
        return in_turn([iter(queue) for queue in queues], n)

    assert taken(9) == [(1, 10), (4, 40), (5, 50), (2, 20), (3, 30)]
    assert taken(2) == [(1, 10), (4, 40)]
    assert in_turn([], 3) == []


def test_no_feature_fires(tmp_path: Path) -> None:
    """Evidence without an example has no neighbours, and says so by an empty answer."""
    silent: list[Seen] = [(context(number, 0, f"d{number}"), defaultdict(dict)) for number in range(1, 9)]
    opened = build(tmp_path, silent, Sizes(2, 2, (2, 2, 2), (4, 2, 2)))
    assert AgentEvidence(opened).explain(opened.feature(0), Plan(neighbours=4)).neighbours == ()
    opened.close()
