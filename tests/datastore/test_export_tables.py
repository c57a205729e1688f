"""Labels as one file: the view's rows, whole, in one order, and nothing that a spreadsheet would obey."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exegete.datastore.export_choice import Choice, choose
from exegete.datastore.export_tables import TableForm, export_table
from exegete.datastore.spreadsheet import FORMULA, harmless, harmless_sql
from exegete.datastore.store import Store
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError, WorkspaceError
from tests.datastore.labelled import LABELS, write_workspace

READ = {
    "parquet": "read_parquet('{}')",
    "jsonl": "read_json('{}', format='newline_delimited')",
    "csv": "read_csv('{}', header=true, allow_quoted_nulls=false)",
}


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return write_workspace(tmp_path_factory.mktemp("tables") / "w", evidence=False)


def selected(store: Store, where: str = "") -> list[tuple[object, ...]]:
    """Rows of the view, in the order of exports, with the columns that every form has as they are."""
    columns = "feature_index, polarity, status, score, low, maximum, candidates, harvest, layer, labelled_at"
    return [
        tuple(r.values()) for r in store.read(f"SELECT {columns} FROM labels {where} ORDER BY feature_index")
    ]


@pytest.mark.parametrize("form", READ)
@pytest.mark.parametrize("status", [None, "accepted,review", "dead"])
def test_rows_come_back(space: Workspace, tmp_path: Path, form: TableForm, status: str | None) -> None:
    """DuckDB reads from the file what the view has, with the same columns in the same order."""
    store, out = Store(space.labels), tmp_path / f"labels.{form}"
    choice = choose(store, "night", "harv", status)
    n = export_table(store, choice, form, out, overwrite=False)
    where = f"WHERE status IN ({', '.join(repr(s) for s in status.split(','))})" if status else ""
    wanted = selected(store, where)
    with duckdb.connect() as con:
        source = READ[form].format(out)
        names = [row[0] for row in con.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]
        found = con.execute(
            "SELECT feature_index, polarity, status, score, low, maximum::FLOAT, candidates, harvest, layer, "
            f"labelled_at FROM {source}"
        ).fetchall()
    assert names == [row["column_name"] for row in store.read("DESCRIBE SELECT * FROM labels")]
    assert found == wanted
    assert n == len(wanted) > 0


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_texts_are_left_as_they_are(space: Workspace, tmp_path: Path, form: TableForm) -> None:
    """Hostile labels and lists are the very same values; a missing one is missing."""
    store, out = Store(space.labels), tmp_path / "x"
    export_table(store, Choice(), form, out, overwrite=False)
    with duckdb.connect() as con:
        found = con.execute(f"SELECT label, reasons FROM {READ[form].format(out)}").fetchall()
    assert found == [(text, ["=reason"]) for _, text in LABELS.values()]


def test_csv_is_harmless(space: Workspace, tmp_path: Path) -> None:
    """No text cell of the CSV is a formula, an apostrophe off gives the text back, and numbers have none."""
    store, out = Store(space.labels), tmp_path / "x.csv"
    export_table(store, Choice(), "csv", out, overwrite=False)
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row, (_, text) in zip(rows, LABELS.values(), strict=True):
        assert row["label"] == harmless(text or "")
        assert row["why"] == "'+because"
        assert row["reasons"] == '["=reason"]'
        assert row["polarity"] == "+"
        assert not row["score"].startswith("'")
    assert [row["label"][:2] for row in rows] == ["'=", "th", "''", "'-", "", "';"]


TEXTS = st.text(
    st.one_of(st.sampled_from("'=+-@ \t\r＝\xa0\u3000a1"), st.characters(codec="utf-8")), max_size=8
)


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB, whose start takes longer than any query here."""
    with duckdb.connect() as found:
        yield found


@given(texts=st.lists(TEXTS, min_size=1, max_size=20))
def test_python_and_duckdb_agree(con: duckdb.DuckDBPyConnection, texts: list[str]) -> None:
    """Both make the same texts harmless, in the same way, and one apostrophe off gives any text back."""
    asked = f"SELECT {harmless_sql('t')} AS safe, regexp_matches(safe, ?) FROM (SELECT unnest(?) AS t)"
    found = con.execute(asked, [FORMULA, texts]).fetchall()
    assert [row[0] for row in found] == [harmless(text) for text in texts]
    for text, (safe, matches) in zip(texts, found, strict=True):
        assert not (safe.strip()[:1] in tuple("=+-@＝＋－＠") and len(safe.strip()) > 1)
        assert (safe[1:] if safe != text else safe) == text
        assert (safe.removeprefix("'") if matches and len(safe.strip(" ")) > 1 else safe) == text


@pytest.mark.parametrize("form", READ)
def test_the_same_bytes(space: Workspace, tmp_path: Path, form: TableForm) -> None:
    """A second export has the same bytes, and nothing else is left in the folder."""
    store = Store(space.labels)
    for name in ("a", "b"):
        export_table(store, Choice(), form, tmp_path / name, overwrite=False)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_what_is_there_stays(space: Workspace, tmp_path: Path) -> None:
    """A file is only replaced when that is asked for, and not by a refusal or a failure."""
    store, out = Store(space.labels), tmp_path / "x.csv"
    out.write_text("mine")
    with pytest.raises(UsageError, match="is there already: name another place, or pass --overwrite"):
        export_table(store, Choice(), "csv", out, overwrite=False)
    assert out.read_text() == "mine"
    export_table(store, Choice(), "csv", out, overwrite=True)
    assert out.read_text().startswith("feature_index,")
    with pytest.raises(UsageError, match="names a new file or folder in a folder that exists"):
        export_table(store, Choice(), "csv", tmp_path / "nowhere" / "x.csv", overwrite=False)


def test_no_room(space: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure while writing is a sentence about the place, and leaves nothing behind."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path))

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(WorkspaceError, match=r"can't be written .No space left on device.: make room"):
        export_table(Store(space.labels), Choice(), "csv", tmp_path / "x.csv", overwrite=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("run", "harvest", "status", "said"),
    [
        ("day", None, None, "no label is of a run 'day': the labels are of night"),
        (None, "other", None, "choose one of these harvests with --harvest: harvest"),
        (None, None, "good", "--status 'good' can't be read: name some of accepted, review"),
        (None, None, "failed", "no label is of that kind"),
    ],
)
def test_nothing_to_choose(
    space: Workspace, run: str | None, harvest: str | None, status: str | None, said: str
) -> None:
    """A choice of nothing is refused in one sentence that says what there is."""
    with pytest.raises(UsageError, match=said):
        choose(Store(space.labels), run, harvest, status)


def test_no_labels_yet(tmp_path: Path) -> None:
    """A workspace without labels says what to run."""
    with pytest.raises(UsageError, match="run `exegete label`"):
        choose(Store(tmp_path / "labels.duckdb"), None, None, None)
