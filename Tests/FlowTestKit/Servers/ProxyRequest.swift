public import NIOHTTP1

/// A request that an ``R2Proxy`` saw, and what became of it.
public struct ProxyRequest: Sendable {
    /// From 1 on, in the order of their heads.
    public let number: Int
    public let operation: ProxyOperation
    public let method: String
    public let uri: String
    public let headers: HTTPHeaders
    public let bucket: String
    public let key: String?
    public let uploadID: String?
    /// The part's number.
    public let part: Int?
    /// The field `Range`.
    public var range: String? { self.headers.first(name: "range") }
    /// What was done to it.
    public let fault: R2Fault?
    /// Bytes of its body that came.
    public internal(set) var bodyBytes = 0
    /// The server's status; `nil` if it was not asked or did not say.
    public internal(set) var serverStatus: Int?
    /// The status that the client was told; `nil` if it was told nothing.
    public internal(set) var status: Int?
    /// Whether it has come in whole, and stalls or has stalled.
    public internal(set) var isStalled = false
    /// Bytes of a body that the client was sent.
    public internal(set) var replyBytes = 0
    /// Whether nothing more happens to it.
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
