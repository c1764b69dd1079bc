import Dispatch
import FlowCore

/// Runs blocking disk calls on separate threads, so that they do not block the threads of Swift tasks. Each upload or
/// download has at most one call in flight, so the number of threads is at most the number of uploads and downloads.
final class FileIOQueue: Sendable {
    private let queue = DispatchQueue(label: "flowhub.objects", attributes: .concurrent)

    /// Runs the body on a thread of this queue, and returns its result.
    func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws(ObjectError) -> Value
    ) async throws(ObjectError) -> Value {
        let result: Result<Value, ObjectError> = await withCheckedContinuation { continuation in
            self.queue.async { continuation.resume(returning: Result(catching: body)) }
        }
        return try result.get()
    }
}
