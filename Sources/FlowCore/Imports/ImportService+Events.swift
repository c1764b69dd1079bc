import Logging

extension ImportService {
    /// Publishes `import_stored` or `import_failed` on the import's flow, if it has one, and marks the import as
    /// announced in the ledger. If either fails, import maintenance repeats both; the flow gets the event only once.
    /// - Parameter code: stable code of the failure, for `import_failed`.
    func publishOutcome(_ entry: Import, code: String = "interrupted") async {
        do throws(StoreError) {
            if let flow = entry.flow, let event = entry.outcomeEvent(code: code) {
                let change = FlowChange(
                    flow: flow, account: entry.account, body: .publish([event]),
                    // Each attempt has the same idempotency key, so an event that was published already is not repeated.
                    idempotency: .ofHub("import:\(entry.id):\(entry.status)", fingerprint: entry.id.rawValue), at: self.now())
                if case .rejected(let rejection) = try await self.manager.apply(change) {
                    self.logger.notice(
                        "Import event rejected by its flow; will not retry",
                        metadata: ["import_id": "\(entry.id)", "error": "\(rejection)"])
                }
            }
            #if DEBUG
            await Failpoint.reach(.importAnnounced)
            #endif
            try await self.maintenance.markAnnounced(entry.id)
        } catch {
            self.logger.notice(
                "Failed to publish import event; will retry", metadata: ["import_id": "\(entry.id)", "error": "\(error)"])
        }
    }
}
