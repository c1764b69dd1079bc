import FlowCore

/// The list of a backup's files with their SHA-256, in the form of `sha256sum`, so that `sha256sum -c SHA256SUMS` verifies
/// a backup without FlowHub.
struct BackupManifest: Sendable {
    /// Name of the file in the backup. It is written last; a directory without it is no backup.
    static let fileName = "SHA256SUMS"
    /// Name of the file that describes the backup.
    static let descriptionName = "backup.json"

    /// SHA-256 in hexadecimal by path relative to the backup, in the order of the paths.
    private(set) var files: [(path: String, hash: String)] = []

    init(_ files: [String: String]) { self.files = files.sorted { $0.key < $1.key }.map { ($0.key, $0.value) } }

    /// Parses the text of the file; `nil` if a line is malformed, names a path outside the backup, or names one twice.
    init?(text: String) {
        var files: [String: String] = [:]
        for line in text.split(separator: "\n") {
            guard let end = line.firstIndex(of: " "), line[end...].hasPrefix("  ") else { return nil }
            let (hash, path) = (String(line[..<end]), String(line[end...].dropFirst(2)))
            guard hash.utf8.count == 64, Self.isInside(path), files.updateValue(hash, forKey: path) == nil else { return nil }
        }
        guard files[SQLiteDatabaseOpener.fileName] != nil else { return nil }
        self.init(files)
    }

    var text: String { self.files.map { "\($0.hash)  \($0.path)\n" }.joined() }

    /// Whether the path is one that a backup has: the database, the description, or an object.
    private static func isInside(_ path: String) -> Bool {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." }) else { return false }
        return path == SQLiteDatabaseOpener.fileName || path == Self.descriptionName
            || path.hasPrefix(BackupFiles.objectFolder + "/")
    }
}

/// The description of a backup, `backup.json`.
struct BackupDescription: Sendable {
    var createdAt: Timestamp
    var epoch: String
    /// Owner of the database that was backed up.
    var user: String?
    var uid: UInt32
    var gid: UInt32
    /// Number of imports whose objects are in the backup, and of those whose objects are in R2.
    var objects: Int
    var elsewhere: Int

    var json: JSONText {
        .object { writer in
            writer.key("created_at")
            writer.value(self.createdAt.description)
            writer.key("epoch")
            writer.value(self.epoch)
            writer.key("user")
            if let user = self.user { writer.value(user) } else { writer.null() }
            writer.key("uid")
            writer.value(Int64(self.uid))
            writer.key("gid")
            writer.value(Int64(self.gid))
            writer.key("objects")
            writer.value(self.objects)
            writer.key("objects_elsewhere")
            writer.value(self.elsewhere)
        }
    }

    /// The owner in a description; `nil` if it has none.
    static func owner(in json: JSONText) -> (user: String?, uid: UInt32, gid: UInt32)? {
        guard let uid = json.member("uid")?.intValue.flatMap({ UInt32(exactly: $0) }),
            let gid = json.member("gid")?.intValue.flatMap({ UInt32(exactly: $0) })
        else { return nil }
        return (json.member("user")?.stringValue, uid, gid)
    }
}
