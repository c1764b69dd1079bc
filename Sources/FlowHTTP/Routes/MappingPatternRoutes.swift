import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore

/// Mapping patterns of the own account.
struct MappingPatternRoutes: Sendable {
    let patterns: any MappingPatternStore
    let configuration: HTTPConfiguration

    func add(to group: RouterGroup<HubContext>) {
        group.get("patterns/:key", use: self.read)
        group.put("patterns/:key", use: self.put)
        group.delete("patterns/:key", use: self.remove)
    }

    @Sendable private func read(_ request: Request, _ context: HubContext) async throws -> Response {
        let (key, account) = try self.keyAndAccount(context)
        guard let pattern = try await self.mappingErrors({ try await self.patterns.pattern(key, account: account) }) else {
            throw Self.unknown
        }
        return Self.response(pattern, status: .ok)
    }

    @Sendable private func put(_ request: Request, _ context: HubContext) async throws -> Response {
        let (key, account) = try self.keyAndAccount(context)
        let pattern = try self.pattern(
            try await request.json(types: nil, limits: JSONLimits(maximumDepth: self.configuration.maximumJSONDepth)))
        let isNew = try await self.mappingErrors {
            try await self.patterns.put(pattern, key: key, account: account, seconds: self.configuration.patternSeconds)
        }
        return Self.response(pattern, status: isNew ? .created : .ok)
    }

    @Sendable private func remove(_ request: Request, _ context: HubContext) async throws -> Response {
        let (key, account) = try self.keyAndAccount(context)
        guard try await self.mappingErrors({ try await self.patterns.remove(key, account: account) }) else { throw Self.unknown }
        return Response(status: .noContent)
    }

    // MARK: Private

    private static var unknown: HTTPProblem { HTTPProblem.notFound("There is no such pattern, or its time is over.") }

    private func keyAndAccount(_ context: HubContext) throws -> (key: String, account: String) {
        try context.require(.patterns)
        guard let text = context.parameters.get("key"), let key = PercentDecoding.decode(Substring(text)),
            Identifier.isValid(key.utf8, maximumLength: 128)
        else {
            throw HTTPProblem(
                .badRequest, "bad_pattern_key", "A pattern's key is 1 to 128 of A-Z a-z 0-9 _ . : - and neither . nor ..")
        }
        return (key, context.principal.account)
    }

    /// What a request asks to keep, if it is worth keeping.
    private func pattern(_ body: JSONText) throws -> MappingPattern {
        guard body.isObject, let text = body.member("pattern"), let confidence = body.member("confidence") else {
            throw Self.bad(#"Send {"pattern": any JSON, "confidence": a number from 0 to 1}."#)
        }
        if let other = body.members.first(where: { $0.key != "pattern" && $0.key != "confidence" }) {
            throw HTTPProblem(
                .unprocessableContent, "unknown_member", "\(other.key.prefix(80)) is no member of a pattern: it would be lost.")
        }
        guard let pattern = MappingPattern(pattern: text, confidence: confidence) else {
            throw Self.bad("confidence is a number from 0 to 1.")
        }
        let maximum = self.configuration.maximumPatternBytes
        guard text.bytes.count <= maximum else {
            throw HTTPProblem(
                .contentTooLarge, "pattern_too_large", "A pattern has \(maximum) bytes at most (FLOWHUB_MAX_PATTERN_BYTES).")
        }
        guard pattern.confidenceValue >= self.configuration.patternConfidence else {
            throw HTTPProblem(
                .unprocessableContent, "low_confidence",
                "The pattern was not kept: its confidence is below \(self.configuration.patternConfidence).")
        }
        return pattern
    }

    private static func bad(_ detail: String) -> HTTPProblem { HTTPProblem(.unprocessableContent, "bad_pattern", detail) }

    private func mappingErrors<Value>(_ body: () async throws -> Value) async throws -> Value {
        do { return try await body() } catch let error as MappingPatternError { throw HTTPProblem(error) }
    }

    private static func response(_ pattern: MappingPattern, status: HTTPResponse.Status) -> Response {
        .json(
            .object { writer in
                writer.key("pattern")
                writer.raw(pattern.pattern)
                writer.key("confidence")
                writer.raw(pattern.confidence)
            }, status: status)
    }
}

extension HTTPProblem {
    fileprivate init(_ error: MappingPatternError) {
        switch error {
        case .otherAccount:
            self.init(.conflict, "pattern_not_yours", "Another account keeps a pattern under this key. Take another key.")
        case .unavailable(let reason):
            self.init(.serviceUnavailable, "patterns_unavailable", "Patterns cannot be had now (\(reason)). Try again.")
            self.headers[.retryAfter] = "1"
        }
    }
}
