import FlowCore
import Synchronization

/// The lock in Postgres that lets only one process at a time, on any machine, move imports. It is renewed until it is released.
/// If the lock is lost, moves stay correct, because a mover also claims each import.
final class MoveLock: Sendable {
    private static let resource = "flowhub:imports:move"
    private static let account = "flowhub"
    /// Seconds until the lock expires if it is not renewed. A killed process blocks others for at most this long.
    private static let seconds = 15

    private let locks: any LockService
    private let now: @Sendable () -> Timestamp
    private let held = Mutex<(lock: String, renewing: Task<Void, Never>)?>(nil)

    /// - Parameter now: the clock by which the lock expires: that of the store.
    init(_ locks: any LockService, now: @escaping @Sendable () -> Timestamp) {
        self.locks = locks
        self.now = now
    }

    /// Acquires the lock and renews it every 5 s in the background.
    /// - Throws: ``CommandFailure`` of kind `conditionFailed` if another process holds the lock, `unreachable` if the store
    ///   fails.
    func acquire() async throws {
        let lease: LockLease
        do throws(LockError) {
            lease = try await self.locks.acquire(
                Self.resource, account: Self.account, seconds: Self.seconds, now: self.now())
        } catch {
            switch error {
            case .held(let until):
                throw CommandFailure(
                    .conditionFailed, "Another process is moving imports (lock held until \(until)). Retry when it has finished.")
            default: throw CommandFailure(.unreachable, "Cannot acquire the lock for moving imports: \(error)")
            }
        }
        let (locks, now) = (self.locks, self.now)
        let renewing = Task {
            while !Task.isCancelled {
                try? await Task.sleep(for: .seconds(Self.seconds / 3))
                _ = try? await locks.renew(
                    Self.resource, account: Self.account, lock: lease.lock, seconds: Self.seconds, now: now())
            }
        }
        self.held.withLock { $0 = (lease.lock, renewing) }
    }

    /// Stops the renewal and releases the lock. Does nothing if the lock was not acquired.
    func release() async {
        guard
            let (lock, renewing) = self.held.withLock({ held in
                defer { held = nil }
                return held
            })
        else { return }
        renewing.cancel()
        try? await self.locks.release(Self.resource, account: Self.account, lock: lock, now: self.now())
    }
}
