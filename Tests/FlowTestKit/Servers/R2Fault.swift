/// A fault that an ``R2Proxy`` applies to a request or to its response.
public enum R2Fault: Hashable, Sendable {
    /// The proxy answers with an error; the request is not applied.
    /// - Parameters:
    ///   - retryAfter: seconds, for the field `Retry-After`.
    ///   - isEarly: whether the proxy answers before it has read the body, and then closes the connection.
    case answer(_ status: Int, code: String, retryAfter: Int? = nil, isEarly: Bool = false)
    /// The connection is reset after this many bytes of the request body. The request is not applied.
    case resetRequest(afterBytes: Int = 0)
    /// The request is applied, and the connection is reset instead of a response.
    case loseReply
    /// The response is 200 with an `<Error>` as body, as CompleteMultipartUpload may answer.
    /// - Parameter isApplied: whether the request is applied nevertheless.
    case errorInBody(code: String, isApplied: Bool)
    /// The request is applied, and the response has an ETag that is not the object's.
    case wrongETag
    /// The connection ends after the response head and this many bytes of the response body.
    case truncateReply(afterBytes: Int)
    /// One bit of this byte of the response body is flipped.
    case corruptReply(atByte: Int)
    /// The request waits until ``R2Proxy/release()`` is called.
    /// - Parameter isApplied: if `true`, the server applies the request and only its response waits; otherwise the request is
    ///   forwarded after the release.
    case stall(isApplied: Bool)
    /// The bodies of request and response are forwarded at this rate at most.
    case slow(bytesPerSecond: Int)

    /// Temporary errors that R2 is known to return.
    public static let internalError = R2Fault.answer(500, code: "InternalError")
    public static let unavailable = R2Fault.answer(503, code: "ServiceUnavailable")
    public static func tooManyRequests(retryAfter: Int? = nil) -> R2Fault {
        .answer(429, code: "TooManyRequests", retryAfter: retryAfter)
    }
}

/// A rule that selects the requests to which a fault is applied.
public struct R2Rule: Hashable, Sendable {
    /// The matching operation; `nil`: any.
    public var operation: ProxyOperation?
    /// The matching object key; `nil`: any.
    public var key: String?
    /// Number of matching requests that are forwarded unchanged first.
    public var skipping: Int
    /// Number of matching requests to which the fault is applied after that.
    public var times: Int
    public var fault: R2Fault

    public init(_ fault: R2Fault, on operation: ProxyOperation? = nil, key: String? = nil, skipping: Int = 0, times: Int = 1) {
        self.operation = operation
        self.key = key
        self.skipping = skipping
        self.times = times
        self.fault = fault
    }

    /// Counts a request if it matches.
    /// - Returns: whether the fault is applied to the request.
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
