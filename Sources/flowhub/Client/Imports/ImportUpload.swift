import AsyncHTTPClient
import FlowCore
import NIOCore
import NIOHTTP1

/// Hands data in, with a few attempts at it. All of them have one idempotency key, so that they make one import.
struct ImportUpload {
    /// How long the hub may take to answer when it has everything: it may be writing the last parts to a slow store.
    static let silence = TimeAmount.minutes(5)
    /// How long the hub may take nothing of a file.
    static let stall = TimeAmount.minutes(2)

    let client: HubClient
    let source: ImportSource
    /// With its query.
    let target: String
    let contentType: String
    let idempotencyKey: String
    let bar: ProgressBar
    /// How long an import that the hub still has in hand under the same key, or a place among the imports, is waited for.
    var patience = Duration.seconds(600)
    var pace = RetryBackoff()

    private var headers: [(name: String, value: String)] {
        [
            ("Content-Type", self.contentType), ("Accept", "application/json, application/problem+json"),
            ("Idempotency-Key", self.idempotencyKey),
        ]
    }

    /// - Returns: an answer of 2xx.
    /// - Throws: ``CommandFailure`` for everything else, after all attempts.
    func run() async throws -> HubClient.Response {
        var pace = self.pace
        let end = ContinuousClock.now + self.patience
        while true {
            self.bar.update(0)
            switch try await self.once() {
            case .answered(let response): return response
            case .refused(let failure): throw failure
            case .mustWait(let failure, let what, let afterSeconds):
                // Not a failed attempt: an earlier one got through, and this is how its answer is come by; or others, maybe an
                // earlier one, have to end first.
                let wait = Duration.seconds(min(max(afterSeconds ?? 2, 1), 30))
                guard self.source.isWhole, ContinuousClock.now + wait < end else { throw failure }
                self.bar.say("flowhub: \(what)")
                try await Task.sleep(for: wait)
            case .mayPass(let failure, let what, let afterSeconds):
                guard self.source.isWhole else {
                    throw CommandFailure(failure.kind, "\(failure.message) \(Self.onlyOnce)")
                }
                guard let wait = pace.next(afterSeconds: afterSeconds) else { throw failure }
                self.bar.say("flowhub: \(what), sending it again")
                try await Task.sleep(for: wait)
            }
        }
    }

    private static let onlyOnce = "What comes from a pipe cannot be sent again by itself: run the command again, or give a file."

    private enum Outcome {
        case answered(HubClient.Response)
        /// For good.
        case refused(CommandFailure)
        /// The hub has this key's import in hand, or as many as it takes at once. `what` is so.
        case mustWait(CommandFailure, what: String, afterSeconds: Int?)
        /// Another attempt may end better. `what` has happened.
        case mayPass(CommandFailure, what: String, afterSeconds: Int?)
    }

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
            return .refused(failure)
        } catch let cancelled as CancellationError {
            throw cancelled
        } catch {
            let what = "the connection broke (\(HubClient.words(error)))"
            return .mayPass(self.client.unreachable(error), what: what, afterSeconds: nil)
        }
        if (200..<300).contains(response.status) { return .answered(response) }
        let problem = HubProblem(status: response.status, body: response.body)
        let seconds = response.headers.first(name: "Retry-After").flatMap { Int($0) }
        switch problem.code {
        case "import_in_progress":
            let what = "the hub is still taking it in, waiting for it to be done"
            return .mustWait(problem.failure, what: what, afterSeconds: seconds)
        case "too_many_imports", "imports_busy":
            let what = "the hub takes in as many imports as it may, waiting for one to end"
            return .mustWait(problem.failure, what: what, afterSeconds: seconds)
        default: break
        }
        guard response.status == 429 || response.status >= 500 else { return .refused(problem.failure) }
        return .mayPass(problem.failure, what: "the hub answered \(response.status)", afterSeconds: seconds)
    }
}
