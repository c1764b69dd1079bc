public import FlowCore
public import Logging

#if canImport(Glibc)
import Glibc
#endif

/// Restores a backup of an embedded store into an empty data directory, under a raised epoch.
public struct EmbeddedRestore: Sendable {
    /// The outcome of a restore.
    public struct Summary: Hashable, Sendable {
        public var files = 0
        /// Size of all files in bytes.
        public var bytes = 0
        /// The raised epoch.
        public var epoch: Epoch
        /// The user that the files belong to now.
        public var owner: String
        /// Name, or id, of the user that the store belonged to when it was backed up, if the files belong to another one now.
        public var formerOwner: String?
    }

    /// The directory in the data directory that has the files until they are complete. While it exists, no hub starts.
    static let stagingName = ".restore"
    /// Entries of a data directory that count as empty: lock files, and what a new file system has.
    private static let ignored: Set<String> = ["hub.lock", "move.lock", "lost+found"]

    private let backup: String
    private let directory: String
    private let files: BackupFiles
    private var staging: String { self.directory + "/" + Self.stagingName }

    /// Verifies the backup, copies it, and raises the epoch of the copy before the copy becomes the store.
    /// - Parameters:
    ///   - backup: the backup's directory.
    ///   - directory: the data directory: missing, empty, or left by an interrupted restore.
    ///   - makeHash: creates a SHA-256.
    /// - Throws: ``EmbeddedStoreError``, or ``StoreError`` if the epoch cannot be raised. No hub can use the directory then.
    public static func restore(
        _ backup: String, to directory: String, makeHash: @escaping @Sendable () -> any IncrementalHash,
        now: @Sendable () -> Timestamp, logger: Logger
    ) async throws -> Summary {
        let restore = EmbeddedRestore(backup: backup, directory: directory, files: BackupFiles(makeHash: makeHash))
        let manifest = try restore.verify()
        let lock = try DataFolderLock(directory: directory)
        try restore.prepare()
        var bytes = 0
        for (path, hash) in manifest.files where path != BackupManifest.descriptionName {
            let content = try restore.files.copy(backup + "/" + path, to: path, in: restore.staging)
            guard content?.hash == hash else { throw restore.damaged(path) }
            bytes += content?.bytes ?? 0
        }
        try restore.checkObjects()
        let epoch = try await restore.raiseEpoch(now: now, logger: logger)
        let owner = try restore.finish()
        return withExtendedLifetime(lock) {
            Summary(
                files: manifest.files.count - 1, bytes: bytes, epoch: epoch, owner: owner.now, formerOwner: owner.before)
        }
    }

    /// Whether a restore into this directory was interrupted.
    static func isInterrupted(_ directory: String) -> Bool { access(directory + "/" + Self.stagingName, F_OK) == 0 }

    // MARK: Steps

    /// Compares every file of the backup with its manifest.
    private func verify() throws(EmbeddedStoreError) -> BackupManifest {
        let path = self.backup + "/" + BackupManifest.fileName
        guard let text = try self.files.text(of: path) else {
            throw EmbeddedStoreError(
                code: .backup, description: "\(self.backup) is not a complete backup: it has no file \(BackupManifest.fileName).")
        }
        guard let manifest = BackupManifest(text: text) else { throw self.damaged(BackupManifest.fileName) }
        for (path, hash) in manifest.files {
            guard try self.files.content(of: self.backup + "/" + path)?.hash == hash else { throw self.damaged(path) }
        }
        return manifest
    }

    private func damaged(_ path: String) -> EmbeddedStoreError {
        EmbeddedStoreError(
            code: .backup,
            description: "The file \(path) of the backup \(self.backup) is damaged or missing (\(BackupManifest.fileName)). "
                + "Nothing was restored. Use another backup.")
    }

    /// Checks that the data directory is empty, and creates the staging directory in it.
    private func prepare() throws(EmbeddedStoreError) {
        if Self.isInterrupted(self.directory) {
            // An interrupted restore had only begun to move its own files here.
            for name in [SQLiteDatabaseOpener.fileName, "objects", Self.stagingName] {
                try BackupFiles.remove(self.directory + "/" + name)
            }
        }
        let names = try BackupFiles.names(in: self.directory).filter { !Self.ignored.contains($0) }
        guard names.isEmpty else {
            throw EmbeddedStoreError(
                code: .folder,
                description: "The data directory \(self.directory) is not empty (\(names.prefix(3).joined(separator: ", "))). "
                    + "Restore replaces nothing. Move it away first: mv \(self.directory) \(self.directory).old")
        }
        guard mkdir(self.staging, DataFolderAccess.folderMode) == 0 else { throw BackupFiles.failure("create", self.staging) }
    }

    /// Checks that the copy has every object that its database refers to.
    private func checkObjects() throws(EmbeddedStoreError) {
        let objects = try SnapshotDatabase.read(self.staging + "/" + SQLiteDatabaseOpener.fileName).objects
        for path in objects.sorted() where access(self.staging + "/" + path, F_OK) != 0 { throw self.damaged(path) }
    }

    /// Raises the epoch of the copy, so that versions that were assigned after the backup cannot be mistaken for those
    /// that are assigned from now on.
    private func raiseEpoch(now: @Sendable () -> Timestamp, logger: Logger) async throws -> Epoch {
        let store = try SQLiteFlowStore(directory: self.staging, now: now(), logger: logger)
        do {
            let epoch = try await store.raiseEpoch(from: store.epoch, now: now())
            await store.close()
            return epoch
        } catch {
            await store.close()
            throw error
        }
    }

    /// Moves the files from the staging directory to their places, the database last, and sets their owner.
    /// - Returns: the present owner, and the one before if it is another.
    private func finish() throws(EmbeddedStoreError) -> (now: String, before: String?) {
        // A command that root runs before the hub starts would otherwise create them as root's.
        for name in ["stored", "uploads"] { try DataFolderAccess.makeFolder(self.staging + "/objects/" + name) }
        let owner = try self.setOwner()
        try BackupFiles.synchronizeTree(self.staging)
        let database = SQLiteDatabaseOpener.fileName
        let names = try BackupFiles.names(in: self.staging)
        for name in names.filter({ $0 != database }) + [database] {
            guard rename(self.staging + "/" + name, self.directory + "/" + name) == 0 else {
                throw BackupFiles.failure("move", self.staging + "/" + name)
            }
        }
        try BackupFiles.synchronize(self.directory)
        guard rmdir(self.staging) == 0 else { throw BackupFiles.failure("delete", self.staging) }
        try BackupFiles.synchronize(self.directory)
        return owner
    }

    /// As root, gives the files to the user that they belonged to; any other user keeps them.
    private func setOwner() throws(EmbeddedStoreError) -> (now: String, before: String?) {
        let text = try self.files.text(of: self.backup + "/" + BackupManifest.descriptionName) ?? ""
        let json = try? JSONText(validating: Array(text.utf8))
        let me = geteuid()
        guard let before = json.flatMap({ BackupDescription.owner(in: $0) }) else { return (DataFolderAccess.user(me), nil) }
        // By name where it exists: the same user may have another id on another machine.
        let user = before.user.flatMap { DataFolderAccess.id(of: $0) } ?? (uid: before.uid, gid: before.gid)
        guard me == 0 else {
            return (DataFolderAccess.user(me), user.uid == me ? nil : before.user ?? "\(user.uid)")
        }
        try BackupFiles.changeOwner(self.directory, uid: user.uid, gid: user.gid)
        return (DataFolderAccess.user(user.uid), nil)
    }
}
