import Synchronization

/// Lets callers that want the same thing at the same time share one load of it.
final class SingleFlight<Key: Hashable & Sendable, Value: Sendable, Failure: Error>: Sendable {
    private let flights = Mutex<[Key: Task<Result<Value, Failure>, Never>]>([:])

    /// The value, from a load that is under way for this key or from a new one.
    func value(
        for key: Key, load: @escaping @Sendable () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        // A task of its own, since the load must go on for the others when the caller that began it is cancelled.
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
