/// What may go wrong with a request on its way to R2 and back.
public enum R2Fault: Hashable, Sendable {
    /// Refused by R2's edge, and nothing done.
    /// - Parameters:
    ///   - retryAfter: seconds, for the field `Retry-After`.
    ///   - isEarly: before the body was read; the connection is closed then.
    case answer(_ status: Int, code: String, retryAfter: Int? = nil, isEarly: Bool = false)
    /// The connection is reset once so many bytes of the body came. Nothing is done.
    case resetRequest(afterBytes: Int = 0)
    /// Done, and then the connection is reset without a word.
    case loseReply
    /// 200 with an `<Error>` for a body, as Complete may answer.
    /// - Parameter isApplied: whether it was done all the same.
    case errorInBody(code: String, isApplied: Bool)
    /// Done, and the reply names an ETag that is not the object's.
    case wrongETag
    /// The reply's head is whole, and the connection ends after so many bytes of its body.
    case truncateReply(afterBytes: Int)
    /// One bit of the reply's body is another.
    case corruptReply(atByte: Int)
    /// Nothing happens, until the proxy is told to ``R2Proxy/release()``.
    /// - Parameter isApplied: the request was done, and its reply is kept back; otherwise the server has not heard of it.
    case stall(isApplied: Bool)
    /// Both bodies pass at no more than this.
    case slow(bytesPerSecond: Int)

    /// R2's usual refusals that pass.
    public static let internalError = R2Fault.answer(500, code: "InternalError")
    public static let unavailable = R2Fault.answer(503, code: "ServiceUnavailable")
    public static func tooManyRequests(retryAfter: Int? = nil) -> R2Fault {
        .answer(429, code: "TooManyRequests", retryAfter: retryAfter)
    }
}

/// Which requests a fault befalls.
public struct R2Rule: Hashable, Sendable {
    /// `nil`: any.
    public var operation: ProxyOperation?
    /// `nil`: any.
    public var key: String?
    /// So many that match pass first.
    public var skipping: Int
    /// So many that match are hit then.
    public var times: Int
    public var fault: R2Fault

    public init(_ fault: R2Fault, on operation: ProxyOperation? = nil, key: String? = nil, skipping: Int = 0, times: Int = 1) {
        self.operation = operation
        self.key = key
        self.skipping = skipping
        self.times = times
        self.fault = fault
    }

    /// Counts a request if it matches. - Returns: whether the fault befalls it.
    mutating func hits(_ operation: ProxyOperation, _ key: String?) -> Bool {
        guard self.times > 0, self.operation == nil || self.operation == operation, self.key == nil || self.key == key else {
            return false
        }
        if self.skipping > 0 {
            self.skipping -= 1
            return false
        }
        self.times -= 1
        return true
    }
}
