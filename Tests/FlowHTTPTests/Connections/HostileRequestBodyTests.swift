import NIOCore
import Synchronization
import Testing

@testable import FlowHTTP

/// A request body whose producer and reader run at the same time, in hostile orders.
@Suite struct HostileRequestBodyTests {
    private static let part = ByteBuffer(repeating: 7, count: 65_536)

    /// The connection's side of a body: the producer and the pause of its reads.
    private final class Side: Sendable {
        let body = Mutex<RequestBodyStream?>(nil)
        private let readPaused = Atomic<Bool>(false)

        var isReadPaused: Bool {
            get { self.readPaused.load(ordering: .sequentiallyConsistent) }
            set { self.readPaused.store(newValue, ordering: .sequentiallyConsistent) }
        }

        /// Appends several parts, then pauses if the body is full, as the connection does.
        func fill() {
            let body = self.body.withLock { $0 }
            for _ in 0..<4 { body?.append(HostileRequestBodyTests.part) }
            if body?.isFull == true { self.isReadPaused = true }
        }
    }

    private static func body(
        _ budget: ByteBudget = ByteBudget(limit: 1 << 20, accountLimit: 1 << 20), onFirstRead: @escaping @Sendable () -> Void,
        onDrain: @escaping @Sendable () -> Void
    ) -> RequestBodyStream {
        RequestBodyStream(capacity: 262_144, budget: budget, account: "7", onFirstRead: onFirstRead, onDrain: onDrain)
    }

    @Test func countsBytesUntilTheyAreReadOrDropped() async throws {
        let budget = ByteBudget(limit: 1 << 20, accountLimit: 1 << 20)
        let failed = Self.body(budget, onFirstRead: {}, onDrain: {})
        var unread: RequestBodyStream? = Self.body(budget, onFirstRead: {}, onDrain: {})
        for _ in 0..<2 {
            failed.append(Self.part)
            unread?.append(Self.part)
        }
        #expect(budget.bytes == 4 * 65_536)
        _ = try await failed.makeAsyncIterator().next()
        #expect(budget.bytes == 3 * 65_536)
        failed.fail(RequestBodyStream.Disconnected())
        #expect(budget.bytes == 2 * 65_536)
        unread = nil
        #expect(budget.bytes == 0)
        #expect(unread == nil)
    }

    @Test func bodyFilledDuringFirstReadSignalsDrain() async throws {
        let side = Side()
        // The first read finds no part. Before it can wait, the body is filled, so that the connection pauses reading.
        let body = Self.body(
            onFirstRead: { side.fill() }, onDrain: { side.isReadPaused = false })
        side.body.withLock { $0 = body }
        let iterator = body.makeAsyncIterator()
        #expect(try await iterator.next()?.readableBytes == 65_536)
        #expect(!side.isReadPaused, "reading the socket was never resumed")
        side.body.withLock { $0 = nil }
    }

    @Test(arguments: [false, true])
    func cancelledReadThrowsAndKeepsLaterBytes(isWaiting: Bool) async throws {
        let (begun, hasBegun) = AsyncStream.makeStream(of: Void.self)
        let body = Self.body(onFirstRead: { hasBegun.finish() }, onDrain: {})
        let reader = Task {
            while !isWaiting, !Task.isCancelled { await Task.yield() }
            return try await body.makeAsyncIterator().next()
        }
        if isWaiting { for await _ in begun {} }
        reader.cancel()
        await #expect(throws: CancellationError.self) { try await reader.value }
        body.append(Self.part)
        #expect(try await body.makeAsyncIterator().next() == Self.part)
    }

    @Test func bodyDoesNotStallWhileBothSidesRun() async throws {
        let side = Side()
        let (room, hasRoom) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let body = Self.body(onFirstRead: {}, onDrain: { hasRoom.yield() })
        side.body.withLock { $0 = body }
        let rounds = 20_000
        async let producer: Void = {
            var rooms = room.makeAsyncIterator()
            for _ in 0..<rounds {
                side.fill()
                while body.isFull { await rooms.next() }
            }
            body.finish()
        }()
        var bytes = 0
        for try await part in body { bytes += part.readableBytes }
        await producer
        #expect(bytes == rounds * 4 * 65_536)
        side.body.withLock { $0 = nil }
    }
}
