import FlowCore

/// What a request is about, from its path: the route, and the id of the flow, import or other object in it.
struct RequestTarget: Sendable, Equatable {
    /// The route's pattern, as the router names it, such as `/v1/flows/{flow}/state`; `nil` for a path without a route.
    let route: String?
    /// The name of the object's kind: `flow`, `import`, `resource` (of a lock), `key` (of a mapping pattern) or `connection`.
    let kind: String?
    /// The object's id; `nil` if the path has none, or one that no object can have.
    let id: String?

    /// The kinds of objects by the first segment of a path below `/v1`, with the segments that may follow the id.
    private static let kinds: [Substring: (name: String, parts: Set<Substring>)] = [
        "flows": ("flow", ["state", "events", "history", "connections"]),
        "imports": ("import", ["", "data", "records", "sample", "schema", "download"]),
        "locks": ("resource", [""]), "patterns": ("key", [""]), "connections": ("connection", [""]),
    ]
    /// The routes below `/v1` without an object.
    private static let collections: Set<Substring> = ["flows", "imports", "events", "feed", "revocations", "session"]
    /// The routes of operations.
    private static let operations: Set<String> = ["/metrics", "/health/live", "/health/ready", "/health/storage"]

    /// - Parameter path: the target up to the `?`.
    init(path: Substring) {
        // Like the router, ignores empty segments. No route has more than four.
        let segments = path.split(separator: "/", maxSplits: 5)
        guard segments.first == "v1", segments.count <= 4 else {
            let path = "/" + segments.joined(separator: "/")
            (self.route, self.kind, self.id) = (Self.operations.contains(path) ? path : nil, nil, nil)
            return
        }
        if segments.count == 2, Self.collections.contains(segments[1]) {
            (self.route, self.kind, self.id) = ("/v1/\(segments[1])", nil, nil)
            return
        }
        let part = segments.count == 4 ? segments[3] : ""
        guard segments.count > 2, let kind = Self.kinds[segments[1]], kind.parts.contains(part) else {
            (self.route, self.kind, self.id) = (nil, nil, nil)
            return
        }
        self.route = "/v1/\(segments[1])/{\(kind.name)}" + (part.isEmpty ? "" : "/\(part)")
        self.kind = kind.name
        self.id = PercentDecoding.decode(segments[2]).flatMap { Identifier.isValid($0.utf8, maximumLength: 128) ? $0 : nil }
    }
}
