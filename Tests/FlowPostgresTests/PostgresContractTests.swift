import FlowCore
import FlowPostgres
import FlowTestKit
import Testing

@Suite(.postgres())
struct PostgresContractTests {
    @Test(arguments: FlowStoreContract.cases)
    func storeMeetsContract(_ promise: FlowStoreContract.Case) async throws {
        let server = try SharedPostgres.server
        try await CurrentStore.run(promise, server.url(try await newDatabase(on: server)))
    }

    @Test(arguments: TaskLedgerContract.cases)
    func taskLedgerMeetsContract(_ promise: TaskLedgerContract.Case) async throws {
        try await withStore(on: SharedPostgres.server) { store, _ in try await promise.run(store) }
    }

    @Test(arguments: FlowStoreContract.cases)
    func storeMeetsContractBehindPgBouncer(_ promise: FlowStoreContract.Case) async throws {
        let server = try SharedPostgres.server
        try await PgBouncer.running(before: server) { bouncer in
            try await CurrentStore.run(promise, bouncer.url(try await newDatabase(on: server)))
        }
    }
}
