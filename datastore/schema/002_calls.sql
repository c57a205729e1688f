-- What was written to a provider's cache, which price table counted, which batch bought it; and calls that were
-- lost: sent, perhaps billed, and never answered (finish 'ambiguous', with the most they can have cost).
ALTER TABLE store.calls ADD COLUMN stage VARCHAR;
ALTER TABLE store.calls ADD COLUMN cache_write_tokens BIGINT;
ALTER TABLE store.calls ADD COLUMN prices VARCHAR;
ALTER TABLE store.calls ADD COLUMN batch VARCHAR;
ALTER TABLE store.calls ADD COLUMN most_usd DOUBLE;
