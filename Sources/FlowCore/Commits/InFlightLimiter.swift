import Synchronization

/// Counts what is under way, up to a bound, and lets one close wait for the last to leave.
package final class InFlightLimiter: Sendable {
    private struct State: Sendable {
        var count = 0
        var bytes = 0
        var isClosed = false
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private let maximumCount: Int
    private let maximumBytes: Int
    private let fullMessage: String
    private let state = Mutex(State())

    /// - Parameters:
    ///   - maximumCount: of those inside.
    ///   - maximumBytes: that they hold together; one alone is let in whatever it holds.
    package init(maximumCount: Int, maximumBytes: Int, fullMessage: String) {
        self.maximumCount = maximumCount
        self.maximumBytes = maximumBytes
        self.fullMessage = fullMessage
    }

    /// Whether nobody is inside.
    package var isEmpty: Bool { self.state.withLock { $0.count == 0 } }

    /// - Throws: ``StoreError/unavailable(_:)`` if it is closed, ``StoreError/overloaded(_:)`` if it is full. Whoever is in must ``leave(bytes:)``.
    package func enter(bytes: Int = 0) throws(StoreError) {
        let refusal: StoreError? = self.state.withLock { state in
            if state.isClosed { return .unavailable("the store is closed") }
            let isTooMuch = state.bytes + bytes > self.maximumBytes && state.count > 0
            if state.count >= self.maximumCount || isTooMuch { return .overloaded(self.fullMessage) }
            state.count += 1
            state.bytes += bytes
            return nil
        }
        if let refusal { throw refusal }
    }

    package func leave(bytes: Int = 0) {
        let waiters: [CheckedContinuation<Void, Never>] = self.state.withLock { state in
            state.count -= 1
            state.bytes -= bytes
            guard state.count == 0 else { return [] }
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Lets nobody in from now on, and returns when nobody is inside any more.
    package func close() async {
        await withCheckedContinuation { waiter in
            let isEmpty = self.state.withLock { state in
                state.isClosed = true
                if state.count > 0 { state.waiters.append(waiter) }
                return state.count == 0
            }
            if isEmpty { waiter.resume() }
        }
    }
}
