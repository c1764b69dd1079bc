import FlowCore
import HTTPTypes

/// The conditions that a request puts on the flow it changes (RFC 9110, section 13).
enum Preconditions {
    static func read(_ headers: HTTPFields) throws -> FlowChange.Precondition {
        if let condition = headers[.ifMatch] {
            if condition == "*" { return .exists }
            guard let tags = EntityTag.list(condition) else {
                throw HTTPProblem(
                    .badRequest, "bad_precondition", "If-Match takes * or ETags as the hub sent them: \"<epoch>-<version>\".")
            }
            // A tag that is not the hub's, or a weak one, matches no flow; the comparison is strong.
            return .oneOf(tags.compactMap { $0.isWeak ? nil : Self.versionTag($0.value) })
        }
        if let condition = headers[.ifNoneMatch] {
            guard condition == "*" else {
                throw HTTPProblem(
                    .badRequest, "bad_precondition", "On a change, If-None-Match takes * only: create, never replace.")
            }
            return .absent
        }
        return .none
    }

    /// `Fencing-Token: <resource>=<token>`
    static func fencing(_ headers: HTTPFields) throws -> FlowChange.Fencing? {
        guard let text = headers[.fencingToken] else { return nil }
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, Identifier.isValid(parts[0].utf8, maximumLength: 128), let token = Int64(parts[1]), token >= 0
        else {
            throw HTTPProblem(.badRequest, "bad_fencing_token", "Fencing-Token is <resource>=<number>, as the lock gave it.")
        }
        return FlowChange.Fencing(resource: String(parts[0]), token: token)
    }

    /// Whether a tag is in the list of `If-None-Match`. Comparison is weak, as RFC 9110 asks for here.
    static func matches(_ condition: String, tag: String) -> Bool {
        condition == "*" || EntityTag.list(condition)?.contains { "\"\($0.value)\"" == tag } == true
    }

    private static func versionTag(_ tag: Substring) -> FlowChange.Precondition.VersionTag? {
        guard case .flow(let epoch, let version) = Cursor(tag) else { return nil }
        return .init(epoch: epoch, version: version)
    }
}

extension HTTPField.Name {
    static let fencingToken = Self("fencing-token") ?? .ifMatch
    static let idempotencyKey = Self("idempotency-key") ?? .ifMatch
    static let idempotencyReplayed = Self("idempotency-replayed") ?? .ifMatch
}

extension HTTPProblem {
    /// Why a change was not made.
    init(_ rejection: FlowOutcome.Rejection, of flow: FlowID) {
        switch rejection {
        case .notFound:
            self = .notFound("There is no such flow.")
        case .otherAccount:
            self = .otherAccount
        case .preconditionFailed(let version):
            self.init(
                .preconditionFailed, "precondition_failed",
                version == 0
                    ? "There is no such flow." : "The flow is at version \(version). Read it again and decide anew.")
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
                "A younger holder of the lock \(resource) has written already (token \(highest)). Stop writing, and take the lock again."
            )
        case .emptyPublication:
            self.init(.unprocessableContent, "empty_batch", "The batch has no events.")
        case .idempotencyConflict:
            self.init(
                .unprocessableContent, "idempotency_conflict",
                "This Idempotency-Key was used for another request. Use a new key for a new request.")
        case .stateTooLarge(let bytes, let limit):
            self.init(
                .contentTooLarge, "state_too_large",
                "The state would have \(bytes) bytes; it may have \(limit) (FLOWHUB_MAX_STATE_BYTES).")
        case .stateTooDeep(let limit):
            self.init(
                .unprocessableContent, "state_too_deep",
                "The state would be nested deeper than \(limit) levels (FLOWHUB_MAX_JSON_DEPTH).")
        case .reservedStatus:
            self.init(
                .unprocessableContent, "reserved_status",
                "The status deleted is the hub's own. DELETE the state to delete the flow.")
        case .tooManyFences(let limit):
            self.init(
                .unprocessableContent, "too_many_fences", "A flow remembers the fencing tokens of \(limit) resources at most.")
        }
    }
}
