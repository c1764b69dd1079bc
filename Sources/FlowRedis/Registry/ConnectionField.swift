import FlowCore

/// A registry entry as a field of the Redis hash `hub:connections:{flow}`. The field's name is the id of the stream; its
/// value is JSON with the incarnation under which it was written (member `boot`).
enum ConnectionField {
    /// The JSON value of an entry's field.
    static func encode(_ entry: ConnectionEntry, _ incarnation: String) -> JSONText {
        JSONText.object { writer in
            writer.key("boot")
            writer.value(incarnation)
            writer.key("account")
            writer.value(entry.account)
            writer.key("subject")
            writer.value(entry.subject)
            writer.key("remote")
            writer.value(entry.remote)
            writer.key("registered")
            writer.value(entry.registeredAt.milliseconds)
            writer.key("registered_at")
            writer.value(entry.registeredAt.description)
        }
    }

    /// Decodes the name and the value of a field.
    /// - Returns: `nil` if the field does not have this format, for example because another program wrote it.
    static func decode(_ id: RESPValue, _ value: RESPValue, _ flow: FlowID) -> (entry: ConnectionEntry, incarnation: String)? {
        guard let connection = id.text.flatMap({ ConnectionID($0) }),
            let json = value.bytes.flatMap({ try? JSONText(validating: $0) }),
            let incarnation = json.member("boot")?.stringValue, let account = json.member("account")?.stringValue,
            let subject = json.member("subject")?.stringValue, let remote = json.member("remote")?.stringValue,
            let registered = json.member("registered")?.intValue, registered >= 0
        else { return nil }
        let entry = ConnectionEntry(
            connection: connection, flow: flow, account: account, subject: subject, remote: remote,
            registeredAt: Timestamp(milliseconds: registered))
        return (entry, incarnation)
    }
}
