"""Labels that came with imported evidence: what others said of a feature, beside what it does.

They stand in the feature's metadata, inside the evidence file and under its digest, so that a run that
scores them says exactly which ones it scored:

    {"labels": [{"text": "words of degree", "author": "neuronpedia:oai_token-act-pair/gpt-4o-mini"}], …}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.records import FeatureId

KEY = "labels"


@dataclass(frozen=True, slots=True)
class ImportedLabel:
    """A label that somebody else wrote."""

    text: str
    """As it was found: it may be of any length, and say anything."""
    author: str


def to_metadata(labels: Sequence[ImportedLabel]) -> list[dict[str, str]]:
    """As JSON values, for a feature's metadata."""
    return [asdict(label) for label in labels]


def from_metadata(metadata: Mapping[str, Any]) -> tuple[ImportedLabel, ...]:
    """The labels in a feature's metadata, in the order of the import; none where there are none.

    Metadata is whatever an import had, so what only looks like labels is passed over.
    """
    found = metadata.get(KEY)
    entries = found if isinstance(found, list) else []
    return tuple(
        ImportedLabel(entry["text"], entry["author"])
        for entry in entries
        if isinstance(entry, dict)
        and isinstance(entry.get("text"), str)
        and isinstance(entry.get("author"), str)
    )


def imported_labels(evidence: EvidenceFile, feature: FeatureId) -> tuple[ImportedLabel, ...]:
    """The labels that came with a feature.

    Raises:
        SubjectError: the harvest has no such feature.
    """
    return from_metadata(evidence.summary(feature).metadata)
