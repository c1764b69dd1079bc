-- How an import's stored records are encrypted, as JSON; NULL if they are not. It has no secret.
ALTER TABLE data_imports ADD COLUMN IF NOT EXISTS encryption text;
