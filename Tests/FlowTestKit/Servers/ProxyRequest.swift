public import NIOHTTP1

/// A request that an ``R2Proxy`` received, with its outcome so far.
public struct ProxyRequest: Sendable {
    /// Number from 1, in the order in which the request heads arrived.
    public let number: Int
    public let operation: ProxyOperation
    public let method: String
    public let uri: String
    public let headers: HTTPHeaders
    public let bucket: String
    public let key: String?
    public let uploadID: String?
    /// The part number of an uploaded part.
    public let part: Int?
    /// The value of a header field.
    public func header(_ name: String) -> String? { self.headers.first(name: name) }
    /// The value of the header field `Range`.
    public var range: String? { self.headers.first(name: "range") }
    /// The fault that is applied to the request; `nil` if none.
    public let fault: R2Fault?
    /// Received bytes of the request body.
    public internal(set) var bodyBytes = 0
    /// Status of the server's response; `nil` if the request was not forwarded or has no response.
    public internal(set) var serverStatus: Int?
    /// Status of the response that was sent to the client; `nil` if none was sent.
    public internal(set) var status: Int?
    /// Whether an ``R2Fault/stall(isApplied:)`` has begun. By then the request was received completely.
    public internal(set) var isStalled = false
    /// Bytes of the response body that were sent to the client.
    public internal(set) var replyBytes = 0
    /// Whether the proxy has finished with the request.
    public internal(set) var isOver = false
    let target: R2Target

    init(number: Int, head: HTTPRequestHead, fault: (ProxyOperation, String?) -> R2Fault?) {
        let target = R2Target(head.uri)
        self.number = number
        self.target = target
        self.operation = ProxyOperation(
            method: head.method.rawValue, target: target, isCopy: head.headers.contains(name: "x-amz-copy-source"))
        self.method = head.method.rawValue
        self.uri = head.uri
        self.headers = head.headers
        self.bucket = target.bucket
        self.key = target.key
        self.uploadID = target.query["uploadId"]
        self.part = target.query["partNumber"].flatMap { Int($0) }
        self.fault = fault(self.operation, target.key)
    }
}
