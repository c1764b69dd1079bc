import DequeModule

/// A connection slot of the pool with its units in flight. Confined to the driver's thread.
struct PoolSlot {
    /// A unit that was sent and has no complete reply yet.
    struct InFlightUnit {
        /// What a result of the server belongs to.
        enum Part {
            /// A statement of the unit itself.
            case unit
            /// A statement that the pool has added, such as the timeouts.
            case pool
            /// The preparation of the unit's next statement, whose text is `sql`.
            case preparation(sql: String)
        }

        var unit: PoolUnit
        let sentAt = ContinuousClock.now
        /// What the expected results belong to, in order.
        var parts: Deque<Part>
        /// The results of the unit's own statements so far.
        var results: [ResultSet] = []
        /// The first error of the unit, because of which the server rolls back the unit's transaction; `nil`: no error
        /// so far.
        var failure: PostgresError?
    }

    /// Maximum number of prepared statements on one connection. Further statements are sent unprepared.
    private static let maximumPrepared = 200

    let workload: PoolWorkload
    /// Decides when the slot connects and reconnects.
    var machine: ConnectionSlotStateMachine
    /// `nil` while the slot is not connected.
    var connection: PostgresConnection?
    /// Whether the connection is direct or pooled, as the connector found out.
    var mode = ConnectionMode.direct
    /// Units that were sent and not completely answered, in order of sending.
    var inFlight: [InFlightUnit] = []
    /// Time at which the most recently completed unit was completely answered; `nil` before the first.
    private var lastReplyAt: ContinuousClock.Instant?
    /// The lease that has exclusive use of the connection; `nil` if the connection is shared.
    var lease: LeaseTicket?
    /// Whether the server accepted no writes when the connection was established.
    var isReadOnly = false
    /// Whether the connection is closed, and replaced by a new one, as soon as no unit is in flight and no lease uses it.
    /// Until then it is sent no further units.
    var isRetiring = false
    /// Whether libpq may have data that it has not written to the socket yet.
    var hasUnsent = false
    /// Names of prepared statements by their SQL. Used on direct connections only: a pooler may run the next
    /// transaction on a server process that does not have them.
    private var prepared: [String: String] = [:]
    /// Number of statements prepared on this connection so far, which is also the number in the newest one's name.
    private var preparedCount = 0

    init(workload: PoolWorkload, now: ContinuousClock.Instant) {
        self.workload = workload
        self.machine = ConnectionSlotStateMachine(now: now)
    }

    /// Whether the slot has a connection.
    var isLive: Bool { self.connection != nil }
    /// Whether another unit may be sent: the slot is connected, not leased, not retiring, and below the workload's depth.
    var isFree: Bool { self.isLive && self.lease == nil && !self.isRetiring && self.inFlight.count < self.workload.depth }
    /// Whether the connection is retiring and not in use any more.
    var isRetired: Bool { self.isLive && self.isRetiring && self.lease == nil && self.inFlight.isEmpty }

    /// Start time of the first unit in flight: when it was sent, or when the unit before it was done.
    var runningSince: ContinuousClock.Instant? {
        self.inFlight.first.map { flight in self.lastReplyAt.map { max($0, flight.sentAt) } ?? flight.sentAt }
    }

    /// Closes the connection, and drops its lease and prepared statements.
    mutating func disconnect() {
        self.connection = nil
        self.lease = nil
        self.isReadOnly = false
        self.isRetiring = false
        self.hasUnsent = false
        self.prepared = [:]
        self.preparedCount = 0
    }

    /// Sends a unit.
    /// - Parameter settings: statements that precede the unit on a pooled connection.
    /// - Returns: whether libpq accepted it; `false` if the connection is lost.
    mutating func send(_ unit: PoolUnit, settings: [Statement]) -> Bool {
        guard let connection = self.connection else { return false }
        var flight = InFlightUnit(unit: unit, parts: [])
        // On a leased connection the settings must follow BEGIN, so ``PoolLease`` sends them itself.
        if self.mode == .pooled, self.lease == nil {
            for statement in settings {
                guard connection.send(statement) else { return false }
                flight.parts.append(.pool)
            }
        }
        for statement in unit.statements {
            guard self.send(statement, on: connection, &flight) else { return false }
        }
        guard connection.sync() else { return false }
        self.inFlight.append(flight)
        self.hasUnsent = true
        return true
    }

    /// Sends a statement of a unit. Prepares it first if that is worth it and the connection is direct.
    /// - Returns: whether libpq accepted it; `false` if the connection is lost.
    private mutating func send(_ statement: Statement, on connection: PostgresConnection, _ flight: inout InFlightUnit) -> Bool {
        flight.parts.append(.unit)
        guard self.mode == .direct, self.workload.prepares, statement.isWorthPreparing else { return connection.send(statement) }
        if let name = self.prepared[statement.sql] { return connection.send(statement, preparedAs: name) }
        guard self.preparedCount < Self.maximumPrepared else { return connection.send(statement) }
        self.preparedCount += 1
        let name = "flowhub_\(self.preparedCount)"
        self.prepared[statement.sql] = name
        flight.parts[flight.parts.count - 1] = .preparation(sql: statement.sql)
        flight.parts.append(.unit)
        return connection.prepare(statement, as: name) && connection.send(statement, preparedAs: name)
    }

    /// Reads the server's replies.
    /// - Returns: the units that are complete now; `nil` if the connection is lost, with these units in ``finished``.
    mutating func receive() -> [InFlightUnit]? {
        guard let connection = self.connection else { return [] }
        let isConnected = connection.consume()
        var done: [InFlightUnit] = []
        var separators = 0
        reading: while !self.inFlight.isEmpty {
            switch connection.nextReply() {
            case .none: break reading
            case .separator:
                // One separator follows each statement. More than two in a row mean that the connection has no
                // further replies.
                separators += 1
                if separators > 2 { break reading }
            case .sync:
                separators = 0
                done.append(self.inFlight.removeFirst())
                self.lastReplyAt = .now
            case .result(let result):
                separators = 0
                self.add(result, result.error(on: connection))
            }
        }
        if !isConnected || connection.isBroken {
            // Units that were completed before the loss keep their results.
            self.finished = done
            return nil
        }
        return done
    }

    /// Assigns a result, or its error, to the first unit in flight.
    private mutating func add(_ result: ResultSet, _ error: PostgresError?) {
        let part = self.inFlight[0].parts.popFirst()
        if let error {
            if self.inFlight[0].failure == nil { self.inFlight[0].failure = error }
            if error.concernsConnection { self.isRetiring = true }
            if case .preparation(let sql) = part { self.prepared[sql] = nil }
        } else if case .unit = part {
            self.inFlight[0].results.append(result)
        }
    }

    /// Units that were complete when ``receive()`` detected the loss of the connection.
    var finished: [InFlightUnit] = []
}
