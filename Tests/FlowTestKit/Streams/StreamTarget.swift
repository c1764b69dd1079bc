import FlowCore

/// The flows and options that a subscriber requests.
public struct StreamTarget: Sendable {
    public var flows: [String]
    /// Whether to request `/v1/events`, even for one flow.
    public var isShared: Bool
    /// The method of a request whose body names the flows, each with a cursor of its own: `POST` or `QUERY`; `nil` for GET.
    public var bodyMethod: String?
    public var types: [String]?
    public var wantsSnapshot = true
    public var wantsPresence = false
    /// Further parameters, in the form of a query.
    public var query = ""
    public var headers: [(name: String, value: String)] = []

    /// `/v1/flows/{id}/events`
    public static func flow(_ flow: String) -> StreamTarget { StreamTarget(flows: [flow], isShared: false) }
    /// `/v1/events?flow=…&flow=…`
    public static func flows(_ flows: [String]) -> StreamTarget { StreamTarget(flows: flows, isShared: true) }
    /// `POST /v1/events` with the flows in the body.
    public static func posted(_ flows: [String], method: String = "POST") -> StreamTarget {
        var target = StreamTarget(flows: flows, isShared: true)
        target.bodyMethod = method
        return target
    }
    /// `/v1/feed`
    public static let feed = StreamTarget(flows: [], isShared: false)

    public func with(_ change: (inout StreamTarget) -> Void) -> StreamTarget {
        var copy = self
        change(&copy)
        return copy
    }

    /// The flows sorted and without duplicates, as in a cursor.
    public var sortedFlows: [String] { Set(self.flows).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) } }

    /// Whether each flow has a cursor of its own.
    public var hasOwnCursors: Bool { self.bodyMethod != nil }

    public func path(cursorInQuery: String?) -> String {
        if self.hasOwnCursors { return "/v1/events" }
        var parameters: [String] = []
        if self.isShared { parameters += self.flows.map { "flow=\($0)" } }
        if let types = self.types { parameters.append("types=\(types.joined(separator: ","))") }
        if !self.wantsSnapshot { parameters.append("snapshot=0") }
        if self.wantsPresence { parameters.append("presence=1") }
        if !self.query.isEmpty { parameters.append(self.query) }
        if let cursorInQuery { parameters.append("last_event_id=\(cursorInQuery)") }
        let base = self.flows.isEmpty ? "/v1/feed" : self.isShared ? "/v1/events" : "/v1/flows/\(self.flows[0])/events"
        return parameters.isEmpty ? base : base + "?" + parameters.joined(separator: "&")
    }
}

extension StreamTarget {
    /// The body of a request that names the flows.
    func body(_ cursors: [String: String]) -> [UInt8] {
        JSONText.object { writer in
            writer.key("flows")
            writer.beginArray()
            for flow in self.flows {
                writer.beginObject()
                writer.key("flow_id")
                writer.value(flow)
                writer.key("after")
                if let cursor = cursors[flow] { writer.value(cursor) } else { writer.null() }
                writer.endObject()
            }
            writer.endArray()
            if let types = self.types {
                writer.key("types")
                writer.beginArray()
                for type in types { writer.value(type) }
                writer.endArray()
            }
            if !self.wantsSnapshot {
                writer.key("snapshot")
                writer.value(false)
            }
            if self.wantsPresence {
                writer.key("presence")
                writer.value(true)
            }
        }.bytes
    }
}

extension StreamTarget: CustomStringConvertible {
    public var description: String {
        let method = self.bodyMethod.map { "\($0) of \(self.flows.count) flows " } ?? ""
        return method + self.path(cursorInQuery: nil)
    }
}
