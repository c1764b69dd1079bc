import Synchronization

/// Reads heads from the store for concurrent callers with few queries: while one query is in flight, the flows of further
/// callers are collected for the next one. Safe to use from any task.
final class HeadReader: Sendable {
    private typealias Reply = Result<FlowHead?, StoreError>

    private struct State {
        /// The callers that wait for the next query, by flow.
        var waiting: [FlowID: [CheckedContinuation<Reply, Never>]] = [:]
        var isReading = false
    }

    private let state = Mutex(State())

    /// The flow's head, from a query that starts after this call; `nil` if the flow never existed.
    /// - Parameter read: reads the heads of flows from the store; flows that never existed are left out. The same for all
    ///   callers.
    func head(
        of flow: FlowID, read: @escaping @Sendable ([FlowID]) async throws(StoreError) -> [FlowHead]
    ) async throws(StoreError) -> FlowHead? {
        let reply = await withCheckedContinuation { (continuation: CheckedContinuation<Reply, Never>) in
            let starts = self.state.withLock { state in
                state.waiting[flow, default: []].append(continuation)
                defer { state.isReading = true }
                return !state.isReading
            }
            // A separate task, because the query must continue for the other callers if this one is canceled.
            if starts { Task { await self.readAll(read) } }
        }
        return try reply.get()
    }

    /// Runs queries until nobody waits.
    private func readAll(_ read: @Sendable ([FlowID]) async throws(StoreError) -> [FlowHead]) async {
        while true {
            let callers = self.state.withLock { state in
                defer { state.waiting = [:] }
                state.isReading = !state.waiting.isEmpty
                return state.waiting
            }
            guard !callers.isEmpty else { return }
            let result: Result<[FlowID: FlowHead], StoreError>
            do throws(StoreError) {
                let heads = try await read(Array(callers.keys))
                result = .success(Dictionary(heads.map { ($0.flow, $0) }) { first, _ in first })
            } catch {
                result = .failure(error)
            }
            for (flow, continuations) in callers {
                for continuation in continuations { continuation.resume(returning: result.map { $0[flow] }) }
            }
        }
    }
}

/// The flows whose cached state was found to be the store's within the last second.
struct RecentlyChecked: Sendable {
    /// A flow stays for one to two of these.
    private static let period = Duration.milliseconds(450)

    private var newer: Set<FlowID> = []
    private var older: Set<FlowID> = []
    /// When `newer` was begun.
    private var start = ContinuousClock.now

    mutating func contains(_ flow: FlowID, now: ContinuousClock.Instant = .now) -> Bool {
        self.rotate(now)
        return self.newer.contains(flow) || self.older.contains(flow)
    }

    mutating func insert(_ flow: FlowID, now: ContinuousClock.Instant = .now) {
        self.rotate(now)
        self.newer.insert(flow)
    }

    mutating func removeAll() {
        self.newer = []
        self.older = []
    }

    private mutating func rotate(_ now: ContinuousClock.Instant) {
        guard now >= self.start + Self.period else { return }
        self.older = now < self.start + Self.period * 2 ? self.newer : []
        self.newer = []
        self.start = now
    }
}
