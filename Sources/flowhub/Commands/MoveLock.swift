import FlowCore
import Synchronization

/// The lock that lets one process on all machines move imports at a time. It is renewed until it is released. If it is lost,
/// the claims on the imports still keep moves correct.
final class MoveLock: Sendable {
    private static let resource = "flowhub:imports:move"
    private static let account = "flowhub"
    /// Seconds until the lock expires if it is not renewed, and so the time that the lock outlives a killed process.
    private static let seconds = 15

    private let locks: any LockService
    private let held = Mutex<(lock: String, renewing: Task<Void, Never>)?>(nil)

    init(_ locks: any LockService) { self.locks = locks }

    func acquire() async throws {
        let lease: LockLease
        do throws(LockError) {
            lease = try await self.locks.acquire(
                Self.resource, account: Self.account, seconds: Self.seconds, now: SystemClock.now())
        } catch {
            switch error {
            case .held(let until):
                throw CommandFailure(
                    .conditionFailed, "Another process is moving imports (lock held until \(until)). Retry when it has finished.")
            default: throw CommandFailure(.unreachable, "Cannot acquire the lock for moving imports: \(error)")
            }
        }
        let locks = self.locks
        let renewing = Task {
            while !Task.isCancelled {
                try? await Task.sleep(for: .seconds(Self.seconds / 3))
                _ = try? await locks.renew(
                    Self.resource, account: Self.account, lock: lease.lock, seconds: Self.seconds, now: SystemClock.now())
            }
        }
        self.held.withLock { $0 = (lease.lock, renewing) }
    }

    func release() async {
        guard
            let (lock, renewing) = self.held.withLock({ held in
                defer { held = nil }
                return held
            })
        else { return }
        renewing.cancel()
        try? await self.locks.release(Self.resource, account: Self.account, lock: lock, now: SystemClock.now())
    }
}
