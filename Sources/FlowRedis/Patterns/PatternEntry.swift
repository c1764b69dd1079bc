import FlowCore

/// A mapping pattern in Redis: the bare mapping in `pattern:mapping:{name}`, as the legacy service reads and writes it, and
/// confidence, account, expiry and a MAC over all of them in its companion `hub:pattern:{name}`.
struct PatternEntry {
    let authenticator: MessageAuthenticator
    let key: String
    let account: String
    /// Maximum bytes of a mapping that is accepted without a companion; `nil`: none is accepted. Only for the account that the
    /// legacy service's mappings belong to.
    let legacyBytes: Int?

    /// The confidence of the legacy service's mappings: it stores only those that it is sure of, and uses them unasked.
    private static let legacyConfidence = JSONText(trusted: Array("1".utf8))

    /// The companion of a mapping pattern.
    func companion(of pattern: MappingPattern, until: Timestamp) -> JSONText {
        let mac = self.authenticator.mac(
            ofEntry: "pattern", self.context(pattern, until.milliseconds), pattern.pattern.bytes)
        return JSONText.object { writer in
            writer.key("confidence")
            writer.raw(pattern.confidence)
            writer.key("account")
            writer.value(self.account)
            writer.key("expires")
            writer.value(until.milliseconds)
            writer.key("mac")
            writer.value(String(decoding: mac, as: UTF8.self))
        }
    }

    /// The mapping pattern in the two values.
    /// - Parameters:
    ///   - value: of `pattern:mapping:{name}`; `nil` if there is none.
    ///   - companion: of `hub:pattern:{name}`; `nil` if there is none.
    /// - Returns: `nil` if there is none, or it is expired or not genuine.
    func decode(_ value: [UInt8]?, companion: [UInt8]?, now: Timestamp) -> MappingPattern? {
        guard let value, let mapping = try? JSONText(validating: value) else { return nil }
        if let companion = companion.flatMap({ try? JSONText(validating: $0) }),
            let genuine = self.authenticate(mapping, with: companion)
        {
            return genuine.until > now.milliseconds ? genuine.pattern : nil
        }
        // Earlier versions of the hub wrote the companion's members and the mapping into one value.
        if let inner = mapping.member("pattern"), mapping.member("mac") != nil, mapping.member("expires") != nil {
            guard let genuine = self.authenticate(inner, with: mapping), genuine.until > now.milliseconds else { return nil }
            return genuine.pattern
        }
        // The companion of a mapping that the legacy service has overwritten does not match: the last writer wins.
        guard let legacyBytes = self.legacyBytes, mapping.isObject, mapping.bytes.count <= legacyBytes else { return nil }
        return MappingPattern(pattern: mapping, confidence: Self.legacyConfidence)
    }

    /// The mapping with the bookkeeping of the companion, if the MAC is valid, and its expiry in milliseconds since 1970.
    private func authenticate(_ mapping: JSONText, with companion: JSONText) -> (pattern: MappingPattern, until: Int64)? {
        guard let confidence = companion.member("confidence"), let until = companion.member("expires")?.intValue,
            let mac = companion.member("mac")?.stringValue,
            let pattern = MappingPattern(pattern: mapping, confidence: confidence),
            self.authenticator.isAuthentic(
                entry: "pattern", self.context(pattern, until), mapping.bytes, mac: Array(mac.utf8))
        else { return nil }
        return (pattern, until)
    }

    /// What the MAC of a mapping pattern covers, besides the pattern itself.
    private func context(_ pattern: MappingPattern, _ until: Int64) -> [String] {
        [self.account, self.key, "\(until)", pattern.confidence.string]
    }
}
