import Dispatch
import FlowCore

/// Where calls run that may wait for a disk: on threads of their own, so that Swift's few are free. As many run at once as
/// there are uploads and downloads, since each of those waits for its last call.
final class FileIOQueue: Sendable {
    private let queue = DispatchQueue(label: "flowhub.objects", attributes: .concurrent)

    func run<Value: Sendable>(
        _ body: @escaping @Sendable () throws(ObjectError) -> Value
    ) async throws(ObjectError) -> Value {
        let result: Result<Value, ObjectError> = await withCheckedContinuation { continuation in
            self.queue.async { continuation.resume(returning: Result(catching: body)) }
        }
        return try result.get()
    }
}
