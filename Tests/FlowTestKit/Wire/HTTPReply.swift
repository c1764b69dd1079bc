public import FlowCore

/// An HTTP response.
public struct HTTPReply: Sendable {
    public var status: Int
    public var headers: [(name: String, value: String)]
    public var body: [UInt8] = []

    /// The value of a header field. Names are case-insensitive.
    public func header(_ name: String) -> String? {
        let name = name.lowercased()
        return self.headers.first { $0.name.lowercased() == name }?.value
    }

    public var text: String { String(decoding: self.body, as: UTF8.self) }
    /// The body as JSON; `null` if it is not JSON.
    public var json: JSONText { (try? JSONText(validating: self.body)) ?? .null }
}
