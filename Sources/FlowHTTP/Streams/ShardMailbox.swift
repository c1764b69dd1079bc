import FlowCore
import NIOCore
import Synchronization

/// The delivery sink of one event loop. Any thread may deliver; the shard processes the deliveries on its loop, in their order.
/// One task processes all deliveries that are queued when it starts.
final class ShardMailbox: DeliverySink {
    private struct State {
        var deliveries: [Delivery] = []
        var shard: NIOLoopBound<StreamShard>?
    }

    private let loop: any EventLoop
    private let state = Mutex(State())

    init(loop: any EventLoop) { self.loop = loop }

    /// Sets the shard that processes the deliveries. Deliveries that are processed before this call are dropped.
    func connect(to shard: NIOLoopBound<StreamShard>) {
        self.state.withLock { $0.shard = shard }
    }

    /// Queues a delivery, and schedules ``drain()`` on the event loop if the queue was empty.
    func deliver(_ delivery: Delivery) {
        let isFirst = self.state.withLock { state in
            state.deliveries.append(delivery)
            return state.deliveries.count == 1
        }
        if isFirst { self.loop.execute { self.drain() } }
    }

    /// Number of deliveries that wait for the shard.
    var backlog: Int { self.state.withLock { $0.deliveries.count } }

    /// Passes all queued deliveries to the shard. Runs on the event loop.
    private func drain() {
        let (deliveries, shard) = self.state.withLock { state in
            defer { state.deliveries = [] }
            return (state.deliveries, state.shard)
        }
        shard?.value.process(deliveries)
    }
}
