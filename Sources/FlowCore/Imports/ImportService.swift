public import Logging
import Synchronization

/// Takes imports in, gives them back, and takes them away: the one door to them. Safe to use from any task.
///
/// The ledger comes first: an import is `pending` before a byte of it is stored, and `stored` when all of it is. Whatever a
/// process leaves half done by its death, another one finds in the ledger and finishes or sweeps.
public final class ImportService: Sendable {
    let ledger: any ImportLedger
    let chores: any ImportMaintenance
    let records: any RecordStore
    /// `nil`: records are rows.
    let objects: (any ObjectStore)?
    let housekeeping: (any ObjectMaintenance)?
    let codec: any ImportCodec
    let cache: any ImportCache
    let counters: any Counters
    public let configuration: ImportConfiguration
    let now: @Sendable () -> Timestamp
    let logger: Logger
    private let manager: StateManager
    /// Where the heavy work runs.
    let executor: any TaskExecutor
    private let slots: ImportLimiter
    let figures = Mutex(ImportMetrics())
    let analyses = SingleFlight<ImportID, Result<JSONText, ImportError>, Never>()

    public struct Dependencies: Sendable {
        public var ledger: any ImportLedger
        public var chores: any ImportMaintenance
        public var records: any RecordStore
        public var objects: (any ObjectStore)?
        public var housekeeping: (any ObjectMaintenance)?
        public var codec: any ImportCodec
        public var cache: any ImportCache
        public var counters: any Counters
        public var manager: StateManager
        public var executor: any TaskExecutor

        public init(
            ledger: any ImportLedger, chores: any ImportMaintenance, records: any RecordStore, objects: (any ObjectStore)?,
            housekeeping: (any ObjectMaintenance)?, codec: any ImportCodec, cache: any ImportCache, counters: any Counters,
            manager: StateManager, executor: any TaskExecutor
        ) {
            self.ledger = ledger
            self.chores = chores
            self.records = records
            self.objects = objects
            self.housekeeping = housekeeping
            self.codec = codec
            self.cache = cache
            self.counters = counters
            self.manager = manager
            self.executor = executor
        }
    }

    public init(
        _ dependencies: Dependencies, configuration: ImportConfiguration, now: @escaping @Sendable () -> Timestamp, logger: Logger
    ) {
        self.ledger = dependencies.ledger
        self.chores = dependencies.chores
        self.records = dependencies.records
        self.objects = dependencies.objects
        self.housekeeping = dependencies.housekeeping
        self.codec = dependencies.codec
        self.cache = dependencies.cache
        self.counters = dependencies.counters
        self.manager = dependencies.manager
        self.executor = dependencies.executor
        self.configuration = configuration
        self.slots = ImportLimiter(limit: configuration.maximumImports, accountLimit: configuration.maximumAccountImports)
        self.now = now
        self.logger = logger
    }

    /// Gives those that are being taken in a moment to end: cut off, they still have to clear up and to tell the ledger.
    public func close(within seconds: Int) async {
        let end = ContinuousClock.now + .seconds(seconds)
        while !self.slots.isEmpty, ContinuousClock.now < end { try? await Task.sleep(for: .milliseconds(20)) }
    }

    // MARK: Taking in

    /// Takes an import in, whole or not at all. Returns when it is stored and its flow was told, as far as the store could
    /// be reached for that.
    ///
    /// - Throws: ``ImportError``, or what the body threw.
    public func take(_ order: ImportRequest) async throws -> ImportReceipt {
        try self.slots.enter(order.account)
        defer { self.slots.leave(order.account) }
        if let flow = order.flow { try await self.check(flow, of: order.account) }
        return try await withTaskExecutorPreference(self.executor) { try await self.begin(order) }
    }

    private func check(_ flow: FlowID, of account: String) async throws(ImportError) {
        let head: FlowHead?
        do throws(StoreError) { head = try await self.manager.record(of: flow)?.head } catch { throw .store(error) }
        if let head, head.account != account { throw .otherAccount }
    }

    private func begin(_ order: ImportRequest) async throws -> ImportReceipt {
        let id = ImportID.random()
        let now = self.now()
        let key = self.objects == nil ? nil : Import.objectKey(account: order.account, createdAt: now, id: id, claim: 1)
        let draft = ImportDraft(
            id: id, account: order.account, flow: order.flow, fileName: order.fileName, sourceType: order.sourceType,
            provider: self.objects?.provider ?? self.records.provider, location: key, idempotencyKey: order.idempotencyKey,
            createdAt: now)
        let beginning: ImportBeginResult
        do throws(StoreError) {
            beginning = try await self.ledger.begin(draft, claimSeconds: self.configuration.claimSeconds)
        } catch {
            throw ImportError.store(error)
        }
        switch beginning {
        case .found(let found): return try await self.replay(found, order)
        case .begun(let entry):
            #if DEBUG
            await Failpoint.reach(.importBegun)
            #endif
            return try await self.fill(entry, order)
        }
    }

    /// The key was used before: the answer is the same, if the bytes are.
    private func replay(_ found: Import, _ order: ImportRequest) async throws -> ImportReceipt {
        guard found.status == .stored else { throw ImportError.inProgress }
        guard order.asks(for: found) else { throw ImportError.keyConflict }
        let body = ImportBody(order, codec: self.codec, configuration: self.configuration)
        try await body.skip()
        guard body.requestHash() == found.requestHash else { throw ImportError.keyConflict }
        return ImportReceipt(entry: found, isReplayed: true)
    }

    private func fill(_ entry: Import, _ order: ImportRequest) async throws -> ImportReceipt {
        do {
            let reading = try await self.holding(entry) { await self.read(entry, order) }
            let result: ImportPipeline.Result
            switch reading {
            case .whole(let whole): result = whole
            case .broken(let error, let isClean):
                // After the claim was held for the last time: what lets go of it has the last word.
                try await self.give(up: entry, because: error, isClean: isClean)
                throw error
            }
            #if DEBUG
            await Failpoint.reach(.importUploaded)
            #endif
            // In a task of its own: all is stored, and a client that leaves now is no reason to throw it away.
            let stored = try await Task(executorPreference: self.executor) { try await self.finish(entry, result) }.value
            self.cache.put(.array(of: result.sample), .sample, of: entry.id, seconds: self.configuration.cacheSeconds)
            self.figures.withLock { $0.taken(records: result.storage.recordCount, bytes: result.storage.originalSizeBytes) }
            await self.announce(stored)
            return ImportReceipt(entry: stored, isReplayed: false)
        } catch {
            self.figures.withLock { $0.failed += 1 }
            throw error
        }
    }

    /// What came of reading a body.
    private enum ReadOutcome: Sendable {
        case whole(ImportPipeline.Result)
        /// - Parameter isClean: whether nothing of it is left in the object store.
        case broken(any Error, isClean: Bool)
    }

    private func read(_ entry: Import, _ order: ImportRequest) async -> ReadOutcome {
        let sink: any ImportSink
        do { sink = try await self.sink(for: entry) } catch { return .broken(error, isClean: true) }
        let body = ImportBody(order, codec: self.codec, configuration: self.configuration)
        let progress = ImportProgress(
            entry, totalBytes: order.bytes, interval: self.configuration.progressMilliseconds, now: self.now
        ) { [manager] event in
            guard let flow = entry.flow else { return }
            manager.publish([event], of: flow, account: entry.account, at: manager.cachedRecord(of: flow)?.version ?? 0)
        }
        let reading = ImportPipeline(body: body, sink: sink, codec: self.codec, configuration: self.configuration) {
            progress.update(bytes: $0, records: $1)
        }
        do {
            return .whole(try await reading.run(format: order.format))
        } catch {
            return .broken(error, isClean: await sink.abort())
        }
    }

    private func sink(for entry: Import) async throws(ImportError) -> any ImportSink {
        guard let objects = self.objects, let key = entry.location else { return RowSink(self.records, entry) }
        do throws(ObjectError) {
            let attributes = ObjectAttributes(metadata: ["import-id": entry.id.rawValue])
            return ObjectSink(try await objects.upload(key, attributes), bucket: objects.bucket, codec: self.codec)
        } catch {
            throw .objects(error)
        }
    }

    /// - Parameter isClean: whether nothing of it is left in the object store.
    /// - Throws: ``ImportError/takenOver`` if it is another's affair by now.
    private func give(up entry: Import, because error: any Error, isClean: Bool) async throws(ImportError) {
        // In a task of its own: the caller's may be cancelled, and that is just when this has to be done.
        let isMine = await Task { await self.giveUp(entry, because: error, isClean: isClean) }.value
        if !isMine { throw .takenOver }
    }

    private func giveUp(_ entry: Import, because error: any Error, isClean: Bool) async -> Bool {
        guard isClean else {
            // The ledger must not forget it before it is gone: that is the sweep's work, from now on.
            self.logger.notice("What is left of an import is swept later", metadata: ["import": "\(entry.id)"])
            return (try? await self.ledger.extend(entry.id, claim: entry.claim, seconds: 0)) ?? true
        }
        let failure = error as? ImportError
        if failure == nil { self.logger.info("An import broke off", metadata: ["import": "\(entry.id)"]) }
        let reason = failure?.reason ?? "The upload broke off."
        // If this does not reach the ledger, its claim runs out, and the sweep does it.
        guard let isMine = try? await self.ledger.fail(entry.id, claim: entry.claim, reason: reason) else { return true }
        guard isMine else { return false }
        var failed = entry
        failed.status = .failed
        failed.failure = reason
        await self.announce(failed, code: failure?.code ?? "broken_off")
        return true
    }

    private func finish(_ entry: Import, _ result: ImportPipeline.Result) async throws -> Import {
        let outcome = ImportResult(
            storage: result.storage, fieldSummary: result.summary, index: result.index,
            samples: Array(result.sample.prefix(Import.sampleRows)), requestHash: result.requestHash)
        var isMine = true
        do throws(StoreError) {
            isMine = try await self.ledger.finish(entry.id, claim: entry.claim, outcome)
        } catch .outcomeUnknown(let reason) {
            // The ledger itself tells what became of it. Until it does, nobody knows; the sweep will.
            guard let found = try? await self.ledger.load(entry.id), found.status == .stored else {
                throw ImportError.store(.outcomeUnknown(reason))
            }
        } catch {
            throw ImportError.store(error)
        }
        guard isMine else {
            await self.discard(entry)
            throw ImportError.takenOver
        }
        #if DEBUG
        await Failpoint.reach(.importStored)
        #endif
        var stored = entry
        stored.status = .stored
        stored.totalRecords = result.storage.recordCount
        stored.fieldSummary = result.summary
        stored.storage = result.storage
        stored.requestHash = result.requestHash
        return stored
    }

    /// Removes the object of an import that others gave up while its worker could not be heard: it may have come to be after
    /// they had looked for it.
    private func discard(_ entry: Import) async {
        guard let objects = self.objects, let location = entry.location else { return }
        do {
            if let now = try await self.ledger.load(entry.id), now.status == .stored, now.location == location { return }
            try await objects.delete(location)
        } catch {
            self.logger.notice(
                "An object that is no import's stays until a sweep", metadata: ["key": "\(location)", "reason": "\(error)"])
        }
    }

    /// What there is to wait for while an import is held.
    private enum ClaimOutcome<Value: Sendable>: Sendable {
        case ended(Result<Value, any Error>)
        case lost
        /// The caller was cancelled.
        case cancelled
    }

    /// Holds the claim on an import for as long as the body runs; cancels the body if somebody else has it. What the body came
    /// to all the same counts: whoever called asks the ledger before building on it, and knows what to clear up.
    func holding<Value: Sendable>(
        _ entry: Import, _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        let result = await withTaskGroup(of: ClaimOutcome<Value>.self) { tasks -> Result<Value, any Error> in
            tasks.addTask {
                do { return .ended(.success(try await body())) } catch { return .ended(.failure(error)) }
            }
            tasks.addTask {
                do {
                    while true {
                        try await Task.sleep(for: .seconds(max(1, self.configuration.claimSeconds / 4)))
                        // A store that is away says nothing of the claim.
                        let isMine = try? await self.ledger.extend(
                            entry.id, claim: entry.claim, seconds: self.configuration.claimSeconds)
                        if isMine == false { return .lost }
                    }
                } catch {
                    return .cancelled
                }
            }
            var isLost = false
            while let next = await tasks.next() {
                switch next {
                case .ended(.failure) where isLost: return .failure(ImportError.takenOver)
                case .ended(let result):
                    tasks.cancelAll()
                    return result
                case .lost:
                    isLost = true
                    tasks.cancelAll()
                case .cancelled: continue
                }
            }
            return .failure(ImportError.takenOver)
        }
        return try result.get()
    }

    // MARK: Telling the flow

    /// Tells the flow what became of an import, once. What cannot be told now is told by the sweep.
    func announce(_ entry: Import, code: String = "interrupted") async {
        do throws(StoreError) {
            if let flow = entry.flow, let event = entry.announcement(code: code) {
                let change = FlowChange(
                    flow: flow, account: entry.account, body: .publish([event]),
                    // Told again after a death in between, it is the same telling.
                    idempotency: .init(key: "import:\(entry.id):\(entry.status)", fingerprint: entry.id.rawValue), at: self.now())
                if case .rejected(let rejection) = try await self.manager.apply(change) {
                    self.logger.notice(
                        "A flow could not be told of its import", metadata: ["import": "\(entry.id)", "reason": "\(rejection)"])
                }
            }
            #if DEBUG
            await Failpoint.reach(.importAnnounced)
            #endif
            try await self.chores.announced(entry.id)
        } catch {
            self.logger.notice(
                "An import is told later", metadata: ["import": "\(entry.id)", "reason": "\(error)"])
        }
    }
}
