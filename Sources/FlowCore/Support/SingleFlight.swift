import Synchronization

/// One load per key on behalf of all concurrent callers. Safe to use from any task.
final class SingleFlight<Key: Hashable & Sendable, Value: Sendable, Failure: Error>: Sendable {
    private let flights = Mutex<[Key: Task<Result<Value, Failure>, Never>]>([:])

    /// Returns the result of the load that is in flight for this key; if there is none, starts `load` and returns its result.
    func value(
        for key: Key, load: @escaping @Sendable () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        // A separate task, because the load must continue for the other callers if the one that started it is canceled.
        let task = self.flights.withLock { flights in
            if let running = flights[key] { return running }
            let task = Task {
                let result: Result<Value, Failure>
                do throws(Failure) { result = .success(try await load()) } catch { result = .failure(error) }
                self.flights.withLock { $0[key] = nil }
                return result
            }
            flights[key] = task
            return task
        }
        return try await task.value.get()
    }
}
