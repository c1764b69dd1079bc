import NIOCore

/// A subscriber like an `EventSource` that reconnects only on request. It can also do what no browser does, such as reading
/// slowly or resetting the connection.
public final class EventStreamClient: Sendable {
    /// Where the client sends its cursor.
    public enum CursorTransport: Sendable { case header, query }

    public enum Cursor: Sendable {
        /// The last received id.
        case kept
        case none
        case text(String)
        /// A cursor for each flow, of a target whose flows have their own.
        case each([String: String])
    }

    fileprivate struct State: Sendable {
        var log = StreamLog()
        var head = HTTPReplyParser()
        var isChunked = false
        var parser = TestEventStreamParser()
        /// Bytes to receive before the client disconnects, possibly within a block; `nil`: unlimited.
        var bytesLeft: Int?
        var port: Int
        let hasOwnCursors: Bool
        /// Changes what the client receives; `nil` for no change.
        var faulty: FaultyStream?
        /// Index of the first block that `next(_:within:where:)` has neither returned nor skipped.
        var nextUnread = 0
    }

    public let name: String
    public let target: StreamTarget
    private let options: WireConnection.Options
    private let state: AsyncValue<State>
    private let wire = AsyncValue<WireConnection?>(nil)

    /// - Parameter fault: a defect of the hub to simulate.
    public init(
        _ target: StreamTarget, port: Int, name: String = "subscriber", options: WireConnection.Options = .init(),
        fault: StreamFault? = nil
    ) {
        self.target = target
        self.state = AsyncValue(State(port: port, hasOwnCursors: target.hasOwnCursors, faulty: fault.map { FaultyStream($0) }))
        self.name = name
        self.options = options
    }

    /// Sets the hub's port for the next connection.
    public func move(to port: Int) { self.state.change { $0.port = port } }

    deinit { self.wire.value?.close() }

    public var log: StreamLog { self.state.read { $0.log } }
    public var lastEventID: String { self.state.read { $0.log.lastEventID } }
    public var isConnected: Bool { self.state.read { $0.log.isConnected } }
    /// Number of times that the simulated defect has changed what was received.
    public var faultOccasions: Int { self.state.read { $0.faulty?.occasions ?? 0 } }

    // MARK: Connecting

    /// Connects, and returns when the response head has arrived, or immediately if the client does not read.
    public func connect(
        _ cursor: Cursor = .kept, by transport: CursorTransport = .header, within timeout: Duration = .seconds(20)
    )
        async throws
    {
        self.disconnect()
        let text =
            switch cursor {
            case .kept: self.lastEventID
            case .none: ""
            case .text(let text): text
            case .each: ""
            }
        let cursors = self.cursors(cursor)
        let number = self.state.change { state in
            state.head = HTTPReplyParser()
            state.parser = TestEventStreamParser(lastEventID: text)
            state.bytesLeft = nil
            state.faulty?.startConnection()
            state.log.lastEventID = text
            state.log.cursors = cursors
            state.log.connections.append(.init(cursor: text, cursors: cursors, firstBlock: state.log.blocks.count))
            return state.log.connections.count - 1
        }
        do {
            let wire = try await WireConnection.open(port: self.state.read { $0.port }, options: self.options) { [state] bytes in
                Self.receive(bytes, ofConnection: number, state)
            } closed: { [state] error in
                Self.end(error.map { .failed("\($0)") } ?? .byServer, ofConnection: number, state)
            }
            self.wire.change { $0 = wire }
            try await wire.write(self.target.hasOwnCursors ? self.request(cursors) : self.request(text, transport))
        } catch {
            Self.end(.failed("\(error)"), ofConnection: number, self.state)
            throw error
        }
        guard self.options.reads else { return }
        try await self.state.wait(for: "the head of \(self.name)'s stream", within: timeout) { state in
            let connection = state.log.connections[number]
            return connection.status != nil || connection.ending != nil ? () : nil
        }
    }

    /// The cursors of the flows of a target whose flows have their own.
    private func cursors(_ cursor: Cursor) -> [String: String] {
        guard self.target.hasOwnCursors else { return [:] }
        switch cursor {
        case .kept: return self.state.read { $0.log.cursors }
        case .none: return [:]
        case .text(let text): return Dictionary(uniqueKeysWithValues: self.target.sortedFlows.map { ($0, text) })
        case .each(let cursors): return cursors
        }
    }

    private func request(_ cursors: [String: String]) -> [UInt8] {
        let body = self.target.body(cursors)
        var head = "\(self.target.bodyMethod ?? "POST") \(self.target.path(cursorInQuery: nil)) HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        head += "Accept: text/event-stream\r\nContent-Type: application/json\r\nContent-Length: \(body.count)\r\n"
        for (name, value) in self.target.headers { head += "\(name): \(value)\r\n" }
        return Array((head + "\r\n").utf8) + body
    }

    private func request(_ cursor: String, _ transport: CursorTransport) -> [UInt8] {
        var inQuery: String?
        if case .query = transport, !cursor.isEmpty { inQuery = cursor }
        var head = "GET \(self.target.path(cursorInQuery: inQuery)) HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n"
        if case .header = transport, !cursor.isEmpty { head += "Last-Event-ID: \(cursor)\r\n" }
        for (name, value) in self.target.headers { head += "\(name): \(value)\r\n" }
        return Array((head + "\r\n").utf8)
    }

    /// Disconnects. Bytes that arrive later are ignored.
    public func disconnect() {
        self.end()?.close()
    }

    /// Disconnects with a TCP reset.
    public func reset() { self.end()?.reset() }

    /// Ends the connection after this many more bytes, possibly within a block. Later bytes are ignored; the socket is closed
    /// at the next connect or disconnect.
    public func disconnect(afterBytes count: Int) { self.state.change { $0.bytesLeft = count } }

    private func end() -> WireConnection? {
        self.state.change { state in
            let last = state.log.connections.count - 1
            if last >= 0, state.log.connections[last].ending == nil {
                state.log.connections[last].ending = .byClient
                state.log.connections[last].ended = .now
            }
        }
        return self.wire.change { wire in
            defer { wire = nil }
            return wire
        }
    }

    // MARK: Reading

    public func stopReading() async throws { try await self.wire.value?.stopReading() }
    public func read() async throws {
        self.state.change { $0.faulty?.resume() }
        try await self.wire.value?.read()
    }
    public func trickle(bytes: Int, every interval: Duration = .seconds(1)) async throws {
        try await self.wire.value?.trickle(bytes: bytes, every: TimeAmount(interval))
    }

    private static func receive(_ bytes: ByteBuffer, ofConnection number: Int, _ state: AsyncValue<State>) {
        state.change { state in
            guard number == state.log.connections.count - 1, state.log.connections[number].ending == nil else { return }
            var view = bytes.readableBytesView[...]
            if let left = state.bytesLeft { view = view.prefix(left) }
            state.bytesLeft = state.bytesLeft.map { $0 - view.count }
            state.log.connections[number].bytes += view.count
            state.receive(view, ofConnection: number)
            if state.bytesLeft == 0 {
                state.log.connections[number].ending = .byClient
                state.log.connections[number].ended = .now
            }
        }
    }

    private static func end(_ ending: StreamLog.Ending, ofConnection number: Int, _ state: AsyncValue<State>) {
        state.change { state in
            guard state.log.connections[number].ending == nil else { return }
            state.log.connections[number].ending = ending
            state.log.connections[number].ended = .now
        }
    }

    // MARK: Waiting

    /// Waits for the next block that matches, after the last one that was returned.
    public func next(
        _ what: String = "a block", within timeout: Duration = .seconds(20),
        where matches: @escaping @Sendable (EventBlock) -> Bool
    ) async throws -> EventBlock {
        let what = "\(what) for \(self.name)"
        let (block, index) = try await self.state.wait(for: what, within: timeout) { state -> (EventBlock, Int)? in
            for index in state.nextUnread..<state.log.blocks.count where matches(state.log.blocks[index]) {
                return (state.log.blocks[index], index)
            }
            return nil
        }
        self.state.change { $0.nextUnread = max($0.nextUnread, index + 1) }
        return block
    }

    public func next(event: String, within timeout: Duration = .seconds(20)) async throws -> EventBlock {
        try await self.next("the event \(event)", within: timeout) { $0.event == event && $0.data != nil }
    }

    @discardableResult
    public func waitUntil<Result: Sendable>(
        _ what: String, within timeout: Duration = .seconds(20), _ extract: @escaping @Sendable (StreamLog) -> Result?
    ) async throws -> Result {
        try await self.state.wait(for: "\(what) (\(self.name))", within: timeout) { extract($0.log) }
    }

    public func waitUntilEnded(within timeout: Duration = .seconds(20)) async throws {
        try await self.waitUntil("the end of the stream", within: timeout) { $0.isConnected ? nil : () }
    }
}

extension EventStreamClient.State {
    fileprivate mutating func receive(_ bytes: some Collection<UInt8>, ofConnection number: Int) {
        var body: [UInt8]
        if self.log.connections[number].status == nil {
            do { try self.head.feed(bytes) } catch {
                self.log.connections[number].ending = .failed("\(error)")
                return
            }
            guard let reply = self.head.reply else { return }
            self.log.connections[number].status = reply.status
            self.log.connections[number].headers = reply.headers
            self.isChunked = reply.header("transfer-encoding")?.lowercased() == "chunked"
            body = self.head.takeBody()
        } else if self.isChunked {
            do { try self.head.feed(bytes) } catch {
                self.log.connections[number].ending = .failed("\(error)")
                return
            }
            body = self.head.takeBody()
        } else {
            body = Array(bytes)
        }
        // A proxy ends a stream with the last chunk, and keeps the connection.
        if self.isChunked, self.head.isComplete {
            self.log.connections[number].ending = .byServer
            self.log.connections[number].ended = .now
        }
        // A response with another status is not a stream; its body is ignored.
        guard self.log.connections[number].status == 200 else { return }
        var blocks = self.parser.feed(body)
        if self.faulty == nil {
            self.log.lastEventID = self.parser.lastEventID
        } else if let edited = self.faulty?.edit(blocks) {
            blocks = edited
            self.log.lastEventID = edited.last { $0.id != nil }?.id ?? self.log.lastEventID
        }
        for var block in blocks {
            block.connection = number
            self.log.blocks.append(block)
            if self.hasOwnCursors, let id = block.id, let flow = block.flow { self.log.cursors[flow] = id }
        }
        self.log.connections[number].comments = self.parser.comments
    }
}
