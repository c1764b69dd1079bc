import NIOCore
import NIOPosix
import Synchronization

/// A thread-safe value whose changes a test can wait for.
public final class AsyncValue<Value: Sendable>: Sendable {
    private struct Waiter: Sendable {
        /// Resumes the waiter and returns `true` if the value satisfies its condition.
        let wakes: @Sendable (borrowing Value) -> Bool
        let fail: @Sendable (any Error) -> Void
    }

    private struct Inner: Sendable {
        var value: Value
        var waiters: [Int: Waiter] = [:]
        var nextWaiter = 0
    }

    private let inner: Mutex<Inner>

    public init(_ value: Value) { self.inner = Mutex(Inner(value: value)) }

    public var value: Value { self.inner.withLock { $0.value } }

    public func read<Result: Sendable>(_ body: (borrowing Value) -> Result) -> Result {
        self.inner.withLock { body($0.value) }
    }

    @discardableResult
    public func change<Result: Sendable>(_ body: (inout Value) -> Result) -> Result {
        self.inner.withLock { inner in
            let result = body(&inner.value)
            for (number, waiter) in inner.waiters where waiter.wakes(inner.value) { inner.waiters[number] = nil }
            return result
        }
    }

    /// Waits until `extract` returns a result.
    /// - Parameters:
    ///   - what: description of the awaited condition, for the error.
    ///   - extract: returns a result from the value, or `nil` to wait on. Called under the lock at each change.
    /// - Throws: ``TimedOut``
    public func wait<Result: Sendable>(
        for what: String, within timeout: Duration = .seconds(20), _ extract: @escaping @Sendable (borrowing Value) -> Result?
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            let number: Int? = self.inner.withLock { inner in
                if let result = extract(inner.value) {
                    continuation.resume(returning: result)
                    return nil
                }
                inner.nextWaiter += 1
                inner.waiters[inner.nextWaiter] = Waiter(
                    wakes: { value in
                        guard let result = extract(value) else { return false }
                        continuation.resume(returning: result)
                        return true
                    },
                    fail: { continuation.resume(throwing: $0) })
                return inner.nextWaiter
            }
            guard let number else { return }
            MultiThreadedEventLoopGroup.singleton.any().scheduleTask(in: TimeAmount(timeout)) {
                let waiter = self.inner.withLock { $0.waiters.removeValue(forKey: number) }
                waiter?.fail(TimedOut(what))
            }
        }
    }
}
