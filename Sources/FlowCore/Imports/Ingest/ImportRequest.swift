public import NIOCore

/// What somebody hands in.
public struct ImportRequest: Sendable {
    public var account: String
    public var flow: FlowID?
    public var fileName: String?
    public var sourceType: String?
    /// `nil`: seen from the first bytes.
    public var format: ImportFormat?
    public var idempotencyKey: String?
    /// Of the body, if it was announced.
    public var bytes: Int?
    /// Read once.
    public var body: any AsyncSequence<ByteBuffer, any Error> & Sendable

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

    /// Whether an import is the one that this asks for, but for its bytes.
    func asks(for found: Import) -> Bool {
        found.flow == self.flow && found.fileName == self.fileName && found.sourceType == self.sourceType
    }
}

public struct ImportReceipt: Sendable {
    public var entry: Import
    /// The same bytes were handed in before under the same key.
    public var isReplayed: Bool
}
