import Synchronization

/// Reads heads from the store for concurrent callers with few queries: while one query is in flight, the flows of further
/// callers are collected for the next one. Safe to use from any task.
final class HeadReader: Sendable {
    /// What a query has found.
    struct Answer: Sendable {
        /// The flow's head; `nil` if the store does not have the flow.
        var head: FlowHead?
        /// A time before the query began.
        var readAt: ContinuousClock.Instant
    }

    private typealias Caller = CheckedContinuation<Result<Answer, StoreError>, Never>

    private struct Query {
        let start: ContinuousClock.Instant
        /// The callers that wait for its result, by flow.
        var callers: [FlowID: [Caller]]
    }

    private struct State {
        /// The query that is in flight.
        var running: Query?
        /// The callers that wait for the next query, by flow.
        var waiting: [FlowID: [Caller]] = [:]
    }

    private let state = Mutex(State())
    private let now: @Sendable () -> ContinuousClock.Instant

    init(now: @escaping @Sendable () -> ContinuousClock.Instant) { self.now = now }

    /// The flow's head, from a query that begins at or after `since`: from the one in flight if it reads this flow, else from the
    /// next one.
    /// - Parameter read: reads the heads of flows from the store; flows that never existed are left out. The same for all
    ///   callers.
    func head(
        of flow: FlowID, since: ContinuousClock.Instant,
        read: @escaping @Sendable ([FlowID]) async throws(StoreError) -> [FlowHead]
    ) async throws(StoreError) -> Answer {
        let result = await withCheckedContinuation { (caller: Caller) in
            let starts = self.state.withLock { state in
                if let start = state.running?.start, start >= since, state.running?.callers[flow] != nil {
                    state.running?.callers[flow]?.append(caller)
                    return false
                }
                state.waiting[flow, default: []].append(caller)
                guard state.running == nil else { return false }
                state.running = Query(start: self.now(), callers: state.waiting)
                state.waiting = [:]
                return true
            }
            // A detached task: it reads for all callers, so neither the cancellation nor the task-local values of one are its own.
            if starts { Task.detached { await self.readAll(read) } }
        }
        return try result.get()
    }

    /// Runs queries until nobody waits.
    private func readAll(_ read: @Sendable ([FlowID]) async throws(StoreError) -> [FlowHead]) async {
        while let flows = self.state.withLock({ $0.running.map { Array($0.callers.keys) } }) {
            let result: Result<[FlowID: FlowHead], StoreError>
            do throws(StoreError) {
                let heads = try await read(flows)
                result = .success(Dictionary(heads.map { ($0.flow, $0) }) { first, _ in first })
            } catch {
                result = .failure(error)
            }
            let ended = self.state.withLock { state in
                let ended = state.running
                state.running = state.waiting.isEmpty ? nil : Query(start: self.now(), callers: state.waiting)
                state.waiting = [:]
                return ended
            }
            guard let ended else { return }
            for (flow, callers) in ended.callers {
                let answer = result.map { Answer(head: $0[flow], readAt: ended.start) }
                for caller in callers { caller.resume(returning: answer) }
            }
        }
    }
}
