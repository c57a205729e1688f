"""What answers a run that is worked out again: models from the journal, the subject from its measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from exegete.agent.tags import Tags
from exegete.agent.tally import Tallied
from exegete.datastore.records import FeatureId, Unit
from exegete.errors import LLMStop
from exegete.llm import LLM, Journal, Reply, Request, parse
from exegete.llm.meter import Metered
from exegete.llm.record import reply_in
from exegete.subjects.bench import Bench, Measured, NotMeasured, NotRun


class NotJournalled(LLMStop):
    """A call whose reply is not in the journal."""


class Remembers:
    """An LLM that answers from a journal and never otherwise."""

    def __init__(self, journal: Journal) -> None:
        """Ask nobody but this journal; whoever opened it closes it."""
        self._journal = journal
        self.last: dict[str, datetime] = {}
        """When the last reply to each feature came in; UTC, without a zone."""

    async def complete(self, request: Request) -> Reply:
        """Look a reply up.

        Raises:
            NotJournalled: there is none.
        """
        record = self._journal.record(request.key)
        if record is None:
            raise NotJournalled(f"a call to {request.model} is not in the journal")
        at, feature = _utc(record["at"]), request.tags.get("feature", "")
        self.last[feature] = max(at, self.last.get(feature, at))
        return reply_in(record)

    async def close(self) -> None:
        """Nothing is held open."""


@dataclass(frozen=True, slots=True)
class RememberedBench:
    """A bench that knows what was measured; what never was counts like a call that was never made."""

    inner: Bench

    async def measure(
        self, feature: FeatureId, texts: Sequence[str], unit: Unit = "word"
    ) -> list[Measured | NotRun]:
        """Look measurements up; see `Bench.measure`.

        Raises:
            NotJournalled: a text was never run.
        """
        try:
            return await self.inner.measure(feature, texts, unit)
        except NotMeasured as error:
            raise NotJournalled(str(error)) from error

    def threshold(self, feature: FeatureId) -> float:
        """The activation above which a feature counts as firing, raw units."""
        return self.inner.threshold(feature)


class RememberedModels:
    """Models by any name, all of them answered from one journal; no key is needed and nothing is loaded."""

    def __init__(self, journal: Journal) -> None:
        """Answer from a journal."""
        self.llm = Remembers(journal)

    def open(self, spec: str | None) -> tuple[LLM | None, str | None]:
        """A model by name and its canonical name; (None, None) for None.

        Raises:
            UsageError: the name is none.
        """
        return (None, None) if spec is None else (Tallied(Metered(self.llm, Tags())), str(parse(spec)))


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)
