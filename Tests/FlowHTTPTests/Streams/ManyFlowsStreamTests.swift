import FlowCore
import NIOCore
import NIOPosix
import Testing

@testable import FlowHTTP

/// A stream of many flows on one event loop.
@Suite struct ManyFlowsStreamTests {
    private static let epoch = Epoch(counter: 7, random: "a")

    private static func flows(_ count: Int) -> [FlowID] { (0..<count).compactMap { FlowID("f\($0)") }.sorted() }

    private static func record(_ flow: FlowID, _ version: Version) -> FlowRecord {
        FlowRecord(
            head: FlowHead(
                flow: flow, account: Principal.open.account, version: version, status: .active, resetVersion: 0,
                updatedAt: Timestamp(milliseconds: 0)),
            state: .emptyObject)
    }

    /// A stream of the flows, which resumes each after version 1 or is new, on a shard of its own.
    private static func stream(
        of flows: [FlowID], resumes: Bool, _ services: StreamServices, on loop: any EventLoop
    ) async throws -> NIOLoopBound<(shard: StreamShard, stream: EventStream, output: RecordedOutput)> {
        let cursor = resumes ? "\"\(Self.epoch)-1\"" : "null"
        let list = flows.map { "{\"flow_id\":\"\($0)\",\"after\":\(cursor)}" }.joined(separator: ",")
        let request = try StreamRequest(
            body: Array("{\"flows\":[\(list)]}".utf8), maximumFlows: 1_000, limits: JSONLimits())
        return try await loop.submit { [epoch = Self.epoch] in
            services.table.attach([LaggingDeliverySink()])
            let shard = StreamShard(loop: loop, services: services, sinkIndex: 0)
            let output = RecordedOutput()
            let stream = EventStream(
                number: 1, principal: .open, remote: "", request: request, epoch: epoch, shard: shard, output: output)
            shard.open(stream)
            return NIOLoopBound((shard: shard, stream: stream, output: output), eventLoop: loop)
        }.get()
    }

    private static func opened(_ flow: FlowID, _ version: Version) -> Delivery {
        let record = Self.record(flow, version)
        return .opened(flow, record, head: record.head, epoch: Self.epoch, last: [])
    }

    /// A page of each of 1,000 flows would be 64 MiB for one subscriber.
    @Test func streamLoadsFewPagesAtATime() async throws {
        let (work, continuation) = AsyncStream.makeStream(of: (@Sendable () async -> Void).self)
        let services = StreamServices.empty(epoch: Self.epoch, work: continuation)
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        let flows = Self.flows(40)
        let started = try await Self.stream(of: flows, resumes: true, services, on: loop)
        try await loop.submit { started.value.shard.process(flows.map { Self.opened($0, 5) }) }.get()
        continuation.finish()
        var loads = 0
        for await _ in work { loads += 1 }
        #expect(loads == SubscriptionQueue.maximumLoads)
        let isOpen = try await loop.submit { started.value.stream.isOpen }.get()
        #expect(isOpen)
    }

    /// Ticks, heartbeats and deliveries ask only the readers in the queue.
    @Test func liveFlowsAreNotInTheQueue() async throws {
        let services = StreamServices.empty(epoch: Self.epoch)
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        let flows = Self.flows(200)
        let started = try await Self.stream(of: flows, resumes: false, services, on: loop)
        let (text, isQueueEmpty) = try await loop.submit {
            started.value.shard.process(flows.map { Self.opened($0, 5) })
            var queue = started.value.stream.queue
            return (started.value.output.text, queue.next() == nil)
        }.get()
        #expect(text.components("event: snapshot") == 200 && text.components("event: caught_up") == 200)
        #expect(isQueueEmpty)
    }

    /// The flows of a stream do not open at the same time. Those that are open already stay until the stream starts.
    @Test func openFlowsAreKeptUntilTheLastIsOpen() async throws {
        let services = StreamServices.empty(epoch: Self.epoch)
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        let flows = Self.flows(2)
        let started = try await Self.stream(of: flows, resumes: false, services, on: loop)
        let text = try await loop.submit {
            started.value.shard.process([Self.opened(flows[0], 1)])
            started.value.shard.tick()
            started.value.shard.process([Self.opened(flows[1], 1)])
            return started.value.output.text
        }.get()
        #expect(text.components("event: snapshot") == 2, "\(text)")
    }

    @Test func eachBlockHasTheCursorOfItsFlow() async throws {
        let services = StreamServices.empty(epoch: Self.epoch)
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        let flows = Self.flows(3)
        let started = try await Self.stream(of: flows, resumes: false, services, on: loop)
        let text = try await loop.submit {
            started.value.shard.process(flows.enumerated().map { Self.opened($1, Version($0 + 5)) })
            return started.value.output.text
        }.get()
        for (number, flow) in flows.enumerated() {
            #expect(
                text.contains(
                    "id: \(Self.epoch)-\(number + 5)\nevent: snapshot\ndata: {\"type\":\"snapshot\",\"flow_id\":\"\(flow)\""),
                "\(text)")
        }
    }
}

extension String {
    /// How often a text occurs.
    fileprivate func components(_ text: String) -> Int { self.ranges(of: text).count }
}
