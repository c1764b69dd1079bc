import FlowCore
import NIOCore
import NIOPosix
import Testing

@testable import FlowHTTP

/// The entries of streams in the connection registry.
@Suite struct StreamRegistrationTests {
    /// Under load or while the hub drains many streams are refused: the registry, which may be Redis, hears nothing of them.
    @Test(arguments: [false, true]) func onlyStreamThatWasOpenedIsUnregistered(isDraining: Bool) async throws {
        let epoch = Epoch(counter: 7, random: "a")
        let flow = try #require(FlowID("f"))
        let request = try StreamRequest(path: "/v1/flows/f/events", query: "", lastEventID: nil, maximumFlows: 1)
        let (changes, continuation) = AsyncStream.makeStream(of: [RegistryChange].self)
        let services = StreamServices.empty(epoch: epoch, registryChanges: continuation)
        if isDraining { services.startDraining() }
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        try await loop.submit {
            services.table.attach([LaggingDeliverySink()])
            let shard = StreamShard(loop: loop, services: services, sinkIndex: 0)
            let stream = EventStream(
                number: 1, principal: .open, remote: "", request: request, epoch: epoch, shard: shard, output: RecordedOutput())
            shard.open(stream)
            shard.process([.opened(flow, nil, head: nil, epoch: epoch, last: [])])
            stream.disconnected()
        }.get()
        // The loop reports the changes of a turn at its end.
        try await loop.submit {}.get()
        continuation.finish()
        var reported: [String] = []
        for await batch in changes {
            for change in batch {
                switch change {
                case .register(let entries): reported.append("register \(entries.map(\.flow.rawValue))")
                case .unregister(let entries): reported.append("unregister \(entries.map(\.flow.rawValue))")
                }
            }
        }
        #expect(reported == (isDraining ? [] : [#"register ["f"]"#, #"unregister ["f"]"#]))
    }
}
