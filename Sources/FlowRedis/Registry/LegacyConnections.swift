import FlowCore

/// The value of `sse:connections:{flow}` as the legacy service writes it: a JSON object with a member for each stream, whose
/// value is an object of any members and `registered_at`.
enum LegacyConnections {
    /// Maximum number of streams that are read from one value.
    static let maximumCount = 1_000
    /// Maximum bytes of a stream's id.
    private static let maximumIDBytes = 256
    /// Maximum bytes of a stream's metadata. Longer ones are replaced by an empty object.
    private static let maximumMetadataBytes = 4_096

    /// The streams in a value; none if it does not have this format.
    static func decode(_ value: [UInt8]) -> [ForeignConnection] {
        guard let json = try? JSONText(validating: value), json.isObject else { return [] }
        var connections: [ForeignConnection] = []
        for (id, detail) in json.members {
            guard connections.count < Self.maximumCount else { break }
            guard detail.isObject, !id.isEmpty, id.utf8.count <= Self.maximumIDBytes else { continue }
            let rest = JSONText.object { writer in
                for (name, value) in detail.members where name != "registered_at" {
                    writer.key(name)
                    writer.raw(value)
                }
            }
            connections.append(
                ForeignConnection(
                    id: id, registeredAt: detail.member("registered_at")?.stringValue.map { Self.utc($0) },
                    metadata: rest.bytes.count <= Self.maximumMetadataBytes ? rest : .emptyObject))
        }
        return connections
    }

    /// The time with a `Z`: the legacy service writes UTC without a zone.
    private static func utc(_ time: String) -> String {
        let text = String(time.prefix(64))
        return text.utf8.allSatisfy { (0x30...0x39).contains($0) || "-:.T".utf8.contains($0) } && text.contains("T")
            ? text + "Z" : text
    }
}
