import CPostgres
import Foundation
import Logging

/// The thread that drives all connections of a pool: it waits in `poll` for sockets and for messages, and never for one
/// request alone.
///
/// Everything here is confined to that thread; the outside talks to it through its mailbox.
final class PoolDriver {
    private let settings: PostgresSettings
    private let mailbox: Mailbox<DriverMessage>
    private let connector: Connector
    private let transactionSettings: [[Statement]]
    private let logger: Logger
    private let clock = ContinuousClock()

    private var slots: [PoolSlot] = []
    private var queues: [[PoolUnit]] = PoolWorkload.allCases.map { _ in [] }
    private var leaseQueue: [(share: PoolWorkload, deadline: ContinuousClock.Instant, answer: LeaseAnswer)] = []
    private var nextLease: UInt64 = 1
    private var lastFailure = PostgresError(.connection, "the database was not reached yet")
    /// Who waits for the end; empty while nobody has asked for it.
    private var closing: [CheckedContinuation<Void, Never>] = []
    private var isClosed = false

    private typealias LeaseAnswer = CheckedContinuation<Result<LeaseTicket, PostgresError>, Never>

    /// How long an answer may be overdue before its connection is given up: the server's own limits come first.
    private static let grace = Duration.seconds(2)

    /// When the connection is given up if it does not answer until then: a statement waits for a lock, and runs.
    private func overdueAt(_ slot: PoolSlot) -> ContinuousClock.Instant? {
        guard let since = slot.runningSince, let unit = slot.flights.first?.unit else { return nil }
        let seconds = max(unit.statementSeconds ?? 0, self.settings.statementSeconds)
        return since + .seconds(seconds + self.settings.lockSeconds) + Self.grace
    }

    private init(_ settings: PostgresSettings, _ mailbox: Mailbox<DriverMessage>, _ logger: Logger) {
        self.settings = settings
        self.mailbox = mailbox
        self.connector = Connector(settings)
        self.transactionSettings = PoolWorkload.allCases.map { Connector.transactionSettings($0, settings) }
        self.logger = logger
        for share in PoolWorkload.allCases {
            for _ in 0..<share.connections(settings) { self.slots.append(PoolSlot(share: share, now: self.clock.now)) }
        }
    }

    /// Starts the thread. It ends when the pool is closed.
    static func start(_ settings: PostgresSettings, _ mailbox: Mailbox<DriverMessage>, logger: Logger) {
        let thread = Thread { PoolDriver(settings, mailbox, logger).run() }
        thread.name = "flowhub-postgres"
        thread.start()
    }

    private func run() {
        while !self.isClosed {
            self.connectWhatRests()
            self.giveUpOverdue()
            for share in PoolWorkload.allCases { self.dispatch(share) }
            self.serveLeases()
            self.flush()
            self.wait()
        }
        for message in self.mailbox.close() { Self.refuse(message) }
    }

    // MARK: Waiting

    private func wait() {
        var descriptors = [pollfd(fd: self.mailbox.descriptor, events: Int16(POLLIN), revents: 0)]
        var polled: [Int] = []
        for (index, slot) in self.slots.enumerated() {
            guard let connection = slot.connection else { continue }
            let events = slot.hasUnsent ? POLLIN | POLLOUT : POLLIN
            descriptors.append(pollfd(fd: connection.socket, events: Int16(events), revents: 0))
            polled.append(index)
        }
        let ready = poll(&descriptors, nfds_t(descriptors.count), self.timeoutMilliseconds)
        guard ready > 0 else { return }
        for (position, index) in polled.enumerated() where descriptors[position + 1].revents != 0 { self.receive(index) }
        if descriptors[0].revents != 0 { for message in self.mailbox.receive() { self.take(message) } }
    }

    private var timeoutMilliseconds: Int32 {
        let now = self.clock.now
        var earliest = now + .seconds(1)
        for slot in self.slots {
            if let wake = slot.machine.wakesAt { earliest = min(earliest, wake) }
            if let overdue = self.overdueAt(slot) { earliest = min(earliest, overdue) }
        }
        for queue in self.queues { if let first = queue.first { earliest = min(earliest, first.deadline) } }
        for waiter in self.leaseQueue { earliest = min(earliest, waiter.deadline) }
        let left = earliest - now
        let milliseconds = left.components.seconds * 1_000 + left.components.attoseconds / 1_000_000_000_000_000
        return Int32(max(0, min(milliseconds + 1, 1_000)))
    }

    // MARK: Messages

    private func take(_ message: DriverMessage) {
        switch message {
        case .unit(let unit):
            if self.closing.isEmpty { self.queues[unit.share.rawValue].append(unit) } else { Self.refuse(unit, .poolClosed) }
        case .lease(let share, let deadline, let answer):
            if self.closing.isEmpty {
                self.leaseQueue.append((share, deadline, answer))
            } else {
                answer.resume(returning: .failure(.poolClosed))
            }
        case .leasedUnit(let ticket, let unit):
            guard self.slots[ticket.slot].lease?.number == ticket.number else {
                Self.refuse(unit, PostgresError(.connection, "the connection to the database was lost"))
                return
            }
            if !self.slots[ticket.slot].send(unit, settings: []) {
                Self.refuse(unit, PostgresError(.connection, "the connection to the database was lost"))
                self.lose(ticket.slot)
            }
        case .leaseEnded(let ticket, let isClean):
            guard self.slots[ticket.slot].lease?.number == ticket.number else { return }
            self.slots[ticket.slot].lease = nil
            // What is left of a transaction ends with the connection, surely and at once.
            if !isClean { self.lose(ticket.slot) }
        case .connected(let slot, let connection, let mode):
            if self.slots[slot].machine.connected(self.clock.now) {
                self.slots[slot].connection = connection
                self.slots[slot].mode = mode
                for other in self.slots.indices { self.slots[other].machine.serverIsThere(self.clock.now) }
            }
        case .connectFailed(let slot, let error):
            if self.lastFailure != error {
                self.logger.warning(
                    "Postgres cannot be reached", metadata: ["reason": "\(error.serverMessage ?? error.description)"])
            }
            self.lastFailure = error
            self.slots[slot].machine.connectFailed(self.clock.now, jitter: .random(in: 0...1))
        case .close(let answer):
            self.close(answer)
        }
    }

    private func close(_ answer: CheckedContinuation<Void, Never>) {
        self.closing.append(answer)
        for share in PoolWorkload.allCases {
            for unit in self.queues[share.rawValue] { Self.refuse(unit, .poolClosed) }
            self.queues[share.rawValue] = []
        }
        for waiter in self.leaseQueue { waiter.answer.resume(returning: .failure(.poolClosed)) }
        self.leaseQueue = []
        for index in self.slots.indices where self.slots[index].flights.isEmpty { self.retire(index) }
        self.endIfIdle()
    }

    private func retire(_ index: Int) {
        self.slots[index].machine.close()
        self.slots[index].disconnect()
    }

    /// Closed, and nothing is under way any more.
    private func endIfIdle() {
        guard !self.closing.isEmpty, self.slots.allSatisfy({ $0.flights.isEmpty }) else { return }
        for index in self.slots.indices { self.retire(index) }
        self.isClosed = true
        for waiter in self.closing { waiter.resume() }
        self.closing = []
    }

    // MARK: Connections

    private func connectWhatRests() {
        guard self.closing.isEmpty else { return }
        let now = self.clock.now
        for index in self.slots.indices where self.slots[index].machine.tick(now) == .connect {
            self.connector.connect(slot: index, share: self.slots[index].share, reportTo: self.mailbox)
        }
    }

    private func receive(_ index: Int) {
        let done = self.slots[index].receive()
        for flight in done ?? self.slots[index].finished { Self.answer(flight) }
        self.slots[index].finished = []
        if done == nil { self.lose(index) } else if !self.closing.isEmpty { self.endIfIdle() }
    }

    private func flush() {
        for index in self.slots.indices where self.slots[index].hasUnsent {
            switch self.slots[index].connection?.flush() {
            case .some(true): self.slots[index].hasUnsent = false
            case .some(false): break
            case nil: self.lose(index)
            }
        }
    }

    /// The connection is gone, or is given up.
    private func lose(_ index: Int) {
        let flights = self.slots[index].flights
        self.slots[index].flights = []
        self.slots[index].disconnect()
        self.slots[index].machine.lost(self.clock.now, jitter: .random(in: 0...1))
        for flight in flights {
            if let failure = flight.failure, !failure.isFatal, failure.code != .connection {
                // The server said that it undid this one before the connection went.
                flight.unit.answer.resume(returning: .failure(PoolFailure(error: failure, mayHaveHappened: false)))
            } else if flight.unit.isRepeatable, !flight.unit.wasRepeated, self.closing.isEmpty {
                var unit = flight.unit
                unit.wasRepeated = true
                self.queues[unit.share.rawValue].insert(unit, at: 0)
            } else {
                let error = flight.failure ?? PostgresError(.connection, "the connection to the database was lost")
                flight.unit.answer.resume(returning: .failure(PoolFailure(error: error, mayHaveHappened: true)))
            }
        }
        if !self.closing.isEmpty { self.endIfIdle() }
    }

    // MARK: Units

    private func dispatch(_ share: PoolWorkload) {
        guard !self.queues[share.rawValue].isEmpty else { return }
        // Whoever waits for a connection of his own gets it before those who came later.
        let waiter = self.leaseQueue.first { $0.share == share }?.deadline
        var sent = 0
        for unit in self.queues[share.rawValue] {
            if let waiter, waiter < unit.deadline { break }
            guard let index = self.freest(share) else { break }
            sent += 1
            if !self.slots[index].send(unit, settings: self.transactionSettings[share.rawValue]) {
                Self.refuse(unit, PostgresError(.connection, "the connection to the database was lost"))
                self.queues[share.rawValue].removeFirst(sent)
                self.lose(index)
                return
            }
        }
        self.queues[share.rawValue].removeFirst(sent)
    }

    /// The connection of a share with the fewest units under way, if any has room.
    private func freest(_ share: PoolWorkload) -> Int? {
        self.slots.indices.filter { self.slots[$0].share == share && self.slots[$0].isFree }
            .min { self.slots[$0].flights.count < self.slots[$1].flights.count }
    }

    private func serveLeases() {
        guard !self.leaseQueue.isEmpty else { return }
        var left: [(share: PoolWorkload, deadline: ContinuousClock.Instant, answer: LeaseAnswer)] = []
        for waiter in self.leaseQueue {
            let slot = self.slots.indices.first {
                self.slots[$0].share == waiter.share && self.slots[$0].isFree && self.slots[$0].flights.isEmpty
            }
            guard let slot else {
                left.append(waiter)
                continue
            }
            let ticket = LeaseTicket(number: self.nextLease, slot: slot, mode: self.slots[slot].mode)
            self.nextLease += 1
            self.slots[slot].lease = ticket
            waiter.answer.resume(returning: .success(ticket))
        }
        self.leaseQueue = left
    }

    /// Tells those who waited too long, and those for whom waiting is of no use.
    private func giveUpOverdue() {
        let now = self.clock.now
        for share in PoolWorkload.allCases {
            let isHopeless = self.slots.allSatisfy { $0.share != share || $0.machine.isHopeless }
            let reason = isHopeless ? self.lastFailure : PostgresError(.busy, "no connection to the database was free in time")
            self.queues[share.rawValue].removeAll { unit in
                guard isHopeless || unit.deadline <= now else { return false }
                Self.refuse(unit, reason)
                return true
            }
            self.leaseQueue.removeAll { waiter in
                guard waiter.share == share, isHopeless || waiter.deadline <= now else { return false }
                waiter.answer.resume(returning: .failure(reason))
                return true
            }
        }
        for index in self.slots.indices {
            guard let overdue = self.overdueAt(self.slots[index]), overdue <= now else { continue }
            self.logger.warning("Postgres did not answer in time; the connection is given up")
            self.lose(index)
        }
    }

    private static func answer(_ flight: PoolSlot.InFlightUnit) {
        if let failure = flight.failure {
            flight.unit.answer.resume(returning: .failure(PoolFailure(error: failure, mayHaveHappened: failure.isFatal)))
        } else {
            flight.unit.answer.resume(returning: .success(flight.results))
        }
    }

    /// Answers whoever came after the end.
    static func refuse(_ message: DriverMessage) {
        switch message {
        case .unit(let unit), .leasedUnit(_, let unit): Self.refuse(unit, .poolClosed)
        case .lease(_, _, let answer): answer.resume(returning: .failure(.poolClosed))
        case .close(let answer): answer.resume()
        case .leaseEnded, .connected, .connectFailed: break
        }
    }

    private static func refuse(_ unit: PoolUnit, _ error: PostgresError) {
        unit.answer.resume(returning: .failure(PoolFailure(error: error, mayHaveHappened: false)))
    }
}

extension PostgresError {
    static var poolClosed: PostgresError { PostgresError(.closed, "the store is closed") }
}
