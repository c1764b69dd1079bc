/// HTTP methods that the object store uses.
enum TransportMethod: String, Hashable, Sendable {
    case get = "GET", head = "HEAD", put = "PUT", post = "POST", delete = "DELETE"
}

/// An HTTP request, which the transport sends unchanged.
struct TransportRequest: Sendable {
    var method: TransportMethod
    /// The percent-encoded URL.
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

    /// The value of the first field with this name, which must be in lower case; `nil` if there is none.
    subscript(_ name: String) -> String? { self.headers.first { $0.name == name }?.value }
}
