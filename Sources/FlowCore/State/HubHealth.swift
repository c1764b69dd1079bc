import Synchronization

/// How well the hub delivers just now, as far as the store and the bus have shown.
///
/// Reading and writing are told apart: a full disk or a database that only reads still answers every read.
public final class HubHealth: Sendable {
    public enum StoreUse: Hashable, Sendable { case reading, writing }

    private struct State {
        /// What the store did not do when it was asked last.
        var away: Set<StoreUse> = []
        var isBusDelivering = true
        var observer: (@Sendable (DeliveryStatus) -> Void)?

        var delivery: DeliveryStatus {
            if !self.away.isEmpty { return .storeAway }
            return self.isBusDelivering ? .ok : .degraded
        }
    }

    private let state = Mutex(State())
    private let failures = Atomic<Int>(0)

    public init() {}

    public var delivery: DeliveryStatus { self.state.withLock { $0.delivery } }

    /// Called once for every change of ``delivery``, from any thread.
    public func observe(_ observer: @escaping @Sendable (DeliveryStatus) -> Void) {
        self.state.withLock { $0.observer = observer }
    }

    /// Whether the store is thought not to take writes. Only a write that went through shows that it does again.
    public var isWritingAway: Bool { self.state.withLock { $0.away.contains(.writing) } }

    /// Whether the store did not answer the last read: then nobody looks after what is in memory.
    public var isReadingAway: Bool { self.state.withLock { $0.away.contains(.reading) } }

    public func storeDid(_ use: StoreUse) { self.change { $0.away.remove(use) } }
    public func storeFailed(_ use: StoreUse) {
        self.failures.add(1, ordering: .relaxed)
        self.change { $0.away.insert(use) }
    }

    /// How often the store did not do what it was asked.
    public var storeFailures: Int { self.failures.load(ordering: .relaxed) }
    public func busChanged(isDelivering: Bool) { self.change { $0.isBusDelivering = isDelivering } }

    private func change(_ body: (inout State) -> Void) {
        let notice: (() -> Void)? = self.state.withLock { state in
            let before = state.delivery
            body(&state)
            let after = state.delivery
            guard before != after, let observer = state.observer else { return nil }
            // The status of that moment, not of this one: two changes may be told in the other order.
            return { observer(self.delivery) }
        }
        notice?()
    }
}
