import FlowCore
import HTTPTypes
import Hummingbird
import NIOCore

/// The routes of connections, revocations and locks.
struct CoordinationRoutes: Sendable {
    let manager: StateManager
    let registry: any ConnectionRegistry
    let revocations: any RevocationStore
    let locks: any LockService
    let limitCounters: LimitCounters
    /// Seconds by which the `iat` of an accepted token may be in the future.
    let leewaySeconds: Int64
    /// Called after a revocation was stored. Applies it on this instance immediately and notifies the other instances.
    let revoked: @Sendable (Revocation) -> Void
    let now: @Sendable () -> Timestamp

    /// Adds the routes to the router.
    func add(to group: RouterGroup<HubContext>) {
        group.get("flows/:flow/connections", use: self.connections)
        group.delete("connections/:connection", use: self.disconnect)
        group.post("revocations", use: self.revoke)
        group.post("locks/:resource", use: self.acquire)
        group.put("locks/:resource", use: self.renew)
        group.delete("locks/:resource", use: self.release)
    }

    // MARK: Connections

    /// `GET /v1/flows/{id}/connections`: the streams on all instances that watch a flow, of the principal's account only.
    /// Those of the legacy service are flagged `foreign`.
    @Sendable private func connections(_ request: Request, _ context: HubContext) async throws -> Response {
        let flow = try context.flow(for: .subscribe)
        let account = context.principal.account
        async let foreignConnections = self.registry.foreignConnections(of: flow, account: account)
        let entries = await self.registry.connections(of: flow).filter { $0.account == account }
        let foreign = await foreignConnections
        return .json(
            .object { writer in
                writer.key("connections")
                writer.beginArray()
                for entry in entries {
                    writer.beginObject()
                    writer.key("connection_id")
                    writer.value(entry.connection.description)
                    writer.key("instance")
                    writer.value(entry.connection.instance)
                    writer.key("subject")
                    writer.value(entry.subject)
                    writer.key("remote")
                    writer.value(entry.remote)
                    writer.key("registered_at")
                    writer.value(entry.registeredAt.description)
                    writer.endObject()
                }
                for connection in foreign {
                    writer.beginObject()
                    writer.key("connection_id")
                    writer.value(connection.id)
                    writer.key("foreign")
                    writer.value(true)
                    if let registeredAt = connection.registeredAt {
                        writer.key("registered_at")
                        writer.value(registeredAt)
                    }
                    writer.key("metadata")
                    writer.raw(connection.metadata)
                    writer.endObject()
                }
                writer.endArray()
                writer.key("count")
                writer.value(entries.count + foreign.count)
            })
    }

    /// `DELETE /v1/connections/{id}`: closes a stream of the account on any instance. Needs the scope `admin`.
    @Sendable private func disconnect(_ request: Request, _ context: HubContext) async throws -> Response {
        try context.require(.admin)
        guard let id = context.parameters.get("connection").flatMap({ ConnectionID($0) }) else {
            throw HTTPProblem(
                .badRequest, "bad_connection_id",
                "A connection id must be <instance>.<number>, as listed by GET …/connections.")
        }
        guard await self.registry.disconnect(id, account: context.principal.account) else {
            throw HTTPProblem.notFound("Connection not found.")
        }
        return Response(status: .noContent)
    }

    // MARK: Revocations

    /// How far `not_before` may be in the future, in seconds. The latest `not_before` of a subject cannot be undone, so a
    /// value that is far ahead by mistake would lock the subject out until then.
    private static let maximumRevocationAhead: Int64 = 86_400

    /// `POST /v1/revocations`: revokes the tokens of a subject, or of all subjects of the account, that were issued before
    /// `not_before`. Needs the scope `admin`.
    @Sendable private func revoke(_ request: Request, _ context: HubContext) async throws -> Response {
        try context.require(.admin)
        let body = try await request.json(types: nil, limits: .init())
        let named = body.member("subject")
        let isOfAccount = body.member("all_subjects")?.boolValue == true
        guard let subject = isOfAccount ? Revocation.allSubjects : named?.stringValue,
            isOfAccount ? named == nil : Principal.isValidSubject(subject)
        else {
            throw HTTPProblem(
                .unprocessableContent, "bad_revocation",
                "The JSON member subject (the sub claim of the tokens to revoke) is required; or \"all_subjects\": true instead, "
                    + "to revoke all tokens of the account."
            )
        }
        context.record?.set(\.object, ("revoked", subject))
        let now = self.now()
        // Without `not_before`, every token that is accepted now is revoked, also one whose `iat` is ahead of this clock.
        let everyToken = now.seconds + self.leewaySeconds + 1
        var notBefore = everyToken
        if let requested = body.member("not_before") {
            guard let seconds = requested.intValue, seconds >= 0 else {
                throw HTTPProblem(
                    .unprocessableContent, "bad_revocation",
                    "not_before must be a Unix time in seconds. Tokens issued before it are revoked. Omit it to revoke all tokens of "
                        + "the subject that exist now.")
            }
            guard seconds <= now.seconds + Self.maximumRevocationAhead else {
                throw HTTPProblem(
                    .unprocessableContent, "bad_revocation",
                    "not_before must be at most one day ahead, because a revocation cannot be undone. It is a Unix time in "
                        + "seconds, not milliseconds.")
            }
            // Nobody of the account could revoke the mistake, or the attack, that this would be.
            guard !isOfAccount || seconds <= everyToken else {
                throw HTTPProblem(
                    .unprocessableContent, "bad_revocation",
                    "With all_subjects, not_before must not be in the future. Omit it to revoke all tokens that exist now.")
            }
            notBefore = seconds
        }
        let outcome = try await self.revocations.revoke(
            Revocation(account: context.principal.account, subject: subject, notBefore: notBefore), now: now)
        let revocation: Revocation
        switch outcome {
        case .stored(let effective): revocation = effective
        case .limitReached(let limit): throw HTTPProblem.accountLimit(.revocations, limit)
        }
        self.revoked(revocation)
        return .json(
            .object { writer in
                if isOfAccount {
                    writer.key("all_subjects")
                    writer.value(true)
                } else {
                    writer.key("subject")
                    writer.value(subject)
                }
                writer.key("not_before")
                writer.value(revocation.notBefore)
            }, status: .created)
    }

    // MARK: Locks

    /// `POST /v1/locks/{resource}`: acquires a lock for `ttl` seconds.
    @Sendable private func acquire(_ request: Request, _ context: HubContext) async throws -> Response {
        let (resource, account) = try self.lock(context)
        let seconds = try await self.seconds(request)
        let lease = try await self.mappingErrors {
            try await self.locks.acquire(resource, account: account, seconds: seconds, now: self.now())
        }
        return Self.response(lease, status: .created)
    }

    /// `PUT /v1/locks/{resource}`: extends a lock that the caller holds by `ttl` seconds from now.
    @Sendable private func renew(_ request: Request, _ context: HubContext) async throws -> Response {
        let (resource, account) = try self.lock(context)
        let id = try await self.lockID(request)
        let seconds = try await self.seconds(request)
        let lease = try await self.mappingErrors {
            try await self.locks.renew(resource, account: account, lock: id, seconds: seconds, now: self.now())
        }
        return Self.response(lease, status: .ok)
    }

    /// `DELETE /v1/locks/{resource}`: releases a lock that the caller holds.
    @Sendable private func release(_ request: Request, _ context: HubContext) async throws -> Response {
        let (resource, account) = try self.lock(context)
        let id = try await self.lockID(request)
        try await self.mappingErrors { try await self.locks.release(resource, account: account, lock: id, now: self.now()) }
        return Response(status: .noContent)
    }

    /// The resource in the path and the account, if the token has the scope `locks`.
    /// - Throws: ``AccessError`` without the scope, ``HTTPProblem`` for an invalid resource.
    private func lock(_ context: HubContext) throws -> (resource: String, account: String) {
        try context.require(.locks)
        guard let text = context.parameters.get("resource"), let resource = PercentDecoding.decode(Substring(text)),
            Identifier.isValid(resource.utf8, maximumLength: 128)
        else {
            throw HTTPProblem(.badRequest, "bad_resource", "A resource must be 1 to 128 of A-Z a-z 0-9 _ . : - and not . or ..")
        }
        return (resource, context.principal.account)
    }

    /// Runs `body` and converts a ``LockError`` into its ``HTTPProblem``.
    private func mappingErrors<Value>(_ body: () async throws -> Value) async throws -> Value {
        do {
            return try await body()
        } catch let error as LockError {
            switch error {
            case .tooManyOfAccount: self.limitCounters.add(.accountLocks)
            case .tooMany: self.limitCounters.add(.locks)
            default: break
            }
            throw HTTPProblem(error)
        }
    }

    /// The body as JSON; an empty object if the request has none.
    private func body(_ request: Request) async throws -> JSONText {
        let bytes = try await request.bytes()
        return bytes.isEmpty ? .emptyObject : try await request.json(types: nil, limits: .init())
    }

    /// The lifetime `ttl` in the body, in seconds; 30 if it is missing.
    private func seconds(_ request: Request) async throws -> Int {
        guard let ttl = try await self.body(request).member("ttl") else { return 30 }
        guard let seconds = ttl.intValue, (1...3_600).contains(seconds) else {
            throw HTTPProblem(.unprocessableContent, "bad_ttl", "ttl must be an integer from 1 to 3600 (seconds).")
        }
        return Int(seconds)
    }

    /// The `lock_id` in the query, else in the body. It proves that the caller holds the lock.
    /// - Throws: ``HTTPProblem`` if neither has a `lock_id`, or if no hub has made it.
    private func lockID(_ request: Request) async throws -> String {
        let id = QueryParameters(request.querySubstring).first("lock_id")
        let inBody = try await self.body(request).member("lock_id")?.stringValue
        guard let id = id ?? inBody else {
            throw HTTPProblem(.badRequest, "lock_id_missing", "lock_id is required: ?lock_id=… or {\"lock_id\": …}")
        }
        // A hub's are 32 hexadecimal digits. Any other id of this form is answered as that of another client.
        guard Identifier.isValid(id.utf8, maximumLength: 128) else {
            throw HTTPProblem(
                .badRequest, "bad_lock_id",
                "lock_id must be the one that the lock was acquired with: 1 to 128 of A-Z a-z 0-9 _ . : -")
        }
        return id
    }

    /// The response that describes a lock which the caller has acquired or renewed.
    private static func response(_ lease: LockLease, status: HTTPResponse.Status) -> Response {
        .json(
            .object { writer in
                writer.key("resource")
                writer.value(lease.resource)
                writer.key("lock_id")
                writer.value(lease.lock)
                writer.key("fencing_token")
                writer.value(lease.fencingToken)
                writer.key("expires_at")
                writer.value(lease.expiresAt.description)
            }, status: status)
    }
}

extension HTTPProblem {
    /// The response to a request about a lock, if the request failed with this error.
    fileprivate init(_ error: LockError) {
        switch error {
        case .held(let until): self.init(.conflict, "lock_held", "The lock is held until \(until). Retry then.")
        case .notHeld: self = .notFound("The lock is not held: it expired or was released. Acquire it again.")
        case .otherHolder:
            self.init(
                .conflict, "lock_not_yours", "Another client holds the lock: it has another lock_id than the request.")
        case .unavailable(let reason):
            self.init(.serviceUnavailable, "locks_unavailable", "The lock service is unavailable. Retry later.")
            self.headers[.retryAfter] = "1"
            self.cause = reason
        case .tooManyOfAccount(let limit):
            self.init(
                .tooManyRequests, "too_many_account_locks",
                "The account holds \(limit) locks (FLOWHUB_MAX_ACCOUNT_LOCKS). Release locks, or retry later.")
            self.headers[.retryAfter] = "1"
        case .tooMany(let limit):
            self.init(
                .serviceUnavailable, "too_many_locks",
                "All accounts together hold \(limit) locks (FLOWHUB_MAX_LOCKS). Release locks, or retry later.")
            self.headers[.retryAfter] = "1"
        }
    }
}
