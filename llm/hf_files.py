"""Where the files of a local model are, and what tells it from another one in the same place.

    hf:FOLDER          becomes hf:FOLDER#DIGEST: another model in that folder is another model
    hf:NAME            becomes hf:NAME@COMMIT, the commit that the hub's cache on this machine has
    hf:NAME@REVISION   likewise, of a branch, a tag or a commit

Nothing is ever fetched: which model answers is then settled before a job starts, and does not change when
somebody pushes to the hub.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from exegete.errors import UsageError

_WITH_DIGEST = re.compile(r"(?P<name>.+)#(?P<digest>[0-9a-f]{8})")
_SMALL = frozenset({".json", ".jinja", ".txt", ".model"})
"""Configuration, tokenizer and chat template: read whole."""
_BLOCK = 4096


def resolve(rest: str) -> tuple[str, str | None]:
    """What follows `hf:` as the canonical name and a digest of the folder.

    Args:
        rest: a folder or a hub name, as a person wrote it or as this function returned it (name#digest).

    Returns:
        The name, with its commit where it is a hub's and on this machine, and the digest where it is a
        folder. A model that can't be found keeps its name: opening it says so.

    Raises:
        UsageError: the digest in the name is not that of the folder.
    """
    if os.path.isdir(rest):  # not Path.is_dir, which raises for names too long to be any
        return str(Path(rest)), digest_of(Path(rest))
    found = _WITH_DIGEST.fullmatch(rest)
    if found is None:
        repo, _, revision = rest.partition("@")
        snapshot = _snapshot(repo, revision or None)
        return (f"{repo}@{snapshot.name}" if snapshot else rest), None
    name, digest = found["name"], found["digest"]
    if os.path.isdir(name):
        name, now = str(Path(name)), digest_of(Path(name))
        if now != digest:
            raise UsageError(
                f"hf:{rest}: {name} holds another model by now ({now}): restore it, or leave #{digest} out"
            )
    return name, digest


def folder_of(name: str) -> Path:
    """The folder with a model's files.

    Args:
        name: as `resolve` returned it.

    Raises:
        UsageError: there is none on this machine, or it lacks a configuration or safetensors weights.
    """
    repo, _, revision = name.partition("@")
    folder = Path(name) if os.path.isdir(name) else _snapshot(repo, revision or None)
    if folder is None:
        raise UsageError(
            f"hf:{name} is neither a folder nor a model that is on this machine: correct the name, or fetch "
            f"the model first with `hf download {repo}`"
        )
    if not (folder / "config.json").is_file():
        raise UsageError(f"{folder} is no model: it has no config.json")
    if not _weights(folder):
        raise UsageError(
            f"{folder} has no safetensors weights, and no others are read (pickled ones can run code): save "
            "the model again with safe_serialization=True, or choose a model that has them"
        )
    return folder


def digest_of(folder: Path) -> str | None:
    """8 hex digits that change when the model in a folder does.

    They cover all of its small files (configuration, tokenizer, chat template), and of the weights the name,
    size and header of every file and the beginning, middle and end (4 KiB each) of every tensor: training,
    merging and quantising touch all of a tensor. A change of some rows between those blocks goes unseen.

    Returns:
        None when there is no model, or it can't be read.
    """
    digest = hashlib.sha256()
    try:
        small = sorted(path for path in folder.iterdir() if path.suffix in _SMALL and path.is_file())
        if not (folder / "config.json").is_file():
            return None
        for path in small:
            digest.update(_entry(path, path.read_bytes()))
        for path in _weights(folder):
            digest.update(_entry(path, b"%d" % path.stat().st_size))
            for part in _sampled(path):
                digest.update(part)
    except OSError:
        return None
    return digest.hexdigest()[:8]


def _entry(path: Path, content: bytes) -> bytes:
    """A file's name and the digest of its content: files can't run into each other."""
    return path.name.encode() + b"\0" + hashlib.sha256(content).digest()


def _weights(folder: Path) -> list[Path]:
    """Files with weights that are safe to read."""
    return sorted(folder.glob("*.safetensors"))


def _sampled(path: Path) -> Iterator[bytes]:
    """The header of a safetensors file (tensors' names, types, shapes), and blocks of every tensor."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = file.read(min(size, path.stat().st_size))
        yield header
        try:
            tensors = json.loads(header)
            spans = [tensor["data_offsets"] for name, tensor in tensors.items() if name != "__metadata__"]
            ends = sorted((int(start), int(end)) for start, end in spans)
        except (ValueError, LookupError, TypeError, AttributeError):
            return  # no such file: loading it says so
        for start, end in ends:
            for at in (start, (start + end) // 2, max(start, end - _BLOCK)):
                file.seek(max(0, 8 + size + at))
                yield file.read(max(0, min(_BLOCK, end - at)))


def _snapshot(repo: str, revision: str | None) -> Path | None:
    """The folder of a hub model in this machine's cache, or None."""
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(repo, "config.json", revision=revision)
    except (ValueError, OSError):  # not even the form of a name
        return None
    return Path(found).parent if isinstance(found, str) else None
