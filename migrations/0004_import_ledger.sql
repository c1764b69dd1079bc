-- What the hub keeps of an import. Where an older service made the tables, its rows, its columns and their types stay, and what
-- it writes is understood: a row with claim 0 is its own. Columns are only added, each without a rewrite.

ALTER TABLE data_imports
    ADD COLUMN IF NOT EXISTS client_account_id integer,
    ADD COLUMN IF NOT EXISTS discovery_flow_id text,
    ADD COLUMN IF NOT EXISTS file_name text,
    ADD COLUMN IF NOT EXISTS source_type text,
    ADD COLUMN IF NOT EXISTS created_at timestamptz DEFAULT now(),
    -- Account and flow as the hub names them. The columns above have them too, as far as their types can hold them.
    ADD COLUMN IF NOT EXISTS account text COLLATE "C",
    ADD COLUMN IF NOT EXISTS flow_id text COLLATE "C",
    -- The text of field_summary as it was written; jsonb puts keys in another order, and refuses some.
    ADD COLUMN IF NOT EXISTS summary_text json,
    ADD COLUMN IF NOT EXISTS member_index json,
    ADD COLUMN IF NOT EXISTS failure text,
    ADD COLUMN IF NOT EXISTS idempotency_key text COLLATE "C",
    ADD COLUMN IF NOT EXISTS request_hash text,
    -- Counts the workers that had the import in hand; 0: no hub had.
    ADD COLUMN IF NOT EXISTS claim bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS claimed_until timestamptz,
    ADD COLUMN IF NOT EXISTS announced_at timestamptz,
    ADD COLUMN IF NOT EXISTS updated_at timestamptz;

ALTER TABLE raw_import_records
    ADD COLUMN IF NOT EXISTS client_account_id integer,
    ADD COLUMN IF NOT EXISTS raw_data jsonb,
    ADD COLUMN IF NOT EXISTS created_at timestamptz DEFAULT now(),
    -- The record as it came. raw_data has it too, where jsonb takes it, for those who know nothing of this column.
    ADD COLUMN IF NOT EXISTS raw_text json;

-- The hub leaves empty what does not fit.
ALTER TABLE data_imports
    ALTER COLUMN client_account_id DROP NOT NULL,
    ALTER COLUMN discovery_flow_id DROP NOT NULL,
    ALTER COLUMN file_name DROP NOT NULL,
    ALTER COLUMN source_type DROP NOT NULL;
ALTER TABLE raw_import_records
    ALTER COLUMN client_account_id DROP NOT NULL,
    ALTER COLUMN raw_data DROP NOT NULL;

-- A name of any length; from varchar to text is no rewrite.
DO $$
DECLARE
    narrow name;
BEGIN
    FOR narrow IN
        SELECT attname FROM pg_attribute
        WHERE attrelid = 'data_imports'::regclass AND atttypid = 'varchar'::regtype AND NOT attisdropped
            AND attname IN ('file_name', 'source_type', 'status', 'storage_location', 'storage_provider')
    LOOP
        BEGIN
            EXECUTE format('ALTER TABLE data_imports ALTER COLUMN %I TYPE text', narrow);
        EXCEPTION WHEN feature_not_supported THEN
            -- A view shows it: then it stays as long as it is.
            NULL;
        END;
    END LOOP;
END
$$;

-- Ids of new rows, where the older service made them itself.
DO $$
DECLARE
    kind regtype;
BEGIN
    SELECT atttypid INTO kind FROM pg_attribute
    WHERE attrelid = 'raw_import_records'::regclass AND attname = 'id' AND NOT atthasdef AND attidentity = '';
    IF kind = 'uuid'::regtype THEN
        ALTER TABLE raw_import_records ALTER COLUMN id SET DEFAULT gen_random_uuid();
    ELSIF kind IN ('text'::regtype, 'varchar'::regtype) THEN
        ALTER TABLE raw_import_records ALTER COLUMN id SET DEFAULT gen_random_uuid()::text;
    ELSIF kind IN ('integer'::regtype, 'bigint'::regtype) THEN
        -- Downwards, so that they never meet those of the service, which goes on counting.
        CREATE SEQUENCE hub_record_ids INCREMENT -1 OWNED BY raw_import_records.id;
        PERFORM setval('hub_record_ids', least((SELECT min(id) FROM raw_import_records), 0) - 1, false);
        ALTER TABLE raw_import_records ALTER COLUMN id SET DEFAULT nextval('hub_record_ids');
    END IF;
END
$$;

-- Values for the older columns, whatever their types: NULL where the column cannot hold the value as it is.
-- And what a place among the rows is compared with, in the types of the columns that they are in the order of.
DO $$
DECLARE
    made record;
BEGIN
    FOR made IN
        SELECT name, format_type(atttypid, atttypmod) AS kind
        FROM (VALUES ('hub_as_account', 'client_account_id'), ('hub_as_flow', 'discovery_flow_id')) AS f (name, "column")
        JOIN pg_attribute ON attrelid = 'data_imports'::regclass AND attname = f."column"
    LOOP
        EXECUTE format($make$
            CREATE FUNCTION %1$s(value text) RETURNS %2$s LANGUAGE plpgsql STABLE AS $body$
            BEGIN
                RETURN CASE WHEN value::%2$s::text = value THEN value::%2$s END;
            EXCEPTION WHEN data_exception THEN
                RETURN NULL;
            END
            $body$
            $make$, made.name, made.kind);
    END LOOP;
    FOR made IN
        SELECT name, format_type(atttypid, NULL) AS kind
        FROM (VALUES ('hub_as_record_id', 'id'), ('hub_as_record_time', 'created_at')) AS f (name, "column")
        JOIN pg_attribute ON attrelid = 'raw_import_records'::regclass AND attname = f."column"
    LOOP
        EXECUTE format(
            'CREATE FUNCTION %1$s(value text) RETURNS %2$s LANGUAGE sql STABLE AS $body$ SELECT value::%2$s $body$',
            made.name, made.kind);
    END LOOP;
END
$$;

-- jsonb takes no \u0000, no number beyond numeric's range and no very long string. Such a record is in raw_text alone.
CREATE FUNCTION hub_as_jsonb(value json) RETURNS jsonb LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN value::jsonb;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN NULL;
END
$$;
