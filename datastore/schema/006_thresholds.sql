-- Thresholds that a person set after a run, and the verdicts that another threshold changes: the latest one's, worked
-- out from stored scores (agent/rethreshold.py) and written anew with each.
CREATE TABLE store.thresholds (
    run VARCHAR NOT NULL, threshold DOUBLE NOT NULL, reviewer VARCHAR NOT NULL, version VARCHAR NOT NULL,
    made_at TIMESTAMP NOT NULL
);
CREATE TABLE store.reverdicts (
    run VARCHAR NOT NULL, harvest VARCHAR NOT NULL, feature_index INTEGER NOT NULL, polarity VARCHAR NOT NULL,
    status VARCHAR NOT NULL, why VARCHAR NOT NULL, reasons VARCHAR[]
);
