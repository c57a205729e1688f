"""Feature files packed into one a layer, as circuit-tracer's viewer reads those of a folder or of the hub.

    layer_L.bin      for each feature its length (4 bytes, little-endian) and its JSON, compressed (zlib)
    index.json.gz    {"L": {"filename": "layer_L.bin", "offsets": [0, 812, 812, …]}}

Feature f is at offsets[f] to offsets[f + 1]; one that is not there has no bytes. The layout is that of
github.com/decoderesearch/circuit-tracer at 4bb8c0e (frontend/assets: util.js and
feature_examples/init-feature-examples.js).
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

INDEX = "index.json.gz"


def packed_name(layer: int) -> str:
    """The name of a layer's file."""
    return f"layer_{layer}.bin"


class PackedFeatures:
    """Writes one layer's file."""

    def __init__(self, file: BinaryIO) -> None:
        """Write into an open, empty file; whoever opened it closes it."""
        self._file = file
        self._starts: list[int] = []
        self._end = 0

    def add(self, feature: int, text: str) -> None:
        """Write a feature's JSON; features come in rising order."""
        body = zlib.compress(text.encode("utf-8"))
        self._starts += [self._end] * (feature + 1 - len(self._starts))
        self._file.write(len(body).to_bytes(4, "little") + body)
        self._end += 4 + len(body)

    @property
    def offsets(self) -> list[int]:
        """Where features begin, and where the last one ends: (highest feature + 2,) bytes."""
        return [*self._starts, self._end]


def write_index(folder: Path, offsets: Mapping[int, Sequence[int]]) -> None:
    """Write what finds features in a folder's packed files.

    Args:
        folder: that has them.
        offsets: by layer.
    """
    index = {str(layer): {"filename": packed_name(layer), "offsets": at} for layer, at in offsets.items()}
    text = json.dumps(index, separators=(",", ":"))
    (folder / INDEX).write_bytes(gzip.compress(text.encode("ascii"), mtime=0))
