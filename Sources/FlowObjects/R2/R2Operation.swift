/// Something that was done with the store, for whoever counts.
public struct R2Operation: Hashable, Sendable {
    public enum Name: String, Hashable, Sendable, CaseIterable {
        /// A whole object was written, in one request or in parts.
        case put
        /// One part of a large object.
        case part
        /// An object or a range of it was read, or its reader let go.
        case get
        case head, delete, list
        /// Unfinished uploads were listed.
        case uploads
        /// An upload was given up.
        case abort
        /// Rules of the bucket were read or set.
        case lifecycle
    }

    public var name: Name
    /// Of objects' contents, sent or received.
    public var bytes: Int
    /// From the first attempt to the last answer.
    public var duration: Duration
    /// That there is no such object is a success, too.
    public var isSuccess: Bool
}

/// Called once for each operation, on the task that ran it. It must not wait.
public typealias R2Observer = @Sendable (R2Operation) -> Void
