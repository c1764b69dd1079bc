import Foundation

/// A client for one bucket, independent of the hub. That of ``S3Server/createBucket()`` bypasses the proxy.
public struct S3Bucket: Sendable {
    public struct Object: Hashable, Sendable {
        public let key: String
        public let size: Int
        public let etag: String
    }

    /// A multipart upload that is neither completed nor aborted.
    public struct Upload: Hashable, Sendable {
        public let key: String
        public let id: String
    }

    public let name: String
    private let caller: HTTPCaller

    init(_ name: String, port: Int) {
        self.name = name
        self.caller = HTTPCaller(port: port)
    }

    func create() async throws { try await self.expect(200, self.perform("PUT")) }

    // MARK: Contents

    public func objects(prefix: String = "") async throws -> [Object] {
        var objects: [Object] = []
        while true {
            var query = [("list-type", "2"), ("prefix", prefix)]
            if let last = objects.last { query.append(("start-after", last.key)) }
            let reply = try await self.perform("GET", query: query)
            try self.expect(200, reply)
            objects += S3XML.elements("Contents", in: reply.text).map { element in
                Object(
                    key: S3XML.text("Key", in: element), size: Int(S3XML.text("Size", in: element)) ?? -1,
                    etag: S3XML.text("ETag", in: element).filter { $0 != "\"" })
            }
            if S3XML.text("IsTruncated", in: reply.text) != "true" { return objects }
        }
    }

    /// The stored bytes, without content decoding; `nil` if the object does not exist.
    public func bytes(_ key: String) async throws -> [UInt8]? {
        let reply = try await self.perform("GET", key: key)
        if reply.status == 404 { return nil }
        try self.expect(200, reply)
        return reply.body
    }

    /// The response to a HEAD request; `nil` if the object does not exist.
    public func head(_ key: String) async throws -> HTTPReply? {
        let reply = try await self.perform("HEAD", key: key)
        if reply.status == 404 { return nil }
        try self.expect(200, reply)
        return reply
    }

    public func uploads(prefix: String = "") async throws -> [Upload] {
        let reply = try await self.perform("GET", query: [("uploads", ""), ("prefix", prefix)])
        try self.expect(200, reply)
        return S3XML.elements("Upload", in: reply.text).map {
            Upload(key: S3XML.text("Key", in: $0), id: S3XML.text("UploadId", in: $0))
        }
    }

    // MARK: Changes

    public func put(
        _ key: String, _ bytes: [UInt8], headers: [(name: String, value: String)] = [("content-type", "application/gzip")]
    ) async throws {
        try await self.expect(200, self.perform("PUT", key: key, headers: headers, body: bytes))
    }

    public func delete(_ key: String) async throws { try await self.expect(204, self.perform("DELETE", key: key)) }

    /// Creates a multipart upload and leaves it unfinished.
    /// - Returns: its id.
    public func beginUpload(_ key: String) async throws -> String {
        let reply = try await self.perform("POST", key: key, query: [("uploads", "")], body: [])
        try self.expect(200, reply)
        return S3XML.text("UploadId", in: reply.text)
    }

    func abortUpload(_ key: String, id: String) async throws {
        let reply = try await self.perform("DELETE", key: key, query: [("uploadId", id)])
        if reply.status != 404 { try self.expect(204, reply) }
    }

    // MARK: Requests

    /// Sends a signed request.
    /// - Parameter body: the request body; a `PUT` with `nil` has an empty body.
    public func perform(
        _ method: String, key: String? = nil, query: [(String, String)] = [],
        headers: [(name: String, value: String)] = [], body: [UInt8]? = nil
    ) async throws -> HTTPReply {
        let path = "/" + self.name + (key.map { "/" + Self.encode($0, except: "/") } ?? "")
        let query = query.map { "\(Self.encode($0.0))=\(Self.encode($0.1))" }.joined(separator: "&")
        let body = method == "PUT" ? body ?? [] : body
        // Every HTTPCall sends this host.
        let signed = S3Signature.sign(
            method, path: path, query: query, headers: headers, host: "127.0.0.1", body: body ?? [])
        return try await self.caller.perform(
            HTTPCall(method, path + (query.isEmpty ? "" : "?\(query)"), headers: signed, body: body), within: .seconds(60))
    }

    private func expect(_ status: Int, _ reply: HTTPReply) throws {
        guard reply.status == status else {
            throw ChildProcess.Failure(description: "the S3 server answered \(reply.status): \(reply.text.prefix(500))")
        }
    }

    private static func encode(_ text: String, except more: String = "") -> String {
        let unreserved = CharacterSet(charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~" + more)
        return text.addingPercentEncoding(withAllowedCharacters: unreserved) ?? text
    }
}

/// A minimal XML reader, sufficient for the responses of an S3 server.
enum S3XML {
    /// The contents of all elements with this name. They must not contain elements with the same name.
    static func elements(_ name: String, in xml: String) -> [String] {
        xml.components(separatedBy: "<\(name)>").dropFirst().map { $0.components(separatedBy: "</\(name)>")[0] }
    }

    /// The text of the first element with this name; empty if there is no such element.
    static func text(_ name: String, in xml: String) -> String {
        var text = Self.elements(name, in: xml).first ?? ""
        for (entity, character) in [("&quot;", "\""), ("&lt;", "<"), ("&gt;", ">"), ("&apos;", "'"), ("&amp;", "&")] {
            text = text.replacingOccurrences(of: entity, with: character)
        }
        return text
    }
}
