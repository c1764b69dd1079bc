import FlowCore
import HTTPTypes
import Logging
import Synchronization

/// Why a request was rejected, for the log: see ``AccessError``.
struct RejectionReason: Sendable {
    var reason: String
    /// The claim, header parameter or header field that was checked; `nil`: the token or the request as a whole.
    var claim: String?
    /// What it contains.
    var seen: String?
}

/// Logs at level debug why the hub rejects requests: their token, `Origin`, `Host`, ids and parameters. A client is told only what
/// helps nobody to forge a token.
///
/// A line has no token and nothing secret: see ``AccessError/seen``. At most ``linesPerSecond`` lines are logged, and the next one
/// says how many were left out.
final class RejectionLog: Sendable {
    static let linesPerSecond = 20

    private struct State {
        var second: ContinuousClock.Instant?
        var lines = 0
        var suppressed = 0
    }

    private let logger: Logger
    private let cors: CORSPolicy
    private let state = Mutex(State())

    init(logger: Logger, cors: CORSPolicy) {
        self.logger = logger
        self.cors = cors
    }

    /// Whether anything is logged. Callers need not collect anything otherwise.
    var isEnabled: Bool { self.logger.logLevel <= .debug }

    /// Logs a problem if the request was rejected for what it says, not for what the hub or another client does.
    /// - Parameters:
    ///   - id: the request's id.
    ///   - remote: the client's IP address.
    func log(
        _ problem: HTTPProblem, id: String, remote: @autoclosure () -> String, now: ContinuousClock.Instant = .now
    ) {
        guard self.isEnabled, [400, 401, 403, 421].contains(problem.status.code) else { return }
        var metadata: Logger.Metadata = ["code": "\(problem.code)", "request": "\(id)", "remote": "\(remote())"]
        let rejection = problem.rejection ?? RejectionReason(reason: problem.detail)
        metadata["reason"] = "\(rejection.reason)"
        if let claim = rejection.claim { metadata["claim"] = "\(claim)" }
        if let seen = rejection.seen { metadata["seen"] = "\(seen.prefix(AccessError.maximumSeenLength))" }
        self.write("Request rejected", metadata, now: now)
    }

    /// Logs that a page cannot read the response to its request, or that its browser will not send the request, because its origin is
    /// not listed. The hub answers such a request without the fields of CORS.
    func logOrigin(of head: HTTPRequest, id: String, remote: @autoclosure () -> String) {
        guard self.isEnabled, let origin = head.headerFields[.origin], !self.cors.allowed(origin: origin),
            !self.cors.isListedOrOwn(origin: origin, host: head.authority, isSecure: false)
        else { return }
        self.write(
            "Response is hidden from a page",
            [
                "request": "\(id)", "remote": "\(remote())", "claim": "Origin",
                "seen": "\(origin.prefix(AccessError.maximumSeenLength))",
                "reason": "the origin is neither in FLOWHUB_CORS_ORIGINS nor the hub's own",
            ])
    }

    private func write(_ message: Logger.Message, _ metadata: Logger.Metadata, now: ContinuousClock.Instant = .now) {
        let suppressed: Int? = self.state.withLock { state in
            if let start = state.second, now - start < .seconds(1) {
                guard state.lines < Self.linesPerSecond else {
                    state.suppressed += 1
                    return nil
                }
            } else {
                (state.second, state.lines) = (now, 0)
            }
            state.lines += 1
            defer { state.suppressed = 0 }
            return state.suppressed
        }
        guard let suppressed else { return }
        var metadata = metadata
        if suppressed > 0 { metadata["suppressed"] = .stringConvertible(suppressed) }
        self.logger.debug(message, metadata: metadata)
    }
}
