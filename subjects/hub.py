"""Where a dictionary's files are: a folder here, or one of the hub."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from exegete.errors import SubjectError

PREFIX = "hf://"


@dataclass(frozen=True, slots=True)
class Place:
    """A folder, and what it is called."""

    folder: Path
    path: str
    """ORG/REPO/SUBFOLDER, or the whole path: what a config leaves out, the names in it often tell."""
    name: str
    """For people: the path in the hub, or the folder's own name."""


def local(folder: Path) -> Place:
    """A folder of this machine."""
    whole = folder.resolve()
    return Place(folder, whole.as_posix(), whole.name)


def fetch(spec: str, files: Iterable[str]) -> Place:
    """Fetch a dictionary's folder from the hub.

    Args:
        spec: hf://ORG/REPO[/SUBFOLDER][@REVISION].
        files: names of the files to fetch; nothing else is.

    Raises:
        SubjectError: the name is none, or the folder can't be had.
    """
    from huggingface_hub import snapshot_download

    path, _, revision = spec.removeprefix(PREFIX).partition("@")
    parts = path.strip("/").split("/")
    if len(parts) < 2 or not all(part and part not in (".", "..") for part in parts):
        raise SubjectError(f"{spec!r} names no folder of the hub: write hf://ORG/REPO[/SUBFOLDER][@REVISION]")
    repo, subfolder = "/".join(parts[:2]), "/".join(parts[2:])
    wanted = [f"{subfolder}/{name}" if subfolder else name for name in files]
    try:
        root = snapshot_download(repo, revision=revision or None, allow_patterns=wanted)
    except Exception as error:  # the hub's client raises a dozen kinds, all meaning "not to be had"
        raise SubjectError(
            f"the dictionary {spec} can't be had from the hub ({type(error).__name__}): check the name and "
            "the network, or fetch the folder yourself and pass that"
        ) from error
    return Place(Path(root, subfolder), "/".join(parts), "/".join(parts))
