public import FlowCore

extension R2ObjectStore: ObjectMaintenance {
    /// Lists all multipart uploads under a prefix that were neither completed nor aborted.
    public func unfinishedUploads(prefix: String) async throws(ObjectError) -> [UnfinishedUpload] {
        try ObjectRules.check(prefix: prefix)
        do throws(R2Failure) {
            return try await self.client.unfinishedUploads(prefix: prefix)
        } catch {
            throw self.error(error)
        }
    }

    /// Aborts a multipart upload, even one that another process has begun. A missing multipart upload is not an error.
    public func abort(_ upload: UnfinishedUpload) async throws(ObjectError) {
        do throws(R2Failure) {
            try await self.client.abortUpload(upload.key, upload.uploadID)
        } catch {
            throw self.error(error)
        }
    }

    /// Reads the lifecycle rules of the bucket. The R2 credentials must have permission to administer the bucket, also for
    /// ``setLifecycleRules(_:)``.
    public func lifecycleRules() async throws(ObjectError) -> [LifecycleRule] {
        do throws(R2Failure) { return try await self.client.lifecycleRules() } catch { throw self.error(error) }
    }

    /// Checks the rules, and replaces all lifecycle rules of the bucket with them.
    public func setLifecycleRules(_ rules: [LifecycleRule]) async throws(ObjectError) {
        for rule in rules {
            try ObjectRules.check(prefix: rule.prefix)
            guard (1...255).contains(rule.id.utf8.count), rule.id.utf8.allSatisfy({ (0x20...0x7e).contains($0) }) else {
                throw .invalid("The id of a lifecycle rule must be 1 to 255 printable ASCII characters.")
            }
            let days = [rule.infrequentAccessDays, rule.expirationDays, rule.abortUploadDays].compactMap { $0 }
            guard !days.isEmpty, days.allSatisfy({ $0 > 0 }) else {
                throw .invalid("Lifecycle rule \(rule.id) must have at least one number of days, each 1 or more.")
            }
        }
        do throws(R2Failure) { try await self.client.setLifecycleRules(rules) } catch { throw self.error(error) }
    }
}
