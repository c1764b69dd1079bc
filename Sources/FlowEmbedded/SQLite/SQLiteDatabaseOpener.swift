import FlowCore
import GRDB

/// Opens the database of a data directory with the configuration that this store needs.
enum SQLiteDatabaseOpener {
    /// Name of the database file in the data directory.
    static let fileName = "flowhub.sqlite"

    /// Number of database pages (32 MB) in the write-ahead log from which a commit copies the log into the database
    /// file (a checkpoint). A higher number saves copies: a database page that several commits changed is copied once.
    private static let checkpointPages = 8_000
    /// Size in bytes to which the write-ahead log's file is truncated after a checkpoint.
    private static let journalBytes = 67_108_864
    /// Page cache of the writer and of each reader, in KiB.
    private static let writerCacheKiB = 32_768
    private static let readerCacheKiB = 4_096
    /// The value of `PRAGMA cache_size` on the writer's connection: a negative number is in KiB.
    static let writerCacheSize = -Self.writerCacheKiB

    /// An open database with the values of its row in `hub_meta`.
    struct Opened {
        var pool: DatabasePool
        var hubID: String
        var epoch: Epoch
    }

    /// Opens the database, creates it if it does not exist, and applies missing migrations. Blocks the calling thread.
    /// - Parameters:
    ///   - readers: maximum number of reader connections.
    ///   - busySeconds: timeout for another process's transaction.
    ///   - now: the current time, from which a new database's first epoch is made, and which is stored with each
    ///     migration applied now.
    static func open(
        directory: String, readers: Int, busySeconds: Int, now: Timestamp
    ) throws(EmbeddedStoreError) -> Opened {
        try DataFolderAccess.makeFolder(directory)
        guard !EmbeddedRestore.isInterrupted(directory) else {
            throw EmbeddedStoreError(
                code: .folder,
                description: "A restore into \(directory) was interrupted. Run `flowhub restore` again; it starts anew.")
        }
        try DataFolderAccess.checkFiles(in: directory)
        DataFolderAccess.makeDatabaseFile(directory + "/" + Self.fileName)
        let pool: DatabasePool
        do {
            pool = try DatabasePool(
                path: directory + "/" + Self.fileName,
                configuration: Self.configuration(readers: readers, busySeconds: busySeconds))
            // GRDB sets NORMAL, which may lose the last commits on a power failure.
            try pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA synchronous = FULL") }
        } catch {
            let reason = (error as? DatabaseError)?.reason ?? "unknown error"
            throw EmbeddedStoreError(code: .database, description: "Cannot open the database in \(directory): \(reason).")
        }
        do {
            return try pool.writeWithoutTransaction { database in
                try SQLiteMigrations.run(database, now: now)
                guard let hubID = try String.fetchOne(database, sql: "SELECT hub_id FROM hub_meta") else { throw UnreadableRow() }
                return Opened(pool: pool, hubID: hubID, epoch: try database.storedEpoch())
            }
        } catch {
            let reason = (error as? DatabaseError)?.reason ?? "the database was not created by FlowHub"
            throw EmbeddedStoreError(code: .schema, description: "Cannot create or read the tables in \(directory): \(reason).")
        }
    }

    /// The settings of all connections to the database.
    private static func configuration(readers: Int, busySeconds: Int) -> GRDB.Configuration {
        var configuration = GRDB.Configuration()
        configuration.label = "flowhub"
        configuration.foreignKeysEnabled = false
        configuration.maximumReaderCount = readers
        configuration.busyMode = .timeout(Double(busySeconds))
        configuration.persistentReadOnlyConnections = true
        configuration.prepareDatabase { database in
            guard !database.configuration.readonly else {
                try database.execute(sql: "PRAGMA cache_size = -\(Self.readerCacheKiB)")
                return
            }
            try database.execute(
                sql: """
                    PRAGMA cache_size = \(Self.writerCacheSize);
                    PRAGMA wal_autocheckpoint = \(Self.checkpointPages);
                    PRAGMA journal_size_limit = \(Self.journalBytes);
                    """)
        }
        return configuration
    }
}
