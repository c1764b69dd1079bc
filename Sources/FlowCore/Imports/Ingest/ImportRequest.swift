public import NIOCore

/// A client's request to upload an import.
public struct ImportRequest: Sendable {
    public var account: String
    /// The flow on which the import's events are published; `nil` for none.
    public var flow: FlowID?
    /// Name of the uploaded file; `nil` if the client named none.
    public var fileName: String?
    /// The kind of source that the client names; `nil` for none. The hub does not interpret it.
    public var sourceType: String?
    /// Format of the body; `nil` to detect it from the first bytes.
    public var format: ImportFormat?
    /// The request's `Idempotency-Key`; `nil` if it has none.
    public var idempotencyKey: String?
    /// Size of the body in bytes as sent; `nil` if the client did not declare it.
    public var bytes: Int?
    /// The body as sent. It is read once.
    public var body: any AsyncSequence<ByteBuffer, any Error> & Sendable
    /// Called after the whole body was read, before the import is stored. Throws if the client has lost its access since; nothing
    /// is stored then.
    public var checkAccess: @Sendable () throws -> Void = {}

    public init(
        account: String, flow: FlowID?, fileName: String?, sourceType: String?, format: ImportFormat?, idempotencyKey: String?,
        bytes: Int?, body: any AsyncSequence<ByteBuffer, any Error> & Sendable
    ) {
        self.account = account
        self.flow = flow
        self.fileName = fileName
        self.sourceType = sourceType
        self.format = format
        self.idempotencyKey = idempotencyKey
        self.bytes = bytes
        self.body = body
    }

    /// Whether this request has the flow, file name and source type with which an import was uploaded. The bodies are
    /// not compared.
    func matches(_ found: Import) -> Bool {
        found.flow == self.flow && found.fileName == self.fileName && found.sourceType == self.sourceType
    }
}

/// The result of an upload.
public struct ImportReceipt: Sendable {
    /// The stored import.
    public var entry: Import
    /// Whether the import was stored by an earlier request with the same idempotency key and the same body.
    public var isReplayed: Bool
}
