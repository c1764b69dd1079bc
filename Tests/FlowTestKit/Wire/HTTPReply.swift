public import FlowCore

/// The answer to a request.
public struct HTTPReply: Sendable {
    public var status: Int
    public var headers: [(name: String, value: String)]
    public var body: [UInt8] = []

    /// A field's value; names are compared without regard to case.
    public func header(_ name: String) -> String? {
        let name = name.lowercased()
        return self.headers.first { $0.name.lowercased() == name }?.value
    }

    public var text: String { String(decoding: self.body, as: UTF8.self) }
    /// `null` if the body is no JSON.
    public var json: JSONText { (try? JSONText(validating: self.body)) ?? .null }
}
