-- Whose score it is. A label's id, which joins the two, is a digest: rows that lie together have none in common, and
-- whoever wants one feature's scores has to look at all of them.
ALTER TABLE store.scores ADD COLUMN feature_index INTEGER;
UPDATE store.scores SET feature_index = l.feature_index
FROM (SELECT label_id, any_value(feature_index) AS feature_index FROM store.labels GROUP BY label_id) l
WHERE l.label_id = scores.label_id;
