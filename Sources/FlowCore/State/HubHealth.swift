import Synchronization

/// How well the hub delivers just now, as far as the store and the bus have shown.
///
/// Reading and writing are told apart: a full disk or a database that only reads still answers every read.
public final class HubHealth: Sendable {
    public enum StoreAccess: Hashable, Sendable { case reading, writing }

    fileprivate struct State {
        /// What the store did not do when it was asked last.
        var unavailable: Set<StoreAccess> = []
        var isBusDelivering = true
        var observer: (@Sendable (DeliveryStatus) -> Void)?
        /// What the observer heard last.
        var lastNotified: DeliveryStatus?
        var isNotifying = false

        var delivery: DeliveryStatus {
            if !self.unavailable.isEmpty { return .storeAway }
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
            state.lastNotified = nil
        }
    }

    /// Whether the store is thought not to take writes. Only a write that went through shows that it does again.
    public var isWriteUnavailable: Bool { self.state.withLock { $0.unavailable.contains(.writing) } }

    /// Whether the store did not answer the last read: then nobody looks after what is in memory.
    public var isReadUnavailable: Bool { self.state.withLock { $0.unavailable.contains(.reading) } }

    public func storeSucceeded(_ access: StoreAccess) { self.change { $0.unavailable.remove(access) } }
    public func storeFailed(_ access: StoreAccess) {
        self.failures.add(1, ordering: .relaxed)
        self.change { $0.unavailable.insert(access) }
    }

    /// How often the store did not do what it was asked.
    public var storeFailures: Int { self.failures.load(ordering: .relaxed) }
    public func busChanged(isDelivering: Bool) { self.change { $0.isBusDelivering = isDelivering } }

    private func change(_ body: (inout State) -> Void) {
        self.state.withLock { body(&$0) }
        while let (observer, status) = self.state.withLock({ $0.nextNotification() }) {
            observer(status)
            self.state.withLock { $0.isNotifying = false }
        }
    }
}

extension HubHealth.State {
    /// One at a time: of two that tell at once the later could be overtaken by the earlier. It looks again when it is done.
    fileprivate mutating func nextNotification() -> (@Sendable (DeliveryStatus) -> Void, DeliveryStatus)? {
        guard !self.isNotifying, self.lastNotified != self.delivery, let observer = self.observer else { return nil }
        self.isNotifying = true
        self.lastNotified = self.delivery
        return (observer, self.delivery)
    }
}
