"""Keepers on disk, and shards merged, against one keeper that saw everything."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exegete.datastore import keeper as keeper_module
from exegete.datastore import partition
from exegete.datastore.database import connect
from exegete.datastore.evidence_writer import Slot, sha256_of
from exegete.datastore.keeper import Keeper
from exegete.datastore.keeper_state import absorb_state, open_state, slots_of, write_state
from exegete.datastore.shards import (
    agree_thresholds,
    find_shards,
    keeper_for,
    merge,
    open_shards,
    read_thresholds,
    shard_folder,
    write_shard,
)
from exegete.errors import CorpusError, UsageError, WorkspaceDamaged, WorkspaceError
from tests.datastore.corpus import stream as corpus_stream
from tests.datastore.streams import Seen, Sizes, batches, context, keep, new_keeper, plainly, random_stream
from tests.datastore.test_keeper import SIZES

SLOTS = [Slot(i, "+", i / 8) for i in range(6)]
PARAMETERS = {
    "subject": "tiny@1", "site": "layers.0", "dictionary": "neurons", "seed": 3, "top": 5, "sample": 24,
    "quiet": 40, "corpus": "words", "context": 10,
}  # fmt: skip
TABLES = ("meta", "features", "contexts", "examples", "quiet_activations")


@pytest.fixture(autouse=True, scope="module")
def _impatient() -> Iterator[None]:
    """Compact every few pairs, in partitions of two slots."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition, "PENDING", 8)
        patch.setattr(partition, "SLOTS", 2)
        patch.setattr(keeper_module, "_CONTEXTS", 8)
        yield


def fed(keeper: Keeper, stream: list[Seen]) -> Keeper:
    for contexts, firings in batches(stream, 7):
        keeper.add(contexts, firings)
    return keeper


def slots(n: int) -> list[Slot]:
    return [Slot(i, "+", 0.5) for i in range(n)]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("states")


@settings(deadline=None, max_examples=40)
@given(
    sizes=SIZES,
    seed=st.integers(0, 2**32),
    n_contexts=st.integers(0, 90),
    n_ids=st.integers(1, 120),
    density=st.sampled_from([0.0, 0.3, 1.0]),
    n_parts=st.integers(1, 5),
    deal=st.integers(),
)
def test_parts_merge_into_the_whole(
    sizes: Sizes,
    seed: int,
    n_contexts: int,
    n_ids: int,
    density: float,
    n_parts: int,
    deal: int,
    scratch: Path,
) -> None:
    """However a stream is dealt to keepers, what they wrote, merged in any order, is what one keeper keeps:
    pairs, samples, pool, documents and statistics, with duplicates in one part and across parts."""
    stream = random_stream(seed, n_contexts, n_ids, sizes.n_slots, density)
    draw = random.Random(deal)
    parts: list[list[Seen]] = [[] for _ in range(n_parts)]
    for seen in stream:
        draw.choice(parts).append(seen)
    whole = new_keeper(sizes)
    for i, part in enumerate(draw.sample(parts, n_parts)):
        folder = scratch / f"part{i}"
        shutil.rmtree(folder, ignore_errors=True)
        write_state(folder, {"i": i}, slots(sizes.n_slots), fed(new_keeper(sizes), part))
        absorb_state(whole, open_state(folder))
    assert plainly(whole.finish(), sizes.n_slots) == plainly(keep(stream, sizes), sizes.n_slots)


@settings(deadline=None, max_examples=20)
@given(sizes=SIZES, seed=st.integers(0, 2**32), at=st.integers(0, 80))
def test_a_keeper_goes_on_from_disk(sizes: Sizes, seed: int, at: int, scratch: Path) -> None:
    """A keeper read back goes on as the one that was written, which goes on too."""
    stream = random_stream(seed, 80, 60, sizes.n_slots)
    first = fed(new_keeper(sizes), stream[:at])
    folder = scratch / "keeper"
    shutil.rmtree(folder, ignore_errors=True)
    write_state(folder, {}, slots(sizes.n_slots), first)
    second = new_keeper(sizes)
    absorb_state(second, open_state(folder))
    expected = plainly(keep(stream, sizes), sizes.n_slots)
    for keeper in (first, second):
        assert plainly(fed(keeper, stream[at:]).finish(), sizes.n_slots) == expected


def make_shards(root: Path, n: int, name: str = "h", **changes: Any) -> list[Path]:
    """Shards of the small corpus, by document."""
    stream, folders = corpus_stream(200), []
    for i in range(n):
        mine = [s for s in stream if int(s[0].document.split()[1]) % n == i]
        folders.append(shard_folder(root, name, i, n))
        parameters = PARAMETERS | changes
        keeper = fed(keeper_for(SLOTS, parameters), mine)
        write_shard(folders[-1], name, parameters, (i, n), SLOTS, keeper)
    return folders


def tables(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    with connect(path, read_only=True) as con:
        return {name: con.execute(f"SELECT * FROM {name}").fetchall() for name in TABLES}


def test_merged_evidence(tmp_path: Path) -> None:
    """The evidence file of merged shards has the rows of an unsharded pass, whatever the number of shards;
    merging again finds it, and leaves it as it is."""
    found = []
    for n in (1, 2, 5):
        root = tmp_path / str(n)
        make_shards(root, n)
        ((name, states),) = open_shards(find_shards([root])).items()
        said: list[int] = []
        manifest, made = merge(states, root, said.append)
        assert (name, made, manifest.parameters) == ("h", True, PARAMETERS)
        assert said == list(range(1, n + 1))
        assert merge(states, root) == (manifest, False)
        assert sha256_of(root / "h.duckdb") == manifest.sha256
        found.append(tables(root / "h.duckdb"))
    whole = fed(keeper_for(SLOTS, PARAMETERS), corpus_stream(200)).finish()
    assert len(found[0]["examples"]) == len(whole.pairs)
    assert found[0] == found[1] == found[2]


def test_thresholds_survive(tmp_path: Path) -> None:
    """Slots come back with the thresholds they had, to the last bit."""
    odd = [Slot(7, "-", float(np.float32(0.1))), Slot(9, "+", float(np.float32(1) / np.float32(3)))]
    keeper = keeper_for(odd, PARAMETERS)
    write_state(tmp_path / "s", {}, odd, keeper)
    assert slots_of(open_state(tmp_path / "s")) == odd


def test_missing_shards_are_named(tmp_path: Path) -> None:
    """A harvest that lacks shards is refused with their names."""
    folders = make_shards(tmp_path, 5)
    shutil.rmtree(folders[1])
    shutil.rmtree(folders[4])
    with pytest.raises(UsageError, match=r"harvest h lacks the shards 1/5, 4/5: run"):
        open_shards(find_shards([tmp_path]))


@pytest.mark.parametrize(
    ("change", "said"), [({"top": 6}, r"top 5 and 6"), ({"corpus": "other"}, "corpus 'words' and 'other'")]
)
def test_shards_of_other_parameters(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    """Shards that disagree in a parameter, or in how many there are, are named with what they disagree in."""
    a, b = make_shards(tmp_path / "a", 2)[0], make_shards(tmp_path / "b", 2, **change)[1]
    with pytest.raises(UsageError, match=rf"don't belong together \({said}\)"):
        open_shards([a, b])
    with pytest.raises(UsageError, match=r"don't belong together \(of 2 and 3\)"):
        open_shards([a, make_shards(tmp_path / "c", 3)[1]])


def test_one_shard_twice(tmp_path: Path) -> None:
    """A copy of a shard is no harm; the same shard with other contents is named."""
    a, b = make_shards(tmp_path / "a", 2)
    copy = shutil.copytree(a, tmp_path / "copy" / "0-of-2")
    assert len(open_shards(find_shards([tmp_path]))["h"]) == 2
    shutil.rmtree(copy)
    write_shard(copy, "h", PARAMETERS, (0, 2), SLOTS, keeper_for(SLOTS, PARAMETERS))
    with pytest.raises(UsageError, match="the same shard with different contents"):
        open_shards([a, b, copy])


def test_other_thresholds(tmp_path: Path) -> None:
    """Shards whose features fire above different thresholds are not merged."""
    a, b = make_shards(tmp_path, 2)
    shutil.rmtree(b)
    other = [*SLOTS[:5], Slot(5, "+", 0.7)]
    write_shard(b, "h", PARAMETERS, (1, 2), other, keeper_for(other, PARAMETERS))
    with pytest.raises(UsageError, match="different firing thresholds"):
        merge(open_shards([a, b])["h"], tmp_path)


def test_too_little_text(tmp_path: Path) -> None:
    """Shards that hold too little text between them are refused as a whole, and nothing is written."""
    stream: list[Seen] = [(context(i, 0, f"d{i}"), {}) for i in range(1, 20)]
    for i in range(2):
        keeper = fed(keeper_for(SLOTS, PARAMETERS), stream[i::2])
        write_shard(shard_folder(tmp_path, "h", i, 2), "h", PARAMETERS, (i, 2), SLOTS, keeper)
    with pytest.raises(CorpusError, match="left the refine and report split without text"):
        merge(open_shards(find_shards([tmp_path]))["h"], tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["h.shards"]


@pytest.mark.parametrize("name", ["features", "pairs", "contexts", "quiet"])
def test_damage_is_named(tmp_path: Path, name: str) -> None:
    """A flipped byte in any file of a shard, a missing file and a wrong manifest are named."""
    (folder,) = make_shards(tmp_path, 1)
    path = folder / f"{name}.parquet"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(WorkspaceDamaged, match=rf"{name}\.parquet is not what was written"):
        open_shards([folder])
    path.unlink()
    with pytest.raises(WorkspaceError, match=rf"is not whole \({name}\.parquet is missing\)"):
        open_shards([folder])


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"format": 1}', '{"format": "x"}'])
def test_a_damaged_manifest(tmp_path: Path, text: str) -> None:
    """A manifest that is none is damage; one of a newer format says so; none is a shard that is not whole."""
    (folder,) = make_shards(tmp_path, 1)
    manifest = folder / "manifest.json"
    whole = json.loads(manifest.read_text())
    manifest.write_text(text)
    with pytest.raises(WorkspaceDamaged, match="can't be read"):
        open_shards([folder])
    manifest.write_text(json.dumps(whole | {"format": 99}))
    with pytest.raises(WorkspaceError, match="newer exegete"):
        open_shards([folder])
    manifest.unlink()
    with pytest.raises(WorkspaceError, match="is not whole"):
        open_shards([folder])


def test_finding(tmp_path: Path) -> None:
    """Shards are found below a folder; none, and no folder, are said."""
    folders = make_shards(tmp_path / "a" / "b", 2)
    for places in ([tmp_path], [tmp_path / "a", tmp_path], folders):
        assert find_shards(places) == sorted(folders)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="there is no shard in"):
        find_shards([tmp_path / "empty"])
    with pytest.raises(UsageError, match="there is no folder"):
        find_shards([tmp_path / "nowhere"])


def test_agreement(tmp_path: Path) -> None:
    """The first thresholds offered are everybody's; a file that holds something else is named."""
    first = np.asarray([0.1, 1 / 3, 2e-7], dtype=np.float32)
    assert read_thresholds(tmp_path, "h", 3) is None
    np.testing.assert_array_equal(agree_thresholds(tmp_path, "h", first), first)
    np.testing.assert_array_equal(agree_thresholds(tmp_path, "h", first + 1), first)
    assert [p.name for p in (tmp_path / "h.shards").iterdir()] == ["thresholds.json"]
    for n, text in ((4, None), (3, "[1, 2]"), (3, "{"), (3, '["a", 1, 2]')):
        if text is not None:
            (tmp_path / "h.shards" / "thresholds.json").write_text(text)
        with pytest.raises(WorkspaceDamaged, match="delete"):
            read_thresholds(tmp_path, "h", n)


FULL = """
import resource, sys
from pathlib import Path
from exegete.datastore.shards import keeper_for
from exegete.datastore.keeper_state import write_state
from exegete.errors import WorkspaceError
from tests.datastore.corpus import stream
from tests.datastore.test_shards import PARAMETERS, SLOTS, fed

folder, keeper = Path(sys.argv[1]), fed(keeper_for(SLOTS, PARAMETERS), stream())
for limit in (10, 1500, 4000, resource.RLIM_INFINITY):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        write_state(folder, {}, SLOTS, keeper)
        print("made", flush=True)
    except WorkspaceError as error:
        print(len(list(folder.parent.iterdir())), error, flush=True)
"""


def test_full(tmp_path: Path) -> None:
    """Wherever in its making a state can grow no further, that is one sentence, and nothing is left."""
    command = [sys.executable, "-c", FULL, str(tmp_path / "s")]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    *refused, made = done.stdout.splitlines()
    assert made == "made"
    assert len(refused) == 3
    assert all(line.startswith("0 ") and "make room" in line for line in refused), refused
