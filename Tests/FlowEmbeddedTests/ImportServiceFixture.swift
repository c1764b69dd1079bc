import FlowCore
import FlowEmbedded
import FlowObjects
import Logging
import NIOCore

/// An import service on SQLite and a folder, with the components that tests inspect or replace.
struct ImportServiceFixture {
    private static let pool = WorkerPool(threads: 2)

    let ledger: SQLiteImportLedger
    let objects: FolderObjectStore
    let service: ImportService
    let keyring: ImportKeyring
    /// The cache that instances share, and that of this process.
    let cache = MemoryImportCache(bytes: 1 << 20) { start }
    let localCache = MemoryImportCache(bytes: 1 << 20) { start }
    let codec = GzipCodec(level: 1, pool: Self.pool)

    /// - Parameters:
    ///   - records: record store to use instead of the ledger's.
    ///   - maintenance: wraps the queries of the ledger.
    ///   - wrapping: wraps the object store that the service uses.
    ///   - isRows: whether new imports are stored as rows.
    ///   - keys: the import keys.
    init(
        _ store: SQLiteFlowStore, _ folder: String, isRows: Bool = false, keys: ImportKeySet = ImportKeySet(),
        records: (any RecordStore)? = nil, maintenance: (SQLiteImportLedger) -> any ImportMaintenance = { $0 },
        wrapping: (SQLiteImportLedger, FolderObjectStore) -> any ObjectStore = { $1 },
        _ configuration: ImportConfiguration = .init()
    ) throws {
        self.ledger = SQLiteImportLedger(store)
        self.objects = try FolderObjectStore(folder: folder + "/objects") { start }
        let counters = MemoryCounters { start }
        self.keyring = ImportKeyring(OpenSSLImportCipher(), keys: keys)
        let manager = StateManager(
            store: store, cache: MemoryStateCache(limits: .init()), transients: MemoryTransientStore(limits: .init()),
            bus: InProcessBus(), counters: counters, health: HubHealth()
        ) { _ in }
        self.service = ImportService(
            .init(
                ledger: self.ledger, maintenance: maintenance(self.ledger), records: records ?? self.ledger,
                objects: isRows ? nil : wrapping(self.ledger, self.objects),
                objectMaintenance: isRows ? nil : self.objects, codec: self.codec,
                cache: self.cache, localCache: self.localCache, keyring: self.keyring, counters: counters, manager: manager,
                executor: Self.pool),
            configuration: configuration, now: { start }, logger: Logger(label: "test"))
    }

    /// - Parameter checkAccess: called after the body was read.
    func ingest(
        _ text: String, format: ImportFormat, checkAccess: @escaping @Sendable () throws -> Void = {}
    ) async throws -> Import {
        var request = ImportRequest(
            account: "7", flow: nil, fileName: nil, sourceType: nil, format: format, idempotencyKey: nil, bytes: nil,
            body: Body(parts: [ByteBuffer(string: text)]))
        request.checkAccess = checkAccess
        return try await self.service.ingest(request).entry
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
