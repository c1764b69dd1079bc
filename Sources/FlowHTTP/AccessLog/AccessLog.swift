import FlowCore
import HTTPTypes
import Logging

/// Which requests the hub logs (`FLOWHUB_ACCESS_LOG`).
public enum AccessLogScope: String, Sendable, CaseIterable {
    /// None.
    case off
    /// The audit log: ordinary requests that may change something, also those that are rejected.
    case changes
    /// All requests and event streams, except health checks and reads of metrics that succeed.
    case all
}

/// Logs who did what: requests with their results, and event streams with their ends. No record has a token, a query, a header
/// field other than the request's id, or a part of a body other than ids. Safe to use from any thread.
struct AccessLog: Sendable {
    /// Maximum number of flows of a stream that a record names.
    private static let maximumFlows = 12

    private let scope: AccessLogScope
    private let logger: Logger

    /// - Parameter logger: logs the records, at level info.
    /// - Returns: `nil` if nothing is to be logged.
    init?(_ scope: AccessLogScope, logger: Logger) {
        guard scope != .off else { return nil }
        self.scope = scope
        self.logger = logger
    }

    /// Begins the record of a request.
    /// - Parameter head: `nil` if the request could not be parsed.
    /// - Returns: `nil` if the request is not logged.
    func record(of head: HTTPRequest?, id: String, remote: @autoclosure () -> String) -> RequestRecord? {
        let method = head?.method
        guard self.scope == .all || method.map({ ![.get, .head, .options].contains($0) }) == true else { return nil }
        let target = RequestTarget(path: RequestPath(head?.path ?? "").path)
        return RequestRecord(id: id, method: method, target: target, remote: remote())
    }

    /// Logs a request that was answered.
    /// - Parameters:
    ///   - status: `nil` if the connection was closed without a response.
    ///   - route: the pattern of the route that has answered; `nil` if the request did not reach a route.
    ///   - reason: why the response is not what was requested, although its status does not tell.
    func answered(_ record: RequestRecord, _ status: HTTPResponse.Status?, route: String? = nil, reason: String? = nil) {
        let isProbe = record.target.route == "/metrics" || record.target.route?.hasPrefix("/health/") == true
        if isProbe, status == .ok { return }
        let outcome = record.outcome
        var metadata = self.identity(of: record, outcome)
        if let route, record.target.route == nil { metadata["route"] = "\(route)" }
        if let object = outcome.object { metadata[object.kind] = "\(object.id)" }
        if let status { metadata["status"] = .stringConvertible(status.code) }
        if let code = outcome.code { metadata["code"] = "\(code)" }
        if let version = outcome.version { metadata["version"] = .stringConvertible(version) }
        if outcome.isReplayed { metadata["replayed"] = "true" }
        if let reason { metadata["reason"] = "\(reason)" }
        metadata["received"] = .stringConvertible(outcome.received)
        metadata["sent"] = .stringConvertible(outcome.sent)
        metadata["milliseconds"] = .stringConvertible(record.milliseconds)
        self.logger.info("Request", metadata: metadata)
    }

    /// Logs that an event stream was admitted.
    func admitted(_ stream: LoggedStream) {
        self.logger.info("Stream admitted", metadata: self.identity(of: stream))
    }

    /// Logs the end of an event stream.
    func ended(_ stream: LoggedStream, _ ending: StreamEnding) {
        var metadata = self.identity(of: stream)
        metadata["reason"] = "\(ending.name)"
        metadata["events"] = .stringConvertible(stream.events)
        metadata["sent"] = .stringConvertible(stream.bytes)
        metadata["milliseconds"] = .stringConvertible(stream.record.milliseconds)
        self.logger.info("Stream ended", metadata: metadata)
    }

    // MARK: Private

    private func identity(of stream: LoggedStream) -> Logger.Metadata {
        var metadata = self.identity(of: stream.record, stream.record.outcome)
        metadata["connection"] = "\(stream.connection)"
        if stream.flows.count > 1 {
            metadata["flows"] = "\(stream.flows.prefix(Self.maximumFlows).map(\.rawValue).joined(separator: ","))"
            metadata["flow_count"] = .stringConvertible(stream.flows.count)
        }
        if stream.flows.count == 1 { metadata["flow"] = "\(stream.flows[0])" }
        return metadata
    }

    /// Who sent the request, from where, and what it is about.
    private func identity(of record: RequestRecord, _ outcome: RequestRecord.Outcome) -> Logger.Metadata {
        var metadata: Logger.Metadata = ["request": "\(record.id)", "remote": "\(record.remote)"]
        metadata["route"] = "\(record.target.route ?? "none")"
        if let method = record.method { metadata["method"] = "\(method.rawValue)" }
        if let kind = record.target.kind, let id = record.target.id { metadata[kind] = "\(id)" }
        if let principal = outcome.principal {
            metadata["account"] = "\(principal.account)"
            if !principal.subject.isEmpty { metadata["subject"] = "\(principal.subject)" }
        }
        return metadata
    }
}
