import FlowCore
import GRDB

/// The migrations of the SQLite schema, in order. Append-only: a released migration is never changed.
enum SQLiteMigrations {
    /// The migrations in order. A migration's number is its position in the list, from 1.
    private static let steps: [(name: String, sql: String)] = [
        ("flows", Self.flows), ("imports", Self.imports), ("accounts", Self.accounts),
        ("ended_versions", Self.endedVersions), ("import encryption", Self.importEncryption), ("tasks", Self.tasks),
        ("flow ends", Self.flowEnds),
    ]

    /// Applies the migrations that the database does not have yet. If a newer FlowHub has applied further ones, changes
    /// nothing.
    ///
    /// Runs in one immediate transaction: of two processes that open a new file at the same time, the second finds
    /// all migrations applied.
    static func run(_ database: Database, now: Timestamp) throws {
        try database.inTransaction(.immediate) {
            try database.execute(
                sql: """
                    CREATE TABLE IF NOT EXISTS schema_migrations (
                        version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at INTEGER NOT NULL
                    ) STRICT
                    """)
            let done = try Int.fetchOne(database, sql: "SELECT max(version) FROM schema_migrations") ?? 0
            for (number, step) in zip(1..., Self.steps) where number > done {
                try database.execute(sql: step.sql)
                try database.execute(
                    sql: "INSERT INTO schema_migrations (version, name, applied_at) VALUES (?, ?, ?)",
                    arguments: [number, step.name, now.milliseconds])
            }
            if done == 0 {
                let epoch = Epoch(counter: UInt64(max(1, now.seconds)), random: RandomText.base36(6))
                try database.execute(
                    sql: "INSERT INTO hub_meta (only, hub_id, epoch, fencing) VALUES (1, ?, ?, 0)",
                    arguments: [RandomText.hex128(), epoch.description])
            }
            return .commit
        }
    }

    /// The tables of flows, events, stored replies and revocations. Times are milliseconds since 1970. STRICT
    /// guarantees that a column has only values of its type. `state` is the last column of `flows`, so that reading a
    /// head does not read the state.
    private static let flows = """
        CREATE TABLE hub_meta (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            hub_id TEXT NOT NULL,
            epoch TEXT NOT NULL,
            fencing INTEGER NOT NULL
        ) STRICT;

        CREATE TABLE flows (
            id TEXT NOT NULL PRIMARY KEY,
            client_account_id TEXT NOT NULL,
            status TEXT NOT NULL,
            version INTEGER NOT NULL,
            reset_version INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL,
            deleted_at INTEGER,
            fence TEXT NOT NULL,
            state TEXT NOT NULL
        ) STRICT;
        CREATE INDEX flows_by_account ON flows (client_account_id, id);
        CREATE INDEX flows_by_status ON flows (client_account_id, status, id);
        CREATE INDEX flows_by_change ON flows (client_account_id, updated_at, id);

        CREATE TABLE flow_events (
            flow_id TEXT NOT NULL,
            version INTEGER NOT NULL,
            type TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            payload TEXT NOT NULL,
            PRIMARY KEY (flow_id, version)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX flow_events_by_age ON flow_events (created_at);

        CREATE TABLE idempotency (
            account TEXT NOT NULL,
            key TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            status INTEGER NOT NULL,
            flow_id TEXT NOT NULL,
            versions TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            PRIMARY KEY (account, key)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX idempotency_by_age ON idempotency (created_at);

        CREATE TABLE revocations (
            account TEXT NOT NULL,
            subject TEXT NOT NULL,
            not_before INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            PRIMARY KEY (account, subject)
        ) STRICT, WITHOUT ROWID;
        """

    /// The tables of imports and of their records. A column has the same name as the Postgres column with the same
    /// meaning.
    private static let imports = """
        CREATE TABLE data_imports (
            id TEXT NOT NULL PRIMARY KEY,
            account TEXT NOT NULL,
            flow_id TEXT,
            file_name TEXT,
            source_type TEXT,
            status TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            updated_at INTEGER NOT NULL,
            total_records INTEGER,
            storage_provider TEXT NOT NULL,
            storage_location TEXT,
            failure TEXT,
            idempotency_key TEXT,
            request_hash TEXT,
            claim INTEGER NOT NULL,
            claimed_until INTEGER,
            announced_at INTEGER,
            -- Where its rows are, see RecordSpan, and how often they were changed.
            span INTEGER NOT NULL,
            row_changes INTEGER NOT NULL,
            storage_metadata TEXT,
            field_summary TEXT,
            member_index TEXT
        ) STRICT;
        CREATE UNIQUE INDEX data_imports_by_span ON data_imports (span);
        CREATE UNIQUE INDEX data_imports_by_key ON data_imports (account, idempotency_key) WHERE idempotency_key IS NOT NULL;
        CREATE INDEX data_imports_by_account ON data_imports (account, created_at, id);
        CREATE INDEX data_imports_by_location ON data_imports (storage_location) WHERE storage_location IS NOT NULL;
        CREATE INDEX data_imports_open ON data_imports (updated_at)
            WHERE status IN ('pending', 'deleting') OR announced_at IS NULL;

        -- The span's number in the upper half of the place, the record's in the lower.
        CREATE TABLE raw_import_records (
            place INTEGER PRIMARY KEY,
            is_sample INTEGER NOT NULL,
            raw_text TEXT NOT NULL
        ) STRICT;

        -- Spans whose rows belong to no import any more and are being removed.
        CREATE TABLE cut_off_records (span INTEGER PRIMARY KEY) STRICT;
        """

    /// An index for the highest version of all groups, above which new flows start.
    private static let endedVersions = "CREATE INDEX ended_versions_by_version ON ended_versions (version);"

    /// How imports are encrypted.
    private static let importEncryption = "ALTER TABLE data_imports ADD COLUMN encryption TEXT;"

    /// What accounts store, see `AccountUsage`, and the versions of ended tombstones. A transaction that changes flows or
    /// events also changes the counts; triggers count revocations and imports.
    private static let accounts = """
        CREATE TABLE account_usage (
            account TEXT NOT NULL PRIMARY KEY,
            flows INTEGER NOT NULL DEFAULT 0,
            ids INTEGER NOT NULL DEFAULT 0,
            state_bytes INTEGER NOT NULL DEFAULT 0,
            history_bytes INTEGER NOT NULL DEFAULT 0,
            revocations INTEGER NOT NULL DEFAULT 0,
            imports INTEGER NOT NULL DEFAULT 0
        ) STRICT, WITHOUT ROWID;

        -- Groups of ids with the highest version of a tombstone in the group that has ended.
        CREATE TABLE ended_versions (bucket INTEGER PRIMARY KEY, version INTEGER NOT NULL) STRICT;

        CREATE INDEX flows_by_deletion ON flows (deleted_at) WHERE deleted_at IS NOT NULL;
        CREATE INDEX revocations_by_time ON revocations (not_before);

        INSERT INTO account_usage (account, flows, ids, state_bytes, history_bytes, revocations, imports)
        SELECT account, sum(flows), sum(ids), sum(state_bytes), sum(history_bytes), sum(revocations), sum(imports) FROM (
            SELECT client_account_id AS account, sum(deleted_at IS NULL) AS flows, count(*) AS ids,
                sum(length(CAST(state AS BLOB)) + length(CAST(fence AS BLOB))) AS state_bytes, 0 AS history_bytes,
                0 AS revocations, 0 AS imports
            FROM flows GROUP BY client_account_id
            UNION ALL
            SELECT f.client_account_id, 0, 0, 0, sum(length(CAST(e.payload AS BLOB)) + 128), 0, 0
            FROM flow_events e JOIN flows f ON f.id = e.flow_id GROUP BY f.client_account_id
            UNION ALL
            SELECT account, 0, 0, 0, 0, count(*), 0 FROM revocations GROUP BY account
            UNION ALL
            SELECT account, 0, 0, 0, 0, 0, count(*) FROM data_imports GROUP BY account
        ) GROUP BY account;

        CREATE TRIGGER revocation_added AFTER INSERT ON revocations BEGIN
            INSERT OR IGNORE INTO account_usage (account) VALUES (NEW.account);
            UPDATE account_usage SET revocations = revocations + 1 WHERE account = NEW.account;
        END;
        CREATE TRIGGER revocation_removed AFTER DELETE ON revocations BEGIN
            UPDATE account_usage SET revocations = revocations - 1 WHERE account = OLD.account;
        END;
        CREATE TRIGGER import_added AFTER INSERT ON data_imports BEGIN
            INSERT OR IGNORE INTO account_usage (account) VALUES (NEW.account);
            UPDATE account_usage SET imports = imports + 1 WHERE account = NEW.account;
        END;
        CREATE TRIGGER import_removed AFTER DELETE ON data_imports BEGIN
            UPDATE account_usage SET imports = imports - 1 WHERE account = OLD.account;
        END;
        """

    /// Scheduled tasks, see `TaskLedger`, and the order in which retention finds what it deletes.
    private static let tasks = """
        CREATE TABLE hub_tasks (
            name TEXT NOT NULL PRIMARY KEY,
            run INTEGER NOT NULL,
            instance TEXT NOT NULL,
            begun_at INTEGER NOT NULL,
            leased_until INTEGER,
            ended_at INTEGER,
            milliseconds INTEGER,
            problems INTEGER,
            failure TEXT
        ) STRICT, WITHOUT ROWID;

        CREATE INDEX flows_by_end ON flows (updated_at) WHERE status IN ('completed', 'failed', 'cancelled');
        CREATE INDEX data_imports_failed ON data_imports (updated_at) WHERE status = 'failed';
        """

    /// The index of finished flows with a condition that is decided without a temporary table: SQLite builds one for each evaluation
    /// of `IN`, so that each change of a flow's row built two.
    private static let flowEnds = """
        DROP INDEX flows_by_end;
        CREATE INDEX flows_by_end ON flows (updated_at)
            WHERE status = 'completed' OR status = 'failed' OR status = 'cancelled';
        """
}
