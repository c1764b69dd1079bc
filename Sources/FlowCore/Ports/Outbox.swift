/// The transactional outbox: the commits whose publication the bus has not confirmed yet.
///
/// The store writes a commit's row in the transaction of the change itself. So if an instance crashes between the commit and
/// the publication, another instance publishes it. Only used with a bus between instances. Safe to use from any task.
public protocol Outbox: Sendable {
    /// Records in memory that the bus has accepted these commits. Does not wait.
    func markPublished(_ commits: [Commit])
    /// Deletes the rows of the commits marked since the last call, and older rows of the same flows. If that fails, the
    /// commits are published again; the receiving sequencers drop the repetition.
    func deletePublished() async throws(StoreError)
    /// Returns commits that have been unpublished for more than 1 s: for each flow the newest event, with the stored flow as
    /// it is now. Other callers do not receive these commits for 1 s. Within that time the caller must publish them, and call
    /// ``markPublished(_:)`` and ``deletePublished()``.
    /// - Parameter limit: the maximum number of rows.
    func takeOverdue(limit: Int) async throws(StoreError) -> [Commit]
    /// Deletes all rows except the newest one of each flow, which bounds the table while the bus does not deliver.
    func compact() async throws(StoreError)
}
