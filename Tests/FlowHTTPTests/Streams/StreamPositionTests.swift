import FlowCore
import NIOCore
import NIOPosix
import Testing

@testable import FlowHTTP

/// How a client learns its position, and how blocks reach streams of different forms.
@Suite struct StreamPositionTests {
    private static let epoch = Epoch(counter: 7, random: "a")
    private static let nextEpoch = Epoch(counter: 8, random: "b")

    /// A shard on an event loop with streams of the flows `f` and `g`, which are at version 1.
    private struct Hub {
        let loop: any EventLoop
        let shard: NIOLoopBound<StreamShard>
        let streams: NIOLoopBound<[(stream: EventStream, output: RecordedOutput)]>

        /// - Parameter targets: path and query of each stream.
        init(_ targets: (path: Substring, query: Substring)...) async throws {
            var configuration = StreamConfiguration()
            configuration.heartbeatSeconds = 1
            let services = StreamServices.empty(epoch: StreamPositionTests.epoch, configuration: configuration)
            services.table.attach([LaggingDeliverySink()])
            let requests = try targets.map {
                try StreamRequest(path: $0.path, query: $0.query, lastEventID: nil, maximumFlows: 9)
            }
            let loop = MultiThreadedEventLoopGroup.singleton.any()
            self.loop = loop
            (self.shard, self.streams) = try await loop.submit {
                let shard = StreamShard(loop: loop, services: services, sinkIndex: 0)
                let streams = requests.enumerated().map { number, request in
                    let output = RecordedOutput()
                    let stream = EventStream(
                        number: UInt64(number), principal: .open, remote: "", request: request,
                        epoch: StreamPositionTests.epoch, shard: shard, output: output)
                    shard.open(stream)
                    return (stream, output)
                }
                return (NIOLoopBound(shard, eventLoop: loop), NIOLoopBound(streams, eventLoop: loop))
            }.get()
            try await self.open(at: 1, in: StreamPositionTests.epoch)
        }

        func open(at version: Version, in epoch: Epoch) async throws {
            try await self.run { shard, _ in
                for name in ["f", "g"] {
                    guard let flow = FlowID(name) else { continue }
                    let head = FlowHead(
                        flow: flow, account: Principal.open.account, version: version, status: .active, resetVersion: 0,
                        updatedAt: Timestamp(milliseconds: 0))
                    shard.process([
                        .opened(flow, FlowRecord(head: head, state: .emptyObject), head: head, epoch: epoch, last: [])
                    ])
                }
            }
        }

        /// Delivers an event, and waits until the pass has sent it.
        func publish(_ type: String, _ version: Version, to name: String = "f") async throws {
            try await self.run { shard, _ in
                guard let flow = FlowID(name), let type = EventType(type) else { return }
                let event = FlowEvent(
                    version: version, type: type, payload: .emptyObject, createdAt: Timestamp(milliseconds: 0))
                let head = FlowHead(
                    flow: flow, account: Principal.open.account, version: version, status: .active, resetVersion: 0,
                    updatedAt: Timestamp(milliseconds: 0))
                shard.process([
                    .events(flow, [Frame.durable(event, of: flow, epoch: StreamPositionTests.epoch)], head: head)
                ])
            }
            try await self.run { _, _ in }
        }

        func run(_ body: @escaping @Sendable (StreamShard, [EventStream]) -> Void) async throws {
            try await self.loop.submit { body(self.shard.value, self.streams.value.map(\.stream)) }.get()
        }

        /// What each stream was sent since the last call, without times.
        func read() async throws -> [String] {
            try await self.loop.submit { self.streams.value.map { $0.output.take() } }.get()
        }

        func tick() async throws -> [String] {
            try await self.run { shard, _ in shard.tick() }
            return try await self.read()
        }
    }

    private static let heartbeat =
        "event: heartbeat\ndata: {\"type\":\"heartbeat\",\"time\":\"1970-01-01T00:00:00.000Z\",\"delivery\":\"ok\"}\n\n"

    @Test func heartbeatHasPositionAfterFilteredEvents() async throws {
        let hub = try await Hub(("/v1/flows/f/events", "types=wanted"))
        let start = try await hub.read()[0]
        #expect(start.hasPrefix("retry: ") && start.contains("id: 7.a-1\nevent: caught_up\n"), "\(start)")
        #expect(try await hub.tick() == [Self.heartbeat])
        try await hub.publish("other", 2)
        try await hub.publish("other", 3)
        #expect(try await hub.read() == [""])
        #expect(try await hub.tick() == ["id: 7.a-3\n" + Self.heartbeat])
        #expect(try await hub.tick() == [Self.heartbeat])
        try await hub.publish("other", 4)
        try await hub.publish("wanted", 5)
        #expect(try await hub.read()[0].hasPrefix("id: 7.a-5\nevent: wanted\n"))
        #expect(try await hub.tick() == [Self.heartbeat])
    }

    @Test func combinedCursorHasPositionsOfAllFlows() async throws {
        let hub = try await Hub(("/v1/events", "flow=f&flow=g&types=wanted"))
        _ = try await hub.read()
        let hash = FlowSetHash(of: ["f", "g"].compactMap { FlowID($0) })
        try await hub.publish("other", 2, to: "g")
        #expect(try await hub.read() == [""])
        #expect(try await hub.tick() == ["id: 7.a-\(hash)-1.2\n" + Self.heartbeat])
        try await hub.publish("other", 3, to: "g")
        try await hub.publish("wanted", 2, to: "f")
        #expect(try await hub.read()[0].hasPrefix("id: 7.a-\(hash)-2.3\nevent: wanted\n"))
        #expect(try await hub.tick() == [Self.heartbeat])
    }

    /// A client that lost the connection between this heartbeat and the snapshot would never receive the snapshot.
    @Test func heartbeatHasNoPositionWhileSnapshotIsDue() async throws {
        let hub = try await Hub(("/v1/flows/f/events", "types=wanted"))
        _ = try await hub.read()
        try await hub.publish("other", 2)
        try await hub.run { shard, _ in shard.process([.reset(Self.nextEpoch)]) }
        #expect(try await hub.tick() == [Self.heartbeat])
        try await hub.open(at: 1, in: Self.nextEpoch)
        let text = try await hub.read()[0]
        #expect(text.hasPrefix("event: resync\n") && text.contains("id: 8.b-1\nevent: snapshot\n"), "\(text)")
        #expect(try await hub.tick() == [Self.heartbeat])
    }

    /// Otherwise the client would read the skipped events again, and a client of a terminal flow would never get 204.
    @Test func closingHasPositionAfterFilteredEvents() async throws {
        let hub = try await Hub(("/v1/flows/f/events", "types=wanted"), ("/v1/flows/f/events", ""))
        _ = try await hub.read()
        try await hub.publish("other", 2)
        _ = try await hub.read()
        try await hub.run { _, streams in for stream in streams { stream.close(.drain, retryMilliseconds: 20) } }
        let closing = "event: closing\ndata: {\"type\":\"closing\",\"reason\":\"drain\",\"reconnect\":true}\n\n"
        #expect(try await hub.read() == ["retry: 20\nid: 7.a-2\n" + closing, "retry: 20\n" + closing])
    }

    @Test func streamsOfBothFormsReceiveEveryEvent() async throws {
        let path: Substring = "/v1/flows/f/events"
        let hub = try await Hub(
            (path, ""), (path, "event=message"), (path, "event=message&pad=3"), (path, "types=a&event=message"))
        let start = try await hub.read()
        #expect(start[0].contains("\nid: 7.a-1\nevent: snapshot\ndata: {\"type\":\"snapshot\","))
        for unnamed in start.dropFirst() {
            #expect(!unnamed.contains("event:") && unnamed.contains("\nid: 7.a-1\ndata: {\"type\":\"snapshot\","), "\(unnamed)")
        }
        #expect(start[2].hasPrefix(":   \nretry: "))
        try await hub.publish("a", 2)
        let named = try await hub.read()
        #expect(named[0].hasPrefix("id: 7.a-2\nevent: a\ndata: {\"type\":\"a\","))
        let unnamed = named[0].replacing("event: a\n", with: "")
        #expect(Array(named.dropFirst()) == [unnamed, unnamed, unnamed])
        let data = Self.heartbeat.replacing("event: heartbeat\n", with: "")
        #expect(try await hub.tick() == [Self.heartbeat, data, ":   \n" + data, data])
    }
}
