/// One connection of the pool with what is under way on it. Confined to the driver's thread.
struct PoolSlot {
    /// A unit that was sent and is not answered yet.
    struct Flight {
        var unit: PoolUnit
        var results: [ResultSet] = []
        var failure: PostgresError?
        /// Leading results that belong to the pool, not to the unit.
        var skips: Int
    }

    let share: PoolShare
    var machine: SlotMachine
    var connection: PostgresConnection?
    var mode = ConnectionMode.direct
    var flights: [Flight] = []
    var lease: LeaseTicket?
    var hasUnsent = false

    init(share: PoolShare, now: ContinuousClock.Instant) {
        self.share = share
        self.machine = SlotMachine(now: now)
    }

    var isLive: Bool { self.connection != nil }
    var isFree: Bool { self.isLive && self.lease == nil && self.flights.count < self.share.depth }

    /// Sends a unit. - Returns: whether the connection took it.
    mutating func send(_ unit: PoolUnit, limits: Statement) -> Bool {
        guard let connection = self.connection else { return false }
        // On a leased connection the holder's own BEGIN comes first; see ``PoolLease``.
        let addsLimits = self.mode == .pooled && self.lease == nil
        if addsLimits, !connection.send(limits) { return false }
        for statement in unit.statements where !connection.send(statement) { return false }
        guard connection.sync() else { return false }
        self.flights.append(Flight(unit: unit, skips: addsLimits ? 1 : 0))
        self.hasUnsent = true
        return true
    }

    /// Takes in what the server said. - Returns: the units that are done; `nil` if the connection is lost.
    mutating func receive() -> [Flight]? {
        guard let connection = self.connection else { return [] }
        let isThere = connection.consume()
        var done: [Flight] = []
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
            case .result(let result):
                separators = 0
                let error = result.error(on: connection)
                if let error {
                    if self.flights[0].failure == nil { self.flights[0].failure = error }
                } else if self.flights[0].skips > 0 {
                    self.flights[0].skips -= 1
                } else {
                    self.flights[0].results.append(result)
                }
            }
        }
        if !isThere || connection.isBroken {
            // What was answered before the loss was answered.
            self.finished = done
            return nil
        }
        return done
    }

    /// Units that were done when the connection was found to be lost.
    var finished: [Flight] = []
}
