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
    private let overloadReason: String
    private let state = Mutex(State())

    /// - Parameters:
    ///   - maximumCount: of those inside.
    ///   - maximumBytes: that they hold together; one alone is let in whatever it holds.
    package init(maximumCount: Int, maximumBytes: Int, overloadReason: String) {
        self.maximumCount = maximumCount
        self.maximumBytes = maximumBytes
        self.overloadReason = overloadReason
    }

    /// Whether nobody is inside.
    package var isIdle: Bool { self.state.withLock { $0.count == 0 } }

    /// - Throws: ``StoreError/unavailable(_:)`` if it is closed, ``StoreError/overloaded(_:)`` if it is full.
    /// Whoever is in must ``release(bytes:)``.
    package func acquire(bytes: Int = 0) throws(StoreError) {
        let rejection: StoreError? = self.state.withLock { state in
            if state.isClosed { return .unavailable("the store is closed") }
            let isTooMuch = state.bytes + bytes > self.maximumBytes && state.count > 0
            if state.count >= self.maximumCount || isTooMuch { return .overloaded(self.overloadReason) }
            state.count += 1
            state.bytes += bytes
            return nil
        }
        if let rejection { throw rejection }
    }

    package func release(bytes: Int = 0) {
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
    package func closeAndDrain() async {
        await withCheckedContinuation { waiter in
            let isIdle = self.state.withLock { state in
                state.isClosed = true
                if state.count > 0 { state.waiters.append(waiter) }
                return state.count == 0
            }
            if isIdle { waiter.resume() }
        }
    }
}
