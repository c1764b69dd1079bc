import FlowCore
import Foundation
import GRDB

/// Opens the database of a folder, as this store needs it.
enum SQLiteDatabaseOpener {
    static let fileName = "flowhub.sqlite"

    /// Pages that the log may hold before a commit copies them into the database: 32 MB. The larger it is, the more
    /// often a page that many commits changed is copied only once.
    private static let checkpointPages = 8_000
    /// What the log's file is cut back to after that.
    private static let journalBytes = 67_108_864
    /// KiB of pages that the writer and each reader keep.
    private static let writerCacheKiB = 32_768
    private static let readerCacheKiB = 4_096

    struct Opened {
        var pool: DatabasePool
        var hubID: String
        var epoch: Epoch
    }

    static func open(
        directory: String, readers: Int, busySeconds: Int, now: Timestamp
    ) throws(EmbeddedStoreError) -> Opened {
        try Self.makeFolder(directory)
        let pool: DatabasePool
        do {
            pool = try DatabasePool(
                path: directory + "/" + Self.fileName,
                configuration: Self.configuration(readers: readers, busySeconds: busySeconds))
            // GRDB sets NORMAL, which may lose the last commits when the power fails.
            try pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA synchronous = FULL") }
        } catch {
            let reason = (error as? DatabaseError)?.reason ?? "unknown failure"
            throw EmbeddedStoreError(code: .database, description: "The database in \(directory) cannot be opened: \(reason).")
        }
        do {
            return try pool.writeWithoutTransaction { database in
                try SQLiteMigrations.run(database, now: now)
                guard let hubID = try String.fetchOne(database, sql: "SELECT hub_id FROM hub_meta") else { throw UnreadableRow() }
                return Opened(pool: pool, hubID: hubID, epoch: try database.storedEpoch())
            }
        } catch {
            let reason = (error as? DatabaseError)?.reason ?? "they are not this program's"
            throw EmbeddedStoreError(code: .schema, description: "The tables in \(directory) cannot be made or read: \(reason).")
        }
    }

    static func makeFolder(_ directory: String) throws(EmbeddedStoreError) {
        do {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        } catch {
            throw EmbeddedStoreError(code: .folder, description: "The folder \(directory) cannot be made.")
        }
        guard FileManager.default.isWritableFile(atPath: directory) else {
            throw EmbeddedStoreError(code: .folder, description: "The folder \(directory) cannot be written to.")
        }
    }

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
                    PRAGMA cache_size = -\(Self.writerCacheKiB);
                    PRAGMA wal_autocheckpoint = \(Self.checkpointPages);
                    PRAGMA journal_size_limit = \(Self.journalBytes);
                    """)
        }
        return configuration
    }
}
