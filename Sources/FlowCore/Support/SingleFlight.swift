import Synchronization

/// At most one load per key at a time, on behalf of all concurrent callers. Safe to use from any task.
final class SingleFlight<Key: Hashable & Sendable, Value: Sendable, Failure: Error>: Sendable {
    private struct Flight: Sendable {
        let number: Int
        /// When the load began; `nil` while it waits for the end of the one before it.
        var startedAt: ContinuousClock.Instant?
        let task: Task<Result<Value, Failure>, Never>
    }

    private struct State {
        /// The load of each key that is in flight, and behind it the one that waits, if there is one.
        var flights: [Key: [Flight]] = [:]
        var count = 0
    }

    private let state = Mutex(State())
    private let now: @Sendable () -> ContinuousClock.Instant

    init(now: @escaping @Sendable () -> ContinuousClock.Instant = { .now }) { self.now = now }

    /// The result of a load of this key that began at or after `since`: of the one that is in flight, else of one that begins when
    /// that has ended.
    /// - Parameter since: `nil`: the load may have begun at any time.
    func value(
        for key: Key, since: ContinuousClock.Instant? = nil, load: @escaping @Sendable () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let task = self.state.withLock { state in
            let flights = state.flights[key] ?? []
            if let shared = flights.first(where: { Self.serves($0, since) }) { return shared.task }
            state.count += 1
            let (number, previous) = (state.count, flights.last?.task)
            // A detached task: the load continues for the other callers if the one that started it is canceled, and the
            // task-local values of that one are not those of the others.
            let task = Task.detached {
                _ = await previous?.value
                self.start(number, of: key)
                let result: Result<Value, Failure>
                do throws(Failure) { result = .success(try await load()) } catch { result = .failure(error) }
                self.end(number, of: key)
                return result
            }
            state.flights[key] = flights + [Flight(number: number, startedAt: previous == nil ? self.now() : nil, task: task)]
            return task
        }
        return try await task.value.get()
    }

    private static func serves(_ flight: Flight, _ since: ContinuousClock.Instant?) -> Bool {
        guard let since, let startedAt = flight.startedAt else { return true }
        return startedAt >= since
    }

    private func start(_ number: Int, of key: Key) {
        self.state.withLock { state in
            guard let index = state.flights[key]?.firstIndex(where: { $0.number == number }) else { return }
            if state.flights[key]?[index].startedAt == nil { state.flights[key]?[index].startedAt = self.now() }
        }
    }

    private func end(_ number: Int, of key: Key) {
        self.state.withLock { state in
            let rest = (state.flights[key] ?? []).filter { $0.number != number }
            state.flights[key] = rest.isEmpty ? nil : rest
        }
    }
}
