/// What was committed and may not have been published: written in the transaction of the change itself, so that whichever
/// process dies when, another one publishes it. Only where a bus reaches other instances.
public protocol Outbox: Sendable {
    /// The bus took these. Notes it and does not wait.
    func markPublished(_ commits: [Commit])
    /// Forgets what was taken since the last call.
    func deletePublished() async throws(StoreError)
    /// Takes over what nobody has published for a second: of each flow its newest event, with the flow as it is now. Unless it
    /// is ``markPublished(_:)`` and flushed, it is handed out again a second later, to whoever asks.
    func takeOverdue(limit: Int) async throws(StoreError) -> [Commit]
    /// Keeps only the newest of each flow, while there is no bus to take them.
    func compact() async throws(StoreError)
}
