"""Reading an activation cache of delphi: sparse activations of one hook, in files by range of features.

    {hook}/config.json                       the cache's settings, with model_name
    {hook}/{start}_{end}.safetensors         features start to end, both included:
        locations    [n, 3] whole numbers: row, position, feature - start
        activations  [n] floats
        tokens       [rows, width] token ids; the same in every file

That is how github.com/EleutherAI/delphi (delphi/latents/cache.py, `save_splits`) writes them since January
2025, with locations as uint16 or uint32 and activations as float16. Caches from before hold no tokens.
Entries come in the order of their rows, so a few rows at a time are read from all files.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.kept import Ints
from exegete.datastore.records import Floats
from exegete.errors import FormatError

_NAMED = re.compile(r"(\d+)_(\d+)\.safetensors")
_WHOLE = ("U8", "U16", "U32", "U64", "I8", "I16", "I32", "I64")
_FLOATS = ("F16", "F32", "F64")
_CHUNK = 1 << 22
"""Entries checked at a time."""
_LAST_INDEX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Entries:
    """What fires on some rows, from all files."""

    feature: Ints
    row: Ints
    position: Ints
    value: Floats
    """Above 0, raw units."""


@dataclass(frozen=True, slots=True)
class CacheFile:
    """One file of a cache, checked."""

    path: Path
    start: int
    handle: Any
    """The opened file; its parts are read when they are asked for."""
    edges: Ints
    """(rows + 1,) where the entries of each row begin, and of the last one end."""
    features: Ints
    """Those that fire, in order."""

    def entries(self, first: int, last: int) -> Entries:
        """What fires on rows `first` to `last` - 1.

        Raises:
            FormatError: a feature is there twice at one place.
        """
        a, b = int(self.edges[first]), int(self.edges[last])
        found, value = _part(self.handle, a, b)
        _refuse_twice(self.path, self.start, found)
        fires = value > 0
        row, position, feature = found[fires].T
        return Entries(feature + self.start, row, position, value[fires])


@dataclass(frozen=True, slots=True)
class Cache:
    """A cache of one hook, checked."""

    folder: Path
    tokens: NDArray[np.int64]
    """(rows, width) token ids."""
    files: tuple[CacheFile, ...]
    config: dict[str, Any]
    """Of config.json; see `read_config`."""

    def entries(self, first: int, last: int) -> Entries:
        """What fires on rows `first` to `last` - 1, from all files."""
        parts = [file.entries(first, last) for file in self.files]
        columns = (np.concatenate([getattr(p, name) for p in parts]) for name in Entries.__slots__)
        return Entries(*columns)

    @property
    def features(self) -> Ints:
        """All that fire, in order."""
        return np.unique(np.concatenate([file.features for file in self.files]))


def find_cache(folder: Path) -> Path:
    """The folder of one hook's cache: the one given, or the only one within it.

    Raises:
        FormatError: there is none, or several.
    """
    found = sorted({path.parent for path in folder.rglob("*.safetensors") if _NAMED.fullmatch(path.name)})
    if folder in found or len(found) == 1:
        return folder if folder in found else found[0]
    if found:
        some = ", ".join(str(path.relative_to(folder)) for path in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise FormatError(
            f"{folder} holds the caches of several hooks ({some}{more}): pass the folder of one"
        )
    raise FormatError(
        f"{folder} has no START_END.safetensors: pass the folder of a hook that delphi's save_splits wrote"
    )


def read_config(folder: Path) -> dict[str, Any]:
    """The texts and whole numbers of a cache's config.json; empty where there is none.

    Raises:
        FormatError: it is no JSON object.
    """
    path = folder / "config.json"
    if not path.exists():
        return {}
    try:
        config = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"{path} is not JSON ({ascii(str(error))[:60]}): get it again, or remove it"
        ) from error
    if not isinstance(config, dict):
        raise FormatError(f"{path} is not a JSON object: get it again, or remove it")
    return {key: value for key, value in config.items() if isinstance(value, str | int)}


def cache_files(folder: Path) -> list[Path]:
    """The files of a cache, in the order of their features.

    Raises:
        FormatError: the features of two overlap, as when a cache was written over one of other ranges.
    """
    named = [(path, _NAMED.fullmatch(path.name)) for path in folder.glob("*.safetensors")]
    found = sorted((int(m[1]), int(m[2]), path) for path, m in named if m is not None)
    for start, end, path in found:
        if not start <= end <= _LAST_INDEX:
            raise FormatError(f"{path} is not named after a range of features up to {_LAST_INDEX}: rename it")
    for (_, end, path), (start, _, other) in pairwise(found):
        if start <= end:
            raise FormatError(
                f"{path} and {other.name} hold the same features: remove the files of the older cache"
            )
    return [path for _, _, path in found]


def open_cache(folder: Path) -> Cache:
    """Open and check all files of a cache. Only tokens are held in memory.

    Raises:
        FormatError: a file can't be read, or something in it can't be what it should be.
    """
    files: list[CacheFile] = []
    tokens = np.zeros((0, 0), dtype=np.int64)
    for path in cache_files(folder):
        handle = _opened(path)
        own = handle.get_tensor("tokens").astype(np.int64)
        if files and not np.array_equal(own, tokens):
            raise FormatError(f"{path} has other tokens than {files[0].path.name}: they are of two caches")
        tokens = own
        files.append(_checked(path, handle, own.shape))
    if not any(len(file.features) for file in files):
        raise FormatError(f"{folder} has no activations above 0: there is no feature to label")
    return Cache(folder, tokens, tuple(files), read_config(folder))


def _opened(path: Path) -> Any:
    """A file with the tensors it must have, in types that can be read."""
    from safetensors import SafetensorError, safe_open

    try:
        handle: Any = safe_open(path, framework="numpy")
        found = {name: handle.get_slice(name) for name in handle.keys()}  # noqa: SIM118 (it is no dict)
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path} can't be read as safetensors ({error}): get it again") from error
    if "tokens" not in found and {"locations", "activations"} <= set(found):
        raise FormatError(
            f"{path} has no tokens: make the cache again with a delphi of 2025 or later, and save_tokens"
        )
    for name, kinds, axes in (("locations", _WHOLE, 2), ("activations", _FLOATS, 1), ("tokens", _WHOLE, 2)):
        if name not in found:
            raise FormatError(f"{path} has no {name}: it has {', '.join(sorted(found)) or 'nothing'}")
        kind, shape = found[name].get_dtype(), found[name].get_shape()
        if kind not in kinds or len(shape) != axes:
            raise FormatError(
                f"{path} has {name} of type {kind} and shape {shape}: it must have {axes} axes and be one of "
                f"{', '.join(kinds)}"
            )
    n, columns = found["locations"].get_shape()
    if columns != 3 or [n] != found["activations"].get_shape():
        raise FormatError(
            f"{path} has locations of shape {[n, columns]} and {found['activations'].get_shape()[0]} "
            "activations: there must be a row, a position and a feature for each"
        )
    if not 0 < found["tokens"].get_shape()[1] <= 65535:
        raise FormatError(
            f"{path} has contexts of {found['tokens'].get_shape()[1]} tokens: 1 to 65535 can be read"
        )
    return handle


def _checked(path: Path, handle: Any, shape: tuple[int, ...]) -> CacheFile:
    """A file every entry of which has been looked at."""
    named = _NAMED.fullmatch(path.name)
    start, end = (int(named[1]), int(named[2])) if named else (0, 0)
    limits = (("row", shape[0]), ("position", shape[1]), ("feature", end - start + 1))
    counts, firing, last = np.zeros(shape[0], dtype=np.int64), np.zeros(0, dtype=np.bool_), 0
    n = handle.get_slice("activations").get_shape()[0]
    for at in range(0, n, _CHUNK):
        some, value = _part(handle, at, min(n, at + _CHUNK))
        for column, (word, limit) in enumerate(limits):
            _refuse_beyond(path, at, some[:, column], word, limit)
        if not np.isfinite(value).all():
            odd = int(np.flatnonzero(~np.isfinite(value))[0])
            raise FormatError(
                f"{path}, entry {at + odd}: the activation is {value[odd]} (half floats end at 65504): "
                "make the cache again with finite activations"
            )
        rows = some[:, 0]
        if (np.diff(rows, prepend=last) < 0).any():
            raise FormatError(f"{path} has entries out of the order of their rows: sort them by row")
        last = int(rows[-1])
        counts += np.bincount(rows, minlength=shape[0])
        firing = np.append(firing, np.zeros(max(0, int(some[:, 2].max()) + 1 - len(firing)), dtype=np.bool_))
        firing[some[value > 0, 2]] = True
    edges = np.concatenate(([0], np.cumsum(counts)))
    return CacheFile(path, start, handle, edges, np.flatnonzero(firing) + start)


def _part(handle: Any, first: int, last: int) -> tuple[Ints, Floats]:
    """Entries `first` to `last` - 1: locations (n, 3), and activations (n,)."""
    if first == last:
        return np.zeros((0, 3), dtype=np.int64), np.zeros(0, dtype=np.float32)
    locations = handle.get_slice("locations")[first:last].astype(np.int64)
    with np.errstate(over="ignore"):  # what is beyond 32-bit floats is refused as infinite
        return locations, handle.get_slice("activations")[first:last].astype(np.float32)


def _refuse_beyond(path: Path, at: int, values: Ints, word: str, limit: int) -> None:
    beyond = np.flatnonzero((values < 0) | (values >= limit))
    if len(beyond):
        what = "the range in its name has" if word == "feature" else "the tokens have"
        raise FormatError(
            f"{path}, entry {at + int(beyond[0])}: locations has {word} {values[beyond[0]]}, but {what} "
            f"{limit}: its columns are row, position, and feature less the first of the file"
        )


def _refuse_twice(path: Path, start: int, locations: Ints) -> None:
    if not len(locations):
        return
    row, position, feature = locations.T
    # Some dozens of rows, 16 bits of position and 31 of feature fit into one number, which sorts fast.
    keys = ((row - row[0]) << 47) | (position << 31) | feature
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(np.diff(keys[order]) == 0)
    if len(same):
        at = int(order[same[0]])
        raise FormatError(
            f"{path} has feature {start + feature[at]} at row {row[at]}, position {position[at]} twice: "
            "keep one entry"
        )
