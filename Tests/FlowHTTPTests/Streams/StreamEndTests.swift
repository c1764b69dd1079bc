import FlowCore
import NIOCore
import NIOPosix
import Testing

@testable import FlowHTTP

/// A stream of a terminal flow ends only after its last event, also if the tick comes in between.
@Suite struct StreamEndTests {
    @Test(arguments: [false, true]) func streamDoesNotCloseBeforeLastEventIsSent(isReopened: Bool) async throws {
        let epoch = Epoch(counter: 7, random: "a")
        let flow = try #require(FlowID("f"))
        let request = try StreamRequest(path: "/v1/flows/f/events", query: "", lastEventID: nil, maximumFlows: 1)
        var configuration = StreamConfiguration()
        configuration.lingerMilliseconds = 0
        let services = StreamServices.empty(epoch: epoch, configuration: configuration)
        func head(_ version: Version, _ status: FlowStatus) -> FlowHead {
            FlowHead(
                flow: flow, account: Principal.open.account, version: version, status: status, resetVersion: 0,
                updatedAt: Timestamp(milliseconds: 0))
        }
        let first = FlowRecord(head: head(1, .active), state: .emptyObject)
        let last = head(2, .deleted)
        let event = FlowEvent(
            version: 2, type: .flowDeleted, payload: .emptyObject, createdAt: Timestamp(milliseconds: 0))
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        let started = try await loop.submit {
            services.table.attach([LaggingDeliverySink()])
            let shard = StreamShard(loop: loop, services: services, sinkIndex: 0)
            let output = RecordedOutput()
            shard.open(
                EventStream(
                    number: 1, principal: .open, remote: "", request: request, epoch: epoch, shard: shard, output: output))
            shard.process([.opened(flow, first, head: first.head, epoch: epoch, last: [])])
            shard.process([.events(flow, [Frame.durable(event, of: flow, epoch: epoch)], head: last)])
            if isReopened {
                let next = FlowEvent(
                    version: 3, type: .stateUpdate, payload: .emptyObject, createdAt: Timestamp(milliseconds: 0))
                shard.process([.events(flow, [Frame.durable(next, of: flow, epoch: epoch)], head: nil)])
            }
            // The event is in the live log, and the pass has not run yet.
            shard.tick()
            return NIOLoopBound((shard, output), eventLoop: loop)
        }.get()
        let text = try await loop.submit {
            let (shard, output) = started.value
            let before = output.text
            shard.tick()
            return (before: before, after: output.text)
        }.get()
        #expect(text.before.contains("event: caught_up"))
        #expect(text.before.contains("event: flow_deleted") && !text.before.contains("event: closing"))
        // The loop does not know whether a flow with an event after its end is still terminal.
        #expect(text.after.dropFirst(text.before.count).contains("event: closing") == !isReopened)
    }

    /// A head may be newer than the events that were delivered: it was read from the store, or belongs to a later event.
    @Test func streamDoesNotCloseWhileEventThatEndedFlowIsNotDelivered() async throws {
        let epoch = Epoch(counter: 7, random: "a")
        let flow = try #require(FlowID("f"))
        let request = try StreamRequest(path: "/v1/flows/f/events", query: "", lastEventID: nil, maximumFlows: 1)
        var configuration = StreamConfiguration()
        configuration.lingerMilliseconds = 0
        let services = StreamServices.empty(epoch: epoch, configuration: configuration)
        @Sendable func frame(_ version: Version, _ type: EventType) -> Frame {
            Frame.durable(
                FlowEvent(version: version, type: type, payload: .emptyObject, createdAt: Timestamp(milliseconds: 0)), of: flow,
                epoch: epoch)
        }
        let deleted = FlowHead(
            flow: flow, account: Principal.open.account, version: 2, status: .deleted, resetVersion: 2,
            updatedAt: Timestamp(milliseconds: 0))
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        let started = try await loop.submit {
            services.table.attach([LaggingDeliverySink()])
            let shard = StreamShard(loop: loop, services: services, sinkIndex: 0)
            let output = RecordedOutput()
            shard.open(
                EventStream(
                    number: 1, principal: .open, remote: "", request: request, epoch: epoch, shard: shard, output: output))
            shard.process([.opened(flow, nil, head: nil, epoch: epoch, last: [])])
            shard.process([.events(flow, [frame(1, .stateUpdate)], head: deleted)])
            return NIOLoopBound((shard, output), eventLoop: loop)
        }.get()
        let before = try await loop.submit {
            let (shard, output) = started.value
            shard.tick()
            let text = output.text
            shard.process([.events(flow, [frame(2, .flowDeleted)], head: deleted)])
            return text
        }.get()
        let after = try await loop.submit {
            let (shard, output) = started.value
            shard.tick()
            return output.text
        }.get()
        #expect(before.contains("event: state_update") && !before.contains("event: closing"), "\(before)")
        #expect(after.contains("event: flow_deleted") && after.contains("event: closing"), "\(after)")
    }

    /// A read of the store may show a subscriber that the flow was opened again, before this loop hears of it.
    @Test func streamThatIsAheadOfItsLoopDoesNotEnd() async throws {
        let epoch = Epoch(counter: 7, random: "a")
        let flow = try #require(FlowID("f"))
        let request = try StreamRequest(path: "/v1/flows/f/events", query: "", lastEventID: nil, maximumFlows: 1)
        func record(_ version: Version, _ status: FlowStatus) -> FlowRecord {
            FlowRecord(
                head: FlowHead(
                    flow: flow, account: Principal.open.account, version: version, status: status, resetVersion: 1,
                    updatedAt: Timestamp(milliseconds: 0)),
                state: .emptyObject)
        }
        var configuration = StreamConfiguration()
        configuration.lingerMilliseconds = 0
        let (work, continuation) = AsyncStream.makeStream(of: (@Sendable () async -> Void).self)
        let services = StreamServices.empty(
            epoch: epoch, stored: record(2, .active), configuration: configuration, work: continuation)
        let known = record(1, .deleted)
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        let started = try await loop.submit {
            services.table.attach([LaggingDeliverySink()])
            let shard = StreamShard(loop: loop, services: services, sinkIndex: 0)
            let output = RecordedOutput()
            shard.open(
                EventStream(
                    number: 1, principal: .open, remote: "", request: request, epoch: epoch, shard: shard, output: output))
            // Another loop has sent version 2 to a client.
            services.table.noteShown(flow, 2, epoch: epoch)
            shard.process([.opened(flow, known, head: known.head, epoch: epoch, last: [])])
            return NIOLoopBound((shard, output), eventLoop: loop)
        }.get()
        continuation.finish()
        for await item in work { await item() }
        let text = try await loop.submit {
            let (shard, output) = started.value
            shard.tick()
            return output.text
        }.get()
        #expect(text.contains("event: caught_up") && text.contains("\"version\":2"), "\(text)")
        #expect(!text.contains("event: closing"), "\(text)")
    }
}
