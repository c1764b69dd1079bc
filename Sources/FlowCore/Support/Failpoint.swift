#if DEBUG
import Synchronization

/// Places where a test may stop a process, to see what the others make of it. Debug builds only.
public enum Failpoint: String, CaseIterable, Sendable {
    /// A change is durable, and nobody was told.
    case afterCommit
    /// It was published, and its row is still in the outbox.
    case afterPublish
    /// An import is in the ledger, pending.
    case importBegun
    /// Its object is whole, and the ledger does not know.
    case importUploaded
    /// It is stored, and its flow was not told.
    case importStored
    /// Its flow was told, and the ledger does not know.
    case importAnnounced
    /// It is marked as being deleted.
    case importDeleting
    /// Its object is gone, its row is there.
    case importObjectGone
    /// A move has its copy complete.
    case moveCopied
    /// The copy was read back and compared.
    case moveVerified
    /// The ledger names the copy; what it was made of may be there yet.
    case moveCommitted

    private static let armed = Mutex<(@Sendable (Failpoint) async -> Void)?>(nil)

    /// From now on the action runs whenever a place is reached; it may never return.
    public static func arm(_ action: @escaping @Sendable (Failpoint) async -> Void) {
        Self.armed.withLock { $0 = action }
    }

    package static func reach(_ failpoint: Failpoint) async {
        if let action = Self.armed.withLock({ $0 }) { await action(failpoint) }
    }
}
#endif
