"""Parts of a harvest, and their merger.

A shard is what a keeper holds that has read one part of the corpus (datastore/keeper_state.py). What is
kept is the best by a key, and the rest is sums and maxima, so the merger of all shards is exactly what one
pass over the whole corpus keeps.

    evidence/NAME.shards/2-of-8/             one shard of the harvest NAME
    evidence/NAME.shards/thresholds.json     the firing thresholds its shards share, if features are dense

The merger is an evidence file of the harvest's own name, and merging again finds it there.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exegete.datastore.evidence_writer import Manifest, Slot, read_manifest, write_evidence
from exegete.datastore.keeper import Keeper
from exegete.datastore.keeper_state import State, absorb_state, open_state, slots_of, write_state
from exegete.datastore.records import SPLITS, Floats
from exegete.datastore.splits import SHARES
from exegete.errors import CorpusError, UsageError, WorkspaceDamaged, WorkspaceError

SUFFIX = ".shards"


def keeper_for(slots: Sequence[Slot], parameters: dict[str, Any]) -> Keeper:
    """An empty keeper for some features, with the sizes and the seed of a harvest's parameters."""
    keys = np.asarray([s.index * 2 + (s.polarity == "-") for s in slots], dtype=np.int64)
    a, b, c = (max(1, round(parameters["sample"] * share)) for share in SHARES)
    d, e, f = (max(1, round(parameters["quiet"] * share)) for share in SHARES)
    return Keeper(len(slots), keys, parameters["top"], (a, b, c), (d, e, f), parameters["seed"])


def shard_folder(evidence: Path, name: str, number: int, of: int) -> Path:
    """Where a shard stands.

    Args:
        evidence: the workspace's folder of evidence.
        name: the harvest's name.
        number: which part, from 0.
        of: how many parts there are.
    """
    return evidence / f"{name}{SUFFIX}" / f"{number}-of-{of}"


def write_shard(
    folder: Path,
    name: str,
    parameters: dict[str, Any],
    part: tuple[int, int],
    slots: Sequence[Slot],
    keeper: Keeper,
    source: dict[str, str | None] | None = None,
) -> None:
    """Write one shard, atomically.

    Args:
        folder: where to; must not exist.
        name: the harvest's name.
        parameters: everything the harvest was run with, the same for all its shards.
        part: which part, from 0, and how many there are.
        slots: its features.
        keeper: what has read the part.
        source: where the subject and the dictionary were loaded from.

    Raises:
        WorkspaceError: the disk is full or the folder can't be written.
    """
    about = {"name": name, "shard": part[0], "of": part[1], "parameters": parameters, "source": source}
    write_state(folder, about, slots, keeper)


def agree_thresholds(evidence: Path, name: str, thresholds: Floats) -> Floats:
    """Offer a harvest's firing thresholds to its shards; the first to do so wins.

    Shards compute them from the same text, but on another machine the last bits may differ.

    Args:
        evidence: the workspace's folder of evidence.
        name: the harvest's name.
        thresholds: (n_slots,) as they were found here.

    Returns:
        The ones to use.

    Raises:
        WorkspaceError: the file can't be written.
    """
    path = _thresholds_path(evidence, name)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_text(json.dumps(thresholds.tolist()), encoding="utf-8")
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)  # unlike a rename, it never takes another's place
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise WorkspaceError(
            f"{path} could not be written ({error.strerror}): make room and run the command again"
        ) from error
    found = read_thresholds(evidence, name, len(thresholds))
    return thresholds if found is None else found


def read_thresholds(evidence: Path, name: str, n: int) -> Floats | None:
    """The n thresholds that a harvest's shards have agreed on, or None.

    Raises:
        WorkspaceDamaged: the file is not what was written.
    """
    path = _thresholds_path(evidence, name)
    if not path.exists():
        return None
    try:
        found = np.asarray(json.loads(path.read_text(encoding="utf-8")), dtype=np.float32)
        if found.shape != (n,):
            raise ValueError(f"{found.shape} thresholds for {n} features")
    except (OSError, ValueError, TypeError) as error:
        raise WorkspaceDamaged(
            f"{path} can't be read ({error}): delete {path.parent} and harvest its shards again"
        ) from error
    return found


def _thresholds_path(evidence: Path, name: str) -> Path:
    return evidence / f"{name}{SUFFIX}" / "thresholds.json"


def find_shards(places: Sequence[Path]) -> list[Path]:
    """All shard folders in some folders: a shard itself, or a folder of shards, or one of such folders.

    Raises:
        UsageError: a folder does not exist, or there is no shard in any.
    """
    found: set[Path] = set()
    for place in places:
        if not place.is_dir():
            raise UsageError(
                f"there is no folder {place}: pass a folder that `exegete harvest --shard` wrote to"
            )
        found.update(m.parent.resolve() for m in place.rglob("[0-9]*-of-[0-9]*/manifest.json"))
        if (place / "manifest.json").is_file():
            found.add(place.resolve())
    if not found:
        raise UsageError(
            f"there is no shard in {', '.join(map(str, places))}: run `exegete harvest --shard 0/8` and so on"
        )
    return sorted(found)


def waiting_shards(evidence: Path) -> dict[str, tuple[list[int], int]]:
    """Shards that are there and have not been merged: for each harvest their numbers, and how many it has.

    Args:
        evidence: the workspace's folder of evidence.
    """
    found: dict[str, tuple[list[int], int]] = {}
    for path in evidence.glob(f"*{SUFFIX}/[0-9]*-of-[0-9]*/manifest.json"):
        name = path.parents[1].name.removesuffix(SUFFIX)
        number, _, of = path.parent.name.partition("-of-")
        if number.isdecimal() and of.isdecimal() and not (evidence / f"{name}.json").exists():
            found.setdefault(name, ([], int(of)))[0].append(int(number))
    return {name: (sorted(numbers), of) for name, (numbers, of) in sorted(found.items())}


def open_shards(folders: Sequence[Path]) -> dict[str, list[State]]:
    """Shards by the name of their harvest, each harvest whole and of a piece.

    Raises:
        UsageError: shards are missing, there twice with different contents, or do not belong together;
            the message names them.
        WorkspaceDamaged: a shard is not what was written.
    """
    harvests: dict[str, list[State]] = {}
    for folder in folders:
        state = open_state(folder)
        if "shard" not in state.about:
            raise UsageError(f"{folder} is no shard: pass folders that `exegete harvest --shard` wrote")
        harvests.setdefault(str(state.about["name"]), []).append(state)
    return {name: _whole(name, states) for name, states in sorted(harvests.items())}


def _whole(name: str, states: Sequence[State]) -> list[State]:
    first = states[0]
    by_number: dict[int, State] = {}
    for state in states:
        for what in ("of", "parameters"):
            if state.about[what] != first.about[what]:
                raise UsageError(
                    f"{state.folder} and {first.folder} don't belong together ({_difference(first, state)}): "
                    "harvest all shards with the same options, text and version"
                )
        twin = by_number.setdefault(int(state.about["shard"]), state)
        if twin.sha256 != state.sha256:
            raise UsageError(
                f"{twin.folder} and {state.folder} are the same shard with different contents: delete one"
            )
    of = int(first.about["of"])
    missing = sorted(set(range(of)) - set(by_number))
    if missing:
        listed = ", ".join(f"{i}/{of}" for i in missing[:20]) + (" …" if len(missing) > 20 else "")
        raise UsageError(f"harvest {name} lacks the shards {listed}: run `exegete harvest --shard` for them")
    return [by_number[i] for i in range(of)]


def _difference(one: State, other: State) -> str:
    """What two shards of one name disagree in."""
    a, b = ({"of": s.about["of"], **s.about["parameters"]} for s in (one, other))
    names = [key for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)]
    return ", ".join(f"{key} {a.get(key)!r} and {b.get(key)!r}" for key in names)


def merge(
    states: Sequence[State], evidence: Path, on_progress: Callable[[int], None] = lambda _: None
) -> tuple[Manifest, bool]:
    """Merge all shards of a harvest into its evidence file.

    Args:
        states: the shards, as `open_shards` gives them.
        evidence: the folder of evidence.
        on_progress: told how many shards have been taken in.

    Returns:
        The harvest's manifest, and whether it was made now.

    Raises:
        UsageError: the shards' features have different firing thresholds.
        CorpusError: the whole corpus is too little text.
        WorkspaceError: the file can't be written.
    """
    name, parameters = str(states[0].about["name"]), states[0].about["parameters"]
    path = evidence / f"{name}.duckdb"
    if path.exists() and path.with_suffix(".json").exists():
        return read_manifest(path), False
    slots = slots_of(states[0])
    for state in states[1:]:
        if slots_of(state) != slots:
            raise UsageError(
                f"{state.folder} and {states[0].folder} have different firing thresholds, because other "
                "machines rounded differently: harvest shards into one workspace, where they share them"
            )
    keeper = keeper_for(slots, parameters)
    for n, state in enumerate(states, start=1):
        absorb_state(keeper, state)
        on_progress(n)
    check_enough(keeper, parameters)
    evidence.mkdir(parents=True, exist_ok=True)
    source = states[0].about.get("source")  # shards of an earlier version have none
    return write_evidence(path, parameters, slots, keeper.finish(), source), True


def check_enough(keeper: Keeper, parameters: dict[str, Any]) -> None:
    """Check that a corpus gave every split some text.

    Args:
        keeper: what has read all of it.
        parameters: the harvest's.

    Raises:
        CorpusError: it did not.
    """
    s, corpus, context = keeper.statistics, parameters["corpus"], parameters["context"]
    if s.tokens < context:
        raise CorpusError(
            f"the corpus {corpus} gave {s.tokens} tokens, less than one context of {context}: "
            "give more text, or a smaller --context"
        )
    empty = [split for split, n in zip(SPLITS, s.contexts.tolist(), strict=True) if n == 0]
    if empty:
        raise CorpusError(
            f"the corpus {corpus} left the {' and '.join(empty)} split without text, because whole "
            "documents are dealt to splits and it has too few: give more documents, or another --seed"
        )
