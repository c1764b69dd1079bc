import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore

/// `POST /v1/flows/{id}/events`: one event, or a batch as a JSON array or NDJSON.
struct PublishRoute: Sendable {
    let manager: StateManager
    let table: WatchTable
    let configuration: HTTPConfiguration
    let now: @Sendable () -> Timestamp

    /// Adds the route to the router.
    func add(to group: RouterGroup<HubContext>) {
        group.post("flows/:flow/events", use: self.publish)
    }

    /// One event of a request, as parsed.
    private struct Publication {
        var event: FlowChange.NewEvent
        var isDurable: Bool
    }

    /// Reads the events, then commits the durable ones or publishes the transient ones.
    @Sendable private func publish(_ request: Request, _ context: HubContext) async throws -> Response {
        let flow = try context.flow(for: .publish)
        let (publications, isBatch) = try await self.read(request)
        let durable = publications.filter(\.isDurable)
        if durable.isEmpty { return try await self.publishTransient(publications, of: flow, context) }
        guard durable.count == publications.count else {
            throw HTTPProblem(
                .unprocessableContent, "mixed_batch",
                "A batch must be all durable or all transient. Send the two kinds in separate requests.")
        }
        return try await self.commit(durable.map(\.event), isBatch: isBatch, of: flow, request, context)
    }

    /// Commits durable events as one change, and answers with the position (`<epoch>-<version>`) of each.
    /// - Parameter isBatch: whether the request had an array or NDJSON, so that the response has an array `ids`.
    private func commit(
        _ events: [FlowChange.NewEvent], isBatch: Bool, of flow: FlowID, _ request: Request, _ context: HubContext
    ) async throws -> Response {
        let change = FlowChange(
            flow: flow, account: context.principal.account, body: .publish(events),
            precondition: try Preconditions.read(request.headers), idempotency: try await request.idempotency(),
            fencing: try Preconditions.fencing(request.headers), at: self.now())
        switch try await self.manager.apply(change) {
        case .applied(let record, let committed, _):
            context.record?.set(\.version, record.version)
            let epoch = self.manager.epoch
            return .json(
                .object { writer in
                    if isBatch {
                        writer.key("ids")
                        writer.beginArray()
                        for event in committed { writer.value("\(epoch)-\(event.version)") }
                        writer.endArray()
                    } else {
                        writer.key("id")
                        writer.value("\(epoch)-\(record.version)")
                    }
                    writer.key("version")
                    writer.value(record.version)
                }, status: .created)
        case .unchanged(let record):
            // Not expected, because a publication always creates events.
            return .json(
                .object {
                    $0.key("version"); $0.value(record.version)
                })
        case .replayed(let reply):
            context.record?.set(\.version, reply.versions.last)
            return .replay(reply, epoch: self.manager.epoch)
        case .rejected(let rejection): throw HTTPProblem(rejection, of: flow)
        }
    }

    /// Publishes transient events to the current subscribers of the account. Looks up the flow's account first, in the store if
    /// no cache has it. Another account's flow is like one that does not exist: only subscribers of the publisher's account
    /// receive the events, and none is kept.
    private func publishTransient(_ publications: [Publication], of flow: FlowID, _ context: HubContext) async throws -> Response
    {
        let account = context.principal.account
        var head = self.table.head(of: flow)
        if head == nil { head = self.manager.cachedRecord(of: flow)?.head }
        if head == nil, !self.table.isKnownAbsent(flow) { head = try await self.manager.record(of: flow)?.head }
        if head?.account != account { head = nil }
        let now = self.now()
        let events = publications.map { TransientEvent(type: $0.event.type, data: $0.event.data, createdAt: now) }
        self.manager.publish(events, of: flow, account: account, at: head?.version ?? 0)
        return .json(.emptyObject, status: .accepted)
    }

    // MARK: Reading

    /// The events in the body.
    /// - Returns: the events, and whether they were sent as a batch (an array or NDJSON).
    /// - Throws: ``HTTPProblem`` for an invalid event, or an empty or too large batch.
    private func read(_ request: Request) async throws -> ([Publication], isBatch: Bool) {
        let limits = JSONLimits(maximumDepth: self.configuration.maximumJSONDepth)
        let type = request.mediaType
        if type == "application/x-ndjson" || type == "application/ndjson" || type == "application/jsonl" {
            let body = try await request.bytes()
            var publications: [Publication] = []
            let lines = JSONText.splitLines(body, limit: self.configuration.maximumBatchEvents)
            if lines.count > self.configuration.maximumBatchEvents { throw self.batchTooLarge }
            for (number, line) in lines.enumerated() {
                let event: JSONText
                do throws(JSONError) { event = try JSONText(validating: line, limits: limits) } catch {
                    throw HTTPProblem(.badRequest, "bad_json", "Line \(number + 1): \(error)")
                }
                publications.append(try self.publication(event, number: number + 1))
            }
            try self.checkNotEmpty(publications)
            return (publications, true)
        }
        let body = try await request.json(types: nil, limits: limits) { bytes in
            // Before the body is parsed, so that the refusal costs no more than a batch within the limit.
            let maximum = self.configuration.maximumBatchEvents
            if JSONText.begins(arrayOfMoreThan: maximum, bytes) { throw self.batchTooLarge }
        }
        guard body.isArray else { return ([try self.publication(body, number: nil)], false) }
        let publications = try body.elements.enumerated().map { try self.publication($1, number: $0 + 1) }
        try self.checkNotEmpty(publications)
        return (publications, true)
    }

    private var batchTooLarge: HTTPProblem {
        HTTPProblem(
            .contentTooLarge, "batch_too_large",
            "The batch exceeds \(self.configuration.maximumBatchEvents) events (FLOWHUB_MAX_BATCH_EVENTS). Split it.")
    }

    /// Throws `empty_batch` if the batch has no event.
    private func checkNotEmpty(_ publications: [Publication]) throws {
        guard publications.isEmpty else { return }
        throw HTTPProblem(.unprocessableContent, "empty_batch", "The request must have at least one event.")
    }

    /// Parses and checks one event.
    /// - Parameter number: the event's number in the batch, counted from 1, for error messages; `nil` for a single event.
    private func publication(_ event: JSONText, number: Int?) throws -> Publication {
        let prefix = number.map { "Event \($0): " } ?? ""
        func problem(_ code: String, _ detail: String) -> HTTPProblem {
            HTTPProblem(.unprocessableContent, code, prefix + detail)
        }
        guard event.isObject else { throw problem("bad_event", "An event must be an object: {\"type\": …, \"data\": …}") }
        // Of repeated members the last one counts. Only its value is read.
        var typeName: JSONText.Part?
        var data: JSONText.Part?
        var durable: JSONText.Part?
        try event.forEachMember { name, value in
            if name.elementsEqual("type".utf8) {
                typeName = value
            } else if name.elementsEqual("data".utf8) {
                data = value
            } else if name.elementsEqual("durable".utf8) {
                durable = value
            } else {
                let name = String(decoding: name.prefix(320), as: UTF8.self).prefix(80)
                throw problem("unknown_member", "Unknown JSON member \(name). An event has type, data and durable.")
            }
        }
        if let durable, durable.text.boolValue == nil { throw problem("bad_event", "durable must be true or false.") }
        var type: EventType?
        if let typeName {
            type = typeName.text.stringValue.flatMap { EventType($0) }
            if type == nil { throw problem("bad_event_type", "type must be 1 to 64 of A-Z a-z 0-9 _ . : -") }
        }
        guard let type else { throw problem("bad_event_type", "type is required.") }
        if type.isReserved {
            throw problem("reserved_type", "The event type \(type) is reserved. Choose another name.")
        }
        if let data, data.count > self.configuration.maximumEventBytes {
            throw HTTPProblem(
                .contentTooLarge, "event_too_large",
                prefix + "The value of data exceeds \(self.configuration.maximumEventBytes) bytes (FLOWHUB_MAX_EVENT_BYTES).")
        }
        return Publication(
            event: .init(type: type, data: data?.text ?? .null), isDurable: durable?.text.boolValue ?? true)
    }
}
