/// HTTP methods that the object store uses.
enum TransportMethod: String, Hashable, Sendable {
    case get = "GET", head = "HEAD", put = "PUT", post = "POST", delete = "DELETE"
}

/// A request that is sent as it is.
struct TransportRequest: Sendable {
    var method: TransportMethod
    /// Sent unchanged.
    var url: String
    /// Header fields. libcurl adds `Host`, `Content-Length` and `Accept`.
    var headers: [NamedValue] = []
    /// Body of a `PUT` or `POST`.
    var body: [UInt8] = []
    /// Whether the response is read at the reader's pace, without a time limit after its head.
    var isStreamed = false
}

/// Status and header fields of a response.
struct TransportHead: Hashable, Sendable {
    var status: Int
    /// Header fields with names in lower case.
    var headers: [NamedValue]

    /// The value of the first field with this name.
    subscript(_ name: String) -> String? { self.headers.first { $0.name == name }?.value }
}
