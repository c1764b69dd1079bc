import FlowCore
import NIOCore
import Synchronization

/// The contexts of the server's event loops. Safe to use from any thread: a context is only accessed on its loop.
final class EventLoopContextSet: Sendable {
    private let contexts = Mutex<[ObjectIdentifier: NIOLoopBound<EventLoopContext>]>([:])

    /// Adds the context of an event loop.
    func insert(_ context: NIOLoopBound<EventLoopContext>) {
        self.contexts.withLock { $0[ObjectIdentifier(context.eventLoop)] = context }
    }

    /// The context of an event loop; `nil` if the loop is not one of the server's.
    func context(of loop: any EventLoop) -> NIOLoopBound<EventLoopContext>? {
        self.contexts.withLock { $0[ObjectIdentifier(loop)] }
    }

    /// All contexts, in no particular order.
    var all: [NIOLoopBound<EventLoopContext>] { self.contexts.withLock { Array($0.values) } }

    /// Runs `body` on every event loop, without waiting for it.
    func forEachLoop(_ body: @escaping @Sendable (EventLoopContext) -> Void) {
        for context in self.all { context.eventLoop.execute { body(context.value) } }
    }

    /// Number of connections with a request that was not answered yet, over all loops.
    func busyCount() async -> Int {
        var count = 0
        for context in self.all {
            count += (try? await context.eventLoop.submit { context.value.busyCount }.get()) ?? 0
        }
        return count
    }

    /// Number of connections that wait for a request, over all loops.
    func idleCount() async -> Int {
        var count = 0
        for context in self.all {
            count += (try? await context.eventLoop.submit { context.value.idleCount }.get()) ?? 0
        }
        return count
    }

    /// The sums of the counters of all loops, the number of connections without an event stream, and the bytes of kept states
    /// and snapshots.
    /// - Throws: NIO's error if a loop was shut down.
    func counters() async throws -> (StreamCounters, RequestCounters, ordinaryConnections: Int, snapshotBytes: Int) {
        var streams = StreamCounters()
        var requests = RequestCounters()
        var (connections, snapshotBytes) = (0, 0)
        for context in self.all {
            let (loopStreams, loopRequests, loopConnections, loopSnapshots) = try await context.eventLoop.submit {
                let loop = context.value
                return (loop.shard.counters, loop.requests, loop.ordinaryCount, loop.shard.keptBytes)
            }.get()
            streams.add(loopStreams)
            requests.add(loopRequests)
            connections += loopConnections
            snapshotBytes += loopSnapshots
        }
        return (streams, requests, connections, snapshotBytes)
    }
}
