#if DEBUG
import Synchronization

/// Points in the code at which a test stops a process, to test how the other processes recover. Debug builds only. Raw values
/// are set in the environment.
public enum Failpoint: String, CaseIterable, Sendable {
    /// A change is committed in the store, but its events were not sent on the bus, and the client that sent it was not
    /// answered.
    case afterCommit
    /// A change's events were accepted by the bus, but its row is still in the outbox.
    case afterPublish
    /// An import is in the ledger with the status `pending`, and its body was not read yet.
    case importBegun
    /// An import's object or rows are complete, but its status in the ledger is still `pending`.
    case importUploaded
    /// An import has the status `stored`, but its import event was not published.
    case importStored
    /// An import's import event was published, but the ledger has not recorded that yet.
    case importAnnounced
    /// An import has the status `deleting`, but neither its object nor its rows were deleted yet.
    case importDeleting
    /// An import's object is deleted, but its row in the ledger is not.
    case importObjectGone
    /// A move of an import between rows and an object has written its copy, but not verified it.
    case moveCopied
    /// A move has read its copy back and compared it, but the ledger still refers to the source.
    case moveVerified
    /// The ledger refers to a move's copy. If the source is an object, it is not deleted yet.
    case moveCommitted

    private static let armed = Mutex<(@Sendable (Failpoint) async -> Void)?>(nil)

    /// Sets the action that runs whenever a failpoint is reached. If it never returns, the task that reached the
    /// failpoint stops.
    public static func arm(_ action: @escaping @Sendable (Failpoint) async -> Void) {
        Self.armed.withLock { $0 = action }
    }

    /// Runs the action that ``arm(_:)`` has set, and waits for it to return. Does nothing if none is set.
    package static func reach(_ failpoint: Failpoint) async {
        if let action = Self.armed.withLock({ $0 }) { await action(failpoint) }
    }
}
#endif
