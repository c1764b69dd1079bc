import FlowCore
import NIOCore
import NIOPosix
import Testing

@testable import FlowHTTP

/// A client without a cursor reconnects to an event loop that has not received events that the client saw on another loop.
@Suite struct NewSubscriberTests {
    private let epoch = Epoch(counter: 7, random: "a")
    private let flow = FlowID("f").unsafelyUnwrapped

    private func record(_ version: Version) -> FlowRecord {
        FlowRecord(
            head: FlowHead(
                flow: self.flow, account: Principal.open.account, version: version, status: .active, resetVersion: 0,
                updatedAt: Timestamp(milliseconds: 0)),
            state: .emptyObject)
    }

    private func message(_ version: Version) throws -> BusMessage {
        let event = FlowEvent(
            version: version, type: try #require(EventType("a")), payload: .emptyObject, createdAt: Timestamp(milliseconds: 0))
        return BusMessage(
            flow: self.flow, account: Principal.open.account, epoch: self.epoch,
            content: .durable(event, head: self.record(version).head))
    }

    /// The first blocks that a stream is sent if it starts on a loop at version 1.
    private func firstBlocks(
        query: Substring, stored: Version, isShownAhead: Bool = false
    ) async throws -> String {
        let (work, continuation) = AsyncStream.makeStream(of: (@Sendable () async -> Void).self)
        let services = StreamServices.empty(epoch: self.epoch, stored: self.record(stored), work: continuation)
        let sink = services.table.attach(LaggingDeliverySink())
        services.table.watch(self.flow, sink: sink)
        services.table.opened(self.flow, self.record(1), last: [], epoch: self.epoch)
        if isShownAhead {
            services.table.noteShown(self.flow, 2, epoch: self.epoch)
        } else {
            services.table.received([try self.message(2)])
        }
        let request = try StreamRequest(
            path: "/v1/flows/f/events", query: query, lastEventID: nil, maximumFlows: 1)
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        let recorded = try await loop.submit { [record = self.record(1), epoch = self.epoch, flow = self.flow] in
            let shard = StreamShard(loop: loop, services: services, sinkIndex: sink)
            let fanout = FlowFanout(flow: flow, epoch: epoch, shard: shard)
            fanout.opened(record, head: record.head, epoch: epoch, last: [])
            let output = RecordedOutput()
            let stream = EventStream(
                number: 1, principal: .open, remote: "", request: request, epoch: epoch, shard: shard, output: output)
            stream.start(fanouts: [fanout])
            return NIOLoopBound((output, stream, shard), eventLoop: loop)
        }.get()
        continuation.finish()
        for await item in work { await item() }
        return try await loop.submit { recorded.value.0.text }.get()
    }

    @Test func snapshotIsNotOlderThanVersionDeliveredOnAnotherLoop() async throws {
        let text = try await self.firstBlocks(query: "", stored: 2)
        #expect(text.contains("event: snapshot"))
        #expect(text.contains("-2\nevent: snapshot"), "\(text)")
    }

    @Test func snapshotIsNotOlderThanVersionShownOnAnotherLoop() async throws {
        let text = try await self.firstBlocks(query: "", stored: 2, isShownAhead: true)
        #expect(text.contains("-2\nevent: snapshot"), "\(text)")
    }

    @Test func streamWithoutSnapshotStartsAtVersionOfOtherLoops() async throws {
        let text = try await self.firstBlocks(query: "snapshot=0", stored: 2)
        #expect(text.contains("event: caught_up\ndata: {\"flow_id\":\"f\",\"version\":2}"), "\(text)")
    }
}
