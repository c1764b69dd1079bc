import Synchronization

/// How well the hub delivers just now, as far as the store and the bus have shown.
///
/// Reading and writing are told apart: a full disk or a database that only reads still answers every read.
public final class HubHealth: Sendable {
    public enum StoreAccess: Hashable, Sendable { case reading, writing }

    fileprivate struct State {
        /// What the store did not do when it was asked last.
        var away: Set<StoreAccess> = []
        var isBusDelivering = true
        var observer: (@Sendable (DeliveryStatus) -> Void)?
        /// What the observer heard last.
        var told: DeliveryStatus?
        var isTelling = false

        var delivery: DeliveryStatus {
            if !self.away.isEmpty { return .storeAway }
            return self.isBusDelivering ? .ok : .degraded
        }
    }

    private let state = Mutex(State())
    private let failures = Atomic<Int>(0)

    public init() {}

    public var delivery: DeliveryStatus { self.state.withLock { $0.delivery } }

    /// Called at once, and for every change of ``delivery`` from then on, in their order, from any thread. What passes while it
    /// is at work it may not hear of.
    public func observe(_ observer: @escaping @Sendable (DeliveryStatus) -> Void) {
        self.change { state in
            state.observer = observer
            state.told = nil
        }
    }

    /// Whether the store is thought not to take writes. Only a write that went through shows that it does again.
    public var isWritingAway: Bool { self.state.withLock { $0.away.contains(.writing) } }

    /// Whether the store did not answer the last read: then nobody looks after what is in memory.
    public var isReadingAway: Bool { self.state.withLock { $0.away.contains(.reading) } }

    public func storeDid(_ use: StoreAccess) { self.change { $0.away.remove(use) } }
    public func storeFailed(_ use: StoreAccess) {
        self.failures.add(1, ordering: .relaxed)
        self.change { $0.away.insert(use) }
    }

    /// How often the store did not do what it was asked.
    public var storeFailures: Int { self.failures.load(ordering: .relaxed) }
    public func busChanged(isDelivering: Bool) { self.change { $0.isBusDelivering = isDelivering } }

    private func change(_ body: (inout State) -> Void) {
        self.state.withLock { body(&$0) }
        while let (observer, status) = self.state.withLock({ $0.nextToTell() }) {
            observer(status)
            self.state.withLock { $0.isTelling = false }
        }
    }
}

extension HubHealth.State {
    /// One at a time: of two that tell at once the later could be overtaken by the earlier. It looks again when it is done.
    fileprivate mutating func nextToTell() -> (@Sendable (DeliveryStatus) -> Void, DeliveryStatus)? {
        guard !self.isTelling, self.told != self.delivery, let observer = self.observer else { return nil }
        self.isTelling = true
        self.told = self.delivery
        return (observer, self.delivery)
    }
}
