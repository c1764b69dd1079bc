public import Logging
import Synchronization

/// Deletes finished flows by their age.
///
/// A flow is deleted as by a client: with a durable event, and only if it is still at the version at which it was found. A flow
/// that was opened again meanwhile stays.
public final class FlowRetention: Sendable {
    /// Number of flows that are deleted at the same time, so that the store commits them together.
    private static let concurrentDeletions = 50

    private let manager: StateManager
    private let logger: Logger
    private let count = Atomic<Int>(0)
    private let failureLog = LogLimiter()

    public init(manager: StateManager, logger: Logger) {
        self.manager = manager
        self.logger = logger
    }

    /// Number of flows that this process has deleted.
    public var deletions: Int { self.count.load(ordering: .relaxed) }

    /// Deletes finished flows whose last change was before a moment, those with the earliest change first.
    /// - Parameters:
    ///   - limit: maximum number of flows.
    ///   - now: the time of the deletions.
    /// - Returns: the number of flows whose deletion failed.
    public func delete(before moment: Timestamp, limit: Int, now: Timestamp) async throws(StoreError) -> Int {
        let epoch = self.manager.epoch
        let found = try await self.manager.finished(before: moment, limit: limit)
        var failures = 0
        for start in stride(from: 0, to: found.count, by: Self.concurrentDeletions) where !Task.isCancelled {
            let slice = found[start..<min(start + Self.concurrentDeletions, found.count)]
            failures += await withTaskGroup(of: Bool.self) { group in
                for head in slice { group.addTask { await self.delete(head, epoch: epoch, now: now) } }
                return await group.reduce(0) { $0 + ($1 ? 0 : 1) }
            }
        }
        return failures
    }

    /// Deletes a flow, unless it has changed.
    /// - Returns: `false` if the deletion failed.
    private func delete(_ head: FlowHead, epoch: Epoch, now: Timestamp) async -> Bool {
        let change = FlowChange(
            flow: head.flow, account: head.account, body: .delete, precondition: .version(epoch, head.version), at: now)
        do throws(StoreError) {
            if case .applied = try await self.manager.apply(change) { self.count.add(1, ordering: .relaxed) }
            return true
        } catch {
            if let count = self.failureLog.add() {
                self.logger.warning(
                    "Finished flow cannot be deleted; will retry",
                    metadata: ["flow": "\(head.flow)", "error": "\(error)", "failures": .stringConvertible(count)])
            }
            return false
        }
    }
}
