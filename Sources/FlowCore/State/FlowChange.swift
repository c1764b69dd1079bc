/// A request to change one flow durably.
public struct FlowChange: Sendable {
    public enum Body: Sendable {
        /// JSON Merge Patch (RFC 7396) of the state.
        case patch(JSONText)
        /// A new state in place of the old one.
        case replace(JSONText)
        case delete
        /// Events of the publisher's own types, all or none; the state stays as it is.
        case publish([NewEvent])
    }

    public struct NewEvent: Sendable {
        public var type: EventType
        public var data: JSONText

        public init(type: EventType, data: JSONText) {
            self.type = type
            self.data = data
        }
    }

    public enum Precondition: Hashable, Sendable {
        case none
        /// `If-Match: "<epoch>-<version>", …`: the flow is at one of these places. With none of them it is not.
        case oneOf([VersionTag])
        /// `If-Match: *`
        case exists
        /// `If-None-Match: *`
        case absent

        public struct VersionTag: Hashable, Sendable {
            public var epoch: Epoch
            public var version: Version

            public init(epoch: Epoch, version: Version) {
                self.epoch = epoch
                self.version = version
            }
        }

        public static func version(_ epoch: Epoch, _ version: Version) -> Precondition {
            .oneOf([VersionTag(epoch: epoch, version: version)])
        }
    }

    /// `Idempotency-Key`, and what makes one request another.
    public struct Idempotency: Hashable, Sendable {
        public var key: String
        /// A digest of method, path and body: the same key with another digest is refused.
        public var fingerprint: String

        public init(key: String, fingerprint: String) {
            self.key = key
            self.fingerprint = fingerprint
        }
    }

    /// `Fencing-Token: <resource>=<token>`: refused when the flow has seen a higher token of that resource.
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
    public var at: Timestamp

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

/// What became of a change. Every case is the result of that one operation; none of them undoes its neighbours in a batch.
public enum FlowOutcome: Sendable {
    /// Committed. `events` is what subscribers will see.
    case applied(FlowRecord, events: [FlowEvent], created: Bool)
    /// Nothing to do: the patch changes nothing.
    case unchanged(FlowRecord)
    /// The same request was committed before; this was its answer.
    case replayed(StoredReply)
    case rejected(Rejection)

    public enum Rejection: Hashable, Sendable {
        /// No such flow, for this account.
        case notFound
        /// The flow belongs to another account.
        case otherAccount
        /// `If-Match` or `If-None-Match` failed; the flow is at this version (0: there is none).
        case preconditionFailed(Version)
        /// A lock's younger holder has written already.
        case staleFencingToken(resource: String, highest: Int64)
        /// A publication without events.
        case emptyPublication
        /// The key was used for another request.
        case idempotencyConflict
        case stateTooLarge(bytes: Int, limit: Int)
        case stateTooDeep(limit: Int)
        /// `deleted` is the hub's own status.
        case reservedStatus
        /// A fence of more resources than a flow keeps.
        case tooManyFences(limit: Int)
    }
}

/// The answer to a committed request, kept under its idempotency key.
public struct StoredReply: Hashable, Sendable {
    public var fingerprint: String
    public var status: Int
    public var flow: FlowID
    /// The version of each event of the request, in order; the flow's version where it made none.
    public var versions: [Version]

    public init(fingerprint: String, status: Int, flow: FlowID, versions: [Version]) {
        self.fingerprint = fingerprint
        self.status = status
        self.flow = flow
        self.versions = versions
    }
}

/// Bounds that a change must keep. Each is a configuration key of the server.
public struct ChangeLimits: Hashable, Sendable {
    /// Bytes of a state, in compact form.
    public var maximumStateBytes = 1_048_576
    /// Nesting of a state, counted over objects and arrays.
    public var maximumDepth = 64
    /// Resources whose fencing tokens one flow remembers.
    public var maximumFences = 64

    public init() {}
}
