import FlowCore
import NIOCore

/// Client for one of the hub's locks.
struct LockClient: Sendable {
    /// An acquired lock.
    struct Held: Sendable {
        let id: String
        let fencingToken: Int64
        /// The end of the time for which the lock is certainly held unless it is renewed: the TTL, counted from before the
        /// request was sent.
        let until: ContinuousClock.Instant
    }

    /// The result of one attempt to renew the lock.
    enum Renewal: Sendable {
        /// The lock is certainly held until this time.
        case renewed(until: ContinuousClock.Instant)
        /// The hub rejected the renewal: the lock is no longer held, or the token lacks the right.
        case rejected(String)
        /// The hub was unavailable. A retry may succeed.
        case failed(String)
    }

    /// Timeout of one attempt to acquire or renew the lock.
    private static let timeout = TimeAmount.seconds(10)
    /// Initial backoff in seconds between attempts to acquire a lock that another client holds. It doubles with each attempt.
    private static let minimumBackoff = 0.25
    /// Maximum backoff between two attempts to acquire, in seconds.
    private static let maximumBackoff = 2.0

    let client: HubClient
    let resource: String
    let ttl: Int

    // MARK: Acquiring

    /// Acquires the lock. Retries for up to `waiting` while another client holds it or the hub is unavailable.
    ///
    /// Cancellation takes effect between two attempts, never during one: the attempt may have acquired the lock.
    /// - Throws: ``CommandFailure`` of the last attempt; `CancellationError`.
    func acquire(waiting: Duration) async throws -> Held {
        let end = ContinuousClock.now + waiting
        var backoff = Self.minimumBackoff
        var attempts = 0
        while true {
            attempts += 1
            // The attempt runs in a separate task, so that it is not interrupted if this task is cancelled.
            let outcome = await Task { await self.tryAcquire() }.value
            let remaining = ContinuousClock.now.duration(to: end)
            switch outcome {
            case .held(let held): return held
            case .failed(let failure, let isRetryable):
                guard isRetryable ? remaining > .zero || attempts < HubClient.attempts : failure.mayPass && remaining > .zero
                else {
                    throw failure
                }
                if attempts == 1 { Terminal.note("flowhub: waiting for the lock \(self.resource). \(failure.message)") }
            }
            let jittered = Duration.seconds(backoff * Double.random(in: 0.5...1))
            try await Task.sleep(for: remaining > .zero ? min(remaining, jittered) : jittered)
            backoff = min(backoff * 2, Self.maximumBackoff)
        }
    }

    /// The result of one attempt to acquire the lock.
    private enum AcquireResult: Sendable {
        case held(Held)
        /// `isRetryable`: the hub certainly did not acquire the lock, so further attempts are made even without `--wait`.
        case failed(CommandFailure, isRetryable: Bool)
    }

    /// Makes one attempt to acquire the lock.
    private func tryAcquire() async -> AcquireResult {
        let start = ContinuousClock.now
        var request = HubClient.Request(method: .post, target: self.target)
        request.body = Array("{\"ttl\":\(self.ttl)}".utf8)
        request.timeout = Self.timeout
        let response: HubClient.Response
        do {
            response = try await self.client.exchange(request)
        } catch {
            var failure = self.client.unreachable(error)
            let isUnsent = HubClient.wasNeverSent(error)
            if !isUnsent {
                failure = CommandFailure(
                    .unreachable,
                    "\(failure.message) If the lock was acquired, it expires within \(self.ttl) s.")
            }
            return .failed(failure, isRetryable: isUnsent)
        }
        guard (200..<300).contains(response.status) else {
            let failure = HubProblem(status: response.status, body: response.body).failure
            return .failed(failure, isRetryable: response.status == 429)
        }
        let body = try? JSONText(validating: response.body)
        guard let id = body?.member("lock_id")?.stringValue, let token = body?.member("fencing_token")?.intValue else {
            let failure = CommandFailure(
                .rejected, "The response to the request for the lock is not a lock. Check that --url is the hub's.")
            return .failed(failure, isRetryable: false)
        }
        return .held(Held(id: id, fencingToken: token, until: start + .seconds(self.ttl)))
    }

    // MARK: Renewing and releasing

    /// Makes one attempt to renew the lock. The attempt's timeout is at most a third of the TTL, so that there is time for
    /// another attempt.
    /// - Parameter remaining: time until the lock expires.
    func renew(_ id: String, remaining: Duration) async -> Renewal {
        let start = ContinuousClock.now
        var request = HubClient.Request(method: .put, target: self.target)
        request.body =
            JSONText.object { writer in
                writer.key("lock_id")
                writer.value(id)
                writer.key("ttl")
                writer.value(self.ttl)
            }.bytes
        request.timeout = max(.milliseconds(1), min(Self.timeout, TimeAmount(min(remaining, .seconds(self.ttl) / 3))))
        let response: HubClient.Response
        do { response = try await self.client.exchange(request) } catch { return .failed(HubClient.describe(error)) }
        switch response.status {
        case 200..<300: return .renewed(until: start + .seconds(self.ttl))
        case 429, 500...: return .failed("the hub answered \(response.status)")
        default: return .rejected(HubProblem(status: response.status, body: response.body).message)
        }
    }

    /// Releases the lock. If that fails, prints a message; the lock then expires at the end of its TTL.
    func release(_ id: String) async {
        var request = HubClient.Request(method: .delete, target: "\(self.target)?lock_id=\(HubURL.encoded(id))")
        request.timeout = .seconds(5)
        request.attempts = 2
        do { _ = try await self.client.send(request) } catch {
            Terminal.note("flowhub: cannot release the lock \(self.resource); it expires within \(self.ttl) s. \(error)")
        }
    }

    private var target: String { "/v1/locks/\(HubURL.encoded(self.resource))" }
}

extension CommandFailure {
    /// Whether a later attempt to acquire the lock may succeed: another client holds it now, or the hub is unavailable.
    fileprivate var mayPass: Bool { self.kind == .conditionFailed || self.kind == .unreachable }
}
