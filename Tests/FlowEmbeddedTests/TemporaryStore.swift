import FlowCore
import FlowEmbedded
import FlowTestKit
import Foundation
import Logging
import Synchronization

let start = Timestamp(milliseconds: 1_700_000_000_000)

/// Runs the body with a folder, which is deleted afterwards.
func withTemporaryFolder(_ body: (String) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("flowhub-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try await body(folder)
}

func openStore(_ folder: String, _ configuration: SQLiteFlowStore.Configuration = .init()) throws -> SQLiteFlowStore {
    try SQLiteFlowStore(directory: folder, configuration: configuration, now: start, logger: Logger(label: "test"))
}

/// Runs the body with a store in its own folder. The store is closed afterwards.
func withStore(
    _ configuration: SQLiteFlowStore.Configuration = .init(), _ body: (SQLiteFlowStore, String) async throws -> Void
) async throws {
    try await withTemporaryFolder { folder in
        let store = try openStore(folder, configuration)
        do {
            try await body(store, folder)
        } catch {
            await store.close()
            throw error
        }
        await store.close()
    }
}

/// The store that is currently open for a contract.
final class CurrentStore: Sendable {
    private let store: Mutex<SQLiteFlowStore>
    private let folder: String

    init(_ folder: String) throws {
        self.folder = folder
        self.store = Mutex(try openStore(folder))
    }

    var value: SQLiteFlowStore { self.store.withLock { $0 } }

    var subject: FlowStoreContract.Subject {
        FlowStoreContract.Subject(
            store: self.value,
            reopen: { limits in
                await self.value.close()
                var configuration = SQLiteFlowStore.Configuration()
                configuration.changes.account = limits
                let store = try openStore(self.folder, configuration)
                self.store.withLock { $0 = store }
                return store
            },
            raiseEpochElsewhere: {
                let other = try openStore(self.folder)
                _ = try await other.raiseEpoch(from: other.epoch, now: start)
                await other.close()
            })
    }
}
