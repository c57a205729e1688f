-- Reviews as events that are only ever added: 'skip', 'flag', 'unflag', 'comment', 'undo' and 'redo' stand beside
-- the decisions 'accept', 'edit' and 'reject'. `target` is the event that an undo or redo is about.
ALTER TABLE store.reviews ADD COLUMN event VARCHAR;
ALTER TABLE store.reviews ADD COLUMN target VARCHAR;
ALTER TABLE store.reviews ADD COLUMN reason VARCHAR;
ALTER TABLE store.reviews ADD COLUMN comment VARCHAR;
ALTER TABLE store.reviews ADD COLUMN seconds DOUBLE;
ALTER TABLE store.reviews ADD COLUMN run VARCHAR;
ALTER TABLE store.reviews ADD COLUMN status_before VARCHAR;
ALTER TABLE store.reviews ADD COLUMN score_before DOUBLE;
ALTER TABLE store.reviews ADD COLUMN confidence_before DOUBLE;
-- Whether the card came from the random slice, and whether the reviewer wrote a label before seeing the job's.
ALTER TABLE store.reviews ADD COLUMN audit BOOLEAN;
ALTER TABLE store.reviews ADD COLUMN blind_text VARCHAR;
ALTER TABLE store.reviews ADD COLUMN version VARCHAR;
