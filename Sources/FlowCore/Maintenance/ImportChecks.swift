public import Logging
import Synchronization

/// The scheduled sweep and verification of imports. They do what `flowhub imports sweep` and `flowhub imports verify` do, and log
/// each problem.
public final class ImportChecks: Sendable {
    /// Maximum number of problems of one run that are logged one by one.
    private static let loggedProblems = 100
    /// Number of imports that one query returns.
    private static let batchSize = 100
    /// Number of imports in a row that could not be read, after which a verification fails: the store is unavailable then.
    private static let unreadableInRow = 5

    private let service: ImportService
    private let configuration: ScheduledTaskConfiguration
    private let clock: HubClock
    private let logger: Logger
    private let counts = Mutex((objects: 0, uploads: 0, verified: 0))

    public init(_ service: ImportService, configuration: ScheduledTaskConfiguration, clock: HubClock, logger: Logger) {
        self.service = service
        self.configuration = configuration
        self.clock = clock
        self.logger = logger
    }

    /// Numbers of orphaned objects and unfinished uploads that scheduled sweeps of this process have removed, and of imports that
    /// its verifications have read.
    public var metrics: (objects: Int, uploads: Int, verified: Int) { self.counts.withLock { $0 } }

    /// A run that was canceled, because the instance stops or has lost its lease.
    private struct Canceled: Error {}

    // MARK: Sweep

    /// Runs one import sweep. Removes nothing if most objects belong to no import: the database may not belong to this bucket
    /// then, or is an older copy.
    /// - Returns: the number of imports whose object is missing, and 1 more if nothing was removed.
    public func sweep() async throws -> Int {
        guard await self.clock.compare() != nil else { throw ClocksDiffer() }
        let sweeper = ImportSweeper(self.service)
        let age = self.configuration.sweepAgeSeconds
        let found = try await sweeper.sweep(olderThan: age, isDryRun: true)
        if Task.isCancelled { throw Canceled() }
        self.log(missing: found.dangling)
        guard !found.isSuspicious else {
            self.logger.error(
                "Import sweep removed nothing: most objects belong to no import of this database. Check that it belongs to this bucket",
                metadata: [
                    "orphans": .stringConvertible(found.orphans.count), "objects": .stringConvertible(found.objects),
                ])
            return found.dangling.count + 1
        }
        guard !found.orphans.isEmpty || !found.uploads.isEmpty else { return found.dangling.count }
        let report = try await sweeper.sweep(olderThan: age, isDryRun: false)
        self.counts.withLock { counts in
            counts.objects += report.orphans.count
            counts.uploads += report.uploads.count
        }
        self.logger.notice(
            "Import sweep removed objects that no import refers to",
            metadata: [
                "objects": .stringConvertible(report.orphans.count), "uploads": .stringConvertible(report.uploads.count),
            ])
        return report.dangling.count
    }

    private func log(missing ids: [ImportID]) {
        for id in ids.prefix(Self.loggedProblems) {
            self.logger.error("Object of import is missing", metadata: ["import_id": "\(id)"])
        }
    }

    // MARK: Verification

    /// Reads all stored imports completely, and compares them with the ledger.
    /// - Returns: the number of imports that are damaged or could not be read.
    /// - Throws: an error if a store is unavailable; imports that were not read yet are read by the next run only.
    public func verify() async throws -> Int {
        // On threads of low priority, so that streams and requests come first.
        try await withTaskExecutorPreference(self.service.executor) { try await self.verifyAll() }
    }

    private func verifyAll() async throws -> Int {
        let verifier = ImportVerifier(self.service)
        var (problems, unreadable) = (0, 0)
        var after: ImportID?
        while true {
            let page = try await self.service.maintenance.imports(after: after, limit: Self.batchSize)
            for entry in page where entry.status == .stored {
                if Task.isCancelled { throw Canceled() }
                do throws(ImportError) {
                    let found = try await verifier.verify(entry) { _ in }
                    unreadable = 0
                    self.counts.withLock { $0.verified += 1 }
                    if try await self.isDamaged(entry, found) {
                        problems += 1
                        if problems <= Self.loggedProblems { self.log(entry, found) }
                    }
                } catch {
                    if Task.isCancelled { throw Canceled() }
                    problems += 1
                    unreadable += 1
                    self.logger.warning(
                        "Import cannot be verified", metadata: ["import_id": "\(entry.id)", "error": "\(error)"])
                    if unreadable >= Self.unreadableInRow { throw error }
                }
            }
            guard page.count == Self.batchSize, let last = page.last else { return problems }
            after = last.id
        }
    }

    /// Whether problems of an import are damage. An import that was moved or deleted while it was read is not damaged.
    private func isDamaged(_ entry: Import, _ problems: [ImportVerifier.Problem]) async throws(ImportError) -> Bool {
        guard problems.contains(where: { $0.isDamage }) else { return false }
        do throws(StoreError) {
            let now = try await self.service.ledger.load(entry.id)
            return now?.status == .stored && now?.location == entry.location && now?.claim == entry.claim
        } catch {
            throw .store(error)
        }
    }

    private func log(_ entry: Import, _ problems: [ImportVerifier.Problem]) {
        self.logger.error(
            "Import is damaged",
            metadata: [
                "import_id": "\(entry.id)", "problems": "\(problems.map(\.description).joined(separator: "; "))",
            ])
    }
}
