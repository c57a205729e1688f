-- What is needed to believe a score: why a person should look, whether the judge is independent of the explainer,
-- labels with several senses, scores of labels that are not the feature's, planted features, and confidence maps.
ALTER TABLE store.outcomes ADD COLUMN reasons VARCHAR[];
ALTER TABLE store.outcomes ADD COLUMN senses VARCHAR[];
ALTER TABLE store.outcomes ADD COLUMN independence VARCHAR;
ALTER TABLE store.labels ADD COLUMN senses VARCHAR[];

-- Confidence mapped to what controls or reviews showed, once there are any; written anew with the q-values.
ALTER TABLE store.q_values ADD COLUMN confidence DOUBLE;
-- Other features of the run whose label says the same.
ALTER TABLE store.q_values ADD COLUMN twins INTEGER;

-- 'harvest', or 'controls' for planted features, which the views of labels leave out.
ALTER TABLE store.harvests ADD COLUMN kind VARCHAR DEFAULT 'harvest';

-- One row a feature, kind of null ('another feature', 'empty', 'lexical') and scorer, on the report split. `status`
-- is the verdict a job would have given; of the primary scorer's row alone.
CREATE TABLE store.nulls (
    run VARCHAR NOT NULL, harvest VARCHAR NOT NULL, feature_index INTEGER NOT NULL, polarity VARCHAR NOT NULL,
    kind VARCHAR NOT NULL, text VARCHAR NOT NULL, of_index INTEGER, of_polarity VARCHAR,
    scorer VARCHAR NOT NULL, value DOUBLE, low DOUBLE, high DOUBLE, p_value DOUBLE,
    n_asked INTEGER NOT NULL, n_read INTEGER NOT NULL, why_none VARCHAR, status VARCHAR,
    made_at TIMESTAMP NOT NULL
);

-- How many nulls a run is to have, once all its features have outcomes; written anew when that changes.
CREATE TABLE store.null_plans (run VARCHAR NOT NULL, wanted INTEGER NOT NULL);

-- The truth behind planted features.
CREATE TABLE store.controls (
    harvest VARCHAR NOT NULL, feature_index INTEGER NOT NULL, polarity VARCHAR NOT NULL,
    kind VARCHAR NOT NULL, truth VARCHAR, positive BOOLEAN NOT NULL
);

-- Whether a run's label of a planted feature says what was planted (of a negative one none does), accepted or
-- not. Confidence is mapped by it, once it is known (agent/confidence.py).
CREATE TABLE store.checked (
    run VARCHAR NOT NULL, harvest VARCHAR NOT NULL, feature_index INTEGER NOT NULL, polarity VARCHAR NOT NULL,
    is_right BOOLEAN NOT NULL
);

-- Isotonic maps from the share of replicates above the threshold to how often labels turned out right.
CREATE TABLE store.calibrations (
    run VARCHAR NOT NULL, source VARCHAR NOT NULL, shares DOUBLE[] NOT NULL, rates DOUBLE[] NOT NULL,
    n INTEGER NOT NULL, ece DOUBLE, details JSON, made_at TIMESTAMP NOT NULL
);
