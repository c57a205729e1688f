-- All that changes in a workspace. Rows are inserted and not updated: what was believed, and when, stays.
-- Nobody but the views is to be queried by people; these tables may change with any version.
CREATE SCHEMA store;

CREATE TABLE store.harvests (
    harvest VARCHAR NOT NULL, subject VARCHAR NOT NULL, site VARCHAR NOT NULL, layer INTEGER,
    dictionary VARCHAR NOT NULL, corpus VARCHAR, tokens BIGINT NOT NULL, sha256 VARCHAR NOT NULL,
    parameters JSON NOT NULL
);

-- A copy of the evidence file's summary, so that the views stand on this file alone.
CREATE TABLE store.features (
    harvest VARCHAR NOT NULL, feature_index INTEGER NOT NULL, polarity VARCHAR NOT NULL,
    density DOUBLE NOT NULL, fired BIGINT NOT NULL, maximum FLOAT NOT NULL, threshold FLOAT NOT NULL,
    metadata JSON
);

CREATE TABLE store.runs (
    run VARCHAR NOT NULL, kind VARCHAR NOT NULL, harvest VARCHAR NOT NULL, digest VARCHAR NOT NULL,
    parameters JSON NOT NULL, version VARCHAR NOT NULL, made_at TIMESTAMP NOT NULL
);

CREATE TABLE store.labels (
    run VARCHAR NOT NULL, label_id VARCHAR NOT NULL, harvest VARCHAR NOT NULL,
    feature_index INTEGER NOT NULL, polarity VARCHAR NOT NULL,
    round INTEGER NOT NULL, text VARCHAR NOT NULL, author VARCHAR NOT NULL, made_at TIMESTAMP NOT NULL
);

CREATE TABLE store.scores (
    run VARCHAR NOT NULL, label_id VARCHAR NOT NULL, scorer VARCHAR NOT NULL, split VARCHAR NOT NULL,
    value DOUBLE, low DOUBLE, high DOUBLE, chance DOUBLE, p_value DOUBLE,
    n_asked INTEGER NOT NULL, n_read INTEGER NOT NULL, why_none VARCHAR, details JSON, made_at TIMESTAMP NOT NULL
);

-- One row a feature a run finished: the presence of a row is what "done" means. The primary score and the
-- feature's density are repeated here: with a million features, each join they save is half a second.
CREATE TABLE store.outcomes (
    run VARCHAR NOT NULL, harvest VARCHAR NOT NULL, feature_index INTEGER NOT NULL, polarity VARCHAR NOT NULL,
    status VARCHAR NOT NULL, label_id VARCHAR, label VARCHAR, author VARCHAR, confidence DOUBLE,
    why VARCHAR NOT NULL, rounds INTEGER NOT NULL, candidates INTEGER NOT NULL,
    scorer VARCHAR, score DOUBLE, low DOUBLE, high DOUBLE, chance DOUBLE, p_value DOUBLE,
    refine_score DOUBLE, density DOUBLE NOT NULL, maximum FLOAT NOT NULL, made_at TIMESTAMP NOT NULL
);

-- Written anew at the end of each sitting of a run: q-values are a property of all features attempted.
CREATE TABLE store.q_values (
    run VARCHAR NOT NULL, scorer VARCHAR NOT NULL, feature_index INTEGER NOT NULL, polarity VARCHAR NOT NULL,
    q_value DOUBLE NOT NULL
);

CREATE TABLE store.examples (
    harvest VARCHAR NOT NULL, feature_index INTEGER NOT NULL, polarity VARCHAR NOT NULL,
    rank INTEGER NOT NULL, stratum VARCHAR NOT NULL, peak FLOAT NOT NULL, weight DOUBLE NOT NULL,
    document VARCHAR NOT NULL, context_id BIGINT NOT NULL, start INTEGER NOT NULL,
    text VARCHAR NOT NULL, words VARCHAR[] NOT NULL, activations FLOAT[] NOT NULL
);

CREATE TABLE store.calls (
    key VARCHAR NOT NULL, run VARCHAR, feature VARCHAR, purpose VARCHAR, model VARCHAR NOT NULL,
    served_by VARCHAR, prompt VARCHAR, sample INTEGER, finish VARCHAR NOT NULL,
    input_tokens BIGINT, output_tokens BIGINT, cached_tokens BIGINT, usd DOUBLE,
    latency_s DOUBLE, attempts INTEGER, made_at TIMESTAMP
);

CREATE TABLE store.reviews (
    harvest VARCHAR NOT NULL, feature_index INTEGER NOT NULL, polarity VARCHAR NOT NULL,
    decision VARCHAR NOT NULL, text VARCHAR, label_before VARCHAR, label_id VARCHAR, reviewer VARCHAR NOT NULL,
    made_at TIMESTAMP NOT NULL
);
