/// The flows and options that a subscriber requests.
public struct StreamTarget: Sendable {
    public var flows: [String]
    /// Whether to request `/v1/events`, even for one flow.
    public var isShared: Bool
    public var types: [String]?
    public var wantsSnapshot = true
    public var wantsPresence = false
    public var headers: [(name: String, value: String)] = []

    /// `/v1/flows/{id}/events`
    public static func flow(_ flow: String) -> StreamTarget { StreamTarget(flows: [flow], isShared: false) }
    /// `/v1/events?flow=…&flow=…`
    public static func flows(_ flows: [String]) -> StreamTarget { StreamTarget(flows: flows, isShared: true) }
    /// `/v1/feed`
    public static let feed = StreamTarget(flows: [], isShared: false)

    public func with(_ change: (inout StreamTarget) -> Void) -> StreamTarget {
        var copy = self
        change(&copy)
        return copy
    }

    /// The flows sorted and without duplicates, as in a cursor.
    public var sortedFlows: [String] { Set(self.flows).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) } }

    public func path(cursorInQuery: String?) -> String {
        var parameters: [String] = []
        if self.isShared { parameters += self.flows.map { "flow=\($0)" } }
        if let types = self.types { parameters.append("types=\(types.joined(separator: ","))") }
        if !self.wantsSnapshot { parameters.append("snapshot=0") }
        if self.wantsPresence { parameters.append("presence=1") }
        if let cursorInQuery { parameters.append("last_event_id=\(cursorInQuery)") }
        let base = self.flows.isEmpty ? "/v1/feed" : self.isShared ? "/v1/events" : "/v1/flows/\(self.flows[0])/events"
        return parameters.isEmpty ? base : base + "?" + parameters.joined(separator: "&")
    }
}

extension StreamTarget: CustomStringConvertible {
    public var description: String { self.path(cursorInQuery: nil) }
}
