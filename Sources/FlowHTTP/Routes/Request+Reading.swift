import Crypto
import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore

/// The right that a route needs for the flow in its path.
enum FlowAccess {
    /// To read and watch the flow: the token claim `flows.subscribe`.
    case subscribe
    /// To change the flow and publish to it: the token claim `flows.publish`.
    case publish
}

extension HubContext {
    /// The flow in the path.
    /// - Throws: ``HTTPProblem`` if the id is invalid, ``AccessError`` if the token does not grant the access.
    func flow(for access: FlowAccess) throws -> FlowID {
        guard let text = self.parameters.get("flow"), let decoded = PercentDecoding.decode(Substring(text)),
            let flow = FlowID(decoded)
        else {
            throw HTTPProblem.badFlowID
        }
        switch access {
        case .subscribe:
            guard self.principal.maySubscribe(flow) else {
                throw AccessError.forbidden(
                    need: "permission to subscribe to this flow (flows.subscribe)", claim: "flows.subscribe", seen: flow.rawValue)
            }
        case .publish:
            guard self.principal.mayPublish(flow) else {
                throw AccessError.forbidden(
                    need: "permission to publish to this flow (flows.publish)", claim: "flows.publish", seen: flow.rawValue)
            }
        }
        return flow
    }

    /// Checks that the token has a scope.
    /// - Throws: ``AccessError`` `forbidden` if it has not.
    func require(_ scope: Scope) throws {
        guard self.principal.has(scope) else {
            throw AccessError.forbidden(need: "the scope \(scope.rawValue)", claim: "scopes")
        }
    }
}

extension Request {
    /// The part of the target after the `?`, still percent-encoded; empty without a query.
    var querySubstring: Substring { Substring(self.uri.query ?? "") }

    /// The media type without its parameters, in lower case.
    var mediaType: String {
        guard let header = self.headers[.contentType] else { return "" }
        let type = header.utf8.drop { $0 == UInt8(ascii: " ") }.prefix { $0 != UInt8(ascii: ";") && $0 != UInt8(ascii: " ") }
        let hasUpperCase = type.contains { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) }
        return hasUpperCase ? Substring(type).lowercased() : String(Substring(type))
    }

    /// The whole body, without one leading byte order mark.
    func bytes() async throws -> [UInt8] {
        // The connection has already read the whole body and enforced its limit.
        let buffer = try await self.body.collect(upTo: .max)
        return JSONText.withoutByteOrderMark(Array(buffer.readableBytesView))
    }

    /// The body as JSON.
    /// - Parameters:
    ///   - types: accepted values of `Content-Type`; a request without one is assumed to be JSON. `nil` accepts any, because
    ///     `curl -d` sends the type of a form by default.
    ///   - limits: limits of the JSON text.
    ///   - check: called with the body before it is parsed.
    /// - Throws: ``HTTPProblem`` for another type, or for text that is not JSON within the limits; the error of `check`.
    func json(
        types: [String]?, limits: JSONLimits, check: ([UInt8]) throws -> Void = { _ in }
    ) async throws -> JSONText {
        let type = self.mediaType
        if let types, !type.isEmpty, !types.contains(type) {
            var problem = HTTPProblem(
                .unsupportedMediaType, "unsupported_media_type",
                "Content-Type must be \(types.joined(separator: " or ")), not \(type.prefix(80)).")
            problem.headers[.accept] = types.joined(separator: ", ")
            throw problem
        }
        let bytes = await self.bytesOrEmpty()
        try check(bytes)
        let result =
            if bytes.count > Self.largeBodyBytes {
                await Task.detached { Self.text(of: bytes, limits: limits) }.value
            } else {
                Self.text(of: bytes, limits: limits)
            }
        do { return try result.get() } catch { throw HTTPProblem(error) }
    }

    /// Size of a body, in bytes, above which it is parsed on the default executor. Parsing it would keep the requests of other
    /// connections of the event loop waiting for longer than changing threads takes.
    static let largeBodyBytes = 32_768

    private static func text(of bytes: [UInt8], limits: JSONLimits) -> Result<JSONText, JSONError> {
        Result { () throws(JSONError) in try JSONText(validating: bytes, limits: limits) }
    }

    /// The whole body; empty if it cannot be read.
    private func bytesOrEmpty() async -> [UInt8] { (try? await self.bytes()) ?? [] }

    /// The value of `Idempotency-Key`; `nil` without the header field.
    /// - Throws: ``HTTPProblem`` for an invalid value.
    func idempotencyKey() throws -> String? {
        guard let key = self.headers[.idempotencyKey] else { return nil }
        guard (1...255).contains(key.utf8.count), key.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
            throw HTTPProblem(.badRequest, "bad_idempotency_key", "Idempotency-Key must be 1 to 255 visible ASCII characters.")
        }
        return key
    }

    /// The `Idempotency-Key` with a digest of method, path, preconditions, fencing token and body; `nil` without the header
    /// field. A different digest under the same key shows that the key is used for another request.
    func idempotency() async throws -> FlowChange.Idempotency? {
        guard let key = try self.idempotencyKey() else { return nil }
        var hash = SHA256()
        hash.update(data: Array("\(self.method) \(RequestPath(self.uri.path).path)\n".utf8))
        for name in [HTTPField.Name.ifMatch, .ifNoneMatch, .fencingToken] {
            hash.update(data: Array("\(self.headers[name] ?? "")\n".utf8))
        }
        hash.update(data: try await self.bytes())
        let digest = hash.finalize().prefix(16).map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
        return FlowChange.Idempotency(key: key, fingerprint: digest)
    }
}

extension Response {
    /// A response with JSON that clients and proxies must not store.
    static func json(_ text: JSONText, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]) -> Response {
        var headers = headers
        headers[.contentType] = "application/json"
        headers[.cacheControl] = "no-store"
        return Response(status: status, headers: headers, body: .init(byteBuffer: ByteBuffer(bytes: text.bytes)))
    }

    /// The response to a request that was committed before under the same idempotency key.
    static func replay(_ reply: StoredReply, epoch: Epoch) -> Response {
        .json(
            .object { writer in
                writer.key("flow_id")
                writer.value(reply.flow.rawValue)
                writer.key("version")
                if let version = reply.versions.last { writer.value(version) } else { writer.null() }
            }, status: .init(code: reply.status), headers: [.idempotencyReplayed: "true"])
    }
}
