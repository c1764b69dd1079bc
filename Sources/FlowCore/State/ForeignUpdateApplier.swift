public import Logging
import Synchronization

/// Applies foreign updates as patches of their flows. A foreign update is a foreign event that contains a merge patch of the
/// flow's state.
///
/// Each update is applied once, even if several instances receive it: its digest is the idempotency key. The change is made
/// for the account that owns the flow. If the flow does not exist, it is created for `newFlowAccount`; without such an
/// account the update is dropped. Updates of one flow are applied in the order of their arrival.
public final class ForeignUpdateApplier: Sendable {
    /// A queued foreign update.
    struct Update: Sendable {
        var flow: FlowID
        /// The merge patch.
        var updates: JSONText
        /// See ``ForeignUpdateApplier/enqueue(_:of:digest:)``.
        var digest: String
    }

    /// Maximum number of updates that wait or are being applied. Further ones are dropped and counted; the process that
    /// published them receives no error.
    public static let maximumWaiting = 10_000
    /// Number of tasks that apply updates. A flow always maps to the same task.
    private static let maximumConcurrent = 32

    /// The account for which a flow that does not exist is created; `nil` to drop updates of such flows.
    private let newFlowAccount: String?
    private let now: @Sendable () -> Timestamp
    private let logger: Logger
    private let updates: AsyncStream<Update>
    private let continuation: AsyncStream<Update>.Continuation
    private let dropped = Atomic<Int>(0)
    /// Number of updates that wait or are being applied.
    private let waiting = Atomic<Int>(0)

    public init(newFlowAccount: String?, now: @escaping @Sendable () -> Timestamp, logger: Logger) {
        self.newFlowAccount = newFlowAccount
        self.now = now
        self.logger = logger
        (self.updates, self.continuation) = AsyncStream.makeStream()
    }

    /// Number of updates that were not applied: the flow does not exist and `newFlowAccount` is `nil`, too many updates waited,
    /// the change was rejected, or the store failed.
    public var droppedCount: Int { self.dropped.load(ordering: .relaxed) }

    /// Queues an update. Called from any thread; does not wait.
    /// - Parameters:
    ///   - updates: the merge patch.
    ///   - digest: a digest of the message, equal on all instances that receive it.
    public func enqueue(_ updates: JSONText, of flow: FlowID, digest: String) {
        guard self.waiting.load(ordering: .relaxed) < Self.maximumWaiting else {
            self.dropped.add(1, ordering: .relaxed)
            return
        }
        self.waiting.add(1, ordering: .relaxed)
        self.continuation.yield(Update(flow: flow, updates: updates, digest: digest))
    }

    /// Applies queued updates until the task is canceled.
    func run(_ manager: StateManager) async {
        await withDiscardingTaskGroup { group in
            // One queue per task: updates of one flow stay in order, those in different queues are applied concurrently.
            let queues = (0..<Self.maximumConcurrent).map { _ in AsyncStream.makeStream(of: Update.self) }
            for queue in queues {
                group.addTask { for await update in queue.stream { await self.apply(update, manager) } }
            }
            for await update in self.updates {
                queues[Int(UInt(bitPattern: update.flow.hashValue) % UInt(Self.maximumConcurrent))].continuation.yield(update)
            }
            for queue in queues { queue.continuation.finish() }
        }
    }

    /// Commits one update for the account that owns its flow. Counts an update that cannot be applied as dropped.
    private func apply(_ update: Update, _ manager: StateManager) async {
        defer { self.waiting.subtract(1, ordering: .relaxed) }
        do throws(StoreError) {
            let head = try await manager.heads(of: [update.flow]).first
            guard let account = head?.account ?? self.newFlowAccount else {
                self.dropped.add(1, ordering: .relaxed)
                return
            }
            let change = FlowChange(
                flow: update.flow, account: account, body: .patch(update.updates),
                idempotency: .ofHub("seed:\(update.digest)", fingerprint: update.digest), at: self.now())
            switch try await manager.apply(change) {
            case .applied, .unchanged, .replayed: break
            default: self.dropped.add(1, ordering: .relaxed)
            }
        } catch {
            self.dropped.add(1, ordering: .relaxed)
            self.logger.warning(
                "Failed to apply foreign update", metadata: ["flow_id": "\(update.flow)", "error": "\(error)"])
        }
    }
}
