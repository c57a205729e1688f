"""The subject of a harvest, loaded again, so that texts that nobody harvested can be run on it.

What a text gives is what a harvest of it would keep: the same tokens, special tokens left out, the same
precision, the dictionary's features, zero at or below the firing threshold of the evidence file, units pooled
by maximum. A text is a context of its own, from its first token.

The subject has to be the harvest's own. Its name holds a digest of its weights, the dictionary's likewise,
and both are compared before anything is run.

Texts asked for together are run together, the shortest first, and what several cases ask for at the same time
stands in a queue before one thread: a batch is made of one question alone, so that its last bits are the same
whatever else the job is doing (docs/decisions/020-measurements.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.records import FeatureId, Floats, Unit
from exegete.datastore.words import join_units, pool, unit_starts
from exegete.errors import SubjectError
from exegete.subjects.bench import Bench, Measured, NotMeasured, NotRun
from exegete.subjects.edits import Feature
from exegete.subjects.measurements import Measurements, RememberedOnly
from exegete.subjects.subject import Tokens

if TYPE_CHECKING:
    from exegete.subjects.causal import CausalSubject
    from exegete.subjects.dictionaries import Dictionary
    from exegete.subjects.huggingface import HuggingFaceSubject

__all__ = ["Bench", "Laboratory", "Measured", "NotMeasured", "NotRun", "RememberedOnly"]

T = TypeVar("T")


class Laboratory:
    """The subject of one harvest, and its dictionary. Use `open`; close it when done.

    Attributes:
        reader: the subject.
        dictionary: whose features the harvest has.
    """

    def __init__(
        self,
        file: EvidenceFile,
        reader: HuggingFaceSubject,
        dictionary: Dictionary,
        measurements: Measurements | None,
        opened: tuple[str, str | None],
    ) -> None:
        """Put the parts together.

        Args:
            file: the harvest's evidence.
            reader: its subject.
            dictionary: its dictionary.
            measurements: what was measured before, to which new ones are added; None forgets them.
            opened: where the subject was found and the device that was asked for.
        """
        self._file, self.reader, self.dictionary = file, reader, dictionary
        self._measurements, self._opened = measurements, opened
        self._causal: CausalSubject | None = None
        self._site: str = file.parameters["site"]
        self._longest = int(file.parameters["context"]) - reader.n_special
        self._batch = int(file.parameters["batch"])
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="subject")

    @classmethod
    def open(
        cls,
        file: EvidenceFile,
        subject: str | None = None,
        device: str | None = None,
        remembered: Path | None = None,
    ) -> Laboratory:
        """Load a harvest's subject and dictionary.

        Args:
            file: the harvest's evidence.
            subject: where the subject is now; None: where the harvest found it.
            device: where it runs; None takes a GPU where there is one.
            remembered: the workspace's folder of measurements; None keeps none.

        Raises:
            SubjectError: the evidence is of no subject that could be run; nothing says where it is; it has
                moved, or has other weights now; its site or its dictionary is not there or is another one.
            WorkspaceError: the measurements can't be read.
        """
        from exegete.subjects.huggingface import open_subject

        p = file.parameters
        _refuse_what_has_no_subject(file)
        spec = subject or _recorded(file, "subject")
        reader = _explained(
            lambda: open_subject(spec, device, p.get("dtype"), _bos_of(p["subject"])),
            f"the subject of harvest {file.name} can't be loaded again",
            "" if subject else f"; if it is elsewhere now, pass --subject (it was at {spec})",
        )
        if not _same(reader.name, p["subject"]):
            raise SubjectError(
                f"{spec} is {reader.name} and harvest {file.name} is of {p['subject']}: pass that model as "
                "--subject, or harvest this one"
            )
        dictionary = _explained(
            lambda: _open_dictionary(file, reader),
            f"the site or dictionary of harvest {file.name} can't be read again",
        )
        measurements = None if remembered is None else Measurements(remembered, file)
        return cls(file, reader, dictionary, measurements, (spec, device))

    @property
    def name(self) -> str:
        """The subject's in the harvest, with the revision or digest of its weights."""
        return str(self._file.parameters["subject"])

    @property
    def is_causal(self) -> bool:
        """Whether the subject predicts next tokens, so that its features have an output side."""
        from exegete.subjects.causal import predicts_next

        return predicts_next(self.reader.config)

    def threshold(self, feature: FeatureId) -> float:
        """The activation above which a feature counts as firing; see `Bench.threshold`."""
        return self._file.summary(feature).threshold

    def feature(self, feature: FeatureId) -> Feature:
        """A feature as it can be edited.

        Raises:
            SubjectError: the harvest has no such feature.
        """
        sign = -1 if feature.polarity == "-" else 1
        return Feature(self.dictionary, feature.index, self._site, sign, self.threshold(feature))

    def causal(self) -> CausalSubject:
        """The subject with its language-model head, loaded when it is first asked for.

        Raises:
            SubjectError: the subject is an encoder, or can't be loaded any more.
        """
        from exegete.subjects.causal import open_causal

        if self._causal is None:
            spec, device = self._opened
            p = self._file.parameters
            causal = open_causal(spec, device, p.get("dtype"), _bos_of(p["subject"]))
            if not _same(causal.name, self.name):
                raise SubjectError(
                    f"{spec} was {self.name} and is {causal.name} now: leave it alone, and run again"
                )
            # The trunk is in it: one copy of the weights is enough.
            self._causal, self.reader = causal, causal.reader
        return self._causal

    async def measure(
        self, feature: FeatureId, texts: Sequence[str], unit: Unit = "word"
    ) -> list[Measured | NotRun]:
        """A feature's activations on some texts; see `Bench.measure`."""
        return await self.in_turn(lambda: self._measure(feature, texts, unit))

    async def in_turn(self, work: Callable[[], T]) -> T:
        """Do something with the subject when nobody else does, without holding up the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def close(self) -> None:
        """Wait for what is being run, and let go of the subject."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _measure(self, feature: FeatureId, texts: Sequence[str], unit: Unit) -> list[Measured | NotRun]:
        known: dict[str, Measured | NotRun] = {}
        if self._measurements is not None:
            known = self._measurements.known(feature, unit, texts)
        wanted = [text for text in dict.fromkeys(texts) if text not in known]
        if wanted:
            found = self._run(self.feature(feature), wanted, unit)
            if self._measurements is not None:
                found = self._measurements.remember(feature, unit, found)
            known |= found
        return [known[text] for text in texts]

    def _run(self, feature: Feature, texts: Sequence[str], unit: Unit) -> dict[str, Measured | NotRun]:
        found: dict[str, Measured | NotRun] = {}
        tokens: dict[str, Tokens] = {}
        for text in texts:
            own = self._tokenised(text)
            if isinstance(own, NotRun):
                found[text] = own
            else:
                tokens[text] = own
        # Texts of like length in one batch, so that little of it is padding.
        order = sorted(tokens, key=lambda text: len(tokens[text].ids))
        for start in range(0, len(order), self._batch):
            some = order[start : start + self._batch]
            acts_BTD = self.reader.activations(self._site, [tokens[text].ids for text in some])
            acts_BT = feature.activations(acts_BTD).cpu().numpy()
            for text, acts_T in zip(some, acts_BT, strict=True):
                found[text] = _measured(tokens[text], acts_T, feature.threshold, unit)
        return found

    def _tokenised(self, text: str) -> Tokens | NotRun:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            return NotRun("it holds half of a character, which no tokenizer takes")
        tokens = self.reader.tokenise(text)
        if not len(tokens.ids):
            return NotRun("it has no tokens")
        if len(tokens.ids) > self._longest:
            return NotRun(f"it has {len(tokens.ids)} tokens and a context has at most {self._longest}")
        return tokens


def _measured(tokens: Tokens, acts: Floats, threshold: float, unit: Unit) -> Measured | NotRun:
    own = acts[: len(tokens.ids)]
    if not np.isfinite(own).all():
        return NotRun("its activations are not finite")
    fired = np.where(own > np.float32(threshold), own, np.float32(0))
    starts = unit_starts(tokens.display, unit)
    return Measured(join_units(tokens.display, starts), pool(fired, starts))


def _refuse_what_has_no_subject(file: EvidenceFile) -> None:
    """Refuse evidence that did not come from running a model on text."""
    p = file.parameters
    what = None
    if p["kind"] == "import":
        what = "was imported, and its model was never here: harvest it to run texts on it"
    elif p["kind"] != "harvest":
        what = "is of planted features, which no model has"
    elif p.get("shuffle"):
        what = "holds activations dealt to other contexts, which no model gives: harvest without shuffling"
    if what is not None:
        raise SubjectError(f"nothing can be run for {file.name}: it {what}")


def _recorded(file: EvidenceFile, what: str) -> str:
    """Where a harvest found its subject or its dictionary."""
    found = (file.manifest.source or {}).get(what)
    if found is None:
        how = "pass it as --subject, or " if what == "subject" else ""
        raise SubjectError(
            f"nothing says where the {what} of harvest {file.name} is: {how}run its `exegete harvest` again, "
            "which makes a note of that"
        )
    return found


def _open_dictionary(file: EvidenceFile, reader: HuggingFaceSubject) -> Dictionary:
    from exegete.subjects.dictionaries import open_dictionary

    site, name = file.parameters["site"], file.parameters["dictionary"]
    spec = name if name == "neurons" else _recorded(file, "dictionary")
    dictionary = open_dictionary(spec, reader.width(site))
    if not _same(dictionary.name, name):
        raise SubjectError(
            f"{spec} is {dictionary.name} now and was {name}: put that one back, or harvest again"
        )
    beyond = max(feature.index for feature in file.features)
    if beyond >= dictionary.n_features:
        raise SubjectError(
            f"{site} has {dictionary.n_features} features and the harvest has feature {beyond}: harvest again"
        )
    return dictionary


def _same(found: str, wanted: str) -> bool:
    """Whether two names are of the same weights: a folder may have been renamed, its digest stays."""
    return found == wanted or ("@" in wanted and found.rpartition("@")[2] == wanted.rpartition("@")[2])


def _bos_of(name: str) -> bool | None:
    """Whether a subject of this name has a BOS token added to a text, or left out; None: neither."""
    return True if name.endswith("+bos") else False if name.endswith("-bos") else None


def _explained(open_it: Callable[[], T], what: str, more: str = "") -> T:
    """Open something; if it isn't to be had, say of which harvest it is."""
    try:
        return open_it()
    except SubjectError as error:
        raise SubjectError(f"{what}: {error}{more}") from error
