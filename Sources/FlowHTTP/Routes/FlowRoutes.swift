import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore

/// The routes of flows: reads and changes their states, and reads their histories and their list.
struct FlowRoutes: Sendable {
    let manager: StateManager
    let table: WatchTable
    let configuration: HTTPConfiguration
    let now: @Sendable () -> Timestamp

    /// Adds the routes to the router.
    func add(to group: RouterGroup<HubContext>) {
        group.get("flows", use: self.list)
        group.get("flows/:flow/state", use: self.read)
        group.patch("flows/:flow/state", use: self.patch)
        group.put("flows/:flow/state", use: self.replace)
        group.delete("flows/:flow/state", use: self.delete)
        group.get("flows/:flow/history", use: self.history)
    }

    // MARK: Reading

    /// `GET /v1/flows/{id}/state`: the state of a flow; 304 if `If-None-Match` has its `ETag`. Never older than what this instance
    /// has sent to a subscriber of the flow.
    @Sendable private func read(_ request: Request, _ context: HubContext) async throws -> Response {
        let flow = try context.flow(for: .subscribe)
        let shown = self.table.highestShown(of: flow, epoch: self.manager.epoch)
        let reading = try await self.manager.read(flow, atLeast: shown, request.wantsCurrentState ? .current : .recent)
        guard let record = reading.record, record.head.account == context.principal.account, !record.head.isDeleted else {
            throw Self.unknown
        }
        let tag = Self.entityTag(reading.epoch, record.version)
        if let condition = request.headers[.ifNoneMatch], Preconditions.matches(condition, tag: tag) {
            return Response(status: .notModified, headers: [.eTag: tag])
        }
        return Self.response(record, epoch: reading.epoch, status: .ok)
    }

    /// `GET /v1/flows`: a list page, in the order of flow ids, of those flows of the account that the token may see.
    @Sendable private func list(_ request: Request, _ context: HubContext) async throws -> Response {
        let parameters = QueryParameters(request.querySubstring)
        let limit = try Self.limit(parameters, default: 100, maximum: 1_000)
        // An empty one is that of a form in which nothing was chosen.
        let status = try parameters.first("status").flatMap { $0.isEmpty ? nil : $0 }.map { text in
            guard let status = FlowStatus(text) else {
                throw HTTPProblem(
                    .badRequest, "bad_parameter",
                    "The parameter status must have 1 to \(FlowStatus.maximumLength) bytes and no control characters.")
            }
            return status
        }
        let after = parameters.first("after").flatMap { $0.isEmpty ? nil : $0 }
        if let after, FlowID(after) == nil { throw HTTPProblem.badFlowID }
        let (flows, next) = try await FlowLister(manager: self.manager, principal: context.principal, status: status)
            .page(after: after, limit: limit)
        return .json(
            .object { writer in
                writer.key("flows")
                writer.beginArray()
                for head in flows { writer.raw(FeedEvents.summary(of: head)) }
                writer.endArray()
                writer.key("next")
                if let next { writer.value(next) } else { writer.null() }
            })
    }

    /// `GET /v1/flows/{id}/history`: stored durable events above the version `after`, at most `limit` events and 1 MiB.
    @Sendable private func history(_ request: Request, _ context: HubContext) async throws -> Response {
        let flow = try context.flow(for: .subscribe)
        let parameters = QueryParameters(request.querySubstring)
        let limit = try Self.limit(parameters, default: 100, maximum: 1_000)
        guard let after = Version(parameters.first("after") ?? "0"), after >= 0 else {
            throw HTTPProblem(.badRequest, "bad_parameter", "The parameter after must be an integer ≥ 0.")
        }
        let page = try await self.manager.page(of: flow, after: after, limit: PageLimit(events: limit, bytes: 1_048_576))
        guard let head = page.head, head.account == context.principal.account else { throw Self.unknown }
        let last = page.events.last?.version
        return .json(
            .object { writer in
                writer.key("flow_id")
                writer.value(flow.rawValue)
                writer.key("version")
                writer.value(head.version)
                writer.key("events")
                writer.beginArray()
                for event in page.events { writer.raw(event.envelope(of: flow)) }
                writer.endArray()
                writer.key("next")
                if let last, last < head.version { writer.value(last) } else { writer.null() }
            })
    }

    // MARK: Changing

    /// `PATCH /v1/flows/{id}/state`: applies a merge patch to the state.
    @Sendable private func patch(_ request: Request, _ context: HubContext) async throws -> Response {
        let body = try await self.object(request, types: ["application/json", "application/merge-patch+json"])
        return try await self.apply(.patch(body), request, context)
    }

    /// `PUT /v1/flows/{id}/state`: sets a new state.
    @Sendable private func replace(_ request: Request, _ context: HubContext) async throws -> Response {
        let body = try await self.object(request, types: ["application/json"])
        return try await self.apply(.replace(body), request, context)
    }

    /// `DELETE /v1/flows/{id}/state`: deletes the flow and leaves a tombstone.
    @Sendable private func delete(_ request: Request, _ context: HubContext) async throws -> Response {
        try await self.apply(.delete, request, context)
    }

    /// Applies a change to the flow in the path and answers with the new state, or with the stored reply if the
    /// `Idempotency-Key` was used before.
    /// - Throws: ``HTTPProblem`` if the change was rejected.
    private func apply(_ body: FlowChange.Body, _ request: Request, _ context: HubContext) async throws -> Response {
        let flow = try context.flow(for: .publish)
        let change = FlowChange(
            flow: flow, account: context.principal.account, body: body, precondition: try Preconditions.read(request.headers),
            idempotency: try await request.idempotency(), fencing: try Preconditions.fencing(request.headers), at: self.now())
        switch try await self.manager.apply(change) {
        case .applied(let record, _, let created):
            context.record?.set(\.version, record.version)
            return Self.response(record, epoch: self.manager.epoch, status: created ? .created : .ok)
        case .unchanged(let record):
            return Self.response(record, epoch: self.manager.epoch, status: .ok)
        case .replayed(let reply):
            context.record?.set(\.version, reply.versions.last)
            return .replay(reply, epoch: self.manager.epoch)
        case .rejected(let rejection):
            throw HTTPProblem(rejection, of: flow)
        }
    }

    /// The body as a JSON object.
    /// - Throws: ``HTTPProblem`` for another content type or another kind of JSON.
    private func object(_ request: Request, types: [String]) async throws -> JSONText {
        let body = try await request.json(types: types, limits: JSONLimits(maximumDepth: self.configuration.maximumJSONDepth))
        guard body.isObject else {
            throw HTTPProblem(.unprocessableContent, "state_not_object", "The body must be a JSON object.")
        }
        return body
    }

    // MARK: Responses

    private static var unknown: HTTPProblem { .notFound("Flow not found.") }

    /// The `ETag` of a flow: `"<epoch>-<version>"`.
    static func entityTag(_ epoch: Epoch, _ version: Version) -> String { "\"\(epoch)-\(version)\"" }

    /// The response with the state of a flow and its `ETag`.
    private static func response(_ record: FlowRecord, epoch: Epoch, status: HTTPResponse.Status) -> Response {
        .json(
            .object { writer in
                writer.key("flow_id")
                writer.value(record.head.flow.rawValue)
                writer.key("version")
                writer.value(record.version)
                writer.key("state")
                writer.raw(record.state)
                writer.key("status")
                writer.value(record.head.status.rawValue)
                writer.key("updated_at")
                writer.value(record.head.updatedAt.description)
            }, status: status, headers: [.eTag: Self.entityTag(epoch, record.version)])
    }

    /// The query parameter `limit`, lowered to `maximum`; `defaultLimit` if it is missing.
    /// - Throws: ``HTTPProblem`` if it is not an integer of at least 1.
    static func limit(_ parameters: QueryParameters, default defaultLimit: Int, maximum: Int) throws -> Int {
        guard let text = parameters.first("limit") else { return defaultLimit }
        guard let limit = Int(text), limit >= 1 else {
            throw HTTPProblem(
                .badRequest, "bad_parameter", "The parameter limit must be an integer ≥ 1; the maximum is \(maximum).")
        }
        return min(limit, maximum)
    }
}
