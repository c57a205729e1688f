"""From a corpus to batches of contexts, in an order that shards and checkpoints can count on.

Consecutive documents form a *block* of about eight batches of text. A batch never spans two blocks, so a
block's batches, and with them the activations to the last bit, are the same whether the corpus is read in
one go, in shards (the i-th of N reads every N-th block), or from a checkpoint, which lies between two blocks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from exegete.datastore.hashing import digest64
from exegete.datastore.kept import KeptContext
from exegete.datastore.records import SPLITS
from exegete.datastore.splits import split_of
from exegete.datastore.words import unit_starts
from exegete.subjects.corpora import Corpus
from exegete.subjects.spec import WHOLE, HarvestSpec, Shard
from exegete.subjects.subject import Subject, Tokens
from exegete.subjects.text_files import Document

BLOCK = 32
"""Characters of a block for every token of a batch: about eight batches of four characters a token."""

Batch = tuple[KeptContext, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A place between two blocks of a corpus."""

    block: int = 0
    """Blocks that lie before it, other shards' too."""
    tokens: int = 0
    """Tokens before it, other shards' too; counted only where a budget of tokens is to be kept."""
    share: float | None = None
    """Share of the corpus that lies before it, as far as is known."""


BEGINNING = Place()


def batches(
    subject: Subject,
    corpus: Corpus,
    spec: HarvestSpec,
    shard: Shard = WHOLE,
    start: Place = BEGINNING,
) -> Iterator[Batch | Place]:
    """Read a corpus, or a shard of it, from a place on.

    Args:
        subject: whose tokens are cut into contexts.
        corpus: the text.
        spec: how long contexts and batches are, and the budget of tokens, which is the whole corpus's.
        shard: which blocks are wanted.
        start: where to begin; as an earlier reading of the same corpus gave it.

    Yields:
        Batches of contexts in corpus order, and after every wanted block the place that is reached.
    """
    spent = start.tokens
    budget = spec.tokens if spec.tokens is not None else 1 << 62
    size = BLOCK * spec.batch * spec.context
    for number, documents in enumerate(_blocks(corpus, size)):
        mine = number % shard.of == shard.number
        # Where a budget ends can be known only by tokenising what the other shards read, too.
        if number < start.block or not (mine or spec.tokens is not None):
            continue
        pieces = (piece for document in documents for piece in cut(subject, document, spec))
        if not mine:
            for piece in pieces:
                if spent >= budget:
                    return
                spent += piece.end - piece.start
            continue
        found: list[KeptContext] = []
        for piece in pieces:
            if spent >= budget:
                if found:
                    yield tuple(found)
                return
            spent += piece.end - piece.start
            found.append(piece.context(spec.seed))
            if len(found) == spec.batch:
                yield tuple(found)
                found = []
        if found:
            yield tuple(found)
        yield Place(number + 1, spent, documents[-1].share)


@dataclass(frozen=True, slots=True)
class Piece:
    """Where a context lies in its document."""

    document: str
    tokens: Tokens
    start: int
    end: int

    def context(self, seed: int) -> KeptContext:
        """The context itself."""
        split = SPLITS.index(split_of(self.document, seed))
        ids = self.tokens.ids[self.start : self.end].copy()  # a view would keep the whole document alive
        text = "\x1f".join(piece.replace("\x1f", " ") for piece in self.tokens.display[self.start : self.end])
        return KeptContext(digest64(ids.tobytes()), split, self.document, self.start, ids, text)


def cut(subject: Subject, document: Document, spec: HarvestSpec) -> Iterator[Piece]:
    """Cut a document into contexts.

    A context ends where a word ends, so that no half word is ever shown; only a word longer than a context
    is cut. The last context of a document is kept when it fills at least a quarter; shorter ones are dropped.
    """
    length = spec.context - subject.n_special
    tokens = subject.tokenise(document.text)
    for start, end in windows(unit_starts(tokens.display, "word").tolist(), len(tokens.ids), length):
        if (end - start) * 4 >= length:
            yield Piece(document.name, tokens, start, end)


def windows(starts: Sequence[int], n_tokens: int, length: int) -> Iterator[tuple[int, int]]:
    """Consecutive windows of at most `length` tokens that begin and end between words.

    Args:
        starts: positions at which words start, increasing.
        n_tokens: tokens of the document.
        length: tokens a window may have.

    Yields:
        (start, end) of each window; together they are the document.
    """
    start = 0
    while start < n_tokens:
        end = start + length
        if end < n_tokens:
            word = starts[bisect_right(starts, end) - 1]
            end = word if word > start else end
        yield start, min(end, n_tokens)
        start = end


def _blocks(corpus: Corpus, size: int) -> Iterator[list[Document]]:
    """Consecutive documents, as few as hold `size` characters; the last block may hold fewer."""
    block, n = list[Document](), 0
    for document in corpus.documents():
        block.append(document)
        n += len(document.text)
        if n >= size:
            yield block
            block, n = [], 0
    if block:
        yield block
