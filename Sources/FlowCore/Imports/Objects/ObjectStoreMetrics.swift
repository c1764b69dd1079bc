import Synchronization

/// What was asked of an object store, and how it went.
public struct ObjectStoreMetrics: Hashable, Sendable {
    public enum Operation: String, Hashable, Sendable, CaseIterable {
        /// A whole upload, however many requests it took.
        case put
        /// A whole download.
        case get
        case head, delete, list
    }

    public struct Totals: Hashable, Sendable {
        public var successes = 0
        public var failures = 0
        public var bytes = 0
        public var milliseconds: Int64 = 0
    }

    public var tallies: [Operation: Totals] = [:]

    public subscript(operation: Operation) -> Totals { self.tallies[operation] ?? Totals() }
}

/// Counts for one store, in this process and for the day.
final class ObjectStoreMeter: Sendable {
    private let figures = Mutex(ObjectStoreMetrics())
    /// `nil` for a store that is not R2: its counters bear that name.
    private let counters: (any Counters)?
    private let now: @Sendable () -> Timestamp

    init(counters: (any Counters)?, now: @escaping @Sendable () -> Timestamp) {
        self.counters = counters
        self.now = now
    }

    var values: ObjectStoreMetrics { self.figures.withLock { $0 } }

    func begin() -> Timestamp { self.now() }

    func end(_ operation: ObjectStoreMetrics.Operation, since start: Timestamp, bytes: Int = 0, isSuccess: Bool) {
        let passed = max(0, self.now().milliseconds - start.milliseconds)
        self.figures.withLock { figures in
            var tally = figures[operation]
            if isSuccess { tally.successes += 1 } else { tally.failures += 1 }
            tally.bytes += bytes
            tally.milliseconds += passed
            figures.tallies[operation] = tally
        }
        guard let counters = self.counters else { return }
        let names = operation.counters
        counters.add(1, to: isSuccess ? names.success : names.failure)
        if bytes > 0 { counters.add(bytes, to: names.bytes) }
    }

    /// Runs one operation and counts it.
    func counting<Value>(
        _ operation: ObjectStoreMetrics.Operation, _ body: () async throws(ObjectError) -> Value
    ) async throws(ObjectError) -> Value {
        let start = self.begin()
        do throws(ObjectError) {
            let value = try await body()
            self.end(operation, since: start, isSuccess: true)
            return value
        } catch {
            self.end(operation, since: start, isSuccess: false)
            throw error
        }
    }
}

extension ObjectStoreMetrics.Operation {
    fileprivate var counters: (success: Counter, failure: Counter, bytes: Counter) {
        switch self {
        case .put: (.r2PutSuccess, .r2PutFailure, .r2PutBytes)
        case .get: (.r2GetSuccess, .r2GetFailure, .r2GetBytes)
        case .head: (.r2HeadSuccess, .r2HeadFailure, .r2HeadBytes)
        case .delete: (.r2DeleteSuccess, .r2DeleteFailure, .r2DeleteBytes)
        case .list: (.r2ListSuccess, .r2ListFailure, .r2ListBytes)
        }
    }
}
