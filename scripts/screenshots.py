"""The pictures of docs/images: the review queue, a card, and a report, of the demo's workspace.

    python scripts/screenshots.py [-w demo] [--out docs/images]

Without -w the demo is made first, in a folder that goes afterwards. Nothing that is shown is drawn at random,
and only times are of the clock. The browser is Debian's chromium.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

WIDTH, HEIGHT = 1280, 900
EXEGETE = str(Path(sys.executable).with_name("exegete"))
MOST_BYTES = 300_000


@contextmanager
def reviewed(workspace: Path) -> Iterator[str]:
    """The address of the review page of a copy, so that looking leaves nothing behind."""
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(
            workspace, Path(folder) / "demo", ignore=shutil.ignore_patterns("review.sqlite*")
        )
        command = [EXEGETE, "review", "-w", str(copy), "--reviewer", "you", "--no-open", "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                found = re.match(r"(\S+) until Ctrl-C", server.stdout.readline())
                if found is None:
                    raise SystemExit("exegete review does not start: see above")
                yield found[1]
            finally:
                server.send_signal(signal.SIGINT)


def take(page: Page, address: str, path: Path) -> None:
    """One picture of what the first screen shows."""
    page.goto(address)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(500)  # plots draw themselves
    page.screenshot(path=path, animations="disabled")
    if path.stat().st_size > MOST_BYTES:
        raise SystemExit(f"{path} has {path.stat().st_size:,} bytes: {MOST_BYTES:,} are wanted")
    print(f"{path}: {path.stat().st_size:,} bytes")


def main() -> None:
    """Take all three."""
    parser = argparse.ArgumentParser(description="Take the pictures of docs/images.")
    parser.add_argument("-w", "--workspace", type=Path, help="of the demo; made when not given")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "images")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        workspace = given.workspace
        if workspace is None:
            workspace = Path(folder) / "demo"
            subprocess.run([EXEGETE, "demo", "-w", str(workspace)], check=True)
        given.out.mkdir(parents=True, exist_ok=True)
        report = Path(folder) / "report.html"
        subprocess.run([EXEGETE, "report", "-w", str(workspace), "--out", str(report)], check=True)
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        with sync_playwright() as playwright, reviewed(workspace) as address:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
            take(page, address, given.out / "queue.png")
            first = page.locator("#items a.feature").first.get_attribute("href")
            take(page, f"{address.rstrip('/')}{first}", given.out / "card.png")
            take(page, report.as_uri(), given.out / "report.png")
            browser.close()


if __name__ == "__main__":
    main()
