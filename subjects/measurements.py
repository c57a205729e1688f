"""Measurements of a subject, on disk, so that no text is run twice.

    WORKSPACE/measurements/SHA256.jsonl      one file a harvest, by the digest of its evidence; sealed lines

    {"index": 12, "polarity": "+", "unit": "word", "runs": [
        {"text": …, "words": […], "at": [2], "values": [3.0999999046325684]}, {"text": …, "why": …}]}

A device rounds as it likes, and so does the same one in another batch. What was measured first is what counts
from then on: a job that is resumed or made anew renders the same prompts to the byte, on any machine, without
the subject. `at` and `values` say where the feature fires and how strongly; float32 comes back bit by bit.

Several processes may write. One that finds a line without its end cuts it off: whoever was writing it is
dead, since the file is locked while it is written.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.records import FeatureId, Unit
from exegete.datastore.sealed import intact, seal
from exegete.errors import WorkspaceError
from exegete.subjects.bench import Measured, NotMeasured, NotRun

Found = Measured | NotRun
_Key = tuple[int, str, str]
"""A feature's index and polarity, and the unit."""

_HEAD = re.compile(rb'\{"index":(\d+),"polarity":"([+-])","unit":"([a-z]+)"')
_FEATURES_REMEMBERED = 256


class Measurements:
    """What was measured on one harvest's subject; any number of processes may have it open."""

    def __init__(self, folder: Path, evidence: EvidenceFile) -> None:
        """Open what there is; nothing is made before something is to be remembered.

        Args:
            folder: the workspace's folder of measurements.
            evidence: the harvest's evidence.

        Raises:
            WorkspaceError: it can't be read.
        """
        self.path = folder / f"{evidence.manifest.sha256}.jsonl"
        self._lines: dict[_Key, list[int]] = {}
        self._end = 0
        self._cache: OrderedDict[_Key, dict[str, Found]] = OrderedDict()
        self._mutex = threading.RLock()
        if self.path.exists():
            with self._opened(os.O_RDONLY) as file:
                self._catch_up(file)

    def known(self, feature: FeatureId, unit: Unit, texts: Sequence[str]) -> dict[str, Found]:
        """What was measured of some texts, by text; those that never were are not in it.

        Raises:
            WorkspaceError: it can't be read.
        """
        with self._mutex:
            key = (feature.index, feature.polarity, unit)
            if key not in self._lines:
                return {}
            if key not in self._cache:
                with self._opened(os.O_RDONLY) as file:
                    self._cache[key] = self._read(file, self._lines[key])
                if len(self._cache) > _FEATURES_REMEMBERED:
                    self._cache.popitem(last=False)
            self._cache.move_to_end(key)
            found = self._cache[key]
            return {text: found[text] for text in texts if text in found}

    def remember(self, feature: FeatureId, unit: Unit, found: Mapping[str, Found]) -> dict[str, Found]:
        """Write down what was measured, and wait until it is safe.

        Args:
            feature: what was measured.
            unit: what one position is.
            found: measurements by text.

        Returns:
            What counts from now on, by text: of texts that another process has measured meanwhile, that.

        Raises:
            WorkspaceError: it can't be written.
        """
        with self._mutex:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._opened(os.O_RDWR | os.O_CREAT) as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
                self._catch_up(file)
                before = self.known(feature, unit, list(found))
                new = {text: one for text, one in found.items() if text not in before}
                if new:
                    self._append(file, (feature.index, feature.polarity, unit), new)
            return before | new

    @contextmanager
    def _opened(self, flags: int) -> Iterator[int]:
        try:
            file = os.open(self.path, flags | os.O_CLOEXEC, 0o644)
            try:
                yield file
            finally:
                os.close(file)
        except OSError as error:
            raise WorkspaceError(
                f"{self.path} can't be read and written ({error.strerror}): make room, or give it back its "
                "rights, and run the command again; what was measured before is kept"
            ) from error

    def _catch_up(self, file: int) -> None:
        """Take note of whole lines that were written since the last look."""
        with open(file, "rb", closefd=False) as lines:
            lines.seek(self._end)
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                head = _HEAD.match(line)
                if head is not None and intact(line):
                    key = (int(head[1]), head[2].decode(), head[3].decode())
                    self._lines.setdefault(key, []).append(self._end)
                    self._cache.pop(key, None)
                self._end += len(line)

    def _append(self, file: int, key: _Key, new: Mapping[str, Found]) -> None:
        index, polarity, unit = key
        runs = [_run_of(text, one) for text, one in new.items()]
        body = {"index": index, "polarity": polarity, "unit": unit, "runs": runs}
        line = seal(json.dumps(body, separators=(",", ":")).encode("ascii"))
        os.ftruncate(file, self._end)
        try:
            written = 0
            while written < len(line):
                written += os.pwrite(file, line[written:], self._end + written)
            os.fsync(file)
        except OSError:
            os.ftruncate(file, self._end)
            raise
        self._lines.setdefault(key, []).append(self._end)
        self._cache.pop(key, None)
        self._end += len(line)

    def _read(self, file: int, starts: Sequence[int]) -> dict[str, Found]:
        found: dict[str, Found] = {}
        with open(file, "rb", closefd=False) as lines:
            for start in starts:
                lines.seek(start)
                for run in json.loads(lines.readline())["runs"]:
                    found.setdefault(run["text"], _found_in(run))
        return found


class RememberedOnly:
    """A bench without a subject: it knows what was measured, and nothing else."""

    def __init__(self, evidence: EvidenceFile, remembered: Path) -> None:
        """Open a harvest's measurements.

        Args:
            evidence: the harvest's evidence.
            remembered: the workspace's folder of measurements.

        Raises:
            WorkspaceError: they can't be read.
        """
        self._evidence, self._measurements = evidence, Measurements(remembered, evidence)

    async def measure(
        self, feature: FeatureId, texts: Sequence[str], unit: Unit = "word"
    ) -> list[Measured | NotRun]:
        """What was measured; see `Bench.measure`.

        Raises:
            NotMeasured: one of the texts never was.
        """
        found = self._measurements.known(feature, unit, texts)
        missing = sum(text not in found for text in texts)
        if missing:
            raise NotMeasured(
                f"{missing} of {len(texts)} texts were never run for feature {feature} of "
                f"{self._evidence.name}, and its subject is not loaded: label it again"
            )
        return [found[text] for text in texts]

    def threshold(self, feature: FeatureId) -> float:
        """The activation above which a feature counts as firing, raw units."""
        return self._evidence.summary(feature).threshold


def _run_of(text: str, one: Found) -> dict[str, object]:
    if isinstance(one, NotRun):
        return {"text": text, "why": one.why}
    at = np.flatnonzero(one.activations)
    return {
        "text": text,
        "words": list(one.words),
        "at": at.tolist(),
        "values": one.activations[at].tolist(),  # a float32 is a float exactly
    }


def _found_in(run: Mapping[str, Any]) -> Found:
    if "why" in run:
        return NotRun(str(run["why"]))
    activations = np.zeros(len(run["words"]), dtype=np.float32)
    activations[run["at"]] = run["values"]
    return Measured(tuple(run["words"]), activations)
