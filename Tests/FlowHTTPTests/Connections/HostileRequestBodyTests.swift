import NIOCore
import Synchronization
import Testing

@testable import FlowHTTP

@Suite struct HostileRequestBodyTests {
    private static let piece = ByteBuffer(repeating: 7, count: 65_536)

    /// What a feed and its connection's side have in common.
    private final class Side: Sendable {
        let feed = Mutex<RequestBodyStream?>(nil)
        private let held = Atomic<Bool>(false)

        var isHeld: Bool {
            get { self.held.load(ordering: .sequentiallyConsistent) }
            set { self.held.store(newValue, ordering: .sequentiallyConsistent) }
        }

        /// As the connection does: gives all that the socket had, and then looks whether to read on.
        func fill() {
            let feed = self.feed.withLock { $0 }
            for _ in 0..<4 { feed?.offer(HostileRequestBodyTests.piece) }
            if feed?.isFull == true { self.isHeld = true }
        }
    }

    @Test("A feed that fills up while somebody begins to wait says when there is room again")
    func fullWhileAsking() async throws {
        let side = Side()
        // The first one who asks finds nothing; before it can wait, the socket has had so much that it is left alone.
        let feed = RequestBodyStream(
            begun: { side.fill() }, drained: { side.isHeld = false })
        side.feed.withLock { $0 = feed }
        let iterator = feed.makeAsyncIterator()
        #expect(try await iterator.next()?.readableBytes == 65_536)
        #expect(!side.isHeld, "nobody would ever read the socket again")
        side.feed.withLock { $0 = nil }
    }

    @Test("Whoever is cancelled waits no longer, and a part that comes later is not lost", arguments: [false, true])
    func cancelled(isWaiting: Bool) async throws {
        let (begun, hasBegun) = AsyncStream.makeStream(of: Void.self)
        let feed = RequestBodyStream(begun: { hasBegun.finish() }, drained: {})
        let reader = Task {
            while !isWaiting, !Task.isCancelled { await Task.yield() }
            return try await feed.makeAsyncIterator().next()
        }
        if isWaiting { for await _ in begun {} }
        reader.cancel()
        await #expect(throws: CancellationError.self) { try await reader.value }
        feed.offer(Self.piece)
        #expect(try await feed.makeAsyncIterator().next() == Self.piece)
    }

    @Test("A feed never stops while both sides run")
    func bothSidesRun() async throws {
        let side = Side()
        let (room, hasRoom) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let feed = RequestBodyStream(begun: {}, drained: { hasRoom.yield() })
        side.feed.withLock { $0 = feed }
        let rounds = 20_000
        async let producer: Void = {
            var rooms = room.makeAsyncIterator()
            for _ in 0..<rounds {
                side.fill()
                while feed.isFull { await rooms.next() }
            }
            feed.finish()
        }()
        var bytes = 0
        for try await part in feed { bytes += part.readableBytes }
        await producer
        #expect(bytes == rounds * 4 * 65_536)
        side.feed.withLock { $0 = nil }
    }
}
