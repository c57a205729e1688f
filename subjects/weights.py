"""Reading files of weights and configs that others wrote, and refusing those that can't be right.

Nothing in a file is run: safetensors and NumPy arrays hold numbers only, and torch's pickles are read by its
restricted unpickler, which refuses whatever is not a tensor or a plain container.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from exegete.errors import SubjectError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


def read_config(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        SubjectError: there is none, or it is something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SubjectError(f"{path} can't be read as JSON ({_first_line(error)}): fetch it again") from error
    if not isinstance(values, dict):
        raise SubjectError(f"{path} holds a {type(values).__name__} and no JSON object: fetch it again")
    return values


def setting(config: Mapping[str, Any], key: str, kind: type[T], path: Path) -> T:
    """A config's value, of the kind that it must have.

    Raises:
        SubjectError: it is missing, or of another kind.
    """
    value = config.get(key)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        found = "lacks" if key not in config else f"has {value!r} for"
        raise SubjectError(f"{path} {found} {key!r}, which must be of type {kind.__name__}")
    return value


def whole_k(config: Mapping[str, Any], path: Path, n_features: int) -> int:
    """A config's k.

    Raises:
        SubjectError: it is missing, or is not between 1 and the number of features.
    """
    k = setting(config, "k", int, path)
    if not 1 <= k <= n_features:
        raise SubjectError(f"{path} has k = {k}, which must be between 1 and the {n_features} features")
    return k


def text(config: Mapping[str, Any], key: str) -> str | None:
    """A config's string, or None when there is none."""
    value = config.get(key)
    return value if isinstance(value, str) and value else None


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file.

    Raises:
        SubjectError: it is missing, cut short, or no such file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except (OSError, SafetensorError, KeyError) as error:
        raise SubjectError(
            f"{path} can't be read as safetensors ({_first_line(error)}): fetch it again"
        ) from error
    return tensors


def read_npz(path: Path) -> dict[str, torch.Tensor]:
    """All arrays of a NumPy archive, without its pickles.

    Raises:
        SubjectError: it is missing, cut short, holds Python objects, or is no such file.
    """
    import numpy as np
    import torch

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}
    except (OSError, ValueError, TypeError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise SubjectError(
            f"{path} can't be read as arrays of numbers ({_first_line(error)}): fetch it again"
        ) from error


def read_torch(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a state dict that torch saved.

    Raises:
        SubjectError: it is missing, cut short, wants code run, or is no state dict.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what it raises depends on which byte is wrong
        # Torch's own words advise to try again without its restrictions, which would run what it names.
        wants = re.search(r"GLOBAL (\S+)", str(error))
        why = f"it calls {wants[1]}" if wants else _first_line(error).partition(". ")[0]
        raise SubjectError(
            f"{path} can't be read as plain tensors ({why}): save it as a state dict, since "
            "no pickle that wants code is read"
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items()
    ):
        raise SubjectError(
            f"{path} holds no state dict of tensors: save it with torch.save(ae.state_dict(), …)"
        )
    return dict(state)


def checked(
    tensors: Mapping[str, torch.Tensor],
    shapes: Mapping[str, str],
    path: Path,
    sizes: Mapping[str, int],
    unused: Iterable[str] = (),
) -> dict[str, torch.Tensor]:
    """Take the tensors that a formula uses, in float32.

    Args:
        tensors: what the file holds.
        shapes: for each tensor that must be there, its dimensions by name, such as "d F" ("" for a number).
            One name stands for one size throughout.
        path: the file.
        sizes: dimensions that the config gives.
        unused: tensors that may be there and have no part in the formula.

    Returns:
        The tensors of `shapes`.

    Raises:
        SubjectError: one is missing, is not of numbers, has another shape, or holds NaN or infinity; or there
            is one that nobody knows.
    """
    import torch

    missing = [name for name in shapes if name not in tensors]
    if missing:
        raise SubjectError(f"{path} lacks {', '.join(missing)}: it is not whole, or not of this architecture")
    unknown = sorted(set(tensors) - set(shapes) - set(unused))
    if unknown:
        raise SubjectError(
            f"{path} holds {unknown[0]!r}, which has no part in the architecture its config names"
        )
    known = dict(sizes)
    taken: dict[str, torch.Tensor] = {}
    for name, dimensions in shapes.items():
        tensor = tensors[name]
        _check_shape(name, tuple(tensor.shape), dimensions.split(), known, path)
        if not tensor.is_floating_point():
            raise SubjectError(f"{name} in {path} is of type {tensor.dtype} where real numbers are needed")
        taken[name] = tensor.to(torch.float32)
        if not bool(torch.isfinite(taken[name]).all()):
            raise SubjectError(f"{name} in {path} holds NaN or infinity: fetch it again, or train it again")
    return taken


def _check_shape(
    name: str, found: tuple[int, ...], dimensions: list[str], known: dict[str, int], path: Path
) -> None:
    fits = len(found) == len(dimensions) and 0 not in found
    for dimension, size in zip(dimensions, found, strict=False):
        fits = fits and known.setdefault(dimension, size) == size
    if not fits:
        needed = ", ".join(str(known[d]) if d in known else d for d in dimensions)
        raise SubjectError(
            f"{name} in {path} has shape {found} where ({needed}) is needed: it does not go with its config, "
            "or with the other tensors"
        )


def digest(paths: Iterable[Path]) -> str:
    """12 hex digits that change with any file's bytes."""
    whole = hashlib.sha256()
    for path in paths:
        whole.update(path.name.encode())
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()[:12]


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
