import FlowCore
import NIOCore
import NIOPosix
import Testing

@testable import FlowHTTP

@Suite struct FlowFanoutTests {
    /// An opening with a record of the previous epoch may arrive after the reset to a new epoch.
    @Test func recordOfOlderEpochDoesNotOpenFlow() async throws {
        let old = Epoch(counter: 7, random: "a")
        let new = Epoch(counter: 8, random: "b")
        let flow = try #require(FlowID("f"))
        func head(_ version: Version) -> FlowHead {
            FlowHead(
                flow: flow, account: "0", version: version, status: .active, resetVersion: 0,
                updatedAt: Timestamp(milliseconds: 0))
        }
        let heads = (old: head(9), new: head(2))
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        let versions = try await loop.submit {
            let shard = StreamShard(loop: loop, services: .empty(epoch: old), sinkIndex: 0)
            let fanout = FlowFanout(flow: flow, epoch: old, shard: shard)
            var versions: [Version?] = []
            func open(_ head: FlowHead, _ epoch: Epoch) {
                fanout.opened(FlowRecord(head: head, state: .emptyObject), head: head, epoch: epoch, last: [])
                versions.append(fanout.isOpen ? fanout.version : nil)
            }
            open(heads.old, old)
            fanout.reset(to: new)
            open(heads.old, old)
            open(heads.new, new)
            open(heads.old, old)
            return versions
        }.get()
        #expect(versions == [9, nil, 2, 2])
    }
}
