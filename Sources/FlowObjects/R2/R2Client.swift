import FlowCore
import Logging

/// S3 client for one bucket: signs and sends requests, retries them, and parses error responses. Safe to use from any task.
struct R2Client: Sendable {
    let settings: R2Settings
    let transport: Transport
    let credentials: CredentialsProvider
    let signer: Signer
    let logger: Logger
    let observer: R2Observer
    /// The current time, with which requests are signed.
    let now: @Sendable () -> Timestamp

    /// Maximum bytes of an error response's body.
    private static let errorBytes = 65_536
    /// Upper bound in seconds for `Retry-After`: one day, far above the default of ``R2Limits/retrySeconds``.
    private static let longestWait = 86_400

    // MARK: With retries

    /// Sends a request, with retries.
    /// - Returns: the whole response, with a status of 2xx.
    func call(_ request: R2Request) async throws(R2Failure) -> R2Reply {
        var attempts = 0
        return try await self.withRetries { () async throws(R2Failure) -> R2Reply in
            attempts += 1
            let (head, body) = try await self.attempt(request)
            var reply: R2Reply
            do throws(TransportError) {
                reply = R2Reply(head: head, body: try await body.collect(limit: request.replyLimit))
            } catch {
                throw R2Failure(.transport(error))
            }
            if let reason = request.check(reply) { throw R2Failure(reason) }
            reply.wasRetried = attempts > 1
            return reply
        }
    }

    /// Sends a request, with retries.
    /// - Returns: the response head, with a status of 2xx, and the body to read as it arrives.
    func open(_ request: R2Request) async throws(R2Failure) -> (head: TransportHead, body: TransportBody) {
        try await self.withRetries { () async throws(R2Failure) -> (head: TransportHead, body: TransportBody) in
            try await self.attempt(request)
        }
    }

    /// Repeats an attempt until it succeeds or the retry policy gives up.
    private func withRetries<Value>(
        _ attempt: () async throws(R2Failure) -> Value
    ) async throws(R2Failure) -> Value {
        var machine = RetryPolicy(self.settings.limits, now: .now)
        var mayHaveTakenEffect = false
        while true {
            var failure: R2Failure
            do throws(R2Failure) { return try await attempt() } catch { failure = error }
            mayHaveTakenEffect = mayHaveTakenEffect || failure.mayHaveTakenEffect
            failure.mayHaveTakenEffect = mayHaveTakenEffect
            try await self.waitOrGiveUp(&machine, failure)
        }
    }

    /// Waits until the next attempt is due, as the retry policy `machine` decides.
    /// - Throws: `failure` if there is no further attempt; a failure with ``TransportError/cancelled`` if the task is
    ///   cancelled.
    func waitOrGiveUp(_ machine: inout RetryPolicy, _ failure: R2Failure) async throws(R2Failure) {
        let decision = machine.failed(
            failure, now: .now, rotatedAt: self.credentials.current().changedAt, jitter: .random(in: 0...1))
        guard case .retry(let wait) = decision else { throw failure }
        self.logger.debug("R2 request failed; retrying", metadata: ["error": "\(failure.reason)", "backoff": "\(wait)"])
        do { try await Task.sleep(for: wait) } catch {
            var cancelled = R2Failure(.transport(.cancelled))
            cancelled.mayHaveTakenEffect = failure.mayHaveTakenEffect
            throw cancelled
        }
    }

    // MARK: One attempt

    /// Sends a request once; a second time if R2 has rejected the credentials and the credentials file has new ones.
    func attempt(_ request: R2Request) async throws(R2Failure) -> (head: TransportHead, body: TransportBody) {
        let credentials = self.credentials.current().credentials
        do throws(R2Failure) {
            return try await self.send(request, credentials)
        } catch {
            // The credentials file may contain newer credentials, which R2 has not rejected: try them immediately.
            guard RetryClass(error) == .afterRotation, self.credentials.recheck(credentials) else { throw error }
            return try await self.send(request, self.credentials.current().credentials)
        }
    }

    /// Signs a request and sends it once.
    /// - Throws: ``R2Failure`` for any status other than 2xx.
    private func send(
        _ request: R2Request, _ credentials: R2Credentials
    ) async throws(R2Failure) -> (head: TransportHead, body: TransportBody) {
        let signable = SignableRequest(
            method: request.method.rawValue, host: self.settings.endpoint.host, path: self.path(request.key),
            query: request.query, headers: request.signedHeaders, payloadHash: request.payloadHash)
        let (_, added) = self.signer.sign(signable, credentials, at: self.now())
        let query = SigV4.canonicalQuery(request.query)
        let outgoing = TransportRequest(
            method: request.method,
            url: "\(self.settings.endpoint.scheme)://\(signable.host)\(SigV4.canonicalPath(signable.path))"
                + (query.isEmpty ? "" : "?\(query)"),
            headers: request.headers + added, body: request.body, isStreamed: request.isStreamed)
        let head: TransportHead
        let body: TransportBody
        do throws(TransportError) {
            (head, body) = try await self.transport.open(outgoing)
        } catch {
            throw R2Failure(.transport(error))
        }
        if (200...299).contains(head.status) { return (head, body) }
        // If the error's body cannot be read, the status alone describes the error.
        throw self.failure(head, (try? await body.collect(limit: Self.errorBytes)) ?? [])
    }

    /// The path of an object, or of the bucket if `key` is `nil`; not encoded.
    func path(_ key: String?) -> String { "/\(self.settings.bucket)" + (key.map { "/\($0)" } ?? "") }

    // MARK: Errors

    /// The failure that an error response describes.
    func failure(_ head: TransportHead, _ body: [UInt8]) -> R2Failure {
        R2Failure(
            .answer(status: head.status, code: Self.errorCode(body) ?? ""), retryAfter: self.retryAfter(head),
            clockSkew: head["date"].flatMap(ServerTime.http).map { $0.seconds - self.now().seconds })
    }

    /// The `Code` in the body of an S3 error response. Because the code appears in logs, any code other than 1 to 64
    /// ASCII letters and digits counts as missing.
    /// - Returns: `nil` if the code is missing.
    static func errorCode(_ body: [UInt8]) -> String? {
        guard let error = XMLParser.parse(body), error.name == "Error", let code = error.text("Code"),
            (1...64).contains(code.utf8.count),
            code.utf8.allSatisfy({ (0x41...0x5a).contains($0 & 0xdf) || (0x30...0x39).contains($0) })
        else { return nil }
        return code
    }

    /// `Retry-After` in seconds, sent as a number or a date (RFC 9110, section 10.2.3); `nil` if missing or invalid.
    private func retryAfter(_ head: TransportHead) -> Int? {
        guard let text = head["retry-after"] else { return nil }
        if let seconds = Int(text), seconds >= 0 { return min(seconds, Self.longestWait) }
        guard let moment = ServerTime.http(text) else { return nil }
        // Relative to the server's own clock, if the response has a `Date`.
        let now = head["date"].flatMap(ServerTime.http) ?? self.now()
        return Int(min(max(0, moment.seconds - now.seconds), Int64(Self.longestWait)))
    }

    // MARK: Observation

    /// Reports an operation that began at `start` and ends now to the observer.
    func observe(_ name: R2Operation.Name, since start: ContinuousClock.Instant, bytes: Int = 0, isSuccess: Bool) {
        self.observer(R2Operation(name: name, bytes: bytes, duration: .now - start, isSuccess: isSuccess))
    }

    /// Sends a request that is one whole operation, with retries, and reports the operation to the observer. A response
    /// that the object does not exist is thrown as a failure, but reported as success.
    /// - Parameter bytes: bytes of object content that the request sends, for the report.
    func observed(
        _ name: R2Operation.Name, bytes: Int = 0, _ request: R2Request
    ) async throws(R2Failure) -> R2Reply {
        let start = ContinuousClock.now
        do throws(R2Failure) {
            let reply = try await self.call(request)
            self.observe(name, since: start, bytes: bytes, isSuccess: true)
            return reply
        } catch {
            self.observe(name, since: start, isSuccess: error.isMissingObject)
            throw error
        }
    }
}
