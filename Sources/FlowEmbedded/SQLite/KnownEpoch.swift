import FlowCore
import Synchronization

/// The epoch that the process works under.
final class KnownEpoch: Sendable {
    private let epoch: Mutex<Epoch>

    init(_ epoch: Epoch) { self.epoch = Mutex(epoch) }

    var value: Epoch { self.epoch.withLock { $0 } }

    func set(_ epoch: Epoch) { self.epoch.withLock { $0 = epoch } }
}
