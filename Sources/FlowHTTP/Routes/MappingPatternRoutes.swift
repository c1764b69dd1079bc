import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore

/// `/v1/patterns`: reads, stores and deletes the mapping patterns of the principal's account. A mapping pattern is a cached
/// proposal of how the fields of an import map.
struct MappingPatternRoutes: Sendable {
    let patterns: any MappingPatternStore
    let configuration: HTTPConfiguration
    let limitCounters: LimitCounters

    /// Adds the routes to the router.
    func add(to group: RouterGroup<HubContext>) {
        group.get("patterns/:key", use: self.read)
        group.put("patterns/:key", use: self.put)
        group.delete("patterns/:key", use: self.remove)
    }

    /// `GET /v1/patterns/{key}`: a mapping pattern and its confidence.
    @Sendable private func read(_ request: Request, _ context: HubContext) async throws -> Response {
        let (key, account) = try self.keyAndAccount(context)
        guard let pattern = try await self.mappingErrors({ try await self.patterns.pattern(key, account: account) }) else {
            throw Self.unknown
        }
        return Self.response(pattern, status: .ok)
    }

    /// `PUT /v1/patterns/{key}`: stores a mapping pattern for ``HTTPConfiguration/patternSeconds``. Answers 201 if the key
    /// is new, else 200.
    @Sendable private func put(_ request: Request, _ context: HubContext) async throws -> Response {
        let (key, account) = try self.keyAndAccount(context)
        let pattern = try self.pattern(
            try await request.json(types: nil, limits: JSONLimits(maximumDepth: self.configuration.maximumJSONDepth)))
        let isNew = try await self.mappingErrors {
            try await self.patterns.put(pattern, key: key, account: account, seconds: self.configuration.patternSeconds)
        }
        return Self.response(pattern, status: isNew ? .created : .ok)
    }

    /// `DELETE /v1/patterns/{key}`: deletes a mapping pattern; 404 if there is none.
    @Sendable private func remove(_ request: Request, _ context: HubContext) async throws -> Response {
        let (key, account) = try self.keyAndAccount(context)
        guard try await self.mappingErrors({ try await self.patterns.remove(key, account: account) }) else { throw Self.unknown }
        return Response(status: .noContent)
    }

    // MARK: Private

    private static var unknown: HTTPProblem { HTTPProblem.notFound("Mapping pattern not found or expired.") }

    /// The pattern key in the path and the account, if the token has the scope `patterns`.
    /// - Throws: ``AccessError`` without the scope, ``HTTPProblem`` for an invalid key.
    private func keyAndAccount(_ context: HubContext) throws -> (key: String, account: String) {
        try context.require(.patterns)
        guard let text = context.parameters.get("key"), let key = PercentDecoding.decode(Substring(text)),
            Identifier.isValid(key.utf8, maximumLength: 128)
        else {
            throw HTTPProblem(
                .badRequest, "bad_pattern_key", "A pattern key must be 1 to 128 of A-Z a-z 0-9 _ . : - and not . or ..")
        }
        return (key, context.principal.account)
    }

    /// The mapping pattern in a request's body.
    /// - Throws: ``HTTPProblem`` if the body is invalid, the mapping pattern too large or its confidence too low.
    private func pattern(_ body: JSONText) throws -> MappingPattern {
        guard body.isObject, let text = body.member("pattern"), let confidence = body.member("confidence") else {
            throw Self.bad(#"The body must be {"pattern": <any JSON>, "confidence": <number from 0 to 1>}."#)
        }
        try body.forEachMember { name, _ in
            if name.elementsEqual("pattern".utf8) || name.elementsEqual("confidence".utf8) { return }
            let name = String(decoding: name.prefix(320), as: UTF8.self).prefix(80)
            throw HTTPProblem(
                .unprocessableContent, "unknown_member",
                "Unknown JSON member \(name). Only pattern and confidence are allowed.")
        }
        guard let pattern = MappingPattern(pattern: text, confidence: confidence) else {
            throw Self.bad("confidence must be a number from 0 to 1.")
        }
        let maximum = self.configuration.maximumPatternBytes
        guard text.bytes.count <= maximum else {
            throw HTTPProblem(
                .contentTooLarge, "pattern_too_large",
                "The mapping pattern exceeds \(maximum) bytes (FLOWHUB_MAX_PATTERN_BYTES).")
        }
        guard pattern.confidenceValue >= self.configuration.patternConfidence else {
            throw HTTPProblem(
                .unprocessableContent, "low_confidence",
                "The mapping pattern was not stored: its confidence is below \(self.configuration.patternConfidence) "
                    + "(FLOWHUB_PATTERN_CONFIDENCE).")
        }
        return pattern
    }

    /// A 422 `bad_pattern`.
    private static func bad(_ detail: String) -> HTTPProblem { HTTPProblem(.unprocessableContent, "bad_pattern", detail) }

    /// Runs `body` and converts a ``MappingPatternError`` into its ``HTTPProblem``.
    private func mappingErrors<Value>(_ body: () async throws -> Value) async throws -> Value {
        do {
            return try await body()
        } catch let error as MappingPatternError {
            if error == .tooMany { self.limitCounters.add(.patterns) }
            throw HTTPProblem(error)
        }
    }

    /// The response with a mapping pattern.
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
    /// The response to a request about a mapping pattern, if the request failed with this error.
    fileprivate init(_ error: MappingPatternError) {
        switch error {
        case .tooMany:
            self.init(
                .serviceUnavailable, "too_many_patterns",
                "The mapping patterns of all accounts together reach a limit (FLOWHUB_MAX_KEPT_PATTERNS or "
                    + "FLOWHUB_MAX_KEPT_PATTERN_BYTES). Nothing was changed. Retry later.")
            self.headers[.retryAfter] = "60"
        case .unavailable(let reason):
            self.init(.serviceUnavailable, "patterns_unavailable", "Mapping patterns are unavailable. Retry later.")
            self.headers[.retryAfter] = "1"
            self.cause = reason
        }
    }
}
