"""Measurements on disk: what is read back, what survives, and who may write."""

from __future__ import annotations

import asyncio
import errno
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.records import FeatureId
from exegete.errors import WorkspaceError
from exegete.subjects.bench import Measured, NotMeasured, NotRun
from exegete.subjects.laboratory import Laboratory
from exegete.subjects.measurements import Measurements, RememberedOnly
from tests.subjects.planted import planted_evidence

Found = dict[str, Measured | NotRun]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EvidenceFile]:
    found = planted_evidence(tmp_path_factory.mktemp("planted"))
    yield found
    found.close()


def made(**peaks: float) -> Found:
    """One measurement a text, of three words, with this peak on the second."""
    return {
        text: Measured((text, " b", " c"), np.asarray([0, peak, 0], np.float32))
        for text, peak in peaks.items()
    }


def plain(found: Found) -> dict[str, object]:
    """Measurements in a form that is equal to the bit."""
    return {
        text: one.why if isinstance(one, NotRun) else (one.words, one.activations.tobytes())
        for text, one in found.items()
    }


TEXT = st.text(st.characters() | st.just("\ud83d"), max_size=9)
MEASURED = st.integers(1, 6).flatmap(
    lambda n: st.builds(
        Measured,
        st.lists(TEXT, min_size=n, max_size=n).map(tuple),
        arrays(np.float32, n, elements=st.floats(0, width=32, allow_infinity=False, allow_subnormal=True)),
    )
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=st.dictionaries(TEXT, MEASURED | st.builds(NotRun, TEXT), min_size=1, max_size=4))
def test_bit_by_bit(found: Found, file: EvidenceFile, tmp_path: Path) -> None:
    """Whatever was measured comes back the same to the last bit, halves of characters and all."""
    feature = file.features[0]
    (tmp_path / f"{file.manifest.sha256}.jsonl").unlink(missing_ok=True)
    said = Measurements(tmp_path, file).remember(feature, "word", found)
    again = Measurements(tmp_path, file).known(feature, "word", [*found, "never"])
    assert plain(said) == plain(again) == plain(found)


def test_what_belongs_to_a_measurement(file: EvidenceFile, tmp_path: Path) -> None:
    """Another side, feature, unit or text is another measurement; another harvest's are in another file."""
    feature = file.features[0]
    kept = Measurements(tmp_path, file)
    kept.remember(feature, "word", made(a=1.0))
    assert kept.known(feature, "word", ["a", "b"]).keys() == {"a"}
    assert kept.known(feature, "token", ["a"]) == {}
    assert kept.known(file.features[1], "word", ["a"]) == {}
    assert kept.path.name == f"{file.manifest.sha256}.jsonl"


def test_cut_anywhere(file: EvidenceFile, tmp_path: Path) -> None:
    """Killed at any byte of its last line: what was before is there, and it goes on from there."""
    feature = file.features[0]
    kept = Measurements(tmp_path, file)
    kept.remember(feature, "word", made(a=1.0))
    whole = kept.path.stat().st_size
    kept.remember(feature, "word", made(b=2.0))
    content = kept.path.read_bytes()
    for size in range(whole, len(content), 7):
        kept.path.write_bytes(content[:size])
        opened = Measurements(tmp_path, file)
        assert opened.known(feature, "word", ["a", "b"]).keys() == {"a"}
        opened.remember(feature, "word", made(c=3.0))
        again = Measurements(tmp_path, file)
        assert plain(again.known(feature, "word", ["a", "b", "c"])) == plain(made(a=1.0, c=3.0))
        assert all(json.loads(line) for line in kept.path.read_bytes().splitlines())


def test_a_damaged_line(file: EvidenceFile, tmp_path: Path) -> None:
    """A line that is not what was written is passed over, and measured again."""
    feature = file.features[0]
    kept = Measurements(tmp_path, file)
    kept.remember(feature, "word", made(a=1.0))
    kept.remember(feature, "word", made(b=2.0))
    kept.path.write_bytes(kept.path.read_bytes().replace(b"1.0", b"9.0"))
    opened = Measurements(tmp_path, file)
    assert opened.known(feature, "word", ["a", "b"]).keys() == {"b"}
    assert plain(opened.remember(feature, "word", made(a=1.5))) == plain(made(a=1.5))


def test_the_first_counts(file: EvidenceFile, tmp_path: Path) -> None:
    """Of two processes that measure the same text, both go on with what was written first."""
    feature = file.features[0]
    one, other = Measurements(tmp_path, file), Measurements(tmp_path, file)
    one.remember(feature, "word", made(a=1.0))
    assert plain(other.remember(feature, "word", made(a=1.25, b=2.0))) == plain(made(a=1.0, b=2.0))
    assert plain(one.remember(feature, "word", made(b=9.0))) == plain(made(b=2.0))
    assert plain(other.known(feature, "word", ["a", "b"])) == plain(made(a=1.0, b=2.0))


def write_many(folder: Path, path: Path, number: int) -> None:
    file = EvidenceFile(path)
    kept = Measurements(folder, file)
    for i in range(40):
        kept.remember(file.features[i % 2], "word", made(**{f"t{i}": float(number), f"{number}-{i}": 1.0}))


def test_processes_at_once(file: EvidenceFile, tmp_path: Path) -> None:
    """Three that write at the same time leave whole lines, and every text once."""
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=write_many, args=(tmp_path, file.path, n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    runs = [
        (line["index"], run["text"])
        for line in map(json.loads, Measurements(tmp_path, file).path.read_bytes().splitlines())
        for run in line["runs"]
    ]
    assert len(runs) == len(set(runs)) == 40 + 3 * 40


@pytest.mark.parametrize("fails", ["pwrite", "fsync"])
def test_a_full_disk(fails: str, file: EvidenceFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said in a sentence, the file is as it was, and once there is room it goes on."""
    feature = file.features[0]
    kept = Measurements(tmp_path, file)
    kept.remember(feature, "word", made(a=1.0))
    before = kept.path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, fails, full)
        with pytest.raises(WorkspaceError, match=r"No space left on device.*make room"):
            kept.remember(feature, "word", made(b=2.0))
    assert kept.path.read_bytes() == before
    assert plain(kept.remember(feature, "word", made(b=2.0))) == plain(made(b=2.0))


def run(bench: Any, feature: FeatureId, texts: list[str]) -> list[Measured | NotRun]:
    return asyncio.run(bench.measure(feature, texts))


def test_a_laboratory_that_remembers(
    file: EvidenceFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was measured is not run again, by it or the next, and is to be had without a subject."""
    feature = file.features[0]
    texts = ["there the fox was", "a quick dog", "", "the " * 40]
    lab = Laboratory.open(file, device="cpu", remembered=tmp_path)
    first = run(lab, feature, texts)
    lab.close()
    again = Laboratory.open(file, device="cpu", remembered=tmp_path)

    def never(*_: object) -> None:
        raise AssertionError("it was run again")

    reopened: Callable[..., object] = again.reader.activations
    monkeypatch.setattr(again.reader, "activations", never)
    for bench in (again, RememberedOnly(file, tmp_path)):
        found = run(bench, feature, texts)
        assert plain(dict(zip(texts, found, strict=True))) == plain(dict(zip(texts, first, strict=True)))
        assert bench.threshold(feature) == file.summary(feature).threshold
    monkeypatch.setattr(again.reader, "activations", reopened)
    assert isinstance(run(again, feature, ["something new"])[0], Measured)
    again.close()
    with pytest.raises(NotMeasured, match=r"1 of 2 texts were never run for feature 0 .*: label it again"):
        run(RememberedOnly(file, tmp_path), feature, ["never", "a quick dog"])
