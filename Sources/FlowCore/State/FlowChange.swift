/// A request to change one flow durably.
public struct FlowChange: Sendable {
    /// The kind of change, with its content.
    public enum Body: Sendable {
        /// Applies a JSON Merge Patch (RFC 7396) to the state.
        case patch(JSONText)
        /// Replaces the state.
        case replace(JSONText)
        /// Deletes the flow, leaving a tombstone.
        case delete
        /// Appends durable events of the publisher's own types, all or none. The state is not changed.
        case publish([NewEvent])
    }

    /// A durable event before it has a version.
    public struct NewEvent: Sendable {
        public var type: EventType
        public var data: JSONText

        public init(type: EventType, data: JSONText) {
            self.type = type
            self.data = data
        }
    }

    /// A condition on the flow that must hold for the change to be committed.
    public enum Precondition: Hashable, Sendable {
        /// No condition: the change has neither `If-Match` nor `If-None-Match`.
        case none
        /// `If-Match: "<epoch>-<version>", …`: the flow exists and has one of these versions. Never met by an empty list.
        case oneOf([VersionTag])
        /// `If-Match: *`: the flow exists. A tombstone does not count.
        case exists
        /// `If-None-Match: *`: the flow does not exist, or is a tombstone.
        case absent

        /// The content of one `ETag` or `If-Match` value `"<epoch>-<version>"`: a version and the epoch in which it was
        /// assigned.
        public struct VersionTag: Hashable, Sendable {
            public var epoch: Epoch
            public var version: Version

            public init(epoch: Epoch, version: Version) {
                self.epoch = epoch
                self.version = version
            }
        }

        /// The condition that the flow exists and has exactly this version in this epoch.
        public static func version(_ epoch: Epoch, _ version: Version) -> Precondition {
            .oneOf([VersionTag(epoch: epoch, version: version)])
        }
    }

    /// The request's `Idempotency-Key`, and a digest that identifies the request.
    public struct Idempotency: Hashable, Sendable {
        public var key: String
        /// A digest of method, path and body. The same key with another digest is rejected.
        public var fingerprint: String
        /// A key under which an earlier release stored the reply to the same change. A reply under it counts only if it has
        /// the same fingerprint: any client may have used this key.
        public var formerKey: String?

        public init(key: String, fingerprint: String) {
            self.key = key
            self.fingerprint = fingerprint
        }

        /// The idempotency of a change that the hub makes itself. Its key contains a space, which no request's
        /// `Idempotency-Key` may contain, so no request can use it.
        /// - Parameters:
        ///   - name: identifies the change; in earlier releases it was the key.
        ///   - fingerprint: not 32 hexadecimal digits, which is the form of a request's fingerprint.
        public static func ofHub(_ name: String, fingerprint: String) -> Idempotency {
            var idempotency = Idempotency(key: "hub \(name)", fingerprint: fingerprint)
            idempotency.formerKey = name
            return idempotency
        }
    }

    /// `Fencing-Token: <resource>=<token>`. The change is rejected if the flow has seen a higher token for the resource.
    public struct Fencing: Hashable, Sendable {
        public var resource: String
        public var token: Int64

        public init(resource: String, token: Int64) {
            self.resource = resource
            self.token = token
        }
    }

    public var flow: FlowID
    public var account: String
    public var body: Body
    public var precondition: Precondition
    public var idempotency: Idempotency?
    public var fencing: Fencing?
    /// The time of the request. ``FlowTransition`` replaces it by the flow's last time of change if that is later.
    public var at: Timestamp
    /// Where the patch of ``Body/patch(_:)`` is applied.
    public var preparation = Preparation.inPlace

    public init(
        flow: FlowID, account: String, body: Body, precondition: Precondition = .none, idempotency: Idempotency? = nil,
        fencing: Fencing? = nil, at: Timestamp
    ) {
        self.flow = flow
        self.account = account
        self.body = body
        self.precondition = precondition
        self.idempotency = idempotency
        self.fencing = fencing
        self.at = at
    }
}

/// The outcome of one change. It concerns this change alone: a rejection does not affect the others in the batch.
public enum FlowOutcome: Sendable {
    /// The change was committed. `events` are the durable events that subscribers receive; `created` is whether the flow did
    /// not exist before, or was a tombstone.
    case applied(FlowRecord, events: [FlowEvent], created: Bool)
    /// The patch does not change the state. Nothing was committed except the stored reply of an idempotency key.
    case unchanged(FlowRecord)
    /// A request with the same idempotency key was committed before; this is its stored reply.
    case replayed(StoredReply)
    /// The change was rejected. Nothing was committed.
    case rejected(Rejection)

    /// The reason that a change was rejected.
    public enum Rejection: Hashable, Sendable, CustomStringConvertible {
        /// The flow to delete does not exist.
        case notFound
        /// The change would create a flow whose id belongs to another account.
        case otherAccount
        /// `If-Match` or `If-None-Match` is not met. The flow has this version; 0 if it does not exist or is a
        /// tombstone.
        case preconditionFailed(Version)
        /// A newer holder of the lock, with this higher token, has changed the flow already.
        case staleFencingToken(resource: String, highest: Int64)
        /// The change publishes no events.
        case emptyPublication
        /// The idempotency key was used for a different request.
        case idempotencyConflict
        /// The resulting state exceeds ``ChangeLimits/maximumStateBytes``.
        case stateTooLarge(bytes: Int, limit: Int)
        /// The resulting state exceeds ``ChangeLimits/maximumDepth``.
        case stateTooDeep(limit: Int)
        /// The state has the status `deleted`, which only a tombstone may have.
        case reservedStatus
        /// The fencing token is for a further resource, and the flow has fences for ``ChangeLimits/maximumFences``
        /// already.
        case tooManyFences(limit: Int)
        /// The change would increase what the account stores above a limit.
        case accountLimit(AccountResource, limit: Int)

        /// A description for operators.
        public var description: String {
            switch self {
            case .notFound: "the flow does not exist"
            case .otherAccount: "the flow belongs to another account"
            case .preconditionFailed(let version): "the precondition is not met at version \(version)"
            case .staleFencingToken(let resource, let highest):
                "a holder of the lock \(resource) with the higher fencing token \(highest) has changed the flow"
            case .emptyPublication: "the change publishes no events"
            case .idempotencyConflict: "the idempotency key was used for a different request"
            case .stateTooLarge(let bytes, let limit): "the state would have \(bytes) bytes, above the limit of \(limit)"
            case .stateTooDeep(let limit): "the state would be nested deeper than \(limit) levels"
            case .reservedStatus: "the status `deleted` is reserved"
            case .tooManyFences(let limit): "the flow has fences for \(limit) resources already"
            case .accountLimit(let resource, let limit): "the account would exceed its limit of \(limit) for \(resource)"
            }
        }
    }
}

/// The response to a committed request, stored under its idempotency key.
public struct StoredReply: Hashable, Sendable {
    /// ``FlowChange/Idempotency/fingerprint`` of the request.
    public var fingerprint: String
    /// The HTTP status.
    public var status: Int
    public var flow: FlowID
    /// The versions of the request's events, in order. If it had none: the flow's version.
    public var versions: [Version]

    public init(fingerprint: String, status: Int, flow: FlowID, versions: [Version]) {
        self.fingerprint = fingerprint
        self.status = status
        self.flow = flow
        self.versions = versions
    }
}

/// The limits of the state that a change results in.
public struct ChangeLimits: Hashable, Sendable {
    /// Maximum size of a state as compact JSON, in bytes.
    public var maximumStateBytes = 1_048_576
    /// Maximum nesting depth of a state, counting objects and arrays.
    public var maximumDepth = 64
    /// Maximum number of resources for which one flow keeps fences.
    public var maximumFences = 64
    /// Limits of what one account stores.
    public var account = AccountLimits()

    public init() {}
}
