import FlowCore
import NIOCore
import NIOPosix
import Testing

@testable import FlowHTTP

/// Which streams an event loop sheds, and that its streams can be visited while they close.
@Suite struct QueueRankingTests {
    /// A stream output with queued bytes.
    private final class QueuedOutput: StreamOutput {
        var queuedBytes = 0
        var onAbort: () -> Void = {}

        var isWritable: Bool { false }
        func startResponse(extraHeaders: [(name: String, value: String)]) {}
        func reject(_ rejection: StreamRejection) {}
        func write(_ block: StreamBlock) {}
        func send(_ block: StreamBlock) {}
        func flush() {}
        func finish() {}
        func abort() { self.onAbort() }
        func ended(_ ending: StreamEnding) {}
    }

    /// Streams of one event loop. Confined to the loop.
    private final class LoopStreams {
        let shard: StreamShard
        private(set) var outputs: [QueuedOutput] = []
        private(set) var streams: [EventStream] = []
        /// The queued bytes of the streams that were shed, in order.
        private(set) var shed: [Int] = []

        init(_ services: StreamServices, _ loop: any EventLoop, count: Int) throws {
            self.shard = StreamShard(loop: loop, services: services, sinkIndex: 0)
            let request = try StreamRequest(path: "/v1/flows/f/events", query: "", lastEventID: nil, maximumFlows: 1)
            for number in 0..<count {
                let output = QueuedOutput()
                output.onAbort = { [unowned self, unowned output] in self.shed.append(output.queuedBytes) }
                let stream = EventStream(
                    number: UInt64(number), principal: .open, remote: "", request: request, epoch: services.manager.epoch,
                    shard: self.shard, output: output)
                self.shard.heartbeatWheel.insert(stream)
                stream.start(fanouts: [], extraHeaders: [])
                self.outputs.append(output)
                self.streams.append(stream)
            }
        }

        func queue(_ bytes: Int, on index: Int) {
            self.outputs[index].queuedBytes = bytes
            self.streams[index].measureQueue()
        }
    }

    private func onLoop(
        limit: Int, count: Int, _ body: @escaping @Sendable (LoopStreams, StreamServices) throws -> Void
    ) async throws {
        var configuration = StreamConfiguration()
        configuration.maximumQueuedBytes = limit
        let services = StreamServices.empty(epoch: Epoch(counter: 7, random: "a"), configuration: configuration)
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        try await loop.submit { try body(LoopStreams(services, loop, count: count), services) }.get()
    }

    @Test func largestStreamsAreShedFirstUntilLimitIsKept() async throws {
        try await self.onLoop(limit: 1_000_000, count: 2_000) { loop, services in
            var generator = SystemRandomNumberGenerator()
            var queued: [Int: Int] = [:]
            // The queues grow, shrink and empty again before the limit is reached.
            for _ in 0..<3 {
                for index in 0..<loop.streams.count {
                    let bytes = Int.random(in: 0..<4, using: &generator) == 0 ? 0 : Int.random(in: 1...300, using: &generator)
                    loop.queue(bytes, on: index)
                    queued[index] = bytes
                }
            }
            let sum = queued.values.reduce(0, +)
            #expect(services.queuedBytesBudget.bytes == sum && loop.shed.isEmpty)
            // Another event loop queues bytes; none of its streams is larger.
            services.queuedBytesBudget.changed(by: 1_000_000 - sum / 2)
            loop.shard.shedLoad()
            let largestFirst = queued.values.sorted(by: >)
            var freed = 0
            let expected = largestFirst.prefix { bytes in
                defer { freed += bytes }
                return sum - freed >= sum / 2
            }
            #expect(loop.shed == Array(expected))
            #expect(services.queuedBytesBudget.bytes < 1_000_000)
        }
    }

    /// A stream that is opening already has a connection, whose queued bytes count.
    @Test func streamWithoutResponseIsShedToo() async throws {
        try await self.onLoop(limit: 100, count: 1) { loop, services in
            let output = QueuedOutput()
            var isAborted = false
            output.onAbort = { isAborted = true }
            let request = try StreamRequest(path: "/v1/flows/f/events", query: "", lastEventID: nil, maximumFlows: 1)
            let opening = EventStream(
                number: 9, principal: .open, remote: "", request: request, epoch: services.manager.epoch, shard: loop.shard,
                output: output)
            output.queuedBytes = 200
            opening.measureQueue()
            #expect(isAborted && services.queuedBytesBudget.bytes == 0)
        }
    }

    @Test func everyStreamIsVisitedOnceAlsoIfStreamsClose() async throws {
        try await self.onLoop(limit: 1_000, count: 200) { loop, _ in
            var visited: [UInt64] = []
            loop.shard.forEachStream { stream in
                visited.append(stream.number)
                if stream.number.isMultiple(of: 3) { stream.close(.expired) }
            }
            #expect(visited.sorted() == (0..<200).map { UInt64($0) })
            var rest: [UInt64] = []
            loop.shard.forEachStream { rest.append($0.number) }
            #expect(rest.sorted() == (0..<200).map { UInt64($0) }.filter { !$0.isMultiple(of: 3) })
        }
    }
}
