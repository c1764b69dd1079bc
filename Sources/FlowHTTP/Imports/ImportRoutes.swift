import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore

/// `/v1/imports`: uploads, lists, reads, analyzes and deletes the imports of the principal's account.
struct ImportRoutes: Sendable {
    let access: AccessControl
    let imports: ImportService
    let patterns: any MappingPatternStore

    /// Adds the routes to the router.
    func add(to group: RouterGroup<HubContext>) {
        group.post("imports", use: self.create)
        group.get("imports", use: self.list)
        group.get("imports/:import", use: self.entry)
        group.delete("imports/:import", use: self.remove)
        group.get("imports/:import/data", use: self.data)
        group.get("imports/:import/records", use: self.records)
        group.get("imports/:import/sample", use: self.sample)
        group.get("imports/:import/schema", use: self.schema)
        group.get("imports/:import/download", use: self.download)
    }

    // MARK: Uploading

    /// `POST /v1/imports`: ingests the body as an import. Answers 201, or 200 with an import that was stored under the same
    /// `Idempotency-Key`.
    @Sendable private func create(_ request: Request, _ context: HubContext) async throws -> Response {
        try context.require(.imports)
        var importRequest = try ImportRequest(request, context)
        // The upload may take longer than the token is valid.
        importRequest.checkAccess = { [access = self.access, principal = context.principal] in try access.check(principal) }
        let receipt = try await self.mappingErrors { try await self.imports.ingest(importRequest) }
        context.record?.set(\.object, ("import", receipt.entry.id.rawValue))
        var headers: HTTPFields = [.location: "/v1/imports/\(receipt.entry.id)"]
        if receipt.isReplayed { headers[.idempotencyReplayed] = "true" }
        return .json(receipt.entry.json, status: receipt.isReplayed ? .ok : .created, headers: headers)
    }

    // MARK: Reading

    /// `GET /v1/imports`: a list page of imports, newest first.
    @Sendable private func list(_ request: Request, _ context: HubContext) async throws -> Response {
        try context.require(.imports)
        let parameters = QueryParameters(request.querySubstring)
        var query = ImportQuery(
            account: context.principal.account, limit: try FlowRoutes.limit(parameters, default: 100, maximum: 100))
        if let text = parameters.first("flow_id") {
            guard let flow = FlowID(text) else { throw HTTPProblem.badFlowID }
            query.flow = flow
        }
        if let text = parameters.first("status") {
            guard let status = Import.Status(rawValue: text), status != .deleting else {
                throw HTTPProblem(.badRequest, "bad_parameter", "The parameter status must be pending, stored or failed.")
            }
            query.status = status
        }
        if let text = parameters.first("after") {
            guard let after = ImportID(text) else { throw Self.badID }
            query.after = after
        }
        let page = try await self.mappingErrors { try await self.imports.list(query) }
        return .json(
            .object { writer in
                writer.key("imports")
                writer.beginArray()
                for entry in page.imports { writer.raw(entry.json) }
                writer.endArray()
                writer.key("next")
                if page.hasMore, let last = page.imports.last { writer.value(last.id.rawValue) } else { writer.null() }
            })
    }

    /// `GET /v1/imports/{id}`: the import without its records.
    @Sendable private func entry(_ request: Request, _ context: HubContext) async throws -> Response {
        let id = try self.id(context)
        return .json(try await self.mappingErrors { try await self.imports.entry(id, account: context.principal.account) }.json)
    }

    /// `GET /v1/imports/{id}/data`: all records as one JSON array. If the import is stored as an object and the client
    /// accepts gzip, the object is sent as it is stored.
    @Sendable private func data(_ request: Request, _ context: HubContext) async throws -> Response {
        let id = try self.id(context)
        let account = context.principal.account
        var headers: HTTPFields = [.contentType: "application/json", .cacheControl: "no-store", .vary: "Accept-Encoding"]
        if request.acceptsGzip,
            let object = try await self.mappingErrors({ try await self.imports.storedObject(id, account: account) })
        {
            headers[.contentEncoding] = "gzip"
            return Response(
                status: .ok, headers: headers,
                body: ResponseBody(contentLength: object.info.size) { writer in
                    while let chunk = try await object.next() { try await writer.write(ByteBuffer(bytes: chunk)) }
                    try await writer.finish(nil)
                })
        }
        let (document, bytes) = try await self.mappingErrors { try await self.imports.document(id, account: account) }
        let reader = DocumentReader(document)
        return Response(
            status: .ok, headers: headers,
            body: ResponseBody(contentLength: bytes) { writer in
                while let chunk = try await reader.next() { try await writer.write(chunk) }
                try await writer.finish(nil)
            })
    }

    /// `GET /v1/imports/{id}/records`: records from `offset` on, at most `limit`.
    @Sendable private func records(_ request: Request, _ context: HubContext) async throws -> Response {
        let id = try self.id(context)
        let parameters = QueryParameters(request.querySubstring)
        let maximum = self.imports.configuration.maximumRecords
        let limit = try FlowRoutes.limit(parameters, default: min(100, maximum), maximum: maximum)
        guard let offset = Int(parameters.first("offset") ?? "0"), offset >= 0 else {
            throw HTTPProblem(.badRequest, "bad_parameter", "The parameter offset must be an integer ≥ 0.")
        }
        let (records, total) = try await self.mappingErrors {
            try await self.imports.records(id, account: context.principal.account, offset: offset, limit: limit)
        }
        return .json(
            .object { writer in
                writer.key("records")
                writer.beginArray()
                for record in records { writer.raw(record) }
                writer.endArray()
                writer.key("offset")
                writer.value(offset)
                writer.key("total_records")
                if let total { writer.value(total) } else { writer.null() }
            })
    }

    /// `GET /v1/imports/{id}/sample`: the first 100 records, or fewer if they exceed 8 MiB.
    @Sendable private func sample(_ request: Request, _ context: HubContext) async throws -> Response {
        let id = try self.id(context)
        let sample = try await self.mappingErrors { try await self.imports.sample(id, account: context.principal.account) }
        return .json(
            .object { writer in
                writer.key("records")
                writer.raw(sample)
            })
    }

    /// `GET /v1/imports/{id}/schema`: the schema analysis, and the mapping pattern that the account has stored for imports
    /// with the same fields, if there is one.
    @Sendable private func schema(_ request: Request, _ context: HubContext) async throws -> Response {
        let id = try self.id(context)
        let account = context.principal.account
        let analysis = try await self.mappingErrors { try await self.imports.analysis(id, account: account) }
        // A client that mapped data with the same fields before may have stored a mapping pattern under the pattern key. If
        // the mapping pattern cannot be read, the analysis is sent without it.
        var mapping: MappingPattern?
        if let key = analysis.member("pattern_key")?.stringValue {
            mapping = try? await self.patterns.pattern(key, account: account)
        }
        return .json(
            .object { writer in
                writer.rawMembers(of: analysis)
                writer.key("mapping")
                guard let mapping else { return writer.null() }
                writer.beginObject()
                writer.key("pattern")
                writer.raw(mapping.pattern)
                writer.key("confidence")
                writer.raw(mapping.confidence)
                writer.endObject()
            })
    }

    /// `GET /v1/imports/{id}/download`: redirects to a download link of the object store. With `Accept: application/json` it
    /// answers with the link instead, for a page that sends its token in a header and cannot follow the redirect.
    @Sendable private func download(_ request: Request, _ context: HubContext) async throws -> Response {
        let id = try self.id(context)
        let link = try await self.mappingErrors { try await self.imports.link(id, account: context.principal.account) }
        if request.headers[.accept]?.contains("application/json") == true {
            var response = Response.json(
                .object { writer in
                    writer.key("url")
                    writer.value(link)
                })
            response.headers[.cacheControl] = "no-store"
            return response
        }
        return Response(status: .found, headers: [.location: link, .cacheControl: "no-store"])
    }

    /// `DELETE /v1/imports/{id}`: deletes an import.
    @Sendable private func remove(_ request: Request, _ context: HubContext) async throws -> Response {
        let id = try self.id(context)
        try await self.mappingErrors { try await self.imports.delete(id, account: context.principal.account) }
        return Response(status: .noContent)
    }

    // MARK: Private

    static var badID: HTTPProblem {
        HTTPProblem(.badRequest, "bad_import_id", "An import id must be a UUID: 8-4-4-4-12 hexadecimal digits.")
    }

    /// The import id in the path, if the token has the scope `imports`.
    /// - Throws: ``AccessError`` without the scope, ``HTTPProblem`` for an invalid id.
    private func id(_ context: HubContext) throws -> ImportID {
        try context.require(.imports)
        guard let text = context.parameters.get("import"), let decoded = PercentDecoding.decode(Substring(text)),
            let id = ImportID(decoded)
        else { throw Self.badID }
        return id
    }

    /// Runs `body` and converts an ``ImportError`` into its ``HTTPProblem``.
    private func mappingErrors<Value>(_ body: () async throws -> Value) async throws -> Value {
        do { return try await body() } catch let error as ImportError { throw HTTPProblem(error) }
    }
}

/// Gives the closure of a response body access to a document, which is not `Sendable`. The calls are sequential: only the task
/// that writes the response makes them.
private final class DocumentReader: @unchecked Sendable {
    private let document: ImportDocument

    init(_ document: ImportDocument) { self.document = document }

    /// The next chunk of the document; `nil` at its end.
    func next() async throws -> ByteBuffer? { try await self.document.next().map { ByteBuffer(bytes: $0) } }
}

extension Request {
    /// Whether `Accept-Encoding` names gzip with a weight other than 0 (RFC 9110, 12.5.3).
    fileprivate var acceptsGzip: Bool {
        guard let header = self.headers[.acceptEncoding] else { return false }
        return header.lowercased().split(separator: ",").contains { item in
            let parts = item.split(separator: ";").map { $0.filter { $0 != " " && $0 != "\t" } }
            guard parts.first == "gzip" else { return false }
            return !parts.dropFirst().contains { $0.hasPrefix("q=") && (Double($0.dropFirst(2)) ?? 0) == 0 }
        }
    }
}
