"""The text that features are planted on: a corpus, or the quiet pool of a harvest.

A corpus is cut as a harvest cuts it, with the tokenizer of the embedded model where that is installed, so
that a real model can be read on it too; otherwise into words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.hashing import digest64
from exegete.datastore.kept import KeptContext
from exegete.datastore.records import SPLITS
from exegete.datastore.splits import split_of
from exegete.subjects import minilm
from exegete.subjects.corpora import Corpus

if TYPE_CHECKING:
    from exegete.subjects.huggingface import HuggingFaceSubject

TOKENS = 250_000
"""Read of a corpus at most."""
CONTEXT_WORDS = 96
"""Words of a context, where there is no tokenizer."""


@dataclass(frozen=True, slots=True)
class Text:
    """Contexts dealt to splits, each once."""

    contexts: tuple[KeptContext, ...]
    source: str
    """The corpus, or the harvest."""
    digest: str
    """Changes when the contexts do."""
    cut_by: str
    """The tokenizer, or "words"."""
    subject: HuggingFaceSubject | None
    """The model whose token ids the contexts have."""


def corpus_text(corpus: Corpus, seed: int) -> Text:
    """The first quarter of a million tokens of a corpus.

    Raises:
        CorpusError: it can't be read.
    """
    if minilm.wheel_folder() is None:
        return _text(_in_words(corpus, seed), corpus.name, "words", None)
    from exegete.subjects.huggingface import open_subject
    from exegete.subjects.reading import batches
    from exegete.subjects.spec import HarvestSpec

    subject = open_subject(minilm.ALIASES[0])
    spec = HarvestSpec("", tokens=TOKENS, seed=seed)
    read = batches(subject, corpus, spec)
    contexts = [context for batch in read if isinstance(batch, tuple) for context in batch]
    return _text(contexts, corpus.name, subject.name, subject)


def pool_text(file: EvidenceFile) -> Text:
    """The quiet pool of a harvest, in the harvest's own splits."""
    contexts = [
        KeptContext(c.id, i, c.document, 0, np.zeros(c.n_tokens, dtype=np.int32), "\x1f".join(c.units))
        for i, split in enumerate(SPLITS)
        for c in file.pool(split, "token").contexts
    ]
    return _text(contexts, file.name, str(file.parameters["subject"]), None)


def _text(contexts: list[KeptContext], source: str, cut_by: str, subject: HuggingFaceSubject | None) -> Text:
    # Of contexts that are the same to the last token, the first split's: as a harvest keeps them.
    once = {c.id: c for c in sorted(contexts, key=lambda c: (c.split, c.document, c.start), reverse=True)}
    kept = tuple(sorted(once.values(), key=lambda c: (c.document, c.start, c.id)))
    digest = digest64(*(f"{c.id} {c.split}" for c in kept))
    return Text(kept, source, f"{digest:016x}", cut_by, subject)


def _in_words(corpus: Corpus, seed: int) -> list[KeptContext]:
    """Windows of words and marks, each with its leading space."""
    found: list[KeptContext] = []
    n_words = 0
    for document in corpus.documents():
        words = in_words(document.text)
        for start in range(0, len(words), CONTEXT_WORDS):
            some = words[start : start + CONTEXT_WORDS]
            if len(some) * 4 >= CONTEXT_WORDS and n_words < TOKENS:
                n_words += len(some)
                text = "\x1f".join(some)
                split = SPLITS.index(split_of(document.name, seed))
                ids = np.zeros(len(some), dtype=np.int32)
                found.append(KeptContext(digest64(text), split, document.name, start, ids, text))
    return found


def in_words(text: str) -> list[str]:
    """Words and marks of a text, each with its leading space."""
    return [(" " if m[1] else "") + m[2] for m in re.finditer(r"(\s*)(\w+|[^\w\s])", text)]
