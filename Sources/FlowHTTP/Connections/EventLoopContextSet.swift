import FlowCore
import NIOCore
import Synchronization

/// The event loops of the server, each with its own connections. Safe to use from any thread: what is a loop's own is
/// reached on that loop only.
final class EventLoopContextSet: Sendable {
    private let contexts = Mutex<[ObjectIdentifier: NIOLoopBound<EventLoopContext>]>([:])

    func insert(_ context: NIOLoopBound<EventLoopContext>) {
        self.contexts.withLock { $0[ObjectIdentifier(context.eventLoop)] = context }
    }

    func context(of loop: any EventLoop) -> NIOLoopBound<EventLoopContext>? {
        self.contexts.withLock { $0[ObjectIdentifier(loop)] }
    }

    var all: [NIOLoopBound<EventLoopContext>] { self.contexts.withLock { Array($0.values) } }

    /// Does something on every loop and does not wait for it.
    func forEachLoop(_ body: @escaping @Sendable (EventLoopContext) -> Void) {
        for context in self.all { context.eventLoop.execute { body(context.value) } }
    }

    /// Connections that have a request to answer.
    func busyCount() async -> Int {
        var count = 0
        for context in self.all {
            count += (try? await context.eventLoop.submit { context.value.busyCount }.get()) ?? 0
        }
        return count
    }

    /// What all loops have counted.
    func counters() async throws -> (StreamCounters, RequestCounters) {
        var streams = StreamCounters()
        var requests = RequestCounters()
        for context in self.all {
            let (loopStreams, loopRequests) = try await context.eventLoop.submit {
                (context.value.shard.counters, context.value.requests)
            }.get()
            streams.add(loopStreams)
            requests.add(loopRequests)
        }
        return (streams, requests)
    }
}
