"""The evidence file: what goes in comes out, and it is there whole or not at all."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from exegete.datastore import evidence_writer, partition
from exegete.datastore.database import connect
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.evidence_writer import FORMAT, Slot, read_manifest, sha256_of, write_evidence
from exegete.datastore.records import SPLITS
from exegete.datastore.workspace import Workspace
from exegete.errors import WorkspaceDamaged, WorkspaceError
from tests.datastore.corpus import SIZES
from tests.datastore.streams import Seen, Sizes, context, keep, literally

SLOTS = [Slot(i * 3, "-" if i % 2 else "+", i / 8, '{"a": 1}' if i == 2 else None) for i in range(6)]
PARAMETERS = {"subject": "s", "site": "t", "dictionary": "d", "seed": 0, "top": SIZES.top, "ü": [1, None]}


@pytest.fixture(scope="module")
def written(seen: list[Seen], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("written") / "h.duckdb"
    write_evidence(path, PARAMETERS, SLOTS, keep(seen, SIZES))
    return path


def table(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with connect(path, read_only=True) as con:
        return list(con.execute(sql).fetchall())


def test_manifest(written: Path) -> None:
    """The manifest has the file's own digest and every parameter; nothing else is in the folder."""
    manifest = read_manifest(written)
    assert manifest.sha256 == sha256_of(written)
    assert (manifest.name, manifest.format, manifest.parameters) == ("h", FORMAT, PARAMETERS)
    assert sorted(p.name for p in written.parent.iterdir()) == ["h.duckdb", "h.json"]


def test_contexts(written: Path, seen: list[Seen]) -> None:
    """Every context that is referred to stands there once, with its split, document, ids and tokens."""
    plain = literally(seen, SIZES)
    of = {c.id: c for c, _ in seen}
    rows = table(written, "SELECT context_id, split, quiet, document, start, token_ids, tokens FROM contexts")
    assert {(SPLITS.index(split), i) for i, split, *_ in rows} == set(plain.contexts)
    assert len(rows) == len(plain.contexts)
    for i, split, quiet, document, start, ids, tokens in rows:
        assert quiet == ((SPLITS.index(split), i) in plain.quiet)
        assert (document, start, tokens) == (of[i].document, of[i].start, of[i].tokens)
        assert ids == of[i].token_ids.tolist()


def test_examples(written: Path, seen: list[Seen]) -> None:
    """Pairs come out as they were kept: strongest first, with their positions and whether they were drawn."""
    plain = literally(seen, SIZES)
    for slot, split in plain.pairs:
        rows = table(
            written,
            "SELECT context_id, peak, positions, activations, rank, sampled FROM examples WHERE "
            f"feature_index = {slot * 3} AND split = '{SPLITS[split]}' ORDER BY rank",
        )
        found = [(i, peak, tuple(zip(p, a, strict=True))) for i, peak, p, a, _, _ in rows]
        assert found == plain.pairs[slot, split]
        assert [row[4] for row in rows] == list(range(len(rows)))
        assert {row[0] for row in rows if row[5]} == plain.sampled[slot, split]


def test_quiet_activations(written: Path, seen: list[Seen]) -> None:
    """Everything that fires in the pool is there, and nothing that does not."""
    rows = table(written, "SELECT feature_index, context_id, positions, activations FROM quiet_activations")
    found = {(index, i, p, v) for index, i, ps, vs in rows for p, v in zip(ps, vs, strict=True)}
    plain = literally(seen, SIZES)
    assert found == {(s * 3, i, p, v) for (_, i), fired in plain.quiet.items() for s, p, v in fired}


def test_features(written: Path, seen: list[Seen]) -> None:
    """A feature's row holds its threshold, counts, density, maxima and histogram."""
    s = literally(seen, SIZES).statistics
    rows = table(
        written,
        "SELECT feature_index, polarity, threshold, metadata, fired, density, maximum, maximum_explain, "
        "histogram, fired_contexts_explain, fired_contexts_refine, fired_contexts_report FROM features",
    )
    for i, (slot, row) in enumerate(zip(SLOTS, rows, strict=True)):
        assert row[:4] == (slot.index, slot.polarity, slot.threshold, slot.metadata)
        assert row[4:6] == (s["fired"][i], s["fired"][i] / s["tokens"])
        assert row[6:8] == (max(s["maximum"][i]), s["maximum"][i][0])
        assert (row[8], list(row[9:])) == (s["histogram"][i], s["fired_contexts"][i])


def test_weights_stand_for_the_population(written: Path, seen: list[Seen]) -> None:
    """A group's weights add up to the contexts in which the feature fires (no duplicates here)."""
    plain = literally(seen, SIZES)
    for slot in range(6):
        for split in range(3):
            rows = table(
                written,
                f"SELECT weight, rank FROM examples WHERE feature_index = {slot * 3} "
                f"AND split = '{SPLITS[split]}'",
            )
            fired = plain.statistics["fired_contexts"][slot][split]
            if len(rows) > SIZES.top or fired <= SIZES.top:
                assert sum(row[0] for row in rows) == pytest.approx(fired, rel=1e-6)
            assert all(weight == 1.0 for weight, rank in rows if rank < SIZES.top)


def test_nothing_fires(tmp_path: Path) -> None:
    """A harvest in which no feature fires is written and read like any other."""
    stream: list[Seen] = [(context(i, i % 3, f"d{i}"), {}) for i in range(1, 10)]
    write_evidence(
        tmp_path / "e.duckdb", PARAMETERS, SLOTS[:1], keep(stream, Sizes(1, 2, (2,) * 3, (2,) * 3))
    )
    file = EvidenceFile(tmp_path / "e.duckdb")
    assert file.rows(file.feature(0)).examples == {}
    assert file.summary(file.feature(0)).density == 0.0
    file.close()


def test_blocks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, seen: list[Seen]) -> None:
    """Slots kept and written a few at a time make the same tables as all at once."""
    tables = ("features", "contexts", "examples", "quiet_activations")
    found = []
    for block in (1, 4, 4096):
        monkeypatch.setattr(evidence_writer, "_BLOCK", block)
        monkeypatch.setattr(partition, "SLOTS", block)
        kept = keep(seen, SIZES)
        assert len(kept.parts) == -(-6 // block)
        write_evidence(tmp_path / f"b{block}.duckdb", PARAMETERS, SLOTS, kept)
        found.append([table(tmp_path / f"b{block}.duckdb", f"SELECT * FROM {name}") for name in tables])
        assert len(found[-1][2]) == len(kept.pairs)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, OSError(28, "No space left on device")])
@pytest.mark.parametrize("step", ["_examples", "_quiet", "sha256_of"])
def test_an_exception_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Any, step: str, seen: list[Seen]
) -> None:
    """Whatever goes wrong meanwhile, the folder is as it was; a full disk is told in a sentence."""

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(evidence_writer, step, fail)
    with pytest.raises(WorkspaceError if isinstance(error, OSError) else error) as caught:
        write_evidence(tmp_path / "h.duckdb", PARAMETERS, SLOTS, keep(seen[:20], SIZES))
    assert list(tmp_path.iterdir()) == []
    assert not isinstance(error, OSError) or "make room" in str(caught.value)


KILLED = """
import os, signal, sys
from pathlib import Path
from exegete.datastore import evidence_writer, partition
from tests.datastore.streams import Sizes, context, keep

die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "tables":
    evidence_writer._quiet = die
else:
    replaced = os.replace
    os.replace = lambda a, b: die() if str(b).endswith(".json") else replaced(a, b)
stream = [(context(i, i % 3, f"d{i}"), {0: {0: 1.0}}) for i in range(1, 30)]
evidence_writer.write_evidence(
    Path(sys.argv[1]), {"seed": 0}, [evidence_writer.Slot(0, "+", 0.0)],
    keep(stream, Sizes(1, 2, (2, 2, 2), (2, 2, 2))),
)
"""


@pytest.mark.parametrize("when", ["tables", "manifest"])
def test_a_killed_write_is_never_seen(tmp_path: Path, when: str) -> None:
    """After kill -9 amid the tables, or between file and manifest, no harvest is there; the next makes it."""
    space = Workspace.open_or_create(tmp_path / "w")
    path = space.evidence / "h.duckdb"
    root = Path(__file__).parents[2]
    child = subprocess.run([sys.executable, "-c", KILLED, str(path), when], cwd=root, check=False)
    assert child.returncode == -signal.SIGKILL
    assert space.harvests() == []
    assert path.exists() == (when == "manifest")
    with pytest.raises(WorkspaceError, match="not finished"):
        read_manifest(path)
    stream: list[Seen] = [(context(i, i % 3, f"d{i}"), {0: {0: 1.0}}) for i in range(1, 30)]
    write_evidence(path, PARAMETERS, SLOTS[:1], keep(stream, Sizes(1, 2, (2,) * 3, (2,) * 3)))
    assert space.harvests() == ["h"]


FULL = """
import resource, sys
from pathlib import Path
from exegete.datastore.evidence_writer import Slot, write_evidence
from exegete.errors import WorkspaceError
from tests.datastore.corpus import SIZES, stream
from tests.datastore.streams import keep

path, kept = Path(sys.argv[1]), keep(stream(), SIZES)
for limit in (1000, 20_000, 100_000, 300_000, 500_000, resource.RLIM_INFINITY):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        write_evidence(path, {"seed": 0}, [Slot(i, "+", 0.0) for i in range(6)], kept)
        print("made", flush=True)
    except WorkspaceError as error:
        print(len(list(path.parent.iterdir())), error, flush=True)
"""


def test_full(tmp_path: Path) -> None:
    """Wherever in its making a file can grow no further, that is one sentence; the folder stays as it was."""
    command = [sys.executable, "-c", FULL, str(tmp_path / "h.duckdb")]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    *refused, made = done.stdout.splitlines()
    assert made == "made"
    assert len(refused) == 5
    assert all(line.startswith("0 the evidence file h.duckdb could not be written") for line in refused)
    assert all("make room" in line for line in refused)
    assert {p.name for p in tmp_path.iterdir()} == {"h.duckdb", "h.json"}


def test_a_leftover_of_the_same_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: list[Seen]
) -> None:
    """A half-written file of a killed process with our process number is in nobody's way."""
    monkeypatch.setattr("os.getpid", lambda: 4242)
    (tmp_path / ".h.4242.building").write_bytes(b"half" * 5000)
    write_evidence(tmp_path / "h.duckdb", PARAMETERS, SLOTS, keep(seen[:50], SIZES))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["h.duckdb", "h.json"]


def rewrite(path: Path, **changes: Any) -> None:
    manifest = path.with_suffix(".json")
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | changes))


@pytest.fixture
def copy(written: Path, tmp_path: Path) -> Path:
    for suffix in (".duckdb", ".json"):
        (tmp_path / f"h{suffix}").write_bytes(written.with_suffix(suffix).read_bytes())
    return tmp_path / "h.duckdb"


@pytest.mark.parametrize("extra", [{}, {"new_field": 1}])
def test_a_newer_format_is_refused(copy: Path, extra: dict[str, int]) -> None:
    """A later format is named as such, also when its manifest has fields that are not known here."""
    rewrite(copy, format=FORMAT + 1, **extra)
    with pytest.raises(WorkspaceError, match="newer exegete") as caught:
        EvidenceFile(copy)
    assert not isinstance(caught.value, WorkspaceDamaged)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"format": 1}', '{"format": "x"}', '{"format": null}', "\xff"]
)
def test_a_damaged_manifest(copy: Path, text: str) -> None:
    """A manifest that is none is damage, whatever it holds instead."""
    copy.with_suffix(".json").write_text(text, encoding="latin1")
    with pytest.raises(WorkspaceDamaged, match="manifest"):
        EvidenceFile(copy)


def everything(path: Path) -> list[str]:
    """All rows of all features, read as a job would."""
    file = EvidenceFile(path)
    try:
        file.prefetch(file.features)
        said = [
            repr([(s, [(e.context_id, e.positions.tolist(), e.values.tolist()) for e in es]) for s, es in r])
            for r in (sorted(file.rows(f).examples.items()) for f in file.features)
        ]
        return (
            said
            + [repr(file.pool(s, "word").contexts) for s in SPLITS]
            + [repr(sorted(file.rows(f).loud)) for f in file.features]
        )
    finally:
        file.close()


def test_flipped_bytes(copy: Path) -> None:
    """A file with bytes overwritten anywhere is damaged or reads as before, never as something else."""
    raw, whole = copy.read_bytes(), everything(copy)
    digest = sha256_of(copy)
    said = list[str]()
    for at in np.random.default_rng(0).integers(0, len(raw) - 64, 30).tolist():
        hurt = bytearray(raw)
        hurt[at : at + 64] = bytes(b ^ 0xFF for b in hurt[at : at + 64])
        copy.write_bytes(hurt)
        assert sha256_of(copy) != digest
        try:
            assert everything(copy) == whole
        except WorkspaceDamaged as error:
            said.append(str(error))
    assert len(said) > 5
    assert all("harvest again" in sentence for sentence in said)


@pytest.mark.parametrize("left", [0, 10, 4096, 20_000, -4096])
def test_cut_short(copy: Path, left: int) -> None:
    """A file cut short anywhere is damaged."""
    copy.write_bytes(copy.read_bytes()[:left])
    with pytest.raises(WorkspaceDamaged, match="can't be read"):
        everything(copy)


def test_no_such_file(tmp_path: Path, copy: Path) -> None:
    """A manifest without its file is damage; a name without a manifest is no harvest."""
    copy.unlink()
    with pytest.raises(WorkspaceDamaged):
        EvidenceFile(copy)
    with pytest.raises(WorkspaceError, match="no manifest"):
        EvidenceFile(tmp_path / "other.duckdb")


def test_no_one_writes(written: Path) -> None:
    """An opened evidence file refuses writes, and can be opened many times at once."""
    files = [EvidenceFile(written) for _ in range(3)]
    with pytest.raises(duckdb.InvalidInputException, match="read-only"):
        files[0]._con.execute("DELETE FROM examples")
    for file in files:
        file.close()
