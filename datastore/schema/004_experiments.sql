-- What was tried on the subject itself: tests of labels, what features do, and what was decided on which number.

-- One row a test: a text with its prediction, written before it was run, and what the subject did.
CREATE TABLE store.experiments (
    run VARCHAR NOT NULL, harvest VARCHAR NOT NULL, feature_index INTEGER NOT NULL, polarity VARCHAR NOT NULL,
    label_id VARCHAR NOT NULL, label VARCHAR NOT NULL, round INTEGER NOT NULL, number INTEGER NOT NULL,
    kind VARCHAR NOT NULL, text VARCHAR NOT NULL, pair INTEGER, predicted VARCHAR NOT NULL,
    measured DOUBLE, threshold DOUBLE, words VARCHAR[], activations FLOAT[],
    verdict VARCHAR NOT NULL, why VARCHAR, made_at TIMESTAMP NOT NULL
);

-- One row a decision of the loop, in order.
CREATE TABLE store.decisions (
    run VARCHAR NOT NULL, harvest VARCHAR NOT NULL, feature_index INTEGER NOT NULL, polarity VARCHAR NOT NULL,
    number INTEGER NOT NULL, step VARCHAR NOT NULL, action VARCHAR NOT NULL, why VARCHAR NOT NULL,
    quantity VARCHAR, value DOUBLE, bar DOUBLE, made_at TIMESTAMP NOT NULL
);

-- What a feature writes: tokens by the logit lens, and by the change that clamping it makes.
CREATE TABLE store.outputs (
    harvest VARCHAR NOT NULL, feature_index INTEGER NOT NULL, polarity VARCHAR NOT NULL, kind VARCHAR NOT NULL,
    top_tokens VARCHAR[] NOT NULL, top_values FLOAT[] NOT NULL,
    bottom_tokens VARCHAR[] NOT NULL, bottom_values FLOAT[] NOT NULL,
    subject VARCHAR NOT NULL, details JSON, made_at TIMESTAMP NOT NULL
);

-- A label is of what makes a feature fire ('input') or of what it does ('output').
ALTER TABLE store.labels ADD COLUMN side VARCHAR DEFAULT 'input';

-- Repeated in a feature's outcome, as its primary score is: the other levels of evidence.
ALTER TABLE store.outcomes ADD COLUMN output_label VARCHAR;
ALTER TABLE store.outcomes ADD COLUMN tests INTEGER;
ALTER TABLE store.outcomes ADD COLUMN tests_held INTEGER;
ALTER TABLE store.outcomes ADD COLUMN generation DOUBLE;
ALTER TABLE store.outcomes ADD COLUMN generation_low DOUBLE;
ALTER TABLE store.outcomes ADD COLUMN generation_high DOUBLE;
ALTER TABLE store.outcomes ADD COLUMN ablation DOUBLE;
ALTER TABLE store.outcomes ADD COLUMN ablation_p DOUBLE;
ALTER TABLE store.outcomes ADD COLUMN steering DOUBLE;
ALTER TABLE store.outcomes ADD COLUMN steering_p DOUBLE;
ALTER TABLE store.outcomes ADD COLUMN tokens_spent BIGINT;
