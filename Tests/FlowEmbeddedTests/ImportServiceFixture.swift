import FlowCore
import FlowEmbedded
import FlowObjects
import Logging
import NIOCore

/// A service of imports on SQLite and a folder, with the parts that a test looks at or meddles with.
struct ImportServiceFixture {
    private static let pool = WorkerPool(threads: 2)

    let ledger: SQLiteImportLedger
    let objects: FolderObjectStore
    let service: ImportService
    let codec = GzipCodec(level: 1, pool: Self.pool)

    /// - Parameters:
    ///   - records: in place of the ledger's own.
    ///   - wrapping: puts something between the service and its objects.
    ///   - isRows: whether new imports become rows.
    init(
        _ store: SQLiteFlowStore, _ folder: String, isRows: Bool = false, records: (any RecordStore)? = nil,
        wrapping: (SQLiteImportLedger, FolderObjectStore) -> any ObjectStore = { $1 },
        _ configuration: ImportConfiguration = .init()
    ) throws {
        self.ledger = SQLiteImportLedger(store)
        self.objects = try FolderObjectStore(folder: folder + "/objects") { start }
        let counters = MemoryCounters { start }
        let manager = StateManager(
            store: store, cache: MemoryStateCache(limits: .init()), transients: MemoryTransientStore(limits: .init()),
            bus: InProcessBus(), counters: counters, health: HubHealth()
        ) { _ in }
        self.service = ImportService(
            .init(
                ledger: self.ledger, chores: self.ledger, records: records ?? self.ledger,
                objects: isRows ? nil : wrapping(self.ledger, self.objects),
                housekeeping: isRows ? nil : self.objects, codec: self.codec, cache: MemoryImportCache(bytes: 1 << 20) { start },
                counters: counters, manager: manager, executor: Self.pool),
            configuration: configuration, now: { start }, logger: Logger(label: "test"))
    }

    func take(_ text: String, format: ImportFormat) async throws -> Import {
        let order = ImportRequest(
            account: "7", flow: nil, fileName: nil, sourceType: nil, format: format, idempotencyKey: nil, bytes: nil,
            body: Body(parts: [ByteBuffer(string: text)]))
        return try await self.service.take(order).entry
    }

    private struct Body: AsyncSequence, Sendable {
        struct Iterator: AsyncIteratorProtocol {
            var parts: [ByteBuffer]

            mutating func next() async throws -> ByteBuffer? { self.parts.isEmpty ? nil : self.parts.removeFirst() }
        }

        let parts: [ByteBuffer]

        func makeAsyncIterator() -> Iterator { Iterator(parts: self.parts) }
    }
}
