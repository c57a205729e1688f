"""The texts that a feature's effects are measured on, as token ids of the subject, as they were harvested.

neutral texts   beginnings of contexts of the quiet pool, drawn by hash, the same ones for every feature
own contexts    contexts of the report split in which the feature fires
"""

from __future__ import annotations

from collections.abc import Sequence

from exegete.datastore.evidence import ReportEvidence
from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.hashing import digest64
from exegete.datastore.records import SPLITS, FeatureId, Plan, Split
from exegete.errors import SubjectError
from exegete.subjects.causal import Ids

OWN_TEXTS = 10
"""Contexts at most."""
OWN = Plan(top=0, per_decile=1, quiet=0, hard=0, window=None, unit="token")
"""Whole contexts, a sample of all in which the feature fires. The strongest are not added: random directions
could not be given any as strong, since they are read on far less text (`agent/output_ablation.py`)."""


def neutral_texts(file: EvidenceFile, split: Split, *, n: int, length: int, seed: int) -> list[Ids]:
    """Beginnings of contexts that were kept whatever fires in them.

    Text of the harvested corpus, and not sentences of ours: what is ordinary for the subject is what it was
    run on, and a model of source code moves on English prose in ways that say little of its features.

    Args:
        file: the harvest.
        split: whose part of the quiet pool.
        n: texts at most.
        length: tokens a text; shorter contexts are passed over.
        seed: draws them.

    Raises:
        SubjectError: the harvest has no quiet pool to draw from.
    """
    contexts = sorted(file.pool(split, "token").contexts, key=lambda c: digest64(seed, "neutral", c.id))
    long_enough = [context.id for context in contexts if context.n_tokens >= length]
    found: list[Ids] = [ids[:length] for ids in file.token_ids(long_enough[:n])]
    if not found:
        raise SubjectError(
            f"harvest {file.name} has no quiet contexts of {length} tokens in its {split} split, which "
            "neutral texts are taken from: harvest more text"
        )
    return found


def pool_contexts(file: EvidenceFile) -> list[Ids]:
    """All contexts of the quiet pool: a sample of the corpus, whatever fires in it."""
    return list(file.token_ids([c.id for split in SPLITS for c in file.pool(split, "token").contexts]))


def own_contexts(file: EvidenceFile, feature: FeatureId) -> list[Ids]:
    """Contexts of the report split in which a feature fired when it was harvested."""
    report = ReportEvidence(file).report(feature, OWN)
    return list(file.token_ids([excerpt.context.id for excerpt in report.activating]))


def in_rounds(texts: Sequence[tuple[str, ...]], size: int) -> list[tuple[tuple[str, ...], ...]]:
    """Texts dealt to rounds, each in one; what is left over is in none."""
    return [tuple(texts[at : at + size]) for at in range(0, len(texts) - size + 1, size)]
