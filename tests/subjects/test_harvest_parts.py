"""Harvests in parts: resumed from a checkpoint, in shards; each equal to a plain one."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exegete.datastore import keeper_state
from exegete.datastore.shards import find_shards, merge, open_shards, waiting_shards
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError, WorkspaceError
from exegete.subjects.checkpoint import unfinished
from exegete.subjects.corpora import open_corpus
from exegete.subjects.harvest import harvest, harvest_shard
from exegete.subjects.huggingface import HuggingFaceSubject
from exegete.subjects.reading import Place, batches
from exegete.subjects.spec import WHOLE, Progress, Shard
from tests.subjects.harvests import SPEC, Stopped, Subjects, impatient, stop_after, tables, uneven_corpus


@pytest.fixture(autouse=True, scope="module")
def _impatient() -> Iterator[None]:
    """Blocks, partitions and compaction of a few pieces."""
    with impatient():
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 documents, every tenth the one before it again."""
    return uneven_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def whole(
    subjects: Subjects, corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, list[tuple[Any, ...]]]]:
    """The plain harvest: its name and rows."""
    folder = tmp_path_factory.mktemp("whole")
    manifest, _ = harvest(subjects["bert"], open_corpus(str(corpus)), SPEC, folder)
    return manifest.name, tables(folder, manifest.name)


# Reading


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(of=st.integers(1, 7), tokens=st.one_of(st.none(), st.integers(1, 4000)), at=st.integers(0, 60))
def test_shards_are_the_corpus(
    of: int, tokens: int | None, at: int, subjects: Subjects, corpus: Path
) -> None:
    """The batches of all shards are those of the whole, once; read from any place, they are the rest."""
    subject, text, spec = subjects["gpt2"], open_corpus(str(corpus)), replace(SPEC, tokens=tokens)

    def ids(some: Any) -> list[tuple[tuple[str, int], ...]]:
        return [tuple((c.document, c.start) for c in b) for b in some if not isinstance(b, Place)]

    plain = list(batches(subject, text, spec))
    parts = [ids(batches(subject, text, spec, Shard(i, of))) for i in range(of)]
    assert sorted(b for part in parts for b in part) == sorted(ids(plain))
    places = [i for i, item in enumerate(plain) if isinstance(item, Place)]
    if places:
        i = places[at % len(places)]
        place = plain[i]
        assert isinstance(place, Place)
        assert ids(batches(subject, text, spec, WHOLE, place)) == ids(plain[i + 1 :])


def test_documents_of_other_shards_are_not_tokenised(
    subjects: Subjects, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a budget, a shard tokenises its own documents only."""
    tokenised: list[str] = []
    plain = HuggingFaceSubject.tokenise
    monkeypatch.setattr(
        HuggingFaceSubject, "tokenise", lambda self, text: (tokenised.append(text), plain(self, text))[1]
    )
    text = open_corpus(str(corpus))
    for i in range(3):
        list(batches(subjects["gpt2"], text, SPEC, Shard(i, 3)))
    assert sorted(tokenised) == sorted(d.text for d in text.documents())


def test_places_say_how_far(subjects: Subjects, corpus: Path) -> None:
    """Places know which share of the corpus lies behind them, and end at all of it."""
    found = [p for p in batches(subjects["gpt2"], open_corpus(str(corpus)), SPEC) if isinstance(p, Place)]
    shares = [p.share for p in found]
    assert shares == sorted(shares)  # type: ignore[type-var]
    assert shares[-1] == 1.0
    assert [p.block for p in found] == list(range(1, len(found) + 1))


# Checkpoints


@pytest.mark.parametrize("after", [1, 4, 13, 30])
def test_resumed(
    after: int, subjects: Subjects, corpus: Path, tmp_path: Path, whole: tuple[str, Any]
) -> None:
    """A harvest that stopped anywhere goes on at its checkpoint, runs less than all, and ends alike."""
    space = Workspace.open_or_create(tmp_path / "w")
    text, subject = open_corpus(str(corpus)), subjects["bert"]
    with pytest.raises(Stopped):
        harvest(subject, text, SPEC, space.evidence, stop_after(after), checkpoint_every=0)
    assert space.harvests() == []
    assert all(p.name.startswith(".work-") for p in space.evidence.iterdir())
    said: list[Progress] = []
    manifest, made = harvest(subject, text, SPEC, space.evidence, said.append, checkpoint_every=0)
    assert made
    assert (manifest.name, tables(space.evidence, manifest.name)) == whole
    assert (said[0].stage == "calibrating") == (after == 1)
    assert {p.name for p in space.evidence.iterdir()} == {f"{manifest.name}.duckdb", f"{manifest.name}.json"}


def test_stopped_again_and_again(
    subjects: Subjects, corpus: Path, tmp_path: Path, whole: tuple[str, Any]
) -> None:
    """A harvest that gets a few batches further each time is done after a while, with the same rows."""
    text, subject = open_corpus(str(corpus)), subjects["bert"]
    for _ in range(200):
        try:
            manifest, _ = harvest(subject, text, SPEC, tmp_path, stop_after(7), checkpoint_every=0)
            break
        except Stopped:
            continue
    assert (manifest.name, tables(tmp_path, manifest.name)) == whole


@pytest.mark.parametrize(
    "change", [{"top": 5}, {"seed": 1}, {"site": "blocks.1.hook_attn_out"}, {"tokens": 900}, {"batch": 6}]
)
def test_a_checkpoint_of_other_parameters(
    change: dict[str, Any], subjects: Subjects, corpus: Path, tmp_path: Path
) -> None:
    """A checkpoint is not used by a harvest with any other parameter."""
    text, subject = open_corpus(str(corpus)), subjects["bert"]
    with pytest.raises(Stopped):
        harvest(subject, text, SPEC, tmp_path, stop_after(20), checkpoint_every=0)
    said: list[Progress] = []
    harvest(subject, text, replace(SPEC, **change), tmp_path, said.append, checkpoint_every=0)
    assert said[0].stage == "calibrating"
    assert len(list(tmp_path.glob(".work-*"))) == 1


def test_other_text(subjects: Subjects, corpus: Path, tmp_path: Path) -> None:
    """A checkpoint is not used when the text has changed."""
    text = tmp_path / "c.jsonl"
    text.write_bytes(corpus.read_bytes())
    with pytest.raises(Stopped):
        harvest(
            subjects["bert"], open_corpus(str(text)), SPEC, tmp_path / "e", stop_after(20), checkpoint_every=0
        )
    text.write_bytes(corpus.read_bytes() + b'{"text": "the quick fox"}\n')
    said: list[Progress] = []
    harvest(subjects["bert"], open_corpus(str(text)), SPEC, tmp_path / "e", said.append)
    assert said[0].stage == "calibrating"


def test_a_damaged_checkpoint(
    subjects: Subjects, corpus: Path, tmp_path: Path, whole: tuple[str, Any]
) -> None:
    """A checkpoint that is not what was written is passed over: the harvest begins again, and ends alike."""
    text, subject = open_corpus(str(corpus)), subjects["bert"]
    with pytest.raises(Stopped):
        harvest(subject, text, SPEC, tmp_path, stop_after(20), checkpoint_every=0)
    (path,) = tmp_path.glob(".work-*/at-*/0/pairs.parquet")
    path.write_bytes(path.read_bytes()[:-10])
    said: list[Progress] = []
    manifest, _ = harvest(subject, text, SPEC, tmp_path, said.append)
    assert said[0].stage == "calibrating"
    assert (manifest.name, tables(tmp_path, manifest.name)) == whole


@pytest.mark.parametrize("step", ["_pairs", "_quiet", "sha256_of"])
def test_no_room_for_a_checkpoint(
    step: str, subjects: Subjects, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is one sentence; the checkpoint before is whole, and used when there is room."""
    text, subject = open_corpus(str(corpus)), subjects["bert"]
    with pytest.raises(Stopped):
        harvest(subject, text, SPEC, tmp_path, stop_after(10), checkpoint_every=0)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with monkeypatch.context() as patch:

        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(keeper_state, step, full)
        with pytest.raises(WorkspaceError, match=r"No space left on device.*make room") as caught:
            harvest(subject, text, SPEC, tmp_path, checkpoint_every=0)
    assert "\n" not in str(caught.value)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    said: list[Progress] = []
    harvest(subject, text, SPEC, tmp_path, said.append)
    assert said[0].stage == "harvesting"


KILLED = """
import os, signal, sys
from pathlib import Path
from exegete.subjects import checkpoint, harvest, reading
from exegete.subjects.corpora import open_corpus
from exegete.subjects.huggingface import open_subject
from tests.subjects.harvests import SPEC

import torch
torch.set_num_threads(1)
reading.BLOCK, checkpoint._COST = 8, 0
model, text, folder, when = sys.argv[1:]
seen = 0
def listen(progress):
    global seen
    seen += progress.stage == "harvesting"
    if when == str(seen):
        os.kill(os.getpid(), signal.SIGKILL)
if when == "rename":
    plain, count = Path.rename, 0
    def rename(self, target):
        global count
        count += 1
        if count == 10:  # amid a checkpoint: its state is written, and not in place
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(self, target)
    Path.rename = rename
harvest.harvest(open_subject(model, "cpu"), open_corpus(text), SPEC, Path(folder), listen, 0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("when", ["17", "rename"])
def test_killed(
    when: str,
    subjects: Subjects,
    folders: dict[str, Path],
    corpus: Path,
    tmp_path: Path,
    whole: tuple[str, Any],
) -> None:
    """After kill -9, between checkpoints or amid one, nothing is seen, and the same harvest ends alike."""
    space = Workspace.open_or_create(tmp_path / "w")
    command = [sys.executable, "-c", KILLED, str(folders["bert"]), str(corpus), str(space.evidence), when]
    child = subprocess.run(command, cwd=Path(__file__).parents[2], check=False, capture_output=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert space.harvests() == []
    said: list[Progress] = []
    text = open_corpus(str(corpus))
    manifest, _ = harvest(subjects["bert"], text, SPEC, space.evidence, said.append)
    assert said[0].stage == "harvesting"
    assert (manifest.name, tables(space.evidence, manifest.name)) == whole
    assert space.harvests() == [manifest.name]
    assert list(space.evidence.glob(".work-*")) == []


# Shards


@pytest.mark.parametrize("of", [1, 2, 5])
@pytest.mark.parametrize("change", [{}, {"tokens": 900}, {"polarity": "-"}])
def test_merged_shards(
    of: int, change: dict[str, Any], subjects: Subjects, corpus: Path, tmp_path: Path
) -> None:
    """Shards of a real model's harvest, merged, have the rows of the whole: to the last bit, whatever the
    number, also when some are empty. The merger is found by the harvest of the same parameters."""
    spec, text, subject = replace(SPEC, **change), open_corpus(str(corpus)), subjects["bert"]
    space = Workspace.open_or_create(tmp_path / "w")
    for i in reversed(range(of)):
        ((folder, made),) = harvest_shard(subject, text, [spec], space.evidence, Shard(i, of))
        assert made
        assert harvest_shard(subject, text, [spec], space.evidence, Shard(i, of)) == [(folder, False)]
    assert space.harvests() == []
    ((name, states),) = open_shards(find_shards([space.evidence])).items()
    manifest, _ = merge(states, space.evidence)
    assert (manifest.name, space.harvests()) == (name, [name])
    plain, made = harvest(subject, text, spec, tmp_path / "plain")
    assert (plain.name, made) == (name, True)
    assert tables(space.evidence, name) == tables(tmp_path / "plain", name)
    assert harvest(subject, text, spec, space.evidence) == (manifest, False)


def test_shards_share_their_thresholds(subjects: Subjects, corpus: Path, tmp_path: Path) -> None:
    """The first shard's thresholds are every shard's, and are not worked out again."""
    text, subject, said = open_corpus(str(corpus)), subjects["bert"], list[list[Progress]]()
    for i in range(3):
        said.append([])
        harvest_shard(subject, text, [SPEC], tmp_path, Shard(i, 3), said[-1].append)
    assert [[p.stage for p in own].count("calibrating") > 0 for own in said] == [True, False, False]


def test_a_shard_goes_on(subjects: Subjects, corpus: Path, tmp_path: Path, whole: tuple[str, Any]) -> None:
    """A shard that was stopped goes on at its own checkpoint, and the merger is the whole."""
    text, subject = open_corpus(str(corpus)), subjects["bert"]
    with pytest.raises(Stopped):
        harvest_shard(subject, text, [SPEC], tmp_path, Shard(0, 2), stop_after(9), checkpoint_every=0)
    (stopped,) = unfinished(tmp_path)
    assert (stopped.harvests, stopped.shard, stopped.tokens > 0) == ((whole[0],), "0/2", True)
    for i in (1, 0):
        harvest_shard(subject, text, [SPEC], tmp_path, Shard(i, 2), checkpoint_every=0)
    ((name, states),) = open_shards(find_shards([tmp_path])).items()
    assert (unfinished(tmp_path), waiting_shards(tmp_path)) == ([], {name: ([0, 1], 2)})
    merge(states, tmp_path)
    assert waiting_shards(tmp_path) == {}
    assert (name, tables(tmp_path, name)) == whole
    assert list(tmp_path.glob(".work-*")) == []


def test_a_control_is_not_sharded(subjects: Subjects, corpus: Path, tmp_path: Path) -> None:
    """Dealt activations are no function of their context, so shards of them would not merge exactly."""
    spec = replace(SPEC, shuffle=True)
    with pytest.raises(UsageError, match="run it whole"):
        harvest_shard(subjects["gpt2"], open_corpus(str(corpus)), [spec], tmp_path, Shard(0, 2))


@pytest.mark.parametrize("shard", [Shard(3, 3), Shard(-1, 3), Shard(0, 0)])
def test_no_such_shard(shard: Shard, subjects: Subjects, corpus: Path, tmp_path: Path) -> None:
    """A part that is not there is refused."""
    with pytest.raises(UsageError, match="there is no shard"):
        harvest_shard(subjects["gpt2"], open_corpus(str(corpus)), [SPEC], tmp_path, shard)


def test_progress(subjects: Subjects, corpus: Path, tmp_path: Path) -> None:
    """What is expected comes near what there is, from the corpus's length, and never passes the budget."""
    subject, text = subjects["gpt2"], open_corpus(str(corpus))
    for tokens in (None, 1200):
        said: list[Progress] = []
        harvest(subject, text, replace(SPEC, tokens=tokens), tmp_path, said.append)
        counted = [p for p in said if p.stage == "harvesting"]
        assert counted[-1].expected == pytest.approx(counted[-1].tokens, rel=0.1)
        assert tokens is None or all(p.expected is not None and p.expected <= tokens for p in counted)
