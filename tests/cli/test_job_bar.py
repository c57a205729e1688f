"""What a labelling job says of how far it is."""

from __future__ import annotations

import logging
from collections import Counter

import pytest

from exegete.agent.job import Progress
from exegete.cli import job_bar as bars
from exegete.cli.job_bar import job_bar
from tests.cli.test_harvest_bar import Clock


def test_a_batch_system(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal the log has a line a minute: what is done of what, by status, and the calls."""
    clock = Clock()
    monkeypatch.setattr(bars, "time", clock)
    progress = Progress("night", total=200)
    with caplog.at_level(logging.INFO, "exegete"), job_bar() as on_progress:
        for done in range(1, 131):
            clock.now += 1
            progress.done, progress.spent.calls = done, 3 * done
            progress.by_status = Counter(accepted=done - 1, dead=1)
            on_progress(progress)
        progress.nulls, progress.nulls_done = 8, 2
        clock.now += 60
        on_progress(progress)
    assert [record.getMessage() for record in caplog.records] == [
        "60 of 200 features are done",
        "120 of 200 features are done",
        "2 of 8 nulls are done",
    ]
    facts = [(vars(r)["accepted"], vars(r)["dead"], vars(r)["calls"]) for r in caplog.records]
    assert facts == [(59, 1, 180), (119, 1, 360), (129, 1, 390)]
