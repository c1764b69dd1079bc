/// The connections of one event loop that may be closed to make room for others, the longest idle first. Inserting and removing
/// take constant time. Confined to the loop.
final class IdleConnectionList {
    /// A connection's place in a list. A connection is in at most one list.
    struct Place {
        fileprivate let list: IdleConnectionList
        fileprivate var previous: ConnectionHandler?
        fileprivate var next: ConnectionHandler?
    }

    // Neighbours refer to each other. A connection leaves its list when it is closed, which ends these references.
    private var head: ConnectionHandler?
    private var tail: ConnectionHandler?

    /// The connection that was inserted first; `nil` if the list is empty.
    var longestIdle: ConnectionHandler? { self.head }

    /// Appends a connection, after removing it from the list in which it is.
    func append(_ connection: ConnectionHandler) {
        Self.remove(connection)
        connection.idlePlace = Place(list: self, previous: self.tail, next: nil)
        if let tail = self.tail { tail.idlePlace?.next = connection } else { self.head = connection }
        self.tail = connection
    }

    /// Removes a connection from the list in which it is, if any.
    static func remove(_ connection: ConnectionHandler) {
        guard let place = connection.idlePlace else { return }
        connection.idlePlace = nil
        if let previous = place.previous { previous.idlePlace?.next = place.next } else { place.list.head = place.next }
        if let next = place.next { next.idlePlace?.previous = place.previous } else { place.list.tail = place.previous }
    }
}
