"""Which features of a run are left to do: all without an outcome, and then those that failed."""

from __future__ import annotations

from exegete.datastore.evidence_file import EvidenceFile
from exegete.datastore.records import FeatureId
from exegete.datastore.store import Store
from exegete.datastore.workspace import parse_features
from exegete.errors import JobError


def features_wanted(evidence: EvidenceFile, features: str | None) -> list[FeatureId]:
    """The features a run is about.

    Args:
        evidence: the harvest.
        features: indices such as "0-511"; None takes all.

    Raises:
        JobError: the harvest does not have one of them.
    """
    if features is None:
        return list(evidence.features)
    indices = set(parse_features(features))
    beyond = indices - {f.index for f in evidence.features}
    if beyond:
        raise JobError(
            f"feature {min(beyond)} is not in harvest {evidence.name}: it has {evidence.range_in_words()}"
        )
    return [f for f in evidence.features if f.index in indices]


def features_left(store: Store | None, run: str, harvest: str, wanted: list[FeatureId]) -> list[FeatureId]:
    """Those a run has not finished: new ones first, and then those that failed, to be tried again.

    Failed ones come last, so that with a limit those that fail every time can't keep others from their turn.
    """
    if store is None:
        return wanted
    rows = store.read(
        "SELECT feature_index, polarity, status FROM store.outcomes WHERE run = ? AND harvest = ?",
        [run, harvest],
    )
    status = {(row["feature_index"], row["polarity"]): row["status"] for row in rows}
    left = [f for f in wanted if status.get((f.index, f.polarity), "failed") == "failed"]
    return sorted(left, key=lambda f: (f.index, f.polarity) in status)
