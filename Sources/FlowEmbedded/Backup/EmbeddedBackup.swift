public import FlowCore
import GRDB

#if canImport(Glibc)
import Glibc
#endif

/// A backup of an embedded store: a directory with one snapshot of the database, the objects that it refers to, and a
/// manifest with the SHA-256 of every file. A hub may run on the store meanwhile.
public struct EmbeddedBackup: Sendable {
    /// What a backup consists of.
    public struct Summary: Hashable, Sendable {
        public var epoch = ""
        /// Number of flows, tombstones included, and of imports in any status.
        public var flows = 0
        public var imports = 0
        public var objects = 0
        /// Size of all files in bytes.
        public var bytes = 0
        /// Number of imports whose objects are in R2, and therefore not in the backup.
        public var elsewhere = 0
    }

    /// Maximum number of snapshots. A further one is made if an object was deleted after a snapshot that refers to it; it
    /// copies only the objects that the ones before did not have.
    private static let attempts = 50

    private let source: String
    private let target: String
    /// The directory in which the backup is made, renamed to ``target`` when it is complete.
    private let partial: String
    private let files: BackupFiles
    private let now: Timestamp

    /// Makes a backup. Blocks the calling thread.
    /// - Parameters:
    ///   - directory: the data directory.
    ///   - target: the backup's directory, which must not exist; its parent must.
    ///   - makeHash: creates a SHA-256.
    /// - Throws: ``EmbeddedStoreError``. There is nothing at `target` then.
    public static func create(
        of directory: String, at target: String, makeHash: @escaping @Sendable () -> any IncrementalHash, now: Timestamp
    ) throws(EmbeddedStoreError) -> Summary {
        let (folder, name) = BackupFiles.split(target)
        let backup = EmbeddedBackup(
            source: directory, target: folder + "/" + name, partial: "\(folder)/.\(name).partial",
            files: BackupFiles(makeHash: makeHash), now: now)
        return try backup.run(in: folder)
    }

    private func run(in folder: String) throws(EmbeddedStoreError) -> Summary {
        let database = self.source + "/" + SQLiteDatabaseOpener.fileName
        var owner = stat()
        guard stat(database, &owner) == 0 else {
            throw EmbeddedStoreError(code: .database, description: "There is no database to back up: \(database) does not exist.")
        }
        try DataFolderAccess.check(database, root: self.source)
        var existing = stat()
        guard lstat(self.target, &existing) != 0 else {
            throw EmbeddedStoreError(
                code: .folder, description: "\(self.target) exists already. Use another name; a backup replaces nothing.")
        }
        let lock = try self.makePartial()
        defer { close(lock) }

        var (hashes, summary) = try self.copyConsistently(database)
        let description = BackupDescription(
            createdAt: self.now, epoch: summary.epoch, user: DataFolderAccess.name(of: owner.st_uid), uid: owner.st_uid,
            gid: owner.st_gid, objects: summary.objects, elsewhere: summary.elsewhere)
        let name = BackupManifest.descriptionName
        let text = try self.files.write(description.json.bytes + [UInt8(ascii: "\n")], to: self.partial + "/" + name)
        hashes[name] = text.hash
        summary.bytes += text.bytes
        let manifest = Array(BackupManifest(hashes).text.utf8)
        _ = try self.files.write(manifest, to: self.partial + "/" + BackupManifest.fileName)
        try BackupFiles.synchronizeTree(self.partial)
        guard rename(self.partial, self.target) == 0 else { throw BackupFiles.failure("create", self.target) }
        try BackupFiles.synchronize(folder)
        return summary
    }

    /// Creates the directory for the unfinished backup, or empties the one that an interrupted backup left.
    /// - Returns: a descriptor that holds a lock on it, to be closed at the end.
    private func makePartial() throws(EmbeddedStoreError) -> Int32 {
        guard mkdir(self.partial, DataFolderAccess.folderMode) == 0 || errno == EEXIST else {
            throw BackupFiles.failure("create", self.partial)
        }
        let lock = open(self.partial, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        guard lock >= 0 else { throw BackupFiles.failure("open", self.partial) }
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            close(lock)
            throw EmbeddedStoreError(code: .inUse, description: "Another process is making the backup \(self.target).")
        }
        do throws(EmbeddedStoreError) {
            for name in try BackupFiles.names(in: self.partial) { try BackupFiles.remove(self.partial + "/" + name) }
        } catch {
            close(lock)
            throw error
        }
        return lock
    }

    /// Copies a snapshot of the database and the objects that it refers to.
    /// - Returns: the SHA-256 of the files by their paths.
    private func copyConsistently(
        _ database: String
    ) throws(EmbeddedStoreError) -> (hashes: [String: String], summary: Summary) {
        var copied: [String: BackupFiles.Content] = [:]
        let snapshot = self.partial + "/" + SQLiteDatabaseOpener.fileName
        attempts: for _ in 0..<Self.attempts {
            try BackupFiles.remove(snapshot)
            try SnapshotDatabase.make(of: database, at: snapshot)
            var (summary, keys) = try SnapshotDatabase.read(snapshot)
            for path in copied.keys where !keys.contains(path) {
                try BackupFiles.remove(self.partial + "/" + path)
                copied[path] = nil
            }
            for path in keys.sorted() where copied[path] == nil {
                // Deleted since the snapshot, or moved to rows: the next snapshot does not refer to it.
                guard let content = try self.files.copy(self.source + "/" + path, to: path, in: self.partial) else {
                    continue attempts
                }
                copied[path] = content
            }
            try BackupFiles.synchronize(snapshot)
            guard let content = try self.files.content(of: snapshot) else { throw BackupFiles.failure("read", snapshot) }
            var hashes = copied.mapValues(\.hash)
            hashes[SQLiteDatabaseOpener.fileName] = content.hash
            summary.objects = copied.count
            summary.bytes = content.bytes + copied.values.reduce(0) { $0 + $1.bytes }
            return (hashes, summary)
        }
        throw EmbeddedStoreError(
            code: .folder,
            description: "Objects that the database refers to are missing from \(self.source)/\(BackupFiles.objectFolder). "
                + "`flowhub imports verify` names their imports.")
    }
}

/// The database file of a backup.
enum SnapshotDatabase {
    /// Copies a database as of one moment, while other processes use it.
    static func make(of path: String, at target: String) throws(EmbeddedStoreError) {
        DataFolderAccess.makeDatabaseFile(target)
        do {
            var configuration = GRDB.Configuration()
            configuration.readonly = true
            configuration.busyMode = .timeout(30)
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            // On a connection of its own: the hub's writes and reads go on.
            try queue.writeWithoutTransaction { try $0.execute(sql: "VACUUM INTO ?", arguments: [target]) }
            try queue.close()
        } catch {
            throw Self.failure(error, "Cannot copy the database \(path)")
        }
    }

    /// Reads what a snapshot has.
    /// - Returns: counts, and the paths of the objects that stored imports refer to, relative to the data directory.
    static func read(_ path: String) throws(EmbeddedStoreError) -> (summary: EmbeddedBackup.Summary, objects: Set<String>) {
        do {
            var configuration = GRDB.Configuration()
            configuration.readonly = true
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            defer { try? queue.close() }
            return try queue.read { database in
                var summary = EmbeddedBackup.Summary()
                summary.epoch = try database.storedEpoch().description
                summary.flows = try Int.fetchOne(database, sql: "SELECT count(*) FROM flows") ?? 0
                summary.imports = try Int.fetchOne(database, sql: "SELECT count(*) FROM data_imports") ?? 0
                let inObjects = "status = 'stored' AND storage_location IS NOT NULL AND storage_provider"
                summary.elsewhere =
                    try Int.fetchOne(database, sql: "SELECT count(*) FROM data_imports WHERE \(inObjects) <> 'folder'") ?? 0
                let keys = try String.fetchAll(
                    database, sql: "SELECT storage_location FROM data_imports WHERE \(inObjects) = 'folder'")
                for key in keys { try ObjectRules.check(key: key) }
                return (summary, Set(keys.map { BackupFiles.objectFolder + "/" + $0 }))
            }
        } catch {
            throw Self.failure(error, "Cannot read the database \(path)")
        }
    }

    private static func failure(_ error: any Error, _ what: String) -> EmbeddedStoreError {
        let reason = (error as? DatabaseError)?.reason ?? "it was not created by FlowHub"
        return EmbeddedStoreError(code: .database, description: "\(what): \(reason).")
    }
}
