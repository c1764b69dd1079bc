/// Decides whether a client reads its responses too slowly. Only time in which the hub waits for the client counts.
struct ResponsePace {
    /// Checks in the current period. There is one check a second.
    private var secondsWaiting = 0
    /// Bytes that were passed to the connection in the current period, and those that were unread at its start.
    private var bytes: Int

    /// - Parameter unread: bytes of earlier responses that the connection has not passed to the socket.
    init(unread: Int = 0) { self.bytes = unread }

    /// Counts bytes that are passed to the connection.
    mutating func sent(_ bytes: Int) { self.bytes += bytes }

    /// Judges the client. Called every second in which the hub waits for it.
    /// - Parameter unread: bytes that the connection has not passed to the socket.
    mutating func isTooSlow(unread: Int, _ configuration: HTTPConfiguration) -> Bool {
        self.secondsWaiting += 1
        guard self.secondsWaiting >= configuration.answerTimeoutSeconds else { return false }
        let read = self.bytes - unread
        self.secondsWaiting = 0
        self.bytes = unread
        return read < configuration.answerBytesPerSecond * configuration.answerTimeoutSeconds
    }
}
