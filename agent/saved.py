"""What stopping early saved a run: excerpts that were planned and not asked about, and the tokens of that.

Tokens are an estimate from the run's own calls: what its simulations on the report split took an excerpt that
was asked about, times the excerpts that were not.
"""

from __future__ import annotations

from dataclasses import dataclass

from exegete.datastore.store import Store

SAVED = """
SELECT e.run, e.planned, e.asked, CAST(round(e.planned - e.asked) * c.tokens / e.asked AS BIGINT) AS tokens
FROM (
    SELECT run, CAST(sum(planned) AS BIGINT) AS planned, CAST(sum(asked) AS BIGINT) AS asked
    FROM (
        SELECT run, label_id, max(CAST(details ->> '$.n_planned' AS DOUBLE)) AS planned, max(n_asked) AS asked
        FROM store.scores WHERE split = 'report' AND details ->> '$.n_planned' IS NOT NULL GROUP BY ALL
    ) GROUP BY run
) e LEFT JOIN (
    SELECT run, sum(input_tokens + output_tokens) AS tokens
    FROM store.calls WHERE stage = 'report' AND purpose = 'simulate' GROUP BY run
) c ON c.run = e.run
"""
"""One row a run that may stop early; all scorers of a label share its excerpts, so a label counts once."""


@dataclass(frozen=True, slots=True)
class Saved:
    """Excerpts of the report split, over all labels of a run."""

    planned: int
    asked: int
    tokens: int | None
    """Input and output tokens that were not spent, about; None when no call of the run says what it took."""


def saved_by(store: Store, run: str) -> Saved | None:
    """What stopping early saved a run; None when it does not stop early, or has scored nothing."""
    rows = store.read(f"SELECT planned, asked, tokens FROM ({SAVED}) WHERE run = ?", [run])
    return Saved(**rows[0]) if rows else None
