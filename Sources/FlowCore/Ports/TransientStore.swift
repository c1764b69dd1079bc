/// The store of each flow's latest transient event of every type, for snapshots. Best effort: events may be lost. Safe to use
/// from any task.
public protocol TransientStore: Sendable {
    /// Stores an event in place of the flow's earlier one of the same type. Does not wait.
    /// - Parameter version: the flow's version when the event was published.
    func record(_ event: TransientEvent, of flow: FlowID, at version: Version)
    /// The latest events that were published when the flow was at or above `version`, in order of publication.
    func latest(of flow: FlowID, since version: Version) async -> [TransientEvent]
    /// Drops the events in this process's memory, because their versions belong to an epoch that has been replaced.
    func removeAll()
}
