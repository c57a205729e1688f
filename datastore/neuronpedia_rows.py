"""Reading a folder in Neuronpedia's bulk layout, line by line, with every fault named by file and line.

    {modelId}/{sourceId}/
        source.jsonl                        one line: num_prompts, num_tokens_in_prompt, dataset …
        features/batch-N.jsonl[.gz]         index, frac_nonzero, pos_str …
        activations/batch-N.jsonl[.gz]      index, tokens[], values[], binMin, binMax, binContains …
        explanations/batch-N.jsonl[.gz]     index, description, typeName, explanationModelName …

The layout is that of github.com/hijohnnylin/neuronpedia, utils/neuronpedia-utils (export-data.py and
convert-saedashboard-to-neuronpedia-export.py). `index` is a string there; a number is taken too.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exegete.datastore.records import Floats
from exegete.errors import FormatError

_BATCH_FILE = re.compile(r"batch-(\d+)\.jsonl(\.gz)?")
_MOST_TOKENS = 65535
_LAST_INDEX = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file, parsed, that knows where it stands."""

    path: Path
    number: int
    """From 1."""
    record: Mapping[str, Any]

    def fault(self, what: str) -> FormatError:
        """An error about this line."""
        return FormatError(f"{self.path}, line {self.number}: {what}")

    def index(self) -> int:
        """The feature the line is about.

        Raises:
            FormatError: it names none.
        """
        value = self.record.get("index")
        text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
        if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= _LAST_INDEX):
            raise self.fault(f"index is {shortened(value)}: give it the feature's number, 0 to {_LAST_INDEX}")
        return int(text)

    def number_of(self, name: str) -> float | None:
        """A finite number of the line, or None where there is none."""
        value = self.record.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if np.isfinite(number) else None

    def text(self, name: str) -> str | None:
        """A text of the line, or None where there is none."""
        value = self.record.get(name)
        return sound(value) if isinstance(value, str) and value.strip() else None


@dataclass(frozen=True, slots=True)
class Activation:
    """One excerpt of one feature."""

    feature: int
    tokens: list[str]
    positions: NDArray[np.int64]
    """(n,) where it fires."""
    values: Floats
    """(n,) raw units, above 0."""


def find_source(folder: Path) -> Path:
    """The folder of one source: the one given, or the only one within it.

    Raises:
        FormatError: there is none, or several.
    """
    if (folder / "activations").is_dir():
        return folder
    found = sorted(p.parent for depth in ("*", "*/*") for p in folder.glob(f"{depth}/activations"))
    if len(found) == 1:
        return found[0]
    if found:
        some = ", ".join(str(path.relative_to(folder)) for path in found[:5])
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        raise FormatError(f"{folder} holds several sources ({some}{more}): pass the folder of one")
    raise FormatError(
        f"{folder} has no folder activations: pass a folder MODEL/SOURCE of a Neuronpedia export, with its "
        "activations/batch-N.jsonl.gz"
    )


def batches(source: Path, kind: str) -> list[Path]:
    """The files of one kind, in the order of their numbers.

    Raises:
        FormatError: one is there twice, packed and unpacked.
    """
    found: dict[int, Path] = {}
    folder = source / kind
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        named = _BATCH_FILE.fullmatch(path.name)
        if named is None:
            continue
        number = int(named[1])
        if number in found:
            raise FormatError(f"{folder} has {found[number].name} and {path.name}: remove one of the two")
        found[number] = path
    return [found[number] for number in sorted(found)]


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of a file; empty ones are passed over.

    Raises:
        FormatError: the file is cut short or damaged, or a line is no JSON object.
    """
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if raw.strip():
                    yield Line(path, number, _parsed(path, number, raw))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FormatError(
            f"{path}, line {number + 1}: the gzip file is cut short or damaged ({error}): get it again"
        ) from error
    except OSError as error:
        raise FormatError(f"{path} can't be read ({error.strerror or error})") from error


def read_activation(line: Line) -> Activation:
    """An activation from its line.

    Raises:
        FormatError: tokens or values are missing, or can't be what they should be.
    """
    tokens, values = line.record.get("tokens"), line.record.get("values")
    if not isinstance(tokens, list) or set(map(type, tokens)) != {str}:
        raise line.fault("tokens is not a list of texts: an activation needs its tokens and their values")
    if len(tokens) > _MOST_TOKENS:
        raise line.fault(f"it has {len(tokens)} tokens: cut contexts to {_MOST_TOKENS} at most")
    if not isinstance(values, list) or len(values) != len(tokens):
        have = f"{len(values)} values" if isinstance(values, list) else "no list of values"
        raise line.fault(f"it has {len(tokens)} tokens and {have}: there must be one value a token")
    positions, firing = _firing(line, values)
    whole = "".join(tokens)
    if sound(whole) != whole:
        tokens = [sound(token) for token in tokens]
    return Activation(line.index(), tokens, positions, firing)


def sound(text: str) -> str:
    """A text that can be stored as UTF-8: half a surrogate pair becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def shortened(value: object) -> str:
    """A value for a message, however long or odd it is."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _firing(line: Line, values: list[Any]) -> tuple[NDArray[np.int64], Floats]:
    """Where values are above 0, and what they are there."""
    if not set(map(type, values)) <= {int, float}:  # and not bool, which is an int
        odd = next(value for value in values if type(value) not in (int, float))
        raise line.fault(f"values has {shortened(odd)}: it must be a list of numbers")
    try:
        with np.errstate(over="ignore"):
            dense = np.asarray(values, dtype=np.float64).astype(np.float32)
    except OverflowError:
        dense = np.asarray([np.inf if abs(value) > 1e39 else value for value in values], dtype=np.float32)
    if not np.isfinite(dense).all():
        at = int(np.flatnonzero(~np.isfinite(dense))[0])
        raise line.fault(
            f"the value of token {at} is {shortened(values[at])}: give every token a finite 32-bit value"
        )
    positions = np.flatnonzero(dense > 0)
    return positions, dense[positions]


def _parsed(path: Path, number: int, raw: bytes) -> Mapping[str, Any]:
    try:
        record = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}, line {number}: it is not JSON ({shortened(str(error))})") from error
    if not isinstance(record, dict):
        raise FormatError(f"{path}, line {number}: it is {shortened(record)} and not a JSON object")
    return record
