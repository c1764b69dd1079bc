enum TransportMethod: String, Hashable, Sendable {
    case get = "GET", head = "HEAD", put = "PUT", post = "POST", delete = "DELETE"
}

/// A request, ready for the wire.
struct TransportRequest: Sendable {
    var method: TransportMethod
    /// Goes out as it is.
    var url: String
    /// `Host`, `Content-Length` and `Accept` come by themselves.
    var headers: [NamedValue] = []
    /// With `PUT` and `POST`.
    var body: [UInt8] = []
    /// Whether the answer is read at its reader's pace, however long that takes.
    var isStreamed = false
}

struct TransportHead: Hashable, Sendable {
    var status: Int
    /// Names in lower case.
    var headers: [NamedValue]

    /// The first one of that name.
    subscript(_ name: String) -> String? { self.headers.first { $0.name == name }?.value }
}
