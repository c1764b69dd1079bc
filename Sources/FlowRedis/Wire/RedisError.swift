/// An error of Redis or its settings. Its text contains no key, value or credential.
public struct RedisError: Error, Hashable, Sendable, CustomStringConvertible {
    public struct Code: Hashable, Sendable {
        enum Value { case connection, credentials, timeout, busy, rejected, malformed, url, ownedByOtherHub }
        let value: Value

        /// Not connected, or the connection was lost with the command in flight: it is unknown whether Redis executed
        /// it.
        public static let connection = Code(value: .connection)
        /// The server rejected the credentials, or the user lacks a permission.
        public static let credentials = Code(value: .credentials)
        /// No reply in time. It is unknown whether Redis executed the command.
        public static let timeout = Code(value: .timeout)
        /// Too many commands wait for a reply, or their total bytes exceed the limit. The new command was not sent.
        public static let busy = Code(value: .busy)
        /// The server replied with an error.
        public static let rejected = Code(value: .rejected)
        /// The reply violates the protocol, or does not match the command.
        public static let malformed = Code(value: .malformed)
        /// Redis is used by a hub with another store.
        public static let ownedByOtherHub = Code(value: .ownedByOtherHub)
        /// A Redis setting is invalid.
        public static let url = Code(value: .url)
    }

    public let code: Code
    public let description: String

    /// - Parameter description: a sentence for operators, without Redis keys, values or credentials.
    init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }

    static let notConnected = RedisError(.connection, "Not connected to Redis.")
    static let lost = RedisError(.connection, "The connection to Redis was lost.")
    static let timedOut = RedisError(.timeout, "Redis did not reply in time.")
    static let tooManyPending = RedisError(
        .busy,
        "Too many Redis commands wait for a reply (limits: FLOWHUB_REDIS_MAX_PENDING, FLOWHUB_REDIS_MAX_PENDING_BYTES).")
    static let unexpected = RedisError(.malformed, "Unexpected reply from Redis.")

    static let otherHub = RedisError(
        .ownedByOtherHub,
        "Redis is used by a hub with a different store. Use a separate server or database number: REDIS_URL=redis://host/1."
    )

    /// The error for an error reply. Shows only the reply's code, because its text may quote the command.
    init(reply: String) {
        // Error codes are upper-case letters (Redis documentation, "RESP: simple errors"). Anything else is not shown.
        let first = reply.prefix { $0 != " " }
        let isCode = (1...32).contains(first.utf8.count) && first.utf8.allSatisfy { (0x41...0x5a).contains($0) }
        let shownCode = isCode ? first : "error without a code"
        switch shownCode {
        case "NOAUTH", "WRONGPASS", "NOPERM":
            self.init(
                .credentials,
                "Redis denied access (\(shownCode)): check the user and password in REDIS_URL and that user's permissions.")
        case _ where reply.hasPrefix("ERR AUTH") || reply.hasPrefix("ERR invalid password"):
            self.init(.credentials, "Redis rejected the password in REDIS_URL.")
        case "READONLY", "MASTERDOWN":
            self.init(
                .rejected, "Redis is read-only (\(shownCode)): it is a replica. REDIS_URL must lead to the primary.")
        default: self.init(.rejected, "Redis rejected a command (\(shownCode)).")
        }
    }
}
