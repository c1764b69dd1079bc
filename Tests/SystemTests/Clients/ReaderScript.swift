import FlowCore
import FlowTestKit
import Foundation

/// How a client has read a case.
enum ReaderOutcome: Sendable, CustomStringConvertible {
    case read
    case failed(String)

    var description: String {
        switch self {
        case .read: "reads it"
        case .failed(let why): why
        }
    }
}

/// One cell of the matrix: what is published to a client, and what it must report. An event is published when the client has
/// reported the one before, and must be reported within two seconds.
struct ReaderScript: Sendable {
    let client: ReaderClient
    let reader: any StreamReader
    let what: ReaderCase
    let matrix: ReaderMatrix
    private var flow: String { self.what == .largeState ? Self.largeFlow : "\(self.what)-\(self.client.rawValue)" }
    private var api: HubAPI { self.matrix.api }

    init(_ client: ReaderClient, _ reader: any StreamReader, _ what: ReaderCase, _ matrix: ReaderMatrix) {
        self.client = client
        self.reader = reader
        self.what = what
        self.matrix = matrix
    }

    func run() async -> ReaderOutcome {
        do {
            switch self.what {
            case .fresh: try await self.readEvents(#"{"step":1}"#, #""plain""#)
            case .resumed: try await self.resume()
            case .filtered: try await self.filter()
            case .largeState: try await self.readLargeState()
            case .text: try await self.readEvents(#"{"name":"Zoë Müller 😀 漢字"}"#, #""Ünïcödé 🎉👩‍🚀 \u00e9 日本語""#)
            case .separators: try await self.readEvents("{\"a\":\"\(Self.separators)\"}", "\"\(Self.separators)\"")
            case .singleBytes: try await self.readSingleBytes(.bytes)
            case .singleBytesWithCRLF: try await self.readSingleBytes(.bytesWithCRLF)
            }
            return .read
        } catch {
            return .failed("\(error)")
        }
    }

    private static let separators = "x\u{2028}y\u{2029}z\u{85}end"

    /// The flow with ``largeState``, which all clients read: a debug build takes seconds to store one.
    static let largeFlow = "large"

    /// 900 KB with many places between tokens.
    static let largeState: String = {
        let text = String(repeating: "a", count: 60)
        let rows = (0..<9_000).map { "{\"row\":\($0),\"name\":\"record \($0)\",\"text\":\"\(text)\"}" }
        return "{\"rows\":[\(rows.joined(separator: ","))]}"
    }()

    /// What the readers report in place of ``largeState``.
    private static let largeStateReport = "{\"sha256\":\"\(TestDigest.sha256(Array(largeState.utf8)))\"}"

    // MARK: Cases

    /// A new subscriber, to whom four events with this data are published.
    private func readEvents(_ state: String, _ data: String, port: Int? = nil) async throws {
        let reading = try await self.subscribe(state, port: port)
        for number in 1...4 { try await self.publish("event \(number)", data, to: reading) }
    }

    /// A new subscriber of the flow that all clients read. Passes over the events that are published to the others.
    private func readLargeState() async throws {
        let reading = try await self.open(port: self.matrix.hub.port)
        let snapshot = try await self.nextOwn("snapshot", of: reading, within: .seconds(60))
        try self.expect(snapshot, "snapshot")
        try self.expectMember("state", of: snapshot, Self.largeStateReport)
        try self.expect(await self.nextOwn("caught_up", of: reading), "caught_up")
        for number in 1...4 {
            let data = "\"\(self.client.rawValue) \(number)\""
            let written = try await self.succeed(self.api.publish("note", jsonText(data), to: self.flow))
            let event = try await self.nextOwn("event \(number)", of: reading)
            try self.expect(event, "note", id: written.reply.json.member("id")?.stringValue)
            try self.expectMember("data", of: event, data)
        }
    }

    private func nextOwn(
        _ what: String, of reading: Reading, within timeout: Duration = Reading.patience
    ) async throws -> ReaderEvent {
        let deadline = ContinuousClock.now + timeout
        while true {
            let event = try await reading.next(what, within: deadline - .now)
            if event.type != "note" || event.data.contains("\"\(self.client.rawValue) ") { return event }
        }
    }

    private func readSingleBytes(_ pieces: StreamProxy.Pieces) async throws {
        try await StreamProxy.running(before: self.matrix.hub.port, pieces: pieces) { proxy in
            try await self.readEvents(#"{"name":"Zoë 😀"}"#, #""é 🎉""#, port: proxy.port)
        }
    }

    private func filter() async throws {
        try await self.succeed(self.api.put(self.flow, jsonText(#"{"step":1}"#)))
        try await self.succeed(self.api.publish("noise", .null, to: self.flow))
        let reading = try await self.subscribe(nil, query: "?types=note")
        for number in 1...4 {
            for _ in 0..<2 { try await self.succeed(self.api.publish("noise", .null, to: self.flow)) }
            try await self.publish("event \(number)", "\(number)", to: reading)
        }
    }

    private func resume() async throws {
        try await StreamProxy.running(before: self.matrix.hub.port) { proxy in
            let reading = try await self.subscribe(#"{"step":1}"#, port: proxy.port)
            try await self.publish("event 1", "1", to: reading)

            // The hub ends the stream, and the client may return.
            let connections = try await self.api.call("GET", "/v1/flows/\(self.flow)/connections").json.member("connections")
            guard connections?.elements.count == 1, let id = connections?.elements[0].member("connection_id")?.stringValue else {
                throw Reading.Failure(description: "its connections are \(connections?.string ?? "missing")")
            }
            let ended = try await self.api.call("DELETE", "/v1/connections/\(id)")
            guard ended.status == 204 else { throw Reading.Failure(description: "ending its stream: \(ended.status)") }
            try self.expect(await reading.next("closing"), "closing")
            try self.expect(await reading.next("caught_up after the end of the stream", within: .seconds(10)), "caught_up")
            try await self.publish("event 2", "2", to: reading)

            // The connection is lost, and an event is published before the client can return.
            try await proxy.cut()
            let missed = try await self.succeed(self.api.publish("note", jsonText("3"), to: self.flow))
            try await proxy.release()
            let event = try await reading.next("event 3, after the connection was lost", within: .seconds(10))
            try self.expect(event, "note", id: missed.reply.json.member("id")?.stringValue)
            try self.expect(await reading.next("caught_up after event 3"), "caught_up")
            try await self.publish("event 4", "4", to: reading)
        }
    }

    /// Times from publications to their reports.
    func delays(_ count: Int) async throws -> [Duration] {
        let flow = "delays-\(self.client.rawValue)"
        let reading = try await self.reader.read(flow, "http://127.0.0.1:\(self.matrix.hub.port)/v1/flows/\(flow)/events")
        while try await reading.next("caught_up", within: .seconds(20)).type != "caught_up" {}
        var delays: [Duration] = []
        for number in 0..<count {
            let start = Date().timeIntervalSince1970
            try await self.succeed(self.api.publish("note", jsonText("\(number)"), to: flow))
            delays.append(.seconds(try await reading.next("event \(number)").at - start))
        }
        return delays.sorted()
    }

    // MARK: Steps

    /// Sets the state, if any, and subscribes. The client must report the state and that it has caught up.
    private func subscribe(_ state: String?, query: String = "", port: Int? = nil) async throws -> Reading {
        if let state { try await self.succeed(self.api.put(self.flow, jsonText(state))) }
        guard let stored = try await self.api.state(of: self.flow) else { throw Reading.Failure(description: "no state") }
        let reading = try await self.open(query, port: port ?? self.matrix.hub.port)
        let snapshot = try await reading.next("snapshot", within: .seconds(20))
        try self.expect(snapshot, "snapshot", id: String(stored.tag.dropFirst().dropLast()))
        try self.expectMember("state", of: snapshot, stored.state.string)
        try self.expect(await reading.next("caught_up"), "caught_up")
        return reading
    }

    private func open(_ query: String = "", port: Int) async throws -> Reading {
        try await self.reader.read(self.flow, "http://127.0.0.1:\(port)/v1/flows/\(self.flow)/events\(query)")
    }

    /// Publishes an event, which the client must report.
    private func publish(_ what: String, _ data: String, to reading: Reading) async throws {
        let written = try await self.succeed(self.api.publish("note", jsonText(data), to: self.flow))
        let event = try await reading.next(what)
        try self.expect(event, "note", id: written.reply.json.member("id")?.stringValue)
        try self.expectMember("data", of: event, data)
    }

    @discardableResult
    private func succeed(_ written: HubAPI.Written) throws -> HubAPI.Written {
        guard written.isAcknowledged else { throw HubAPI.UnexpectedReply(reply: written.reply, what: self.flow) }
        return written
    }

    private func expect(_ event: ReaderEvent, _ type: String, id: String? = nil) throws {
        guard event.type == type else { throw Reading.Failure(description: "\(type) was expected, not \(event)") }
        guard id == nil || event.id == id else { throw Reading.Failure(description: "\(type) with the id \(event.id ?? "none")") }
    }

    /// Compares a member of the event's data, as JSON.
    private func expectMember(_ name: String, of event: ReaderEvent, _ expected: String) throws {
        func object(_ text: String) throws -> Any {
            try JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed)
        }
        let data = try object(event.data) as? [String: Any]
        let wanted = try object("[\(expected)]") as? NSArray
        guard let value = data?[name], wanted == [value] as NSArray else {
            throw Reading.Failure(description: "\(event.type) differs: \(event.data.prefix(300))")
        }
    }
}
