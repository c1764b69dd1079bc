-- outside a transaction: data_imports_by_account
-- An account's imports, the latest first, those of an older service among them.

CREATE INDEX CONCURRENTLY IF NOT EXISTS data_imports_by_account ON data_imports
    ((coalesce(account, client_account_id::text)), created_at DESC NULLS LAST, id DESC);
