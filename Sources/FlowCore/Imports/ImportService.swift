public import Logging
import Synchronization

/// Ingests, reads and deletes imports: the only API for them. Safe to use from any task.
///
/// The ledger shows the progress of each import: it is `pending` before any of its bytes is stored, and `stored` once
/// all of them are. If a process stops while it ingests or deletes an import, another process finds the import in the
/// ledger: it marks a `pending` import as failed and deletes its data, and completes the deletion of a `deleting` one.
public final class ImportService: Sendable {
    let ledger: any ImportLedger
    let maintenance: any ImportMaintenance
    let records: any RecordStore
    /// `nil` if no object store is configured. New imports are then stored as rows. If there is one, it is read even if
    /// ``ImportConfiguration/objectShare`` is 0.
    let objects: (any ObjectStore)?
    /// `nil` if no object store with maintenance operations is configured.
    let objectMaintenance: (any ObjectMaintenance)?
    let codec: any ImportCodec
    let cache: any ImportCache
    /// Cache in the memory of this process for what must not be shared; see ``cache(for:of:)``.
    let localCache: any ImportCache
    /// `nil` without import keys: nothing is encrypted, and encrypted imports cannot be read.
    let keyring: ImportKeyring?
    let counters: any Counters
    public let configuration: ImportConfiguration
    let now: @Sendable () -> Timestamp
    let logger: Logger
    let manager: StateManager
    /// Executor for the CPU-intensive work on imports.
    let executor: any TaskExecutor
    private let limiter: ImportLimiter
    let metricsState = Mutex(ImportMetrics())
    /// Limits the log lines about objects that are missing while their rows exist.
    let missingObjectLog = LogLimiter()
    /// Schema analyses in progress, one per import.
    let analyses = SingleFlight<ImportID, Result<JSONText, ImportError>, Never>()

    /// The ports and services that an ``ImportService`` uses.
    public struct Dependencies: Sendable {
        public var ledger: any ImportLedger
        public var maintenance: any ImportMaintenance
        public var records: any RecordStore
        public var objects: (any ObjectStore)?
        public var objectMaintenance: (any ObjectMaintenance)?
        public var codec: any ImportCodec
        public var cache: any ImportCache
        /// Cache in the memory of this process; may be the same as `cache`.
        public var localCache: any ImportCache
        /// `nil` without import keys.
        public var keyring: ImportKeyring?
        public var counters: any Counters
        public var manager: StateManager
        public var executor: any TaskExecutor

        public init(
            ledger: any ImportLedger, maintenance: any ImportMaintenance, records: any RecordStore, objects: (any ObjectStore)?,
            objectMaintenance: (any ObjectMaintenance)?, codec: any ImportCodec, cache: any ImportCache,
            localCache: any ImportCache, keyring: ImportKeyring?, counters: any Counters, manager: StateManager,
            executor: any TaskExecutor
        ) {
            self.ledger = ledger
            self.maintenance = maintenance
            self.records = records
            self.objects = objects
            self.objectMaintenance = objectMaintenance
            self.codec = codec
            self.cache = cache
            self.localCache = localCache
            self.keyring = keyring
            self.counters = counters
            self.manager = manager
            self.executor = executor
        }
    }

    public init(
        _ dependencies: Dependencies, configuration: ImportConfiguration, now: @escaping @Sendable () -> Timestamp, logger: Logger
    ) {
        self.ledger = dependencies.ledger
        self.maintenance = dependencies.maintenance
        self.records = dependencies.records
        self.objects = dependencies.objects
        self.objectMaintenance = dependencies.objectMaintenance
        self.codec = dependencies.codec
        self.cache = dependencies.cache
        self.localCache = dependencies.localCache
        self.keyring = dependencies.keyring
        self.counters = dependencies.counters
        self.manager = dependencies.manager
        self.executor = dependencies.executor
        self.configuration = configuration
        self.limiter = ImportLimiter(limit: configuration.maximumImports, accountLimit: configuration.maximumAccountImports)
        self.now = now
        self.logger = logger
    }

    /// Waits up to `seconds` until no import is being ingested. An import whose request was interrupted still has to
    /// delete what it stored and to update the ledger.
    public func close(within seconds: Int) async {
        let end = ContinuousClock.now + .seconds(seconds)
        while !self.limiter.isIdle, ContinuousClock.now < end { try? await Task.sleep(for: .milliseconds(20)) }
    }

    // MARK: Ingestion

    /// Ingests an import completely or not at all. Returns after the import is stored and the hub has tried once to
    /// publish `import_stored` on the import's flow. If the publication fails, import maintenance repeats it.
    ///
    /// - Throws: ``ImportError``, or the error of the body or of ``ImportRequest/checkAccess``.
    public func ingest(_ request: ImportRequest) async throws -> ImportReceipt {
        try self.limiter.acquire(request.account)
        defer { self.limiter.release(request.account) }
        if let flow = request.flow { try await self.check(flow, of: request.account) }
        return try await withTaskExecutorPreference(self.executor) { try await self.begin(request) }
    }

    /// Checks that a flow may carry events of this account. A flow that does not exist yet may.
    /// - Throws: ``ImportError/otherAccount`` if the flow belongs to another account.
    private func check(_ flow: FlowID, of account: String) async throws(ImportError) {
        let head: FlowHead?
        do throws(StoreError) { head = try await self.manager.record(of: flow)?.head } catch { throw .store(error) }
        if let head, head.account != account { throw .otherAccount }
    }

    /// Inserts a pending import into the ledger and ingests the body. If the ledger returns another import,
    /// which has the request's idempotency key, answers with that import or rejects the request.
    private func begin(_ request: ImportRequest) async throws -> ImportReceipt {
        let id = ImportID.random()
        let now = self.now()
        let objects = self.storesAsObject(id, account: request.account) ? self.objects : nil
        let key = objects == nil ? nil : Import.objectKey(account: request.account, createdAt: now, id: id)
        let draft = ImportDraft(
            id: id, account: request.account, flow: request.flow, fileName: request.fileName, sourceType: request.sourceType,
            provider: objects?.provider ?? self.records.provider, location: key, idempotencyKey: request.idempotencyKey,
            createdAt: now)
        let result: ImportBeginResult
        do throws(StoreError) {
            result = try await self.ledger.begin(draft, claimSeconds: self.configuration.claimSeconds)
        } catch {
            throw ImportError.store(error)
        }
        switch result {
        case .found(let found): return try await self.replay(found, request)
        case .limitReached(let limit): throw ImportError.accountFull(limit: limit)
        case .begun(let entry):
            #if DEBUG
            await Failpoint.reach(.importBegun)
            #endif
            return try await self.ingestBody(entry, request)
        }
    }

    /// Answers a request whose idempotency key another import of the account has. Returns that import if its upload had
    /// the same parameters and the same body.
    /// - Parameter found: the other import.
    /// - Throws: ``ImportError/inProgress`` if the other import is not stored yet, ``ImportError/keyConflict`` if
    ///   parameters or body differ.
    private func replay(_ found: Import, _ request: ImportRequest) async throws -> ImportReceipt {
        guard found.status == .stored else { throw ImportError.inProgress }
        guard request.matches(found) else { throw ImportError.keyConflict }
        let body = ImportBody(request, codec: self.codec, configuration: self.configuration)
        try await body.skip()
        try request.checkAccess()
        guard body.requestHash() == found.requestHash else { throw ImportError.keyConflict }
        return ImportReceipt(entry: found, isReplayed: true)
    }

    /// Stores the body as the records of a pending import, and publishes the outcome. After an error the import is
    /// marked failed, or the import sweep cleans it up later.
    private func ingestBody(_ entry: Import, _ request: ImportRequest) async throws -> ImportReceipt {
        do {
            let outcome = try await self.withClaim(on: entry) { await self.read(entry, request) }
            let result: ImportPipeline.Result
            switch outcome {
            case .complete(let complete): result = complete
            case .failed(let error, let isClean):
                // `withClaim` has ended, so no renewal of the claim can follow and undo the release of the claim here.
                try await self.abandon(entry, because: error, isClean: isClean)
                throw error
            }
            #if DEBUG
            await Failpoint.reach(.importUploaded)
            #endif
            // In a separate task: all bytes are stored, so a client that disconnects now must not cause them to be
            // discarded.
            let stored = try await Task(executorPreference: self.executor) { try await self.finish(entry, result) }.value
            self.cache(for: .sample, of: stored)
                .put(.array(of: result.sample), .sample, of: entry.id, seconds: self.configuration.cacheSeconds)
            self.metricsState.withLock {
                $0.countStored(
                    records: result.storage.recordCount, bytes: result.storage.originalSizeBytes,
                    isObject: result.index != nil, isEncrypted: stored.encryption != nil)
            }
            await self.publishOutcome(stored)
            return ImportReceipt(entry: stored, isReplayed: false)
        } catch {
            self.metricsState.withLock { $0.failed += 1 }
            throw error
        }
    }

    /// The result of reading a body into storage.
    private enum ReadOutcome: Sendable {
        /// All bytes are stored. In the ledger the import is still `pending`.
        case complete(ImportPipeline.Result)
        /// Reading or storing failed.
        /// - Parameter isClean: whether it is certain that nothing of the import is left in the object store.
        case failed(any Error, isClean: Bool)
    }

    /// Reads the body into an object or into rows, and publishes `import_progress` meanwhile. After an error it deletes
    /// what was written, as far as possible.
    private func read(_ entry: Import, _ request: ImportRequest) async -> ReadOutcome {
        let sink: any ImportSink
        do { sink = try await self.sink(for: entry) } catch { return .failed(error, isClean: true) }
        let body = ImportBody(request, codec: self.codec, configuration: self.configuration)
        let progress = ImportProgress(
            entry, totalBytes: request.bytes, interval: self.configuration.progressMilliseconds, now: self.now
        ) { [manager] event in
            guard let flow = entry.flow else { return }
            manager.publish([event], of: flow, account: entry.account, at: manager.cachedRecord(of: flow)?.version ?? 0)
        }
        let pipeline = ImportPipeline(body: body, sink: sink, codec: self.codec, configuration: self.configuration) {
            progress.update(bytes: $0, records: $1)
        }
        do {
            return .complete(try await pipeline.run(format: request.format, checkAccess: request.checkAccess))
        } catch {
            return .failed(error, isClean: await sink.abort())
        }
    }

    /// The destination of an import's records: an object under the import's location, or rows if the import has no
    /// location.
    private func sink(for entry: Import) async throws(ImportError) -> any ImportSink {
        let pieces = self.newPieces(for: entry)
        guard let objects = self.objects, let key = entry.location else {
            return RowSink(self.records, entry, pieces: pieces)
        }
        do throws(ObjectError) {
            return ObjectSink(
                try await objects.upload(key, .of(entry)), bucket: objects.bucket, codec: self.codec, pieces: pieces)
        } catch {
            throw .objects(error)
        }
    }

    /// Ends an import that could not be stored. If nothing is left of it, marks it failed and publishes
    /// `import_failed`; else releases its claim, so that the import sweep cleans it up.
    /// - Parameter isClean: whether it is certain that nothing of the import is left in the object store.
    /// - Throws: ``ImportError/claimLost`` if another worker has claimed the import since.
    private func abandon(_ entry: Import, because error: any Error, isClean: Bool) async throws(ImportError) {
        // In a separate task: if the caller's task is cancelled, the ledger must still be updated.
        let claimHeld = await Task { await self.recordFailure(of: entry, because: error, isClean: isClean) }.value
        if !claimHeld { throw .claimLost }
    }

    /// Marks an import failed and publishes `import_failed` if `isClean`; else releases its claim.
    /// - Returns: `false` if another worker has claimed the import since; `true` also if the ledger cannot be reached.
    private func recordFailure(of entry: Import, because error: any Error, isClean: Bool) async -> Bool {
        guard isClean else {
            // An object or an unfinished upload may remain, and the import sweep finds it by the import's location. So the
            // import stays `pending`, and without a claim the sweep cleans it up.
            self.logger.notice(
                "Failed to delete data of interrupted import; leaving it to the import sweep",
                metadata: ["import_id": "\(entry.id)"])
            return (try? await self.ledger.extend(entry.id, claim: entry.claim, seconds: 0)) ?? true
        }
        let failure = error as? ImportError
        if failure == nil { self.logger.info("Import upload interrupted", metadata: ["import_id": "\(entry.id)"]) }
        let reason = failure?.reason ?? "The upload was interrupted and nothing was stored. Send the import again."
        // If the ledger cannot be reached, the claim expires and the import sweep marks the import failed.
        guard let claimHeld = try? await self.ledger.fail(entry.id, claim: entry.claim, reason: reason) else { return true }
        guard claimHeld else { return false }
        var failed = entry
        failed.status = .failed
        failed.failure = reason
        await self.publishOutcome(failed, code: failure?.code ?? "broken_off")
        return true
    }

    /// Marks an import stored in the ledger.
    /// - Returns: the import with its new status and storage.
    /// - Throws: ``ImportError/claimLost`` if another worker has claimed the import since; its object is then deleted.
    ///   ``ImportError/store(_:)`` if the outcome is unknown or the ledger cannot be reached.
    private func finish(_ entry: Import, _ result: ImportPipeline.Result) async throws -> Import {
        var storage = result.storage
        storage.location = entry.location
        let samples = Array(result.sample.prefix(Import.sampleRows))
        let outcome = ImportResult(
            storage: storage, fieldSummary: result.summary, index: result.index,
            samples: result.pieces?.sealSamples(samples) ?? samples, requestHash: result.requestHash,
            encryption: result.pieces?.encryption)
        var claimHeld = true
        do throws(StoreError) {
            claimHeld = try await self.ledger.finish(entry.id, claim: entry.claim, outcome)
        } catch .outcomeUnknown(let reason) {
            // The transaction may have been committed: read the ledger to find out. If the import is not `stored` there,
            // or the ledger cannot be read, report the unknown outcome. If the import is still `pending` when its claim
            // expires, the import sweep cleans it up.
            guard let found = try? await self.ledger.load(entry.id), found.status == .stored else {
                throw ImportError.store(.outcomeUnknown(reason))
            }
        } catch {
            throw ImportError.store(error)
        }
        guard claimHeld else {
            await self.discard(entry)
            throw ImportError.claimLost
        }
        #if DEBUG
        await Failpoint.reach(.importStored)
        #endif
        var stored = entry
        stored.status = .stored
        stored.totalRecords = result.storage.recordCount
        stored.fieldSummary = result.summary
        stored.storage = storage
        stored.encryption = outcome.encryption
        stored.requestHash = result.requestHash
        return stored
    }

    /// Deletes the object that this worker wrote before it lost its claim, unless the ledger refers to that object. The
    /// import sweep may have searched for objects of the import before this one was complete.
    private func discard(_ entry: Import) async {
        guard let objects = self.objects, let location = entry.location else { return }
        do {
            if let now = try await self.ledger.load(entry.id), now.status == .stored, now.location == location { return }
            try await objects.delete(location)
        } catch {
            self.logger.notice(
                "Failed to delete orphaned object; leaving it to the import sweep",
                metadata: ["key": "\(location)", "error": "\(error)"])
        }
    }

    /// What can end first while a body runs under a claim: the body, or the task that renews the claim.
    private enum ClaimOutcome<Value: Sendable>: Sendable {
        /// The body has ended.
        case ended(Result<Value, any Error>)
        /// Another worker has claimed the import.
        case lost
        /// The renewing task was cancelled.
        case cancelled
    }

    /// Runs the body and renews the claim on the import until the body ends. Cancels the body if another worker has
    /// claimed the import. If the body succeeds nevertheless, its result is returned: the next change of the ledger
    /// verifies the claim, and the caller needs the result to clean up.
    ///
    /// - Throws: the body's error, or ``ImportError/claimLost`` if the claim was lost before the body failed.
    func withClaim<Value: Sendable>(
        on entry: Import, _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        let result = await withTaskGroup(of: ClaimOutcome<Value>.self) { tasks -> Result<Value, any Error> in
            tasks.addTask {
                do { return .ended(.success(try await body())) } catch { return .ended(.failure(error)) }
            }
            tasks.addTask {
                do {
                    while true {
                        try await Task.sleep(for: .seconds(max(1, self.configuration.claimSeconds / 4)))
                        // An error means that the ledger is unavailable, not that the claim is lost.
                        let claimHeld = try? await self.ledger.extend(
                            entry.id, claim: entry.claim, seconds: self.configuration.claimSeconds)
                        if claimHeld == false { return .lost }
                    }
                } catch {
                    return .cancelled
                }
            }
            var isLost = false
            while let next = await tasks.next() {
                switch next {
                case .ended(.failure) where isLost: return .failure(ImportError.claimLost)
                case .ended(let result):
                    tasks.cancelAll()
                    return result
                case .lost:
                    isLost = true
                    tasks.cancelAll()
                case .cancelled: continue
                }
            }
            return .failure(ImportError.claimLost)
        }
        return try result.get()
    }
}
