import FlowCore

/// A JSON object of a token or of a key set. An object with a repeated member is rejected: which of two `exp` or `sub` counts
/// would otherwise depend on the parser (RFC 8725, 2.6; RFC 7515, 4).
struct TokenObject {
    private let members: [String: JSONText]

    /// Parses an object.
    /// - Returns: `nil` if the bytes are not one JSON object, or a member is repeated.
    init?(_ bytes: [UInt8]) {
        guard let text = try? JSONText(validating: bytes) else { return nil }
        self.init(text)
    }

    /// Reads the members of an object.
    /// - Returns: `nil` if the text is not an object, or a member is repeated.
    init?(_ text: JSONText) {
        guard text.isObject else { return nil }
        var members: [String: JSONText] = [:]
        for (name, value) in text.members {
            guard members.updateValue(value, forKey: name) == nil else { return nil }
        }
        self.members = members
    }

    /// The member's value; `nil` if the member is missing.
    subscript(name: String) -> JSONText? { self.members[name] }

    /// Whether the object has the member, whatever its value.
    func has(_ name: String) -> Bool { self.members[name] != nil }

    /// The member's string value; `nil` if it is missing or not a string.
    func string(_ name: String) -> String? { self.members[name]?.stringValue }

    /// The member's elements; `nil` if it is missing or not an array.
    func array(_ name: String) -> [JSONText]? {
        guard let value = self.members[name], value.isArray else { return nil }
        return value.elements
    }
}
