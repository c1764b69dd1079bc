import DequeModule

/// One connection of the pool with what is under way on it. Confined to the driver's thread.
struct PoolSlot {
    /// A unit that was sent and is not answered yet.
    struct InFlightUnit {
        /// Whose a result is.
        enum Part {
            case unit
            /// The pool's own, like the time limits.
            case pool
            case preparation(sql: String)
        }

        var unit: PoolUnit
        let sentAt = ContinuousClock.now
        /// What the coming results are, in order.
        var parts: Deque<Part>
        var results: [ResultSet] = []
        var failure: PostgresError?
    }

    /// Statements that are kept prepared on one connection.
    private static let maximumPrepared = 200

    let share: PoolWorkload
    var machine: ConnectionSlotStateMachine
    var connection: PostgresConnection?
    var mode = ConnectionMode.direct
    var flights: [InFlightUnit] = []
    /// When the last unit was answered.
    private var answeredAt: ContinuousClock.Instant?
    var lease: LeaseTicket?
    var hasUnsent = false
    /// Names of prepared statements, by their SQL. Only where the connection is a server process of our own: a pooler would
    /// look for them in another one.
    private var prepared: [String: String] = [:]
    private var preparedCount = 0

    init(share: PoolWorkload, now: ContinuousClock.Instant) {
        self.share = share
        self.machine = ConnectionSlotStateMachine(now: now)
    }

    var isLive: Bool { self.connection != nil }
    var isFree: Bool { self.isLive && self.lease == nil && self.flights.count < self.share.depth }

    /// Since when the first unit under way has been running: those before it on the connection came first.
    var runningSince: ContinuousClock.Instant? {
        self.flights.first.map { flight in self.answeredAt.map { max($0, flight.sentAt) } ?? flight.sentAt }
    }

    /// The connection is gone.
    mutating func disconnect() {
        self.connection = nil
        self.lease = nil
        self.hasUnsent = false
        self.prepared = [:]
        self.preparedCount = 0
    }

    /// Sends a unit. - Returns: whether the connection took it.
    mutating func send(_ unit: PoolUnit, settings: [Statement]) -> Bool {
        guard let connection = self.connection else { return false }
        var flight = InFlightUnit(unit: unit, parts: [])
        // On a leased connection the holder's own BEGIN comes first; see ``PoolLease``.
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
        self.flights.append(flight)
        self.hasUnsent = true
        return true
    }

    private mutating func send(_ statement: Statement, on connection: PostgresConnection, _ flight: inout InFlightUnit) -> Bool {
        flight.parts.append(.unit)
        guard self.mode == .direct, self.share.prepares, statement.isWorthPreparing else { return connection.send(statement) }
        if let name = self.prepared[statement.sql] { return connection.send(statement, preparedAs: name) }
        guard self.preparedCount < Self.maximumPrepared else { return connection.send(statement) }
        self.preparedCount += 1
        let name = "flowhub_\(self.preparedCount)"
        self.prepared[statement.sql] = name
        flight.parts[flight.parts.count - 1] = .preparation(sql: statement.sql)
        flight.parts.append(.unit)
        return connection.prepare(statement, as: name) && connection.send(statement, preparedAs: name)
    }

    /// Takes in what the server said. - Returns: the units that are done; `nil` if the connection is lost.
    mutating func receive() -> [InFlightUnit]? {
        guard let connection = self.connection else { return [] }
        let isThere = connection.consume()
        var done: [InFlightUnit] = []
        var separators = 0
        reading: while !self.flights.isEmpty {
            switch connection.nextReply() {
            case .none: break reading
            case .separator:
                // One follows each statement; more of them in a row is a connection that has nothing more to say.
                separators += 1
                if separators > 2 { break reading }
            case .sync:
                separators = 0
                done.append(self.flights.removeFirst())
                self.answeredAt = .now
            case .result(let result):
                separators = 0
                self.take(result, result.error(on: connection))
            }
        }
        if !isThere || connection.isBroken {
            // What was answered before the loss was answered.
            self.finished = done
            return nil
        }
        return done
    }

    private mutating func take(_ result: ResultSet, _ error: PostgresError?) {
        let part = self.flights[0].parts.popFirst()
        if let error {
            if self.flights[0].failure == nil { self.flights[0].failure = error }
            if case .preparation(let sql) = part { self.prepared[sql] = nil }
        } else if case .unit = part {
            self.flights[0].results.append(result)
        }
    }

    /// Units that were done when the connection was found to be lost.
    var finished: [InFlightUnit] = []
}
