public import Logging
import Synchronization

/// Takes updates that services beside the hub published on the bus as changes of their flows' states.
///
/// Each is applied once, whichever instances hear of it: its digest is the idempotency key. It belongs to whoever owns the
/// flow; where there is no flow yet, to `newFlowAccount`, or to nobody: then it is dropped.
public final class ForeignUpdateApplier: Sendable {
    struct Update: Sendable {
        var flow: FlowID
        var updates: JSONText
        var digest: String
    }

    /// Updates that wait. More are dropped and counted: whoever publishes beside the hub is told nothing.
    public static let maximumWaiting = 10_000
    private static let maximumConcurrent = 32

    private let newFlowAccount: String?
    private let now: @Sendable () -> Timestamp
    private let logger: Logger
    private let updates: AsyncStream<Update>
    private let continuation: AsyncStream<Update>.Continuation
    private let dropped = Atomic<Int>(0)
    private let waiting = Atomic<Int>(0)

    public init(newFlowAccount: String?, now: @escaping @Sendable () -> Timestamp, logger: Logger) {
        self.newFlowAccount = newFlowAccount
        self.now = now
        self.logger = logger
        (self.updates, self.continuation) = AsyncStream.makeStream()
    }

    /// Updates that were not applied: nobody owns the flow, too many waited, or the store refused.
    public var droppedCount: Int { self.dropped.load(ordering: .relaxed) }

    /// Called from any thread; does not wait.
    /// - Parameter digest: alike for the same message wherever it is heard.
    public func enqueue(_ updates: JSONText, of flow: FlowID, digest: String) {
        guard self.waiting.load(ordering: .relaxed) < Self.maximumWaiting else {
            self.dropped.add(1, ordering: .relaxed)
            return
        }
        self.waiting.add(1, ordering: .relaxed)
        self.continuation.yield(Update(flow: flow, updates: updates, digest: digest))
    }

    func run(_ manager: StateManager) async {
        await withDiscardingTaskGroup { group in
            // A flow's updates in their order, those of different flows side by side.
            let lanes = (0..<Self.maximumConcurrent).map { _ in AsyncStream.makeStream(of: Update.self) }
            for lane in lanes {
                group.addTask { for await update in lane.stream { await self.apply(update, manager) } }
            }
            for await update in self.updates {
                lanes[Int(UInt(bitPattern: update.flow.hashValue) % UInt(Self.maximumConcurrent))].continuation.yield(update)
            }
            for lane in lanes { lane.continuation.finish() }
        }
    }

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
                idempotency: .init(key: "seed:\(update.digest)", fingerprint: update.digest), at: self.now())
            switch try await manager.apply(change) {
            case .applied, .unchanged, .replayed: break
            default: self.dropped.add(1, ordering: .relaxed)
            }
        } catch {
            self.dropped.add(1, ordering: .relaxed)
            self.logger.warning("An update of another service was not applied", metadata: ["reason": "\(error)"])
        }
    }
}
