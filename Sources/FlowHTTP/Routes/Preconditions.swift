import FlowCore
import HTTPTypes

/// Parses the conditions that a request sets on the flow it changes (RFC 9110, 13).
enum Preconditions {
    /// The precondition in `If-Match`, else in `If-None-Match`; `.none` without both.
    /// - Throws: ``HTTPProblem`` for an invalid value.
    static func read(_ headers: HTTPFields) throws -> FlowChange.Precondition {
        if let condition = headers[.ifMatch] {
            if condition == "*" { return .exists }
            guard let tags = EntityTag.list(condition) else {
                throw HTTPProblem(
                    .badRequest, "bad_precondition", "If-Match must be * or ETags from the hub: \"<epoch>-<version>\".")
            }
            // The comparison is not strong (RFC 9110, 13.1.1), since it is versions that are compared: see ``EntityTag``. A tag in a
            // form that the hub does not use matches no flow.
            return .oneOf(tags.compactMap(\.version))
        }
        if let condition = headers[.ifNoneMatch] {
            guard condition == "*" else {
                throw HTTPProblem(
                    .badRequest, "bad_precondition", "On a request that changes a flow, If-None-Match must be * (create only).")
            }
            return .absent
        }
        return .none
    }

    /// The value of `Fencing-Token: <resource>=<token>`; `nil` without the header field.
    /// - Throws: ``HTTPProblem`` for an invalid value.
    static func fencing(_ headers: HTTPFields) throws -> FlowChange.Fencing? {
        guard let text = headers[.fencingToken] else { return nil }
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, Identifier.isValid(parts[0].utf8, maximumLength: 128), let token = Int64(parts[1]), token >= 0
        else {
            throw HTTPProblem(.badRequest, "bad_fencing_token", "Fencing-Token must be <resource>=<fencing_token of the lock>.")
        }
        return FlowChange.Fencing(resource: String(parts[0]), token: token)
    }

    /// Whether `If-None-Match` contains a tag. The comparison is weak (RFC 9110, 13.1.2).
    static func matches(_ condition: String, tag: String) -> Bool {
        condition == "*" || EntityTag.list(condition)?.contains { $0.matches(tag) } == true
    }
}

extension HTTPField.Name {
    static let fencingToken = Self.constant("fencing-token")
    static let idempotencyKey = Self.constant("idempotency-key")
    static let idempotencyReplayed = Self.constant("idempotency-replayed")
}

extension HTTPProblem {
    /// The response to a request whose change of a flow was rejected.
    init(_ rejection: FlowOutcome.Rejection, of flow: FlowID) {
        switch rejection {
        case .notFound:
            self = .notFound("Flow not found.")
        case .otherAccount:
            self = .otherAccount
        case .preconditionFailed(let version):
            self.init(
                .preconditionFailed, "precondition_failed",
                version == 0
                    ? "Flow not found." : "The flow is at version \(version). Read it and retry with its new ETag.")
            self.members = [
                (
                    "version",
                    .object {
                        $0.key("v"); $0.value(version)
                    }.member("v") ?? .null
                )
            ]
        case .staleFencingToken(let resource, let highest):
            self.init(
                .conflict, "stale_fencing_token",
                "A newer holder of lock \(resource) (token \(highest)) has already written to this flow. "
                    + "Stop and reacquire the lock."
            )
        case .emptyPublication:
            self.init(.unprocessableContent, "empty_batch", "The request must have at least one event.")
        case .idempotencyConflict:
            self.init(
                .unprocessableContent, "idempotency_conflict",
                "The Idempotency-Key was used for a different request. Use a new key.")
        case .stateTooLarge(let bytes, let limit):
            self.init(
                .contentTooLarge, "state_too_large",
                "The resulting state of \(bytes) bytes exceeds \(limit) bytes (FLOWHUB_MAX_STATE_BYTES).")
        case .stateTooDeep(let limit):
            self.init(
                .unprocessableContent, "state_too_deep",
                "The resulting state exceeds \(limit) levels of nesting (FLOWHUB_MAX_JSON_DEPTH).")
        case .reservedStatus:
            self.init(
                .unprocessableContent, "reserved_status",
                "The status \"deleted\" is reserved. To delete the flow, DELETE its state.")
        case .tooManyFences(let limit):
            self.init(
                .unprocessableContent, "too_many_fences",
                "The flow already tracks fencing tokens of \(limit) resources, the maximum. Use a lock on one of them.")
        case .accountLimit(let resource, let limit):
            self = .accountLimit(resource, limit)
        }
    }
}
