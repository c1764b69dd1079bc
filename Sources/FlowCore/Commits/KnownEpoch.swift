import Synchronization

/// The epoch that the process works under.
package final class KnownEpoch: Sendable {
    private let epoch: Mutex<Epoch>

    package init(_ epoch: Epoch) { self.epoch = Mutex(epoch) }

    package var value: Epoch { self.epoch.withLock { $0 } }

    package func set(_ epoch: Epoch) { self.epoch.withLock { $0 = epoch } }
}
