public import FlowCore

extension FolderObjectStore: ObjectMaintenance {
    /// Lists the unfinished uploads whose keys begin with `prefix`: those of all processes, including processes that
    /// have ended.
    public func unfinishedUploads(prefix: String) async throws(ObjectError) -> [UnfinishedUpload] {
        try ObjectRules.check(prefix: prefix)
        return try await self.ioQueue.run { () throws(ObjectError) in
            var found: [UnfinishedUpload] = []
            try self.uploads.forEachFile(prefix: prefix, after: nil) { path, _ in
                let (folders, name) = Self.location(path)
                if let name = UploadName(name), !folders.isEmpty {
                    found.append(
                        UnfinishedUpload(
                            key: folders.joined(separator: "/"), uploadID: name.description, initiatedAt: name.beganAt))
                }
                return true
            }
            return found.filter { $0.key.hasPrefix(prefix) }
        }
    }

    /// Deletes the file of an unfinished upload, and its directories if they are empty then. A missing file is not an
    /// error.
    public func abort(_ upload: UnfinishedUpload) async throws(ObjectError) {
        try ObjectRules.check(key: upload.key)
        guard let name = UploadName(upload.uploadID) else { throw .invalid("Invalid upload id: \(upload.uploadID).") }
        try await self.ioQueue.run { () throws(ObjectError) in
            let folders = Self.path(upload.key)
            guard let folder = try self.uploads.open(folders) else { return }
            try folder.remove(name.description)
            self.uploads.prune(folders)
        }
    }

    /// A directory has no lifecycle rules.
    public func lifecycleRules() async throws(ObjectError) -> [LifecycleRule] { [] }

    /// Rejects all lifecycle rules; an empty list has no effect.
    public func setLifecycleRules(_ rules: [LifecycleRule]) async throws(ObjectError) {
        guard rules.isEmpty else {
            throw .rejected("Lifecycle rules are supported by R2 buckets only, not by storage in a directory.")
        }
    }
}
