import FlowCore

/// Lifecycle rules: `GetBucketLifecycleConfiguration`, `PutBucketLifecycleConfiguration` and `DeleteBucketLifecycle`.
extension R2Client {
    /// Reads the lifecycle rules of the bucket; empty if none are set or the object store does not support them.
    func lifecycleRules() async throws(R2Failure) -> [LifecycleRule] {
        let body: [UInt8]
        do throws(R2Failure) {
            body = try await self.observed(.lifecycle, R2Request(.get, query: [NamedValue("lifecycle", "")])).body
        } catch {
            // No rules were ever set.
            if error.code == "NoSuchLifecycleConfiguration" { return [] }
            throw error
        }
        if body.isEmpty { return [] }
        guard let root = XMLParser.parse(body) else { throw R2Failure(.invalidResponse) }
        // An object store that does not support lifecycle rules ignores the query parameter and lists the bucket's objects.
        if root.name == "ListBucketResult" { return [] }
        guard root.name == "LifecycleConfiguration" else { throw R2Failure(.invalidResponse) }
        return root.all("Rule").map(LifecycleRule.init)
    }

    /// Replaces all lifecycle rules of the bucket; an empty array deletes them.
    func setLifecycleRules(_ rules: [LifecycleRule]) async throws(R2Failure) {
        if rules.isEmpty {
            // An object store that does not support lifecycle rules might ignore the query parameter and delete the bucket.
            guard try await !self.lifecycleRules().isEmpty else { return }
            _ = try await self.observed(.lifecycle, R2Request(.delete, query: [NamedValue("lifecycle", "")]))
            return
        }
        let body = Array(XMLText.element("LifecycleConfiguration", containing: rules.map(\.xml)).utf8)
        var request = R2Request(
            .put, query: [NamedValue("lifecycle", "")], headers: [NamedValue("Content-Type", "application/xml")])
        request.setBody(body, md5: Digest.md5(body))
        _ = try await self.observed(.lifecycle, request)
    }
}

extension LifecycleRule {
    /// Reads the XML of a rule. Missing elements become `nil` or empty.
    fileprivate init(_ rule: S3XMLElement) {
        let filter = rule["Filter"]
        self.init(
            id: rule.text("ID") ?? "",
            // In S3's older format the prefix is outside of `Filter`; in rules with several conditions it is inside `And`.
            prefix: filter?.text("Prefix") ?? filter?["And"]?.text("Prefix") ?? rule.text("Prefix") ?? "",
            isEnabled: rule.text("Status") == "Enabled",
            infrequentAccessDays: rule["Transition"]?.text("Days").flatMap { Int($0) },
            expirationDays: rule["Expiration"]?.text("Days").flatMap { Int($0) },
            abortUploadDays: rule["AbortIncompleteMultipartUpload"]?.text("DaysAfterInitiation").flatMap { Int($0) })
    }

    /// The rule as XML.
    fileprivate var xml: String {
        var parts = [
            XMLText.element("ID", self.id),
            XMLText.element("Filter", containing: [XMLText.element("Prefix", self.prefix)]),
            XMLText.element("Status", self.isEnabled ? "Enabled" : "Disabled"),
        ]
        if let days = self.infrequentAccessDays {
            parts.append(
                XMLText.element(
                    "Transition",
                    containing: [XMLText.element("Days", "\(days)"), XMLText.element("StorageClass", "STANDARD_IA")]))
        }
        if let days = self.expirationDays {
            parts.append(XMLText.element("Expiration", containing: [XMLText.element("Days", "\(days)")]))
        }
        if let days = self.abortUploadDays {
            parts.append(
                XMLText.element(
                    "AbortIncompleteMultipartUpload", containing: [XMLText.element("DaysAfterInitiation", "\(days)")]))
        }
        return XMLText.element("Rule", containing: parts)
    }
}
