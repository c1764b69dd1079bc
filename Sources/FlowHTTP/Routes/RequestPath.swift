/// The path and the query of a request target (RFC 9112, 3.2.1).
///
/// A path counts without its empty segments, as the router reads it: a trailing slash makes no other route. So all decisions about
/// a request are made with ``path``, never with the target.
struct RequestPath {
    /// The path without empty segments: `/v1/flows` for `//v1/flows/?limit=1`. It begins with a slash, and ends with one only if it
    /// is `/`.
    let path: Substring
    /// What follows the first `?`, still percent-encoded; empty without one.
    let query: Substring

    init(_ target: String) {
        let path = target[..<(target.utf8.firstIndex(of: UInt8(ascii: "?")) ?? target.endIndex)]
        self.query = target[path.endIndex...].dropFirst()
        self.path = Self.hasEmptySegment(path) ? Self.withoutEmptySegments(path) : path
    }

    /// Whether two slashes follow each other, or the path ends with a slash and is not `/`.
    private static func hasEmptySegment(_ path: Substring) -> Bool {
        var previous: UInt8 = 0
        for byte in path.utf8 {
            if byte == UInt8(ascii: "/"), previous == byte { return true }
            previous = byte
        }
        return previous == UInt8(ascii: "/") && path.utf8.count > 1
    }

    private static func withoutEmptySegments(_ path: Substring) -> Substring {
        "/" + path.split(separator: "/").joined(separator: "/")
    }
}
