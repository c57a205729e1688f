"""Every fault of an export is refused in a sentence that names its file and line."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.datastore.import_neuronpedia import import_neuronpedia
from exegete.datastore.neuronpedia_rows import Line, read_activation
from exegete.errors import FormatError
from tests.datastore.imported import SPEC
from tests.datastore.neuronpedia_folders import activation, explanation, feature, good

TOKENS = ["a", " b", " c"]


def line(**changes: Any) -> Any:
    """A bad third line among activations."""

    def change(place: Path) -> None:
        export = good()
        record = activation(3, TOKENS, [0, 1, 2]) | changes
        export.activations[0].insert(2, {k: v for k, v in record.items() if v is not Ellipsis})
        rewrite(place / "activations" / "batch-0.jsonl.gz", export.activations[0])

    return change


def rewrite(path: Path, lines: list[Any]) -> None:
    path.write_bytes(gzip.compress("".join(json.dumps(record) + "\n" for record in lines).encode()))


def raw(content: bytes) -> Any:
    """Bad bytes after two good lines among activations."""

    def change(place: Path) -> None:
        path = place / "activations" / "batch-0.jsonl.gz"
        start = b"".join(gzip.decompress(path.read_bytes()).splitlines(keepends=True)[:2])
        path.write_bytes(gzip.compress(start + content))

    return change


def cut(place: Path) -> None:
    path = place / "activations" / "batch-1.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-30])


def garble(place: Path) -> None:
    path = place / "activations" / "batch-1.jsonl.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)


def not_packed(place: Path) -> None:
    (place / "activations" / "batch-1.jsonl.gz").write_bytes(b'{"index": "1"}\n')


def both(place: Path) -> None:
    (place / "activations" / "batch-1.jsonl").write_text("")


def lines_of(kind: str, *records: Any) -> Any:
    def change(place: Path) -> None:
        rewrite(place / kind / "batch-0.jsonl.gz", list(records))

    return change


def emptied(place: Path) -> None:
    for path in (place / "activations").iterdir():
        path.write_bytes(gzip.compress(b"\n \n"))


THIRD = "activations/batch-0.jsonl.gz, line 3: "
FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no values": (line(values=...), THIRD + "it has 3 tokens and no list of values"),
    "fewer values": (line(values=[1, 2]), THIRD + "it has 3 tokens and 2 values"),
    "more values": (line(values=[1, 2, 3, 4]), THIRD + "it has 3 tokens and 4 values"),
    "no tokens": (line(tokens=...), THIRD + "tokens is not a list of texts"),
    "empty": (line(tokens=[], values=[]), THIRD + "tokens is not a list of texts"),
    "tokens as text": (line(tokens="a b c"), THIRD + "tokens is not a list of texts"),
    "token ids": (line(tokens=[1, 2, 3]), THIRD + "tokens is not a list of texts"),
    "long": (line(tokens=["a"] * 65536, values=[1] * 65536), THIRD + "it has 65536 tokens"),
    "NaN": (line(values=[0, float("nan"), 1]), THIRD + "the value of token 1 is nan"),
    "infinite": (line(values=[0, 1, float("-inf")]), THIRD + "the value of token 2 is -inf"),
    "beyond floats": (line(values=[0, 1e39, 1]), THIRD + "the value of token 1 is 1e.39"),
    "huge": (line(values=[0, 10**400, 1]), THIRD + "the value of token 1 is 1000"),
    "null": (line(values=[0, None, 1]), THIRD + "values has None"),
    "text": (line(values=[0, "1", 1]), THIRD + "values has '1'"),
    "true": (line(values=[0, True, 1]), THIRD + "values has True"),
    "lists": (line(values=[[0], [1], [2]]), THIRD + r"values has \[0\]"),
    "mixed": (line(values=[0, [1, 2], 2]), THIRD + r"values has \[1, 2\]"),
    "no index": (line(index=...), THIRD + "index is None"),
    "index": (line(index="three"), THIRD + "index is 'three'"),
    "negative": (line(index=-1), THIRD + "index is -1"),
    "fraction": (line(index=1.0), THIRD + "index is 1.0"),
    "large": (line(index=2**31), THIRD + "index is 2147483648"),
    "digits": (line(index="²"), THIRD + r"index is '\\xb2'"),
    "endless": (line(index="9" * 10_000), THIRD + "index is '999"),
    "bool": (line(index=True), THIRD + "index is True"),
    "model": (line(modelId="gpt2-small"), THIRD + "modelId is 'gpt2-small' among lines of 'gemma-2-2b'"),
    "source": (line(layer="0-res"), THIRD + "layer is '0-res' among lines"),
    "no json": (raw(b'{"index": \n'), THIRD + "it is not JSON"),
    "no object": (raw(b"[1, 2]\n"), THIRD + r"it is \[1, 2\] and not a JSON object"),
    "no utf-8": (raw(b'{"index": "\xff"}\n'), THIRD + "it is not JSON"),
    "nested": (raw(b"[" * 200_000 + b"\n"), THIRD + "it is not JSON"),
    "digits only": (raw(b"9" * 10_000 + b"\n"), THIRD + "it is not JSON"),
    "cut": (cut, r"activations/batch-1.jsonl.gz, line \d+: the gzip file is cut short or damaged"),
    # What is left of a damaged line may be read before the damage is noticed.
    "garbled": (
        garble,
        r"batch-1.jsonl.gz, line \d+: (the gzip file is cut short or damaged|it is not JSON)",
    ),
    "not packed": (not_packed, "activations/batch-1.jsonl.gz, line 1: the gzip file is cut short or damaged"),
    "both": (both, "has batch-1.jsonl and batch-1.jsonl.gz: remove one"),
    "feature twice": (
        lines_of("features", feature(0), feature(1), feature("0")),
        "features/batch-0.jsonl.gz, line 3: feature 0 is there twice",
    ),
    "share": (lines_of("features", feature(0, 1.5)), "line 1: frac_nonzero is 1.5: it is a share"),
    "label": (
        lines_of("explanations", explanation("x", "y")),
        "explanations/batch-0.jsonl.gz, line 1: index",
    ),
    "nothing": (emptied, "has no activations: there is no feature to label"),
}


@pytest.mark.parametrize(("damage", "sentence"), FAULTS.values(), ids=list(FAULTS))
def test_refused(tmp_path: Path, damage: Callable[[Path], Any], sentence: str) -> None:
    """The file and line are named, what is wrong and what to do; no evidence is made."""
    place = good().write(tmp_path / "export")
    damage(place)
    with pytest.raises(FormatError) as caught:
        import_neuronpedia(place, SPEC, tmp_path / "evidence")
    assert re.search(sentence, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(place))
    assert not list(tmp_path.rglob("*.duckdb"))


def test_which_source(tmp_path: Path) -> None:
    """A folder of one source's folder will do; of several, they are named; of none, it is said."""
    export = good()
    place = export.write(tmp_path / "export")
    first, _ = import_neuronpedia(tmp_path / "export", SPEC, tmp_path / "evidence")
    assert import_neuronpedia(place.parent, SPEC, tmp_path / "evidence") == (first, False)
    place.rename(place.with_name("0-a"))
    export.write(tmp_path / "export")
    with pytest.raises(FormatError, match=r"several sources \(0-a, 20-gemmascope-res-16k\): pass"):
        import_neuronpedia(place.parent, SPEC, tmp_path / "evidence")
    with pytest.raises(FormatError, match="has no folder activations"):
        import_neuronpedia(tmp_path / "nowhere", SPEC, tmp_path / "evidence")


numbers = st.integers(-(2**70), 2**70) | st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(numbers, min_size=1, max_size=12))
def test_firing(values: list[Any]) -> None:
    """Positions and values are those above 0, as 32-bit floats, whatever mixture of numbers there is."""
    found = read_activation(
        Line(Path("x"), 1, {"index": "3", "tokens": ["t"] * len(values), "values": values})
    )
    expected = [(i, float(np.float32(float(v)))) for i, v in enumerate(values) if np.float32(float(v)) > 0]
    assert list(zip(found.positions.tolist(), found.values.tolist(), strict=True)) == expected
