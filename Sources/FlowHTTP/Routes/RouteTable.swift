import HTTPTypes
import Hummingbird

/// All routes of a listener with the methods that each answers, for `Allow` (RFC 9110, 10.2.1).
///
/// It has the router's routes and those of event streams, which the connection answers without the router.
struct RouteTable: Sendable {
    /// A route that is not in a router: a path such as `/v1/flows/:flow/events`, and a method.
    typealias Route = (path: String, method: HTTPRequest.Method)

    /// The requests for an event stream, which the connection answers.
    static let streams: [Route] = [
        ("/v1/events", .get), ("/v1/events", .post), ("/v1/events", .query), ("/v1/feed", .get), ("/v1/flows/:flow/events", .get),
    ]

    private struct Entry: Sendable {
        /// The segments of the path; `nil` stands for any segment.
        let segments: [String?]
        var methods: Set<HTTPRequest.Method>
    }

    private var entries: [Entry] = []

    /// - Parameter more: routes that the connection answers.
    init(_ router: Router<HubContext>, and more: [Route] = []) {
        self.init(router.routes.map { ($0.path.description, $0.method) } + more)
    }

    init(_ routes: [Route]) {
        for (path, method) in routes {
            let segments = path.split(separator: "/").map { segment -> String? in
                segment.hasPrefix(":") || segment.hasPrefix("{") ? nil : String(segment)
            }
            let index: Int
            if let found = self.entries.firstIndex(where: { $0.segments == segments }) {
                index = found
            } else {
                index = self.entries.endIndex
                self.entries.append(Entry(segments: segments, methods: [.options]))
            }
            self.entries[index].methods.insert(method)
            // The response to HEAD is that to GET without its body.
            if method == .get { self.entries[index].methods.insert(.head) }
        }
    }

    /// The value of `Allow` for a path: the methods of the routes with this path; `nil` if there is none.
    /// - Parameter path: the path of a request, with or without empty segments.
    func allow(_ path: some StringProtocol) -> String? {
        let segments = path.split(separator: "/")
        var methods: Set<HTTPRequest.Method> = []
        for entry in self.entries where entry.segments.count == segments.count {
            let matches = zip(entry.segments, segments).allSatisfy { expected, segment in
                expected.map { $0.utf8.elementsEqual(segment.utf8) } ?? true
            }
            if matches { methods.formUnion(entry.methods) }
        }
        guard !methods.isEmpty else { return nil }
        return methods.map(\.rawValue).sorted().joined(separator: ", ")
    }
}
