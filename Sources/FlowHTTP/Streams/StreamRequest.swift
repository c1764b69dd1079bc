import FlowCore
import HTTPTypes

/// A parsed request for an event stream: of one flow, of several flows, or of the feed.
struct StreamRequest {
    /// The flows in ascending order, without duplicates; empty for the feed.
    var flows: [FlowID]
    /// The position to resume from.
    var position = StreamPosition.shared(.none)
    /// Whether a new subscriber starts with a snapshot: `false` with `?snapshot=0`.
    var wantsSnapshot = true
    /// Whether the stream gets `presence` events: `true` with `?presence=1`.
    var wantsPresence = false
    /// The type filter `?types=`: the wanted event types; `nil` for all.
    var types: Set<EventType>?
    /// Whether the request is for `/v1/feed`.
    var isFeed = false
    /// The flows that the feed shows.
    var filter = FlowFilter.all
    /// How the blocks are encoded: `?event=` and `?pad=`.
    var encoding = EncodingOptions()
    /// The client's IP address, for the connection registry.
    var remote = "unknown"

    /// Whether the stream has one cursor for several flows.
    var hasSharedCursor: Bool {
        switch self.position {
        case .shared: self.flows.count > 1
        case .each: false
        }
    }

    /// Maximum number of event types of a filter, and of ids and statuses of the feed's.
    static let maximumFilter = 64

    /// A request that can never be answered with a stream. Temporary conditions are reported inside a stream instead.
    struct Malformed: Error {
        var status = HTTPResponse.Status.badRequest
        var code: String
        var detail: String
    }

    /// Whether a request is for an event stream, or by HEAD for the head of its response.
    static func isStream(method: HTTPRequest.Method, path: Substring) -> Bool {
        guard method == .get || method == .head else { return false }
        if path == Self.sharedPath || path == "/v1/feed" { return true }
        return path.hasPrefix("/v1/flows/") && path.hasSuffix("/events")
    }

    /// Whether a request is for an event stream whose flows are in its body: `POST` or `QUERY` of `/v1/events`.
    static func isStreamWithBody(method: HTTPRequest.Method, path: Substring) -> Bool {
        (method == .post || method == .query) && path == Self.sharedPath
    }

    /// The path of streams of several flows.
    private static let sharedPath = "/v1/events"

    /// Parses the target and the `Last-Event-ID` of a request without a body.
    /// - Parameters:
    ///   - lastEventID: the header field. If there are several, they are separated by commas, and the last one counts.
    ///   - maximumFlows: maximum number of flows of one stream.
    /// - Throws: ``Malformed`` for an invalid flow id, event type, pattern or status, or too many of them.
    init(path: Substring, query: Substring, lastEventID: String?, maximumFlows: Int) throws(Malformed) {
        self.flows = []
        let parameters = QueryParameters(query)
        self.encoding = try EncodingOptions(parameters)
        if path == "/v1/feed" {
            self.isFeed = true
            self.filter = try Self.readFilter(parameters)
            return
        }
        if path == Self.sharedPath {
            try self.readFlows(parameters, maximum: maximumFlows)
        } else {
            let name = path.dropFirst("/v1/flows/".count).dropLast("/events".count)
            guard let decoded = PercentDecoding.decode(name), let flow = FlowID(decoded) else { throw Self.badFlowID }
            self.flows = [flow]
        }
        self.position = .shared(Self.cursor(header: lastEventID, parameters))
        self.wantsSnapshot = parameters.first("snapshot") != "0"
        self.wantsPresence = parameters.first("presence") == "1"
        if let types = parameters.first("types"), !types.isEmpty {
            self.types = try Self.readTypes(types.split(separator: ",", maxSplits: Self.maximumFilter + 1))
        }
    }

    // MARK: Cursor

    /// The cursor of a request: that of the header field, else the last one among the parameters.
    ///
    /// An `EventSource` reconnects with the header field and an unchanged target, whose parameter is the older position. A
    /// client that cannot set the header field appends a parameter to a target that may have one.
    private static func cursor(header: String?, _ parameters: QueryParameters) -> Cursor {
        let sent = header.flatMap { $0.split(separator: ",").last }.map { Cursor(sent: $0) } ?? .none
        if sent != .none { return sent }
        return parameters.last(where: Self.isCursor).map { Cursor(sent: $0) } ?? .none
    }

    /// Whether a parameter has a cursor: `last_event_id`, `lastEventId`, `lastEventID`, `Last-Event-ID`.
    private static func isCursor(_ name: String) -> Bool {
        guard (11...13).contains(name.utf8.count) else { return false }
        return ["last_event_id", "lasteventid", "last-event-id"].contains(name.lowercased())
    }

    // MARK: Flows

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
                    + "Send them as the body of POST /v1/events, or use several streams.")
        }
        self.flows = flows.sorted()
    }

    // MARK: Filters

    /// Parses the names of event types.
    static func readTypes(_ names: [some StringProtocol]) throws(Malformed) -> Set<EventType> {
        if names.count > Self.maximumFilter { throw Self.tooManyTypes }
        var types = Set<EventType>()
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

    /// Reads the parameters `flow` and `status` of the feed.
    private static func readFilter(_ parameters: QueryParameters) throws(Malformed) -> FlowFilter {
        var patterns: [FlowPattern] = []
        for text in parameters.all("flow") {
            guard let pattern = FlowPattern(text) else {
                throw Malformed(
                    code: "bad_parameter", detail: "The parameter flow must be a flow id, or a prefix of ids followed by *.")
            }
            patterns.append(pattern)
        }
        let statuses = parameters.all("status").flatMap { $0.split(separator: ",", maxSplits: Self.maximumFilter + 1) }
        if patterns.count > Self.maximumFilter || statuses.count > Self.maximumFilter {
            throw Malformed(
                code: "bad_parameter",
                detail: "The feed can be filtered by at most \(Self.maximumFilter) values of flow and of status each.")
        }
        let isValid = statuses.allSatisfy { status in
            status.utf8.count <= FlowStatus.maximumLength && status.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f }
        }
        guard isValid else {
            throw Malformed(
                code: "bad_parameter",
                detail: "A status has at most \(FlowStatus.maximumLength) bytes and no control characters.")
        }
        return FlowFilter(patterns: patterns, statuses: Set(statuses.map { FlowStatus(stored: String($0)) }))
    }

    static let tooManyTypes = Malformed(
        code: "too_many_types", detail: "types must have at most \(maximumFilter) event types.")

    static let badFlowID = Malformed(
        code: "bad_flow_id", detail: "A flow id must be 1 to 128 of A-Z a-z 0-9 _ . : - and not . or ..")
}
