"""Which split a document belongs to: explain, refine or report.

A document is dealt to one split by a hash of its name, so that no two excerpts of one document are ever on
different sides, whatever order the corpus arrives in.
"""

from __future__ import annotations

from exegete.datastore.hashing import digest64
from exegete.datastore.records import SPLITS, Split

SHARES: tuple[float, float, float] = (0.50, 0.25, 0.25)
"""Expected share of documents in explain, refine and report."""


def split_of(document: str, seed: int, shares: tuple[float, float, float] = SHARES) -> Split:
    """The split of a document.

    Args:
        document: the document's name, unique in its corpus.
        seed: the harvest's seed; another seed deals the documents anew.
        shares: expected share of documents in each of SPLITS; they sum to 1.

    Returns:
        The split, the same on every call.
    """
    u = digest64("split", seed, document) / 2**63
    edge = 0.0
    for split, share in zip(SPLITS, shares, strict=True):
        edge += share
        if u < edge:
            return split
    return SPLITS[-1]
