/// What went wrong with Redis. Its text holds no key, no value and no credential.
public struct RedisError: Error, Hashable, Sendable, CustomStringConvertible {
    public struct Code: Hashable, Sendable {
        enum Value { case connection, credentials, timeout, busy, rejected, malformed, url, ownedByOtherHub }
        let value: Value

        /// Not reached, or lost with the command under way: whether it was carried out is not known.
        public static let connection = Code(value: .connection)
        /// Reached, but not let in.
        public static let credentials = Code(value: .credentials)
        /// No answer in time; the connection was given up.
        public static let timeout = Code(value: .timeout)
        /// As many commands wait as may.
        public static let busy = Code(value: .busy)
        /// The server said no.
        public static let rejected = Code(value: .rejected)
        /// What came is not Redis's protocol, or not the answer to what was asked.
        public static let malformed = Code(value: .malformed)
        /// It belongs to somebody else.
        public static let ownedByOtherHub = Code(value: .ownedByOtherHub)
        /// REDIS_URL makes no sense.
        public static let url = Code(value: .url)
    }

    public let code: Code
    public let description: String

    init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }

    static let notConnected = RedisError(.connection, "Redis is not reached just now.")
    static let lost = RedisError(.connection, "The connection to Redis was lost.")
    static let timedOut = RedisError(.timeout, "Redis did not answer in time.")
    static let tooManyPending = RedisError(.busy, "Too many commands wait for Redis.")
    static let unexpected = RedisError(.malformed, "Redis gave an answer that does not fit the question.")

    static let otherHub = RedisError(
        .ownedByOtherHub,
        "A hub with another store lives on this Redis. Give each hub a Redis of its own, or a database of its own: REDIS_URL=redis://host/1."
    )

    /// Of an error reply only the code is told: the rest may quote what was sent.
    init(reply: String) {
        // Codes are of this form (Redis documentation, "RESP: simple errors"); anything else is not repeated.
        let first = reply.prefix { $0 != " " }
        let isCode = (1...32).contains(first.utf8.count) && first.utf8.allSatisfy { (0x41...0x5a).contains($0) }
        let shownCode = isCode ? first : "no code"
        switch shownCode {
        case "NOAUTH", "WRONGPASS", "NOPERM":
            self.init(
                .credentials, "Redis does not let the hub in (\(shownCode)): look at the user and the password in REDIS_URL.")
        case _ where reply.hasPrefix("ERR AUTH") || reply.hasPrefix("ERR invalid password"):
            self.init(.credentials, "Redis does not take the password in REDIS_URL.")
        case "READONLY", "MASTERDOWN":
            self.init(.rejected, "Redis only reads (\(shownCode)): it is a replica, or was demoted.")
        default: self.init(.rejected, "Redis refused a command (\(shownCode)).")
        }
    }
}
