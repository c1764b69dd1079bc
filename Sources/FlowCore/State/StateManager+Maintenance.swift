/// Operations of the store that concern no single flow and no cache.
extension StateManager {
    /// See ``FlowStore/prune(_:now:)``.
    func prune(_ policy: RetentionPolicy, now: Timestamp) async throws(StoreError) -> Int {
        try await self.store.prune(policy, now: now)
    }

    /// See ``AccountUsageStore/highestUsage()``.
    func highestUsage() async throws(StoreError) -> AccountUsage { try await self.store.highestUsage() }

    /// See ``FlowStore/probeWrite()``. Does not change ``HubHealth``: ``probeWrites()`` does.
    func probeWrite() async throws(StoreError) { try await self.store.probeWrite() }
}
