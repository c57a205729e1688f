"""Every fault of imported files is refused in a sentence that names it, and nothing is left behind."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exegete.datastore.importing import ImportSpec, import_parquet
from exegete.errors import FormatError
from tests.datastore.parquet_folders import good

Tables = dict[str, pa.Table]
C, A, F = "contexts.parquet", "activations.parquet", "features.parquet"


def column(file: str, name: str, values: Callable[[list[Any]], list[Any]], kind: Any = None) -> Any:
    """Change a column."""

    def change(tables: Tables) -> None:
        table = tables[file]
        at = table.schema.get_field_index(name)
        new = pa.array(values(table.column(name).to_pylist()), kind or table.schema.field(name).type)
        tables[file] = table.set_column(at, name, new)

    return change


def first(value: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda old: [value, *old[1:]]


def append(file: str, row: dict[str, Any]) -> Any:
    """Add a row."""

    def change(tables: Tables) -> None:
        table = tables[file]
        tables[file] = pa.concat_tables([table, pa.Table.from_pylist([row], schema=table.schema)])

    return change


def drop(file: str, name: str) -> Any:
    def change(tables: Tables) -> None:
        tables[file] = tables[file].drop_columns([name])

    return change


def empty(file: str) -> Any:
    def change(tables: Tables) -> None:
        tables[file] = tables[file].slice(0, 0)

    return change


def features(*indices: Any, kind: Any = None) -> Any:
    def change(tables: Tables) -> None:
        tables[F] = pa.table({"feature": pa.array(indices, kind or pa.int64())})

    return change


def row(**changes: Any) -> dict[str, Any]:
    return {"feature": 3, "context_id": 1, "position": 0, "activation": 1.0} | changes


FAULTS = {
    "no contexts": (empty(C), "contexts.parquet has no rows"),
    "no activations": (empty(A), "no rows: there is no feature"),
    "id twice": (append(C, {"context_id": 1, "document": "d", "tokens": ["a"]}), "context_id 1 twice"),
    "no id": (
        append(C, {"context_id": None, "document": "dd", "tokens": ["a"]}),
        "without a context_id .*dd",
    ),
    "no document": (column(C, "document", first(None)), "no document or no tokens in context 1"),
    "null tokens": (column(C, "tokens", first(None)), "no document or no tokens in context 1"),
    "empty tokens": (column(C, "tokens", first([])), "no document or no tokens in context 1"),
    "a null token": (column(C, "tokens", first(["a", None])), "no document or no tokens in context 1"),
    "too long": (column(C, "tokens", first(["a"] * 65_536)), "65536 tokens in context 1: cut"),
    "null feature": (append(A, row(feature=None)), "without a feature, context_id or position"),
    "null context": (append(A, row(context_id=None)), "without a feature, context_id or position"),
    "null position": (append(A, row(position=None)), "without a feature, context_id or position"),
    "negative feature": (append(A, row(feature=-1)), "without a feature.*feature -1"),
    "huge feature": (column(A, "feature", first(2**31), pa.int64()), "feature 2147483648: number features"),
    "null activation": (append(A, row(activation=None)), "missing, NaN or infinite .*feature 3, context 1"),
    "NaN": (append(A, row(activation=float("nan"))), "missing, NaN or infinite"),
    "infinity": (append(A, row(activation=float("inf"))), "missing, NaN or infinite"),
    "minus infinity": (append(A, row(activation=float("-inf"))), "missing, NaN or infinite"),
    "zero": (append(A, row(activation=0.0)), "at or below 0 .*leave silent positions out"),
    "negative": (append(A, row(activation=-1.0)), "at or below 0"),
    "beyond float32": (column(A, "activation", first(1e39), pa.float64()), "beyond 32-bit floats"),
    "lost in float32": (column(A, "activation", first(1e-60), pa.float64()), "at or below 0"),
    "unknown context": (append(A, row(context_id=999)), "names context 999, which contexts.parquet"),
    "negative position": (append(A, row(position=-1)), "position -1 in context 1"),
    "position beyond": (append(A, row(position=70)), r"position 70 in context 1, which has \d+ tokens"),
    "activation twice": (
        append(A, row(feature=0, activation=2.0)),
        "feature 0 at context 1, position 0 twice",
    ),
    "feature id null": (features(0, None), "features.parquet has feature None"),
    "feature id negative": (features(-4), "features.parquet has feature -4"),
    "feature id huge": (features(2**31), "features.parquet has feature 2147483648"),
    "feature id twice": (features(4, 4), "features.parquet has feature 4 twice"),
    "features without the column": (
        lambda tables: tables.update({F: pa.table({"name": ["x"]})}), "lacks the column feature: it has name",
    ),
    "feature id text": (features("4", kind=pa.string()), "column feature of type VARCHAR"),
    **{
        f"no column {name}": (drop(C, name), f"lacks the column {name}")
        for name in ("context_id", "document", "tokens")
    },
    **{
        f"no column {name} (a)": (drop(A, name), f"lacks the column {name}")
        for name in ("feature", "context_id", "position", "activation")
    },
    "tokens as text": (
        column(C, "tokens", lambda old: ["a b"] * len(old), pa.string()),
        "column tokens of type",
    ),
    "tokens as ids": (
        column(C, "tokens", lambda old: [[1, 2]] * len(old), pa.list_(pa.int64())), "column tokens of type",
    ),
    "documents as numbers": (
        column(C, "document", lambda old: list(range(len(old))), pa.int64()),
        "column document",
    ),
    "ids as text": (
        column(C, "context_id", lambda old: [str(i) for i in old], pa.string()),
        "column context_id",
    ),
    "features as floats": (
        column(A, "feature", lambda old: [i + 0.5 for i in old], pa.float64()),
        "column feature",
    ),
    "positions as floats": (
        column(A, "position", lambda old: [0.5] * len(old), pa.float32()),
        "column position",
    ),
    "activations as text": (
        column(A, "activation", lambda old: ["1"] * len(old), pa.string()),
        "column activation",
    ),
}  # fmt: skip


@pytest.fixture
def tables() -> Tables:
    """A good folder in which feature 0 fires at the first position of the first context."""
    folder = good()
    rest = [r for r in folder.activations if r[:3] != (0, 1, 0)]
    object.__setattr__(folder, "activations", [(0, 1, 0, 1.5), *rest])
    return folder.tables()


def refuse(tables: Tables, tmp_path: Path) -> str:
    """Write a folder, have it refused, and see that nothing came of it."""
    source = tmp_path / "acts"
    source.mkdir()
    for name, table in tables.items():
        pq.write_table(table, source / name)
    return refused(source, tmp_path)


def refused(source: Path, tmp_path: Path) -> str:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FormatError) as caught:
        import_parquet(source, ImportSpec(), tmp_path / "evidence")
    assert sorted(tmp_path.rglob("*")) == before
    assert "\n" not in str(caught.value)
    assert str(source) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("fault", FAULTS)
def test_refused(fault: str, tables: Tables, tmp_path: Path) -> None:
    """One fault in an otherwise good folder is named, with its first offender and what to do."""
    change, said = FAULTS[fault]
    change(tables)
    text = refuse(tables, tmp_path)
    assert re.search(said, text), text


def test_good(tables: Tables, tmp_path: Path) -> None:
    """Without a fault the same folder is taken: none of the refusals above is of the folder itself."""
    source = tmp_path / "acts"
    source.mkdir()
    for name, table in tables.items():
        pq.write_table(table, source / name)
    assert import_parquet(source, ImportSpec(), tmp_path / "evidence")[1]


@pytest.mark.parametrize("missing", [C, A])
def test_missing_file(missing: str, tables: Tables, tmp_path: Path) -> None:
    """A folder without one of the two files, or no folder at all, is told what it needs."""
    del tables[missing]
    assert f"has no {missing}" in refuse(tables, tmp_path)
    assert f"has no {C}" in refused(tmp_path / "nowhere", tmp_path)


@pytest.mark.parametrize("name", [C, A, F])
@pytest.mark.parametrize("content", [b"", b"not parquet", b"PAR1" + bytes(100) + b"PAR1"])
def test_not_parquet(name: str, content: bytes, tables: Tables, tmp_path: Path) -> None:
    """A file of something else is named."""
    source = tmp_path / "acts"
    source.mkdir()
    for own, table in tables.items():
        pq.write_table(table, source / own)
    (source / name).write_bytes(content)
    assert f"{name} is not a Parquet file" in refused(source, tmp_path)


def test_damaged_pages(tables: Tables, tmp_path: Path) -> None:
    """A Parquet file whose footer is whole and whose pages are not is refused, not half read."""
    source = tmp_path / "acts"
    source.mkdir()
    for own, table in tables.items():
        pq.write_table(table, source / own)
    raw = bytearray((source / A).read_bytes())
    raw[4:200] = bytes(196)
    (source / A).write_bytes(raw)
    assert "can't be read as described" in refused(source, tmp_path)
