"""The manifest of an evidence file: its name, its digest, its parameters, and where it came from.

It is written last, so a file without one was never finished.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exegete.errors import WorkspaceDamaged, WorkspaceError

FORMAT = 1
"""Raised when a file written before can no longer be read."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What stands beside an evidence file."""

    name: str
    sha256: str
    format: int
    parameters: dict[str, Any]
    source: dict[str, str | None] | None = None
    """Where the "subject" and the "dictionary" were loaded from: paths, or names of the hub. What they are is
    said by the parameters; so this is no part of the harvest's name, and changes when something moves."""


def sha256_of(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def note_source(path: Path, source: dict[str, str | None]) -> Manifest:
    """Say in a manifest where the subject and the dictionary are now.

    Args:
        path: the evidence file.
        source: see `Manifest.source`.

    Returns:
        The manifest as it is from now on.

    Raises:
        WorkspaceError: there is none, or it can't be written.
    """
    manifest = read_manifest(path)
    if manifest.source == source:
        return manifest
    manifest = replace(manifest, source=source)
    try:
        try:
            os.replace(write_draft(path, manifest), manifest_path(path))
        finally:
            _draft_path(path).unlink(missing_ok=True)
    except OSError as error:
        raise WorkspaceError(
            f"{manifest_path(path)} could not be written ({error.strerror}): make room and harvest again"
        ) from error
    return manifest


def write_draft(path: Path, manifest: Manifest) -> Path:
    """Write a manifest beside its place, to be renamed into it; returns where."""
    draft = _draft_path(path)
    record = {field: getattr(manifest, field) for field in Manifest.__slots__}
    draft.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return draft


def _draft_path(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{os.getpid()}.manifest")


def manifest_path(path: Path) -> Path:
    """Where the manifest of an evidence file stands."""
    return path.with_suffix(".json")


def read_manifest(path: Path) -> Manifest:
    """The manifest of an evidence file.

    Raises:
        WorkspaceError: there is none, or it is of a newer format.
        WorkspaceDamaged: it is no manifest.
    """
    try:
        record = json.loads(manifest_path(path).read_text(encoding="utf-8"))
        found = int(record["format"])
        # A newer format may have other fields, so it is recognised before they are looked at.
        manifest = Manifest(**record) if found <= FORMAT else None
    except FileNotFoundError:
        raise WorkspaceError(
            f"{path.name} has no manifest: it was not finished; harvest or import again"
        ) from None
    except (ValueError, TypeError, KeyError) as error:
        raise WorkspaceDamaged(
            f"the manifest {manifest_path(path).name} can't be read ({error!r}): delete it and "
            f"{path.name} and harvest again; labels made from it are kept"
        ) from error
    if manifest is None:
        raise WorkspaceError(
            f"{path.name} was written by a newer exegete (evidence format {found}, "
            f"this one reads up to {FORMAT}): upgrade exegete"
        )
    return manifest
