"""The provider server on its own, as a job that is killed and run again would use it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from pathlib import Path

from pydantic import BaseModel

from exegete.llm import open_llm
from exegete.llm.structured import ask
from tests.llm.fakes import request

ROOT = Path(__file__).parents[2]


class Proposals(BaseModel):
    labels: list[str]


def test_as_a_process(tmp_path: Path) -> None:
    """Started by command line it answers by rules, fails as told, and writes its ledger as it bills."""
    rules = [
        {"purpose": "Proposals", "match": "cats", "reply": {"labels": ["cats"]}},
        {"match": "free", "reply": "x"},
    ]
    (tmp_path / "rules").write_text("\n".join(json.dumps(rule) for rule in rules))
    (tmp_path / "acts").write_text(json.dumps([{"status": 503, "headers": {"retry-after-ms": "1"}}]))
    options = ["--rules", "rules", "--ledger", "ledger", "--acts", "acts", "--delay-s", "0.001"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.provider", "--port", "0"]
        + [str(tmp_path / one) if (tmp_path / one).exists() or one == "ledger" else one for one in options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        name = f"openai:m@{url}/v1"

        async def run() -> None:
            llm = open_llm(name)
            answer = await ask(llm, request("on cats", model=name), Proposals)
            assert answer.value == Proposals(labels=["cats"])
            assert answer.replies[0].attempts == 2
            assert (await llm.complete(request("free", model=name))).text == "x"
            await llm.close()

        asyncio.run(run())
        with urllib.request.urlopen(f"{url}/ledger") as response:
            ledger = json.load(response)
        assert [entry["asked"] for entry in ledger] == ["on cats", "free"]
        assert [json.loads(line) for line in (tmp_path / "ledger").read_text().splitlines()] == ledger
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
