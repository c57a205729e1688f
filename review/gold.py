"""Decided labels with the evidence they were decided on, for other programs and other people.

One row a decision that stands, in the order of features and then of time; `latest` tells the one that holds.
JSON lines and Parquet have these rows; Argilla's form has one record a label, with the job's label as a
suggestion and every reviewer's decision as a response, as `dataset.records.from_json` of its SDK 2 reads it.

Reviewers can be given pseudonyms: numbers in the order in which they first decided. What they wrote stays as
they wrote it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from exegete.datastore.placed import placed
from exegete.datastore.store import Store
from exegete.errors import UsageError

GoldForm = Literal["parquet", "jsonl", "argilla"]
FORMS: tuple[GoldForm, ...] = ("parquet", "jsonl", "argilla")

EXCERPTS = 10
"""Of a feature's strongest examples."""

_NAMESPACE = uuid.UUID("6a1d43a5-0c4e-5f0e-9d4b-6f2d0d9b7b1c")
"""Of the ids that reviewers have at Argilla, which knows users by UUID."""

COLUMNS: Mapping[str, pa.DataType] = {
    "harvest": pa.string(),
    "subject": pa.string(),
    "site": pa.string(),
    "layer": pa.int32(),
    "dictionary": pa.string(),
    "feature_index": pa.int32(),
    "polarity": pa.string(),
    "run": pa.string(),
    "label_before": pa.string(),
    "decision": pa.string(),
    "label_after": pa.string(),
    "reason": pa.string(),
    "text": pa.string(),
    "comment": pa.string(),
    "blind_text": pa.string(),
    "reviewer": pa.string(),
    "reviewed_at": pa.timestamp("us"),
    "seconds": pa.float64(),
    "audit": pa.bool_(),
    "latest": pa.bool_(),
    "status_before": pa.string(),
    "score_before": pa.float64(),
    "confidence_before": pa.float64(),
    "density": pa.float64(),
    "event": pa.string(),
    "excerpts": pa.list_(
        pa.struct(
            [
                ("text", pa.string()),
                ("stratum", pa.string()),
                ("peak", pa.float32()),
                ("document", pa.string()),
                ("words", pa.list_(pa.string())),
                ("activations", pa.list_(pa.float32())),
            ]
        )
    ),
}
"""Columns of a row; `label_after` is what holds after the decision, NULL after a rejection. In an excerpt's
text, words on which the feature fires are in «»; activations are in raw units, one a word."""

_DECIDED = f"""
SELECT d.harvest, h.subject, h.site, h.layer, h.dictionary, d.feature_index, d.polarity, d.run,
    d.label_before, d.decision,
    CASE d.decision WHEN 'accept' THEN d.label_before WHEN 'edit' THEN d.text END AS label_after,
    d.reason, CASE WHEN d.decision = 'reject' THEN d.text END AS text, d.comment, d.blind_text, d.reviewer,
    d.made_at AS reviewed_at, d.seconds, d.audit,
    row_number() OVER (
        PARTITION BY d.harvest, d.feature_index, d.polarity ORDER BY d.made_at DESC
    ) = 1 AS latest,
    d.status_before, d.score_before, d.confidence_before, f.density, d.event,
    coalesce(e.excerpts, []) AS excerpts
FROM store.decided d
JOIN store.harvests h ON h.harvest = d.harvest AND h.kind IS DISTINCT FROM 'controls'
LEFT JOIN store.features f
    ON f.harvest = d.harvest AND f.feature_index = d.feature_index AND f.polarity = d.polarity
LEFT JOIN (
    SELECT harvest, feature_index, polarity,
        list({{text: text, stratum: stratum, peak: peak, document: document, words: words,
            activations: activations}} ORDER BY rank) AS excerpts
    FROM store.examples WHERE rank < {EXCERPTS} GROUP BY ALL
) e ON e.harvest = d.harvest AND e.feature_index = d.feature_index AND e.polarity = d.polarity
ORDER BY d.harvest, d.feature_index, d.polarity, d.made_at"""


def export_gold(
    store: Store, form: GoldForm, out: Path, *, anonymous: bool = False, overwrite: bool = False
) -> int:
    """Write all decisions that stand to one file, whole or not at all.

    Args:
        store: the labels file.
        form: of the file.
        out: the file.
        anonymous: give reviewers numbers for names.
        overwrite: whether a file that is there may be replaced.

    Returns:
        Rows (records, for Argilla) written.

    Raises:
        UsageError: there is a file already, no such form, or nothing was decided.
        WorkspaceBusy: a writer holds the labels file for too long.
        WorkspaceError: the file can't be written.
    """
    if form not in FORMS:
        raise UsageError(f"there is no form {form!r}: choose among {', '.join(FORMS)}")
    rows = gold_rows(store, anonymous=anonymous)
    if not rows:
        raise UsageError("nothing was decided yet: `exegete review` lists what waits")
    with placed(out, overwrite=overwrite) as draft:
        if form == "parquet":
            columns = {name: pa.array([r[name] for r in rows], kind) for name, kind in COLUMNS.items()}
            pq.write_table(pa.table(columns), draft, compression="zstd")
            return len(rows)
        if form == "jsonl":
            text = "".join(json.dumps(row, default=str, ensure_ascii=False) + "\n" for row in rows)
            draft.write_text(text, encoding="utf-8")
            return len(rows)
        records = list(argilla_records(rows))
        draft.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
        return len(records)


def gold_rows(store: Store, *, anonymous: bool = False) -> list[dict[str, Any]]:
    """One row a decision that stands, with the columns of `COLUMNS`."""
    rows = store.read(_DECIDED)
    if anonymous:
        order = dict.fromkeys(row["reviewer"] for row in sorted(rows, key=lambda row: row["reviewed_at"]))
        names = {name: f"reviewer {n}" for n, name in enumerate(order, 1)}
        rows = [row | {"reviewer": names[row["reviewer"]]} for row in rows]
    return rows


def argilla_records(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Records with the keys of `Record.to_dict()` in Argilla's SDK: one a label of a feature.

    Questions are `decision` (accept, edit, reject), `label` (text) and `reason` (text). A reviewer who
    decided about one label more than once is there with the last, as Argilla keeps one response a user.
    """

    def unit(row: dict[str, Any]) -> tuple[Any, ...]:
        return (row["harvest"], row["feature_index"], row["polarity"], row["label_before"] or "")

    for key, found in groupby(sorted(rows, key=lambda row: (unit(row), row["reviewed_at"])), key=unit):
        last = {row["reviewer"]: row for row in found}
        first = next(iter(last.values()))
        harvest, index, polarity, label = key
        responses: dict[str, list[dict[str, Any]]] = {"decision": [], "label": [], "reason": []}
        for row in last.values():
            user = str(uuid.uuid5(_NAMESPACE, row["reviewer"]))
            said = {
                "decision": row["decision"],
                "label": row["label_after"],
                "reason": row["reason"] or row["text"],
            }
            for question, value in said.items():
                if value is not None:
                    responses[question].append({"value": value, "user_id": user})
        suggestion = {"value": label, "score": first["confidence_before"], "agent": first["run"]}
        yield {
            "id": str(uuid.uuid5(_NAMESPACE, "\0".join(map(str, key)))),
            "fields": {
                "feature": f"{first['subject']} {first['site']} {first['dictionary']} {index}{polarity}",
                "label": label,
                "excerpts": "\n\n".join(excerpt["text"] for excerpt in first["excerpts"]),
            },
            "metadata": {
                "harvest": harvest,
                "feature_index": index,
                "polarity": polarity,
                "layer": first["layer"],
                "run": first["run"],
                "score": first["score_before"],
                "density": first["density"],
                "audit": str(any(row["audit"] for row in last.values())).lower(),
                "reviewers": ", ".join(last),
            },
            "suggestions": {"label": suggestion} if label else {},
            "responses": {question: some for question, some in responses.items() if some},
            "vectors": {},
            "status": "completed",
            "_server_id": None,
        }
