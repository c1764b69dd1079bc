import Synchronization

/// The epoch that the process works under.
package final class AdoptedEpoch: Sendable {
    private let epoch: Mutex<Epoch>

    package init(_ epoch: Epoch) { self.epoch = Mutex(epoch) }

    package var value: Epoch { self.epoch.withLock { $0 } }

    /// Never goes back. - Returns: whether it was advanced.
    package func advance(to epoch: Epoch) -> Bool {
        self.epoch.withLock { adopted in
            guard epoch > adopted else { return false }
            adopted = epoch
            return true
        }
    }

    package func set(_ epoch: Epoch) { self.epoch.withLock { $0 = epoch } }
}
