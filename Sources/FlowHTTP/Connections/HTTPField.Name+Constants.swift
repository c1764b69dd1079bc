import HTTPTypes

extension HTTPField.Name {
    /// A name that the program knows to be valid.
    static func constant(_ name: StaticString) -> Self {
        guard let name = Self("\(name)") else { preconditionFailure("\(name) is no name of a header field") }
        return name
    }

    static let lastEventID = Self.constant("Last-Event-ID")
}
