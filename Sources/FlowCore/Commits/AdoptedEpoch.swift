import Synchronization

/// The epoch that this process has adopted. Safe to use from any thread.
package final class AdoptedEpoch: Sendable {
    private let epoch: Mutex<Epoch>

    package init(_ epoch: Epoch) { self.epoch = Mutex(epoch) }

    package var value: Epoch { self.epoch.withLock { $0 } }

    /// Adopts an epoch if it is higher than the adopted one.
    /// - Returns: whether it was higher, and is the adopted one now.
    package func advance(to epoch: Epoch) -> Bool {
        self.epoch.withLock { adopted in
            guard epoch > adopted else { return false }
            adopted = epoch
            return true
        }
    }

    /// Adopts an epoch, even if it is lower than the adopted one.
    package func set(_ epoch: Epoch) { self.epoch.withLock { $0 = epoch } }
}
