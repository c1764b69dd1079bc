public import Logging
import Synchronization

/// The revocations in the memory of this instance, where each request is checked against them.
///
/// They are read from the store before the hub listens, then periodically and when another instance reports a change. The store
/// decides when a revocation ends: what a read does not find any more is dropped. Of two reads that overlap, the earlier one drops
/// nothing that the later one found. Safe to use from any thread.
public final class RevocationMonitor: Sendable {
    /// What readiness and metrics report.
    public struct Status: Sendable, Equatable {
        /// Number of revocations in memory.
        public var count = 0
        /// Number of reads that have failed.
        public var failures = 0
        /// Whether the most recent read succeeded; `false` before the first one.
        public var isCurrent = false
    }

    private struct State {
        var list = RevocationList()
        /// Number of reads that have started.
        var startedReads = 0
        /// The number of the latest read whose result is ``list``.
        var listRead = 0
        /// The revocations that this instance has stored, each with the number of reads that had started before: these may
        /// not have found it.
        var own: [(read: Int, revocation: Revocation)] = []
        var status = Status()
        /// When a failed read was logged last; `nil` if the most recent read succeeded.
        var loggedAt: ContinuousClock.Instant?
    }

    /// Minimum time between two log messages about failed reads. Reads are repeated every second.
    private static let logInterval = Duration.seconds(60)

    private let store: any RevocationStore
    private let logger: Logger
    private let added: @Sendable (RevocationList) -> Void
    private let state = Mutex(State())

    /// - Parameters:
    ///   - added: receives the revocations that became known, to close the streams of the tokens that they revoke. Called from
    ///     any thread.
    public init(
        store: any RevocationStore, logger: Logger, added: @escaping @Sendable (RevocationList) -> Void
    ) {
        self.store = store
        self.logger = logger
        self.added = added
    }

    public var status: Status {
        self.state.withLock { state in
            var status = state.status
            status.count = state.list.count
            return status
        }
    }

    /// Whether the principal's token is revoked, as far as this instance knows.
    public func isRevoked(_ principal: Principal) -> Bool { self.state.withLock { $0.list.isRevoked(principal) } }

    /// Adds a revocation that this instance has stored. Reads nothing, so its cost does not depend on the number of
    /// revocations.
    public func add(_ revocation: Revocation) {
        let isNew = self.state.withLock { state in
            state.own.append((state.startedReads, revocation))
            return state.list.insert(revocation)
        }
        if isNew { self.added(RevocationList([revocation])) }
    }

    /// Reads all revocations from the store. If the read fails, those known before stay in effect.
    /// - Returns: whether the read succeeded.
    @discardableResult
    public func refresh() async -> Bool {
        let number = self.state.withLock { state in
            state.startedReads += 1
            return state.startedReads
        }
        let stored: [Revocation]
        do throws(StoreError) {
            stored = try await self.store.revocations()
        } catch {
            self.readFailed(error)
            return false
        }
        let (new, recovered) = self.state.withLock { state in
            var new = RevocationList()
            for revocation in stored where state.list.insert(revocation) { new.insert(revocation) }
            if number > state.listRead {
                state.listRead = number
                state.own.removeAll { $0.read < number }
                state.list = RevocationList(stored + state.own.map(\.revocation))
            }
            state.status.isCurrent = true
            defer { state.loggedAt = nil }
            return (new, state.loggedAt != nil)
        }
        if recovered { self.logger.notice("Read revocations again") }
        if !new.isEmpty { self.added(new) }
        return true
    }

    /// Counts a failed read, and logs it unless that was done a short time ago.
    private func readFailed(_ error: StoreError) {
        let mustLog = self.state.withLock { state in
            state.status.failures += 1
            state.status.isCurrent = false
            if let last = state.loggedAt, .now - last < Self.logInterval { return false }
            state.loggedAt = .now
            return true
        }
        guard mustLog else { return }
        self.logger.warning(
            "Failed to read revocations; those known before stay in effect", metadata: ["error": "\(error)"])
    }
}
