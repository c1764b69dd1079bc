import Dispatch
import FlowCore

/// Runs blocking disk calls on the threads of a dispatch queue, so that they do not block Swift's cooperative thread
/// pool. Each upload or download has at most one call in flight, so there are at most as many threads as uploads,
/// downloads and other operations.
final class FileIOQueue: Sendable {
    private let queue = DispatchQueue(label: "flowhub.objects", attributes: .concurrent)

    /// Runs the blocking calls in `body` on a thread of the dispatch queue, and returns the result of `body`.
    func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws(ObjectError) -> Value
    ) async throws(ObjectError) -> Value {
        let result: Result<Value, ObjectError> = await withCheckedContinuation { continuation in
            self.queue.async { continuation.resume(returning: Result(catching: body)) }
        }
        return try result.get()
    }
}
