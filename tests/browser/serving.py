"""`exegete review` in a process of its own, and what there is to review."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from exegete.agent.job import Job
from exegete.agent.spec import JobSpec
from exegete.datastore.importing import ImportSpec, import_parquet
from exegete.datastore.workspace import Workspace
from exegete.review.keys import Key
from exegete.review.record import Act, record
from tests.agent import planted
from tests.agent.harness import store_at
from tests.review.labelled import row_of
from tests.review.test_app_cards import HOSTILE

if TYPE_CHECKING:
    from playwright.sync_api import Page


class Served:
    """A server over a workspace, as a person starts it."""

    def __init__(self, space: Workspace, reviewer: str, *more: str, port: int = 0) -> None:
        """Start it and wait until it says where it is."""
        program = str(Path(sys.executable).with_name("exegete"))
        command = [program, "review", "-w", str(space.root), "--reviewer", reviewer, "--no-open"]
        self.space = space
        self._process = subprocess.Popen(
            [*command, "--port", str(port), *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "200"},
        )
        assert self._process.stdout is not None
        found = re.match(r"(http://127\.0\.0\.1:(\d+))/ until Ctrl-C", self._process.stdout.readline())
        assert found is not None, self._process.communicate()
        self.address, self.port = found[1], int(found[2])

    def card(self, feature: int, which: str = "all") -> str:
        """The address of a feature's card."""
        harvest = row_of(self.space, feature)["harvest"]
        return f"{self.address}/card/{harvest}/{feature}+?which={which}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever became of the test, no server is left."""
        if self._process.poll() is None:
            self.kill()

    def end(self) -> None:
        """Ctrl-C, which it takes without a word."""
        self._process.send_signal(signal.SIGINT)
        _, err = self._process.communicate(timeout=60)
        assert "Traceback" not in err, err

    def kill(self) -> None:
        """End it as a crash does."""
        self._process.kill()
        self._process.communicate(timeout=60)


def hostile_workspace(root: Path) -> Workspace:
    """Twenty labelled features over a corpus with hostile words, of which six labels say them too."""
    folder = planted.write_folder(root / "<b>planted", dict(zip(planted.SINGLE, HOSTILE, strict=True)))
    space = Workspace.open_or_create(root / "workspace")
    import_parquet(folder, ImportSpec(quiet=300), space.evidence)
    job = Job(space, JobSpec(features="0-19", name="first", nulls=0))
    with ThreadPoolExecutor(1) as thread:  # the browser's event loop is this one's
        thread.submit(asyncio.run, job.run()).result()
    for index, text in zip(range(14, 20), HOSTILE[:6], strict=True):
        key, label = Key(space.harvests()[0], index, "+"), row_of(space, index)["label"]
        record(space, Act(key, "comment", f"bob {text}", label, comment=f"x {text}"))
        record(space, Act(key, "edit", "bob", label, text=f"says {text} here"))
    return space


def events(space: Workspace, since: int = 0) -> list[dict[str, Any]]:
    """The view `reviews`, oldest first, but for the first `since` rows."""
    return store_at(space.labels).read("SELECT * FROM reviews ORDER BY reviewed_at, event")[since:]


def feature_of(page: Page) -> int:
    """Whose card is open."""
    text = page.locator("#card").get_attribute("data-feature")
    assert text is not None
    return int(text.rstrip("+-"))


def press(page: Page, *keys: str) -> None:
    """Press keys one after the other; whoever waits for the page they lead to asks for it."""
    for key in keys:
        page.keyboard.press(key)
