import FlowCore
import Synchronization

/// The lock of those who move imports: one at a time, on all machines. It is renewed until it is released; should it be lost all
/// the same, the claims on the imports keep the work right.
final class MoveLock: Sendable {
    private static let resource = "flowhub:imports:move"
    private static let account = "flowhub"
    /// A mover that was killed keeps the next one waiting for so long.
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
                    .conditionFailed, "Another process is moving imports, at least until \(until). Wait for its end.")
            default: throw CommandFailure(.unreachable, "The lock cannot be had: \(error)")
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
