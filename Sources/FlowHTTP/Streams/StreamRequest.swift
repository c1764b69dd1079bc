import FlowCore
import HTTPTypes

/// A parsed request for an event stream: of one flow, of several flows, or of the feed.
struct StreamRequest {
    /// The flows in ascending order, without duplicates; empty for the feed.
    var flows: [FlowID]
    /// The position to resume from, sent as `Last-Event-ID` or `?last_event_id=`.
    var cursor = Cursor.none
    /// Whether a new subscriber starts with a snapshot: `false` with `?snapshot=0`.
    var wantsSnapshot = true
    /// Whether the stream gets `presence` events: `true` with `?presence=1`.
    var wantsPresence = false
    /// The type filter `?types=`: the wanted event types; `nil` for all.
    var types: Set<EventType>?
    /// Whether the request is for `/v1/feed`.
    var isFeed = false
    /// The client's IP address, for the connection registry.
    var remote = "unknown"

    /// A request that can never be answered with a stream. Temporary conditions are reported inside a stream instead.
    struct Malformed: Error {
        var code: String
        var detail: String
    }

    /// Whether a request is for an event stream, or by HEAD for the head of its response.
    static func isStream(method: HTTPRequest.Method, path: Substring) -> Bool {
        guard method == .get || method == .head else { return false }
        if path == "/v1/events" || path == "/v1/feed" { return true }
        return path.hasPrefix("/v1/flows/") && path.hasSuffix("/events")
    }

    /// Parses the target and the `Last-Event-ID` of a request.
    /// - Parameter maximumFlows: maximum number of flows of one stream.
    /// - Throws: ``Malformed`` for an invalid flow id or event type, or too many of them.
    init(path: Substring, query: Substring, lastEventID: String?, maximumFlows: Int) throws(Malformed) {
        self.flows = []
        let parameters = QueryParameters(query)
        if path == "/v1/feed" {
            self.isFeed = true
            return
        }
        if path == "/v1/events" {
            try self.readFlows(parameters, maximum: maximumFlows)
        } else {
            let name = path.dropFirst("/v1/flows/".count).dropLast("/events".count)
            guard let decoded = PercentDecoding.decode(name), let flow = FlowID(decoded) else { throw Self.badFlowID }
            self.flows = [flow]
        }
        if let header = lastEventID, !header.isEmpty {
            self.cursor = Cursor(header)
        } else if let parameter = parameters.first("last_event_id") {
            self.cursor = Cursor(parameter)
        }
        self.wantsSnapshot = parameters.first("snapshot") != "0"
        self.wantsPresence = parameters.first("presence") == "1"
        if let types = parameters.first("types"), !types.isEmpty { self.types = try Self.readTypes(types) }
    }

    /// Reads the parameters `flow`; at least one is required.
    private mutating func readFlows(_ parameters: QueryParameters, maximum: Int) throws(Malformed) {
        var flows = Set<FlowID>()
        for name in parameters.all("flow") {
            guard let flow = FlowID(name) else { throw Self.badFlowID }
            flows.insert(flow)
        }
        if flows.isEmpty {
            throw Malformed(code: "flow_missing", detail: "At least one flow is required: /v1/events?flow=a&flow=b")
        }
        if flows.count > maximum {
            throw Malformed(
                code: "too_many_flows",
                detail: "\(flows.count) flows exceed the maximum of \(maximum) (FLOWHUB_MAX_FLOWS_PER_CONNECTION). "
                    + "Use several streams.")
        }
        self.flows = flows.sorted()
    }

    /// Parses the value of `types`, at most 64 event types.
    private static func readTypes(_ text: String) throws(Malformed) -> Set<EventType> {
        var types = Set<EventType>()
        // What follows the 65th name is not split.
        let names = text.split(separator: ",", maxSplits: 65)
        if names.count > 64 { throw Malformed(code: "too_many_types", detail: "types must have at most 64 event types.") }
        for name in names {
            guard let type = EventType(name) else {
                throw Malformed(
                    code: "bad_event_type",
                    detail: "An event type must be 1 to 64 of A-Z a-z 0-9 _ . : -; separate several by commas."
                )
            }
            types.insert(type)
        }
        return types
    }

    static let badFlowID = Malformed(
        code: "bad_flow_id", detail: "A flow id must be 1 to 128 of A-Z a-z 0-9 _ . : - and not . or ..")
}
