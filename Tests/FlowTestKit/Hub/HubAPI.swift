public import FlowCore

/// A client for the hub's HTTP API.
public struct HubAPI: Sendable {
    /// The response to a change.
    public struct Written: Sendable {
        public var status: Int
        /// The flow's version after the change.
        public var version: Version
        /// The versions of the events of a batch.
        public var versions: [Version]
        public var state: JSONText?
        public var replayed: Bool
        public var reply: HTTPReply

        public var isAcknowledged: Bool { (200..<300).contains(self.status) }
    }

    public struct Stored: Sendable {
        public var version: Version
        public var state: JSONText
        public var status: String
        public var tag: String
    }

    public struct UnexpectedReply: Error, CustomStringConvertible {
        public let reply: HTTPReply
        public let what: String

        public init(reply: HTTPReply, what: String) {
            self.reply = reply
            self.what = what
        }

        public var description: String { "\(self.what): \(self.reply.status) \(self.reply.text)" }
    }

    public let caller: HTTPCaller
    public var headers: [(name: String, value: String)] = []

    public init(port: Int) { self.caller = HTTPCaller(port: port) }

    public func with(header name: String, _ value: String) -> HubAPI {
        var copy = self
        copy.headers.append((name, value))
        return copy
    }

    /// - Throws: ``AnswerLost``, ``TimedOut``, or the error of the connection attempt. An error status does not throw.
    public func call(_ method: String, _ target: String, _ json: JSONText? = nil) async throws -> HTTPReply {
        let call =
            json.map { HTTPCall(method, target, headers: self.headers, json: $0) }
            ?? HTTPCall(method, target, headers: self.headers)
        return try await self.caller.perform(call)
    }

    // MARK: Changes

    /// Publishes one event as an object, or several as a batch.
    public func publish(_ events: [(type: String, data: JSONText)], to flow: String, durable: Bool = true) async throws -> Written
    {
        let objects = events.map { event in
            JSONText.object { writer in
                writer.key("type")
                writer.value(event.type)
                writer.key("data")
                writer.raw(event.data)
                if !durable {
                    writer.key("durable")
                    writer.value(false)
                }
            }
        }
        let body = objects.count == 1 ? objects[0] : JSONText.array { writer in for object in objects { writer.raw(object) } }
        return try await self.change("POST", "/v1/flows/\(flow)/events", body)
    }

    public func publish(_ type: String, _ data: JSONText, to flow: String, durable: Bool = true) async throws -> Written {
        try await self.publish([(type, data)], to: flow, durable: durable)
    }

    public func patch(_ flow: String, _ patch: JSONText) async throws -> Written {
        try await self.change("PATCH", "/v1/flows/\(flow)/state", patch)
    }

    public func put(_ flow: String, _ state: JSONText) async throws -> Written {
        try await self.change("PUT", "/v1/flows/\(flow)/state", state)
    }

    public func delete(_ flow: String) async throws -> Written {
        try await self.change("DELETE", "/v1/flows/\(flow)/state", nil)
    }

    private func change(_ method: String, _ target: String, _ body: JSONText?) async throws -> Written {
        let reply = try await self.call(method, target, body)
        let json = reply.json
        return Written(
            status: reply.status, version: json.member("version")?.intValue ?? 0,
            versions: (json.member("ids")?.elements ?? []).compactMap {
                $0.stringValue?.split(separator: "-").last.flatMap { Version($0) }
            },
            state: json.member("state"), replayed: reply.header("idempotency-replayed") == "true", reply: reply)
    }

    // MARK: Reading

    /// - Returns: `nil` for a flow that does not exist.
    public func state(of flow: String) async throws -> Stored? {
        let reply = try await self.call("GET", "/v1/flows/\(flow)/state")
        if reply.status == 404 { return nil }
        let json = reply.json
        guard reply.status == 200, let version = json.member("version")?.intValue, let state = json.member("state"),
            let status = json.member("status")?.stringValue, let tag = reply.header("etag")
        else { throw UnexpectedReply(reply: reply, what: "state of \(flow)") }
        return Stored(version: version, state: state, status: status, tag: tag)
    }

    /// The flow's version and its stored events above the version `start`.
    /// - Returns: `nil` for a flow that never existed. A deleted flow has a history.
    public func history(of flow: String, after start: Version = 0) async throws -> (version: Version, events: [JSONText])? {
        var events: [JSONText] = []
        var after = start
        while true {
            let reply = try await self.call("GET", "/v1/flows/\(flow)/history?after=\(after)&limit=1000")
            if reply.status == 404 { return nil }
            let json = reply.json
            guard reply.status == 200, let version = json.member("version")?.intValue, let page = json.member("events") else {
                throw UnexpectedReply(reply: reply, what: "history of \(flow)")
            }
            events += page.elements
            guard let next = json.member("next")?.intValue else { return (version, events) }
            after = next
        }
    }

    public func isReady() async throws -> Bool { try await self.call("GET", "/health/ready").status == 200 }

    /// The value of a metric, by its name with labels; `nil` if `/metrics` does not contain it.
    public func metric(_ name: String) async throws -> Double? {
        let text = try await self.call("GET", "/metrics").text
        let line = text.split(separator: "\n").first { $0.hasPrefix(name + " ") }
        return line.flatMap { $0.split(separator: " ").last }.flatMap { Double($0) }
    }
}
