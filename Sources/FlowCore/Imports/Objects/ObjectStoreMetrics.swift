import Logging
import Synchronization

/// Number, results, bytes and durations of the operations of an object store.
public struct ObjectStoreMetrics: Hashable, Sendable {
    /// The kinds of operations that are counted.
    public enum Operation: String, Hashable, Sendable, CaseIterable {
        /// A whole upload, regardless of its number of requests.
        case put
        /// A whole download.
        case get
        /// One call of the operation of this name.
        case head, delete, list
    }

    /// The totals of one kind of operation.
    public struct Totals: Hashable, Sendable {
        public var successes = 0
        public var failures = 0
        /// Bytes uploaded or downloaded.
        public var bytes = 0
        /// Sum of the durations.
        public var milliseconds: Int64 = 0
    }

    public var totals: [Operation: Totals] = [:]
    /// Whether the most recent operation failed because of the store: it was unavailable, rejected the request (wrong
    /// credentials or bucket) or sent corrupted data.
    public var isFailing = false

    /// The totals of a kind of operation; all zero before its first one.
    public subscript(operation: Operation) -> Totals { self.totals[operation] ?? Totals() }
}

/// Counts the operations of one object store, in this process and in the daily counters.
final class ObjectStoreMeter: Sendable {
    private let metricsState = Mutex(ObjectStoreMetrics())
    /// `nil` for a store that is not R2, because the names of the counters contain `r2`.
    private let counters: (any Counters)?
    private let now: @Sendable () -> Timestamp
    private let logger: Logger
    private let failureLog = LogLimiter()

    init(counters: (any Counters)?, now: @escaping @Sendable () -> Timestamp, logger: Logger) {
        self.counters = counters
        self.now = now
        self.logger = logger
    }

    /// The operations of this process so far.
    var metrics: ObjectStoreMetrics { self.metricsState.withLock { $0 } }

    /// The time at which an operation starts, to be passed to `end`.
    func start() -> Timestamp { self.now() }

    /// Counts an operation that has ended, with its duration and bytes.
    func end(_ operation: ObjectStoreMetrics.Operation, since start: Timestamp, bytes: Int = 0, isSuccess: Bool) {
        let passed = max(0, self.now().milliseconds - start.milliseconds)
        self.metricsState.withLock { metrics in
            var total = metrics[operation]
            if isSuccess {
                total.successes += 1
                metrics.isFailing = false
            } else {
                total.failures += 1
            }
            total.bytes += bytes
            total.milliseconds += passed
            metrics.totals[operation] = total
        }
        guard let counters = self.counters else { return }
        let names = operation.counters
        counters.add(1, to: isSuccess ? names.success : names.failure)
        if bytes > 0 { counters.add(bytes, to: names.bytes) }
    }

    /// Logs an error of the store, at most one every 10 s. Ignores errors that are the caller's: of a missing object, or
    /// because its task was cancelled.
    func note(_ error: ObjectError, in operation: ObjectStoreMetrics.Operation) {
        switch error {
        case .notFound, .exists, .invalid: return
        case .unavailable, .rejected, .corrupted: break
        }
        if Task.isCancelled { return }
        self.metricsState.withLock { $0.isFailing = true }
        guard let count = self.failureLog.add() else { return }
        self.logger.warning(
            "Object store operation failed",
            metadata: ["operation": "\(operation)", "failures": .stringConvertible(count), "error": "\(error)"])
    }

    /// Runs one operation, and counts and times it.
    func counting<Value>(
        _ operation: ObjectStoreMetrics.Operation, _ body: () async throws(ObjectError) -> Value
    ) async throws(ObjectError) -> Value {
        let start = self.start()
        do throws(ObjectError) {
            let value = try await body()
            self.end(operation, since: start, isSuccess: true)
            return value
        } catch {
            self.end(operation, since: start, isSuccess: false)
            self.note(error, in: operation)
            throw error
        }
    }
}

extension ObjectStoreMetrics.Operation {
    /// The daily counters of a kind of operation.
    fileprivate var counters: (success: Counter, failure: Counter, bytes: Counter) {
        switch self {
        case .put: (.objectPutSuccess, .objectPutFailure, .objectPutBytes)
        case .get: (.objectGetSuccess, .objectGetFailure, .objectGetBytes)
        case .head: (.objectHeadSuccess, .objectHeadFailure, .objectHeadBytes)
        case .delete: (.objectDeleteSuccess, .objectDeleteFailure, .objectDeleteBytes)
        case .list: (.objectListSuccess, .objectListFailure, .objectListBytes)
        }
    }
}
