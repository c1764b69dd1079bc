/// One operation of the object store, for metrics.
public struct R2Operation: Hashable, Sendable {
    public enum Name: String, Hashable, Sendable, CaseIterable {
        /// A whole object was written, in one request or in parts.
        case put
        /// One part of a multipart upload was uploaded.
        case part
        /// An object or a range of it was read, to the end or until the caller stopped reading.
        case get
        /// The attributes of an object were read.
        case head
        /// An object was deleted.
        case delete
        /// Objects were listed.
        case list
        /// Unfinished uploads were listed.
        case uploads
        /// A multipart upload was aborted.
        case abort
        /// Lifecycle rules were read or set.
        case lifecycle
    }

    public var name: Name
    /// Bytes of object content, sent or received.
    public var bytes: Int
    /// Time from the start of the operation to its end, including all attempts and the waits between them.
    public var duration: Duration
    /// Whether the operation succeeded. A response that the object does not exist counts as success.
    public var isSuccess: Bool
}

/// Called once for each operation, on the task that ran it. It must not block.
public typealias R2Observer = @Sendable (R2Operation) -> Void
