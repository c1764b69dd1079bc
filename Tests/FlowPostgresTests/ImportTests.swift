import FlowCore
import FlowTestKit
import Testing

@testable import FlowPostgres

@Suite(.postgres()) struct ImportContractTests {
    @Test(arguments: ImportLedgerContract.cases + RecordStoreContract.cases)
    func ledgerAndRecordsMeetContract(_ promise: ImportLedgerContract.Case) async throws {
        let server = try SharedPostgres.server
        let database = try await newDatabase(on: server)
        try await Self.run(promise, server.url(database), server, database)
    }

    @Test(arguments: ImportLedgerContract.cases + RecordStoreContract.cases)
    func ledgerAndRecordsMeetContractBehindPgBouncer(_ promise: ImportLedgerContract.Case) async throws {
        let server = try SharedPostgres.server
        let database = try await newDatabase(on: server)
        try await PgBouncer.running(before: server) { bouncer in
            try await Self.run(promise, bouncer.url(database), server, database)
        }
    }

    private static func run(
        _ promise: ImportLedgerContract.Case, _ url: String, _ server: PostgresServer, _ database: String
    ) async throws {
        let store = try await openStore(url)
        var limits = PostgresImportLedger.Limits()
        // A small limit, so that few rows form several batches.
        limits.removedRows = 70
        let ledger = PostgresImportLedger(store, limits: limits)
        let subject = ImportLedgerContract.Subject(
            ledger: ledger, records: ledger,
            tamper: { tampering, id in
                switch tampering {
                case .change(let number, let text):
                    try await server.query(
                        """
                        UPDATE raw_import_records SET raw_text = '\(text)', raw_data = '\(text)'
                        WHERE data_import_id = '\(id)' AND record_index = \(number)
                        """, in: database)
                case .remove(let number):
                    try await server.query(
                        "DELETE FROM raw_import_records WHERE data_import_id = '\(id)' AND record_index = \(number)", in: database
                    )
                }
            })
        do {
            try await promise.run(subject)
        } catch {
            await store.close()
            throw error
        }
        await store.close()
    }
}
