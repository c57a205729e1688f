"""The features of an export, with what was said and measured of each, read as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import duckdb

from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.export_choice import Choice
from exegete.datastore.export_passages import EvidencePassages, Passages, StoredPassages
from exegete.datastore.records import Polarity
from exegete.datastore.workspace import Workspace
from exegete.errors import UsageError

AT_ONCE = 1024
"""Features read, and lines of a file, at a time."""

_ROWS = """
SELECT l.*, o.top_tokens, o.top_values, o.bottom_tokens, o.bottom_values, s.scores
FROM labels l
LEFT JOIN (
    SELECT * FROM outputs WHERE kind = 'logit lens'
    QUALIFY row_number() OVER (PARTITION BY harvest, feature_index, polarity ORDER BY measured_at DESC) = 1
) o ON o.harvest = l.harvest AND o.feature_index = l.feature_index AND o.polarity = l.polarity
LEFT JOIN (
    SELECT harvest, run, feature_index, polarity, label,
        list({'scorer': scorer, 'value': value, 'low': low, 'high': high, 'chance': chance,
              'p_value': p_value, 'q_value': q_value, 'n_asked': n_asked, 'n_read': n_read} ORDER BY scorer)
            AS scores
    FROM scores WHERE split = 'report' AND side = 'input' GROUP BY ALL
) s ON s.harvest = l.harvest AND s.run = l.run AND s.feature_index = l.feature_index
    AND s.polarity = l.polarity AND s.label = l.label
"""


@dataclass(frozen=True, slots=True)
class Source:
    """The features of one harvest on one side of zero."""

    harvest: str
    polarity: Polarity
    subject: str
    site: str
    layer: int | None
    dictionary: str
    corpus: str | None


def sources(con: duckdb.DuckDBPyConnection, choice: Choice) -> list[Source]:
    """Which harvests, and sides of zero, chosen labels are of."""
    where, parameters = choice.where()
    rows = con.execute(
        f"SELECT DISTINCT l.harvest, l.polarity, l.subject, l.site, l.layer, l.dictionary, h.corpus "
        f"FROM (SELECT * FROM labels {where}) l JOIN store.harvests h ON h.harvest = l.harvest ORDER BY ALL",
        parameters,
    ).fetchall()
    return [Source(*row) for row in rows]


def feature_rows(
    con: duckdb.DuckDBPyConnection, choice: Choice, source: Source
) -> Iterator[tuple[dict[str, Any], ...]]:
    """The chosen features of a source, some at a time, in the order of their indices.

    Yields:
        Rows of the view `labels`, with the tokens of the logit lens (`top_tokens` …, None where nobody
        looked) and `scores`, every score of the label on the report split (None for none).
    """
    where, parameters = choice.where()
    also = f"{where or 'WHERE true'} AND harvest = ? AND polarity = ?"
    sql = f"SELECT * FROM ({_ROWS}) {also} ORDER BY feature_index"
    cursor = con.cursor().execute(sql, [*parameters, source.harvest, source.polarity])
    names = [column[0] for column in cursor.description or ()]
    rows = (dict(zip(names, row, strict=True)) for row in iter(cursor.fetchone, None))
    while some := tuple(islice(rows, AT_ONCE)):
        yield some


@contextmanager
def passages_of(space: Workspace, con: duckdb.DuckDBPyConnection, source: Source) -> Iterator[Passages]:
    """The excerpts of a source's features: from its evidence file, or else from the labels file."""
    path = space.evidence / f"{source.harvest}.duckdb"
    if not path.exists():
        yield StoredPassages(con.cursor(), source.harvest)
        return
    file = EvidenceFile(path)
    try:
        yield EvidencePassages(file)
    finally:
        file.close()


def refuse_clashes(named: list[tuple[str, Source]]) -> None:
    """Refuse sources that would have one name.

    Raises:
        UsageError: two have.
    """
    seen: dict[str, Source] = {}
    for name, source in named:
        if name in seen:
            raise UsageError(
                f"{seen[name].harvest} and {source.harvest} would both be {name}: export one at a time, "
                "with --harvest"
            )
        seen[name] = source
