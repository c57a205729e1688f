-- The public SQL surface, documented column by column in docs/sql.md. Made anew whenever a workspace is opened
-- by a newer version; columns are added, never renamed. Planted features (harvests of kind 'controls') are in the
-- view `controls` and in no other.

-- What people did that stands: what was not undone, or was redone.
CREATE OR REPLACE VIEW store.standing AS
SELECT r.*
FROM store.reviews r
LEFT JOIN (
    SELECT target, arg_max(decision, made_at) AS last FROM store.reviews WHERE target IS NOT NULL GROUP BY target
) u ON u.target = r.event
WHERE r.decision NOT IN ('undo', 'redo') AND u.last IS DISTINCT FROM 'undo';

-- Of that, decisions.
CREATE OR REPLACE VIEW store.decided AS
SELECT * FROM store.standing WHERE decision IN ('accept', 'edit', 'reject');

-- What runs say of each feature: the latest that did not fail, and how many scored it. Only what tells which that is
-- goes through the aggregate: a window over whole rows takes twice as long over a million of them.
CREATE OR REPLACE VIEW store.latest AS
SELECT o.*, k.looks
FROM store.outcomes o
JOIN (
    SELECT feature_index, polarity, harvest, arg_max(rowid, (status != 'failed', made_at, run)) AS row_id,
        count(scorer) AS looks
    FROM store.outcomes GROUP BY feature_index, polarity, harvest
) k
    ON k.row_id = o.rowid AND k.feature_index = o.feature_index AND k.polarity = o.polarity AND k.harvest = o.harvest;

-- One row a feature that a run finished: what is believed of it now. A person's decision outranks a run's,
-- while it is about the label that is current; an edited label keeps no score but its own. A run that failed
-- says nothing of a feature that another one finished.
CREATE OR REPLACE VIEW labels AS
WITH written AS (
    SELECT * FROM store.decided WHERE decision = 'edit'
    QUALIFY row_number() OVER (PARTITION BY feature_index, polarity, harvest ORDER BY made_at DESC) = 1
),
-- The latest decision; `own` is the person's own text while that is the label: from the edit on, and when it
-- is accepted or rejected in its turn. Once rejected, it makes way for the next run's.
reviewed AS (
    SELECT d.harvest, d.feature_index, d.polarity, d.decision, d.label_before, d.reviewer, d.made_at,
           CASE WHEN d.decision = 'edit' OR d.label_before = w.text THEN w.text END AS own,
           w.label_id AS own_id
    FROM store.decided d
    LEFT JOIN written w
        ON w.feature_index = d.feature_index AND w.polarity = d.polarity AND w.harvest = d.harvest
    QUALIFY row_number() OVER (PARTITION BY d.feature_index, d.polarity, d.harvest ORDER BY d.made_at DESC) = 1
),
edited AS (
    SELECT r.harvest, r.feature_index, r.polarity, s.*
    FROM reviewed r JOIN store.scores s ON s.label_id = r.own_id AND s.split = 'report'
    WHERE r.own IS NOT NULL AND s.scorer LIKE 'simulation%'
    QUALIFY row_number() OVER (PARTITION BY r.feature_index, r.polarity, r.harvest ORDER BY s.made_at DESC) = 1
),
asked AS (
    SELECT l.harvest, l.feature_index, l.polarity, count(DISTINCT l.label_id) AS n
    FROM store.labels l JOIN store.scores s ON s.label_id = l.label_id AND s.run = l.run AND s.split = 'report'
    WHERE l.author = 'person'
    GROUP BY ALL
)
SELECT
    o.feature_index,
    o.polarity,
    coalesce(r.own, o.label) AS label,
    CASE
        WHEN r.own IS NOT NULL THEN CASE WHEN r.decision = 'reject' THEN 'rejected' ELSE 'accepted' END
        WHEN r.decision = 'reject' AND r.label_before IS NOT DISTINCT FROM o.label THEN 'rejected'
        WHEN r.decision = 'accept' AND r.label_before IS NOT DISTINCT FROM o.label THEN 'accepted'
        ELSE coalesce(v.status, o.status)
    END AS status,
    CASE WHEN r.own IS NOT NULL THEN NULL ELSE coalesce(q.confidence, o.confidence) END AS confidence,
    CASE WHEN r.own IS NOT NULL THEN e.value ELSE o.score END AS score,
    CASE WHEN r.own IS NOT NULL THEN e.low ELSE o.low END AS low,
    CASE WHEN r.own IS NOT NULL THEN e.high ELSE o.high END AS high,
    CASE WHEN r.own IS NOT NULL THEN e.chance ELSE o.chance END AS chance,
    CASE WHEN r.own IS NOT NULL THEN e.value - e.chance ELSE o.score - o.chance END AS lift,
    CASE WHEN r.own IS NOT NULL THEN e.p_value ELSE o.p_value END AS p_value,
    CASE WHEN r.own IS NOT NULL THEN NULL ELSE q.q_value END AS q_value,
    CASE WHEN r.own IS NOT NULL THEN e.scorer ELSE o.scorer END AS scorer,
    CASE WHEN r.own IS NOT NULL THEN 'person' ELSE o.author END AS author,
    coalesce(v.why, o.why) AS why,
    CASE WHEN r.own IS NOT NULL THEN NULL WHEN v.status IS NULL THEN o.reasons ELSE v.reasons END AS reasons,
    CASE WHEN r.own IS NOT NULL THEN NULL ELSE o.senses END AS senses,
    CASE WHEN r.own IS NOT NULL THEN NULL ELSE o.independence END AS independence,
    CASE WHEN r.own IS NOT NULL THEN NULL ELSE q.twins END AS twins,
    -- Interventions on inputs, and on the model; missing where none was made.
    CASE WHEN r.own IS NOT NULL THEN NULL ELSE o.tests END AS tests,
    CASE WHEN r.own IS NOT NULL THEN NULL ELSE o.tests_held END AS tests_held,
    CASE WHEN r.own IS NOT NULL THEN NULL ELSE o.generation END AS generation,
    CASE WHEN r.own IS NOT NULL THEN NULL ELSE o.generation_low END AS generation_low,
    CASE WHEN r.own IS NOT NULL THEN NULL ELSE o.generation_high END AS generation_high,
    o.output_label,
    o.ablation,
    o.ablation_p,
    o.steering,
    o.steering_p,
    o.density,
    o.maximum,
    o.refine_score,
    o.rounds,
    o.candidates,
    o.tokens_spent,
    CAST(o.looks + coalesce(k.n, 0) AS INTEGER) AS report_looks,
    CASE WHEN r.own IS NOT NULL OR r.label_before IS NOT DISTINCT FROM o.label THEN r.reviewer END AS reviewer,
    h.subject,
    h.site,
    h.layer,
    h.dictionary,
    o.harvest,
    o.run,
    o.made_at AS labelled_at
FROM store.latest o
JOIN store.harvests h ON h.harvest = o.harvest AND h.kind IS DISTINCT FROM 'controls'
LEFT JOIN store.q_values q
    ON q.feature_index = o.feature_index AND q.polarity = o.polarity AND q.run = o.run AND q.scorer = o.scorer
LEFT JOIN store.reverdicts v
    ON v.feature_index = o.feature_index AND v.polarity = o.polarity AND v.harvest = o.harvest AND v.run = o.run
LEFT JOIN reviewed r
    ON r.feature_index = o.feature_index AND r.polarity = o.polarity AND r.harvest = o.harvest
    AND NOT (r.own IS NOT NULL AND r.decision = 'reject' AND r.made_at < o.made_at)
LEFT JOIN edited e
    ON e.feature_index = o.feature_index AND e.polarity = o.polarity AND e.harvest = o.harvest
LEFT JOIN asked k
    ON k.feature_index = o.feature_index AND k.polarity = o.polarity AND k.harvest = o.harvest;

-- One row a harvested feature, labelled or not.
CREATE OR REPLACE VIEW features AS
SELECT f.feature_index, f.polarity, f.density, f.fired, f.maximum, f.threshold, f.metadata,
       h.subject, h.site, h.layer, h.dictionary, f.harvest
FROM store.features f JOIN store.harvests h ON h.harvest = f.harvest AND h.kind IS DISTINCT FROM 'controls';

-- One row a run and feature, so that runs can be compared.
CREATE OR REPLACE VIEW outcomes AS
SELECT o.* EXCLUDE (label_id) REPLACE (coalesce(q.confidence, o.confidence) AS confidence), q.q_value, q.twins
FROM store.outcomes o
LEFT JOIN store.q_values q
    ON q.feature_index = o.feature_index AND q.polarity = o.polarity AND q.run = o.run AND q.scorer = o.scorer
WHERE o.harvest NOT IN (SELECT harvest FROM store.harvests WHERE kind = 'controls');

-- One row a label, scorer and split: everything that was ever scored, kept or not.
CREATE OR REPLACE VIEW scores AS
SELECT
    l.feature_index, l.polarity, l.text AS label, l.side, l.author, l.round,
    s.scorer, s.split, s.value, s.low, s.high, s.chance, s.value - s.chance AS lift, s.p_value, q.q_value,
    s.n_asked, s.n_read, s.why_none, s.details, l.harvest, s.run, s.made_at AS scored_at
FROM store.scores s
JOIN store.labels l ON l.label_id = s.label_id AND l.run = s.run
LEFT JOIN store.q_values q
    ON q.feature_index = l.feature_index AND q.polarity = l.polarity AND q.run = s.run AND q.scorer = s.scorer
    AND s.split = 'report'
WHERE l.harvest NOT IN (SELECT harvest FROM store.harvests WHERE kind = 'controls');

-- One row a feature of a run's null sample, kind of null and scorer: what a label that is not the feature's scores
-- on the very excerpts that its own label was scored on, and by how much its own is better.
CREATE OR REPLACE VIEW nulls AS
SELECT
    n.feature_index, n.polarity, n.kind, n.text, n.of_index AS of_feature, n.of_polarity,
    n.scorer, n.value, n.low, n.high, n.p_value, n.status,
    o.label, s.value AS score, s.value - n.value AS lift,
    n.n_asked, n.n_read, n.why_none, n.harvest, n.run, n.made_at AS scored_at
FROM store.nulls n
JOIN store.outcomes o
    ON o.run = n.run AND o.harvest = n.harvest AND o.feature_index = n.feature_index AND o.polarity = n.polarity
LEFT JOIN store.scores s
    ON s.run = n.run AND s.label_id = o.label_id AND s.scorer = n.scorer AND s.split = 'report';

-- One row a planted feature and run: what it is, and what the run made of it without knowing.
CREATE OR REPLACE VIEW controls AS
SELECT
    c.feature_index, c.polarity, c.kind, c.truth, c.positive,
    o.label, o.status, o.confidence, o.score, o.low, o.high, o.chance, o.p_value, o.why, o.reasons, o.senses,
    o.scorer, o.author, o.refine_score, o.density, o.maximum,
    c.harvest, o.run, o.made_at AS labelled_at
FROM store.controls c
LEFT JOIN store.outcomes o
    ON o.harvest = c.harvest AND o.feature_index = c.feature_index AND o.polarity = c.polarity;

-- The strongest excerpts of the explain split of every labelled feature.
CREATE OR REPLACE VIEW examples AS
SELECT feature_index, polarity, rank, stratum, peak, weight, text, words, activations,
       document, context_id, start, harvest
FROM store.examples
WHERE harvest NOT IN (SELECT harvest FROM store.harvests WHERE kind = 'controls');

CREATE OR REPLACE VIEW calls AS
SELECT run, feature, stage, purpose, model, served_by, prompt, sample, finish, input_tokens, output_tokens,
       cached_tokens, cache_write_tokens, usd, most_usd, prices, batch, latency_s, attempts,
       made_at AS called_at, key
FROM store.calls;

-- One row an event: decisions, and what else people did; `stands` tells decisions that were not undone.
CREATE OR REPLACE VIEW reviews AS
SELECT r.feature_index, r.polarity, r.decision, r.text, r.label_before, r.reviewer, r.reason, r.comment, r.seconds,
       r.audit, r.blind_text, r.status_before, r.score_before, r.confidence_before, r.version,
       r.decision IN ('accept', 'edit', 'reject') AND u.last IS DISTINCT FROM 'undo' AS stands,
       r.event, r.target, r.run, r.harvest, r.made_at AS reviewed_at
FROM store.reviews r
LEFT JOIN (
    SELECT target, arg_max(decision, made_at) AS last FROM store.reviews WHERE target IS NOT NULL GROUP BY target
) u ON u.target = r.event;

-- One row a prediction that was made from a label and run on the subject; `measured` is the peak, raw units.
CREATE OR REPLACE VIEW experiments AS
SELECT feature_index, polarity, label, CASE round WHEN 0 THEN 'generation' ELSE 'falsify' END AS purpose,
       round, number, kind, text, pair, predicted, measured, threshold, verdict, why, words, activations, harvest, run,
       made_at AS tried_at
FROM store.experiments
WHERE harvest NOT IN (SELECT harvest FROM store.harvests WHERE kind = 'controls');

-- One row a decision of the loop: what was done, in which step, and on which number against which bar.
CREATE OR REPLACE VIEW decisions AS
SELECT feature_index, polarity, number, step, action, why, quantity, value, bar, harvest, run, made_at AS decided_at
FROM store.decisions
WHERE harvest NOT IN (SELECT harvest FROM store.harvests WHERE kind = 'controls');

-- One row a feature and way of asking ('logit lens', 'token change'): the tokens it writes most, and least.
CREATE OR REPLACE VIEW outputs AS
SELECT feature_index, polarity, kind, top_tokens, top_values, bottom_tokens, bottom_values, subject, details, harvest,
       made_at AS measured_at
FROM store.outputs
WHERE harvest NOT IN (SELECT harvest FROM store.harvests WHERE kind = 'controls');

CREATE OR REPLACE VIEW runs AS
SELECT
    r.run, r.kind, r.harvest, r.digest, r.version, r.parameters, r.made_at AS started_at,
    o.attempted, o.accepted, o.review, o.rejected, o.unscorable, o.dead, o.failed, o.finished_at,
    o.unscored, s.asked, s.missing,
    p.wanted AS nulls_wanted, n.nulls_done,
    n.null_n, n.null_mean, n.null_p95, n.null_accepted,
    n.empty_n, n.empty_mean, n.empty_p95, n.lexical_n, n.lexical_mean, n.lexical_p95,
    c.calls, c.ambiguous, c.input_tokens, c.output_tokens, c.cached_share, c.usd, c.unpriced
FROM store.runs r
LEFT JOIN (
    SELECT run, count(*) AS attempted,
        count(*) FILTER (status = 'accepted') AS accepted, count(*) FILTER (status = 'review') AS review,
        count(*) FILTER (status = 'rejected') AS rejected, count(*) FILTER (status = 'unscorable') AS unscorable,
        count(*) FILTER (status = 'dead') AS dead, count(*) FILTER (status = 'failed') AS failed,
        count(*) FILTER (score IS NULL) AS unscored, max(made_at) AS finished_at
    FROM store.outcomes
    WHERE harvest NOT IN (SELECT harvest FROM store.harvests WHERE kind = 'controls')
    GROUP BY run
) o ON o.run = r.run
-- By the primary scorer alone: most others are read from the same replies.
LEFT JOIN (
    SELECT s.run, CAST(sum(s.n_asked) AS BIGINT) AS asked, CAST(sum(s.n_asked - s.n_read) AS BIGINT) AS missing
    FROM store.scores s
    JOIN store.outcomes o ON o.run = s.run AND o.label_id = s.label_id AND o.scorer = s.scorer
    WHERE s.split = 'report' AND o.harvest NOT IN (SELECT harvest FROM store.harvests WHERE kind = 'controls')
    GROUP BY s.run
) s ON s.run = r.run
LEFT JOIN store.null_plans p ON p.run = r.run
-- Those of the primary scorer, which alone have a status. A null that could not be tested is no rejected one.
LEFT JOIN (
    SELECT run, count(*) AS nulls_done,
        count(value) FILTER (kind = 'another feature') AS null_n,
        avg(value) FILTER (kind = 'another feature') AS null_mean,
        quantile_cont(value, 0.95) FILTER (kind = 'another feature') AS null_p95,
        count(*) FILTER (kind = 'another feature' AND status = 'accepted')
            / nullif(count(*) FILTER (kind = 'another feature' AND status IN ('accepted', 'review', 'rejected')), 0)
            AS null_accepted,
        count(value) FILTER (kind = 'empty') AS empty_n, avg(value) FILTER (kind = 'empty') AS empty_mean,
        quantile_cont(value, 0.95) FILTER (kind = 'empty') AS empty_p95,
        count(value) FILTER (kind = 'lexical') AS lexical_n, avg(value) FILTER (kind = 'lexical') AS lexical_mean,
        quantile_cont(value, 0.95) FILTER (kind = 'lexical') AS lexical_p95
    FROM store.nulls WHERE status IS NOT NULL GROUP BY run
) n ON n.run = r.run
-- The share of input read from the provider's cache, over calls that say so. What a lost call cost nobody knows.
LEFT JOIN (
    SELECT run, count(*) FILTER (finish != 'ambiguous') AS calls, count(*) FILTER (finish = 'ambiguous') AS ambiguous,
        CAST(sum(input_tokens) AS BIGINT) AS input_tokens, CAST(sum(output_tokens) AS BIGINT) AS output_tokens,
        sum(cached_tokens) / nullif(sum(input_tokens) FILTER (cached_tokens IS NOT NULL), 0) AS cached_share,
        sum(usd) AS usd, count(*) FILTER (usd IS NULL AND finish != 'ambiguous') AS unpriced
    FROM store.calls GROUP BY run
) c ON c.run = r.run;

-- One row a run and source of truth: how raw confidence maps to how often labels turned out right.
CREATE OR REPLACE VIEW calibrations AS
SELECT
    run, source, CAST(details ->> '$.used' AS BOOLEAN) AS used, n, CAST(details ->> '$.n_right' AS INTEGER) AS n_right,
    shares, rates, ece, CAST(details ->> '$.ece_raw' AS DOUBLE) AS ece_raw, details ->> '$.why_none' AS why_none, details,
    made_at AS known_at
FROM store.calibrations;
