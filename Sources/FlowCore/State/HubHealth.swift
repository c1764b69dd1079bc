import Synchronization

/// The delivery status of this instance, derived from the results of store operations and from whether the bus delivers.
/// Safe to use from any thread.
///
/// Reads and writes are tracked separately: with a full disk or a read-only database, every read still succeeds.
public final class HubHealth: Sendable {
    /// The kind of a store operation.
    public enum StoreAccess: Hashable, Sendable { case read, write }

    fileprivate struct State {
        /// The kinds of store operation that failed: reads until the next one succeeds, writes until a probe succeeds.
        var unavailable: Set<StoreAccess> = []
        var isBusDelivering = true
        /// The settings whose file has content that is not in use.
        var failedReloads: Set<String> = []
        var observer: (@Sendable (DeliveryStatus) -> Void)?
        /// The status with which the observer was called most recently.
        var lastNotified: DeliveryStatus?
        /// Whether a call of the observer is in progress.
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

    /// Sets the observer of ``delivery`` and calls it immediately with the current status. From then on it is called after each
    /// change, one call at a time, in order, from any thread. Changes that revert while a call is in progress are skipped.
    public func observe(_ observer: @escaping @Sendable (DeliveryStatus) -> Void) {
        self.change { state in
            state.observer = observer
            state.lastNotified = nil
        }
    }

    /// Whether a write to the store failed. Only a successful probe resets it, see ``FlowStore/probeWrite()``.
    public var isWriteUnavailable: Bool { self.state.withLock { $0.unavailable.contains(.write) } }

    /// Whether the most recent read of the store failed. Then the version sweep fails too, so cached flows may be
    /// outdated.
    public var isReadUnavailable: Bool { self.state.withLock { $0.unavailable.contains(.read) } }

    /// Reports that a store operation succeeded.
    public func storeSucceeded(_ access: StoreAccess) { self.change { $0.unavailable.remove(access) } }
    /// Reports that a store operation failed because the store is unavailable or the outcome is unknown.
    public func storeFailed(_ access: StoreAccess) {
        self.failures.add(1, ordering: .relaxed)
        self.change { $0.unavailable.insert(access) }
    }

    /// Number of calls of ``storeFailed(_:)`` so far.
    public var storeFailures: Int { self.failures.load(ordering: .relaxed) }
    /// Reports whether the bus delivers.
    public func busChanged(isDelivering: Bool) { self.change { $0.isBusDelivering = isDelivering } }

    /// Reports whether the content in use of a setting's file is the file's content; if not, the new content is invalid.
    public func reloaded(_ setting: String, isCurrent: Bool) {
        self.state.withLock { state in
            if isCurrent { state.failedReloads.remove(setting) } else { state.failedReloads.insert(setting) }
        }
    }

    /// The settings whose file could not be reloaded, sorted. Their previous content stays in use.
    public var failedReloads: [String] { self.state.withLock { $0.failedReloads.sorted() } }

    /// Changes the state, then calls the observer outside the lock until it has received the latest status.
    private func change(_ body: (inout State) -> Void) {
        self.state.withLock { body(&$0) }
        while let (observer, status) = self.state.withLock({ $0.nextNotification() }) {
            observer(status)
            self.state.withLock { $0.isNotifying = false }
        }
    }
}

extension HubHealth.State {
    /// The next call of the observer; `nil` if none is due or another call is in progress.
    ///
    /// Calls are made one at a time, since of two concurrent ones the older status could arrive last. The caller asks again
    /// after each call.
    fileprivate mutating func nextNotification() -> (@Sendable (DeliveryStatus) -> Void, DeliveryStatus)? {
        guard !self.isNotifying, self.lastNotified != self.delivery, let observer = self.observer else { return nil }
        self.isNotifying = true
        self.lastNotified = self.delivery
        return (observer, self.delivery)
    }
}
