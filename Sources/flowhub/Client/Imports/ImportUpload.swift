import AsyncHTTPClient
import FlowCore
import NIOCore
import NIOHTTP1

/// Uploads an import, with retries. All attempts have the same idempotency key, so they create at most one import.
struct ImportUpload {
    /// Timeout for the response after the whole body was sent. The hub may then still be writing to a slow store.
    static let silence = TimeAmount.minutes(5)
    /// Timeout for write progress while a file is sent.
    static let stall = TimeAmount.minutes(2)

    let client: HubClient
    let source: ImportSource
    /// Request target with query.
    let target: String
    let contentType: String
    let idempotencyKey: String
    let bar: ProgressBar
    /// Maximum time to wait while an earlier request with this idempotency key is in progress, or while the hub's limit of
    /// concurrent imports is reached.
    var maximumWait = Duration.seconds(600)
    var backoff = RetryBackoff()

    private var headers: HTTPHeaders {
        [
            "Content-Type": self.contentType, "Accept": "application/json, application/problem+json",
            "Idempotency-Key": self.idempotencyKey,
        ]
    }

    /// Uploads the source.
    /// - Returns: a 2xx response.
    /// - Throws: ``CommandFailure`` for any other result, after all attempts; `CancellationError`.
    func run() async throws -> HubClient.Response {
        var backoff = self.backoff
        let end = ContinuousClock.now + self.maximumWait
        while true {
            self.bar.update(0)
            switch try await self.once() {
            case .answered(let response): return response
            case .rejected(let failure): throw failure
            case .mustWait(let failure, let what, let afterSeconds):
                // Does not count as a failed attempt. If an earlier attempt of this upload reached the hub, repeating the
                // request returns the result of that attempt. It may also be one of the imports that reach the limit.
                let wait = Duration.seconds(min(max(afterSeconds ?? 2, 1), 30))
                guard self.source.isRewindable, ContinuousClock.now + wait < end else { throw failure }
                self.bar.note("flowhub: \(what)")
                try await Task.sleep(for: wait)
            case .mayPass(let failure, let what, let afterSeconds):
                guard self.source.isRewindable else {
                    throw CommandFailure(failure.kind, "\(failure.message) \(Self.pipeNotRewindable)")
                }
                guard let wait = backoff.next(afterSeconds: afterSeconds) else { throw failure }
                self.bar.note("flowhub: \(what); retrying from the start")
                try await Task.sleep(for: wait)
            }
        }
    }

    private static let pipeNotRewindable =
        "Cannot retry: input is a pipe. Run the command again, or pass a file."

    /// The result of one attempt.
    private enum Outcome {
        /// A 2xx response.
        case answered(HubClient.Response)
        /// Final: a retry would not help.
        case rejected(CommandFailure)
        /// An earlier request with this idempotency key is in progress, or the hub's limit of concurrent imports is reached.
        /// `what` is a message; `afterSeconds` is the response's `Retry-After`, `nil` without one.
        case mustWait(CommandFailure, what: String, afterSeconds: Int?)
        /// Temporary: a retry may succeed. `what` is the cause, for a message; `afterSeconds` is the response's `Retry-After`.
        case mayPass(CommandFailure, what: String, afterSeconds: Int?)
    }

    /// Makes one attempt, and decides whether a further one may follow.
    /// - Throws: `CancellationError`.
    private func once() async throws -> Outcome {
        let bar = self.bar
        let body = HTTPClientRequest.Body.stream(
            self.source.chunks { bar.advance(by: $0) }, length: self.source.length.map { .known(Int64($0)) } ?? .unknown)
        let response: HubClient.Response
        do {
            let answer = try await self.client.stream(.post, self.target, headers: self.headers, body: body)
            let text = try await answer.body.collect(upTo: HubClient.maximumBodyBytes)
            response = HubClient.Response(
                status: Int(answer.status.code), headers: answer.headers, body: Array(text.readableBytesView))
        } catch let failure as CommandFailure {
            return .rejected(failure)
        } catch let cancelled as CancellationError {
            throw cancelled
        } catch {
            let what = "the connection failed (\(HubClient.describe(error)))"
            return .mayPass(self.client.unreachable(error), what: what, afterSeconds: nil)
        }
        if (200..<300).contains(response.status) { return .answered(response) }
        let problem = HubProblem(status: response.status, body: response.body)
        let seconds = response.headers.first(name: "Retry-After").flatMap { Int($0) }
        switch problem.code {
        case "import_in_progress":
            let what = "an earlier request with this idempotency key is still in progress; waiting for its end"
            return .mustWait(problem.failure, what: what, afterSeconds: seconds)
        case "too_many_imports", "imports_busy":
            let what = "the hub's limit of concurrent imports is reached; waiting for another import to end"
            return .mustWait(problem.failure, what: what, afterSeconds: seconds)
        default: break
        }
        guard response.status == 429 || response.status >= 500 else { return .rejected(problem.failure) }
        return .mayPass(problem.failure, what: "the hub answered \(response.status)", afterSeconds: seconds)
    }
}
