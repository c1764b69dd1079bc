import CPostgres
import Foundation
import Logging
import Synchronization

/// The thread that serves all connections of a pool. It waits in `poll` for all sockets and messages together, never
/// for a single request.
///
/// Its state is confined to that thread. Other threads communicate with it through the mailbox.
final class PoolDriver {
    private let settings: PostgresSettings
    private let mailbox: Mailbox<DriverMessage>
    private let connector: Connector
    /// For each workload, the statements that a transaction through a pooler runs first.
    private let transactionSettings: [[Statement]]
    private let logger: Logger
    private let clock = ContinuousClock()

    private var slots: [PoolSlot] = []
    /// For each workload, the units that wait for a connection, in order of arrival.
    private var queues: [[PoolUnit]] = PoolWorkload.allCases.map { _ in [] }
    /// Callers that wait for exclusive use of a connection, in order of arrival.
    private var leaseQueue: [(workload: PoolWorkload, deadline: ContinuousClock.Instant, continuation: LeaseContinuation)] = []
    /// Number of the next lease ticket.
    private var nextLease: UInt64 = 1
    private let access: PoolAccess
    /// The error of the last failed connection attempt. Units that fail fast fail with it.
    private var lastFailure = PostgresError(.connection, "not connected to the database yet")
    /// Callers of ``PostgresPool/close()`` that wait until the pool is closed. Not empty from the first call until the
    /// thread ends.
    private var closing: [CheckedContinuation<Void, Never>] = []
    /// Whether all connections are closed, so that the thread ends.
    private var isClosed = false

    private typealias LeaseContinuation = CheckedContinuation<Result<LeaseTicket, PostgresError>, Never>

    /// Time by which the driver's limit for a reply exceeds the server's statement and lock timeouts. After that limit
    /// the driver closes the connection.
    private static let grace = Duration.seconds(2)

    /// Time at which the slot's connection is closed if its first unit in flight has no reply: after the limits for
    /// waiting for a lock and for running a statement, and ``grace``. `nil` if no unit is in flight.
    private func overdueAt(_ slot: PoolSlot) -> ContinuousClock.Instant? {
        guard let since = slot.runningSince, let unit = slot.inFlight.first?.unit else { return nil }
        let seconds = max(unit.statementSeconds ?? 0, self.settings.statementSeconds)
        return since + .seconds(seconds + self.settings.lockSeconds) + Self.grace
    }

    private init(
        _ settings: PostgresSettings, _ mailbox: Mailbox<DriverMessage>, _ access: PoolAccess, _ logger: Logger
    ) {
        self.access = access
        self.settings = settings
        self.mailbox = mailbox
        self.connector = Connector(settings)
        self.transactionSettings = PoolWorkload.allCases.map { Connector.transactionSettings($0, settings) }
        self.logger = logger
        for workload in PoolWorkload.allCases {
            for _ in 0..<workload.connections(settings) { self.slots.append(PoolSlot(workload: workload, now: self.clock.now)) }
        }
    }

    /// Starts the thread. It ends after the pool is closed.
    static func start(
        _ settings: PostgresSettings, _ mailbox: Mailbox<DriverMessage>, _ access: PoolAccess, logger: Logger
    ) {
        let thread = Thread { PoolDriver(settings, mailbox, access, logger).run() }
        thread.name = "flowhub-postgres"
        thread.start()
    }

    /// The loop of the thread: starts due connection attempts, sends waiting units, grants leases, then waits for
    /// replies and messages. Returns when the pool is closed.
    private func run() {
        while !self.isClosed {
            self.replaceRetired()
            self.connectIdleSlots()
            self.failOverdue()
            for workload in PoolWorkload.allCases { self.dispatch(workload) }
            self.serveLeases()
            self.flush()
            self.wait()
        }
        self.connector.close()
        for message in self.mailbox.close() { Self.reject(message) }
        for waiter in self.closing { waiter.resume() }
        self.closing = []
    }

    // MARK: Waiting

    /// Waits until a connection has data, a message arrives, or the next attempt or deadline is due. Then reads the
    /// data and processes the messages.
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
        guard ready != 0 else { return }
        // `poll` fails without memory, and if the limit of open files was lowered below the number of descriptors. Then all
        // of them are read, which does not block.
        let isFailed = ready < 0
        if isFailed { Thread.sleep(forTimeInterval: 0.01) }
        for (position, index) in polled.enumerated() where isFailed || descriptors[position + 1].revents != 0 {
            self.receive(index)
        }
        if isFailed || descriptors[0].revents != 0 { for message in self.mailbox.receive() { self.handle(message) } }
    }

    /// Time until the next attempt or deadline, at most 1 s.
    private var timeoutMilliseconds: Int32 {
        let now = self.clock.now
        var earliest = now + .seconds(1)
        for slot in self.slots {
            if let wake = slot.machine.wakesAt { earliest = min(earliest, wake) }
            if let overdue = self.overdueAt(slot) { earliest = min(earliest, overdue) }
        }
        for queue in self.queues { if let first = queue.first { earliest = min(earliest, first.deadline) } }
        for waiter in self.leaseQueue { earliest = min(earliest, waiter.deadline) }
        let remaining = earliest - now
        let milliseconds = remaining.components.seconds * 1_000 + remaining.components.attoseconds / 1_000_000_000_000_000
        return Int32(max(0, min(milliseconds + 1, 1_000)))
    }

    // MARK: Messages

    /// Processes one message to the thread.
    private func handle(_ message: DriverMessage) {
        switch message {
        case .unit(let unit):
            if self.closing.isEmpty { self.queues[unit.workload.rawValue].append(unit) } else { Self.reject(unit, .poolClosed) }
        case .lease(let workload, let deadline, let continuation):
            if self.closing.isEmpty {
                self.leaseQueue.append((workload, deadline, continuation))
            } else {
                continuation.resume(returning: .failure(.poolClosed))
            }
        case .leasedUnit(let ticket, let unit):
            guard self.slots[ticket.slot].lease?.number == ticket.number else {
                Self.reject(unit, PostgresError(.connection, "the connection to the database was lost"))
                return
            }
            if !self.slots[ticket.slot].send(unit, settings: []) {
                Self.reject(unit, PostgresError(.connection, "the connection to the database was lost"))
                self.lose(ticket.slot)
            }
        case .leaseEnded(let ticket, let isClean):
            guard self.slots[ticket.slot].lease?.number == ticket.number else { return }
            self.slots[ticket.slot].lease = nil
            // Closing the connection rolls back an open transaction.
            if !isClean { self.lose(ticket.slot) }
        case .connected(let slot, let connection, let session):
            if self.slots[slot].machine.connected(self.clock.now) {
                self.slots[slot].connection = connection
                self.slots[slot].mode = session.mode
                self.slots[slot].isReadOnly = session.isReadOnly
                for other in self.slots.indices { self.slots[other].machine.retryNow(self.clock.now) }
                self.noteAccess(isReadOnly: session.isReadOnly)
            }
        case .connectFailed(let slot, let error):
            if self.lastFailure != error {
                self.logger.warning(
                    "Cannot connect to Postgres", metadata: ["error": "\(error.serverMessage ?? error.description)"])
            }
            self.lastFailure = error
            self.slots[slot].machine.connectFailed(self.clock.now, jitter: .random(in: 0...1))
        case .close(let continuation):
            self.close(continuation)
        }
    }

    /// Logs that the server accepts no writes, or accepts them again. In the latter case the connections that were
    /// established in between retire: their sessions may be read-only until they end.
    private func noteAccess(isReadOnly: Bool) {
        if self.access.isReadOnly.exchange(isReadOnly, ordering: .relaxed) != isReadOnly {
            if isReadOnly {
                self.logger.warning("Postgres is read-only; changes will fail")
            } else {
                self.logger.notice("Postgres accepts writes again")
            }
        }
        guard !isReadOnly else { return }
        for index in self.slots.indices where self.slots[index].isReadOnly { self.slots[index].isRetiring = true }
    }

    /// Replaces the connections that have retired. While the server is read-only, the connection of the workload `control`
    /// retires every second, so that the end of this state is noticed without a change that fails.
    private func replaceRetired() {
        let now = self.clock.now
        for index in self.slots.indices {
            if self.slots[index].isReadOnly, self.slots[index].workload == .control,
                self.slots[index].machine.hasLived(ConnectionSlotStateMachine.stabilityPeriod, now)
            {
                self.slots[index].isRetiring = true
            }
            if self.slots[index].isRetired { self.lose(index) }
        }
    }

    /// Fails all waiting units and all waiting requests for a lease. Closes the connections without a unit in flight now
    /// (leased ones too: the server rolls back their transactions), and the others when their units have ended. Then
    /// resumes the continuation.
    private func close(_ continuation: CheckedContinuation<Void, Never>) {
        self.closing.append(continuation)
        for workload in PoolWorkload.allCases {
            for unit in self.queues[workload.rawValue] { Self.reject(unit, .poolClosed) }
            self.queues[workload.rawValue] = []
        }
        for waiter in self.leaseQueue { waiter.continuation.resume(returning: .failure(.poolClosed)) }
        self.leaseQueue = []
        for index in self.slots.indices where self.slots[index].inFlight.isEmpty { self.retire(index) }
        self.endIfIdle()
    }

    /// Closes the slot `index` and its connection. No attempt to connect follows.
    private func retire(_ index: Int) {
        self.slots[index].machine.close()
        self.slots[index].disconnect()
    }

    /// Ends the thread if a close was requested and no unit is in flight.
    private func endIfIdle() {
        guard !self.closing.isEmpty, self.slots.allSatisfy({ $0.inFlight.isEmpty }) else { return }
        for index in self.slots.indices { self.retire(index) }
        self.isClosed = true
    }

    // MARK: Connections

    /// Starts the connection attempts that are due.
    private func connectIdleSlots() {
        guard self.closing.isEmpty else { return }
        let now = self.clock.now
        for index in self.slots.indices where self.slots[index].machine.tick(now) == .connect {
            self.connector.connect(slot: index, workload: self.slots[index].workload, reportTo: self.mailbox)
        }
    }

    /// Reads the replies on the connection of slot `index`, and answers the callers of the units that are complete.
    private func receive(_ index: Int) {
        let done = self.slots[index].receive()
        for flight in done ?? self.slots[index].finished { Self.complete(flight) }
        self.slots[index].finished = []
        if done == nil { self.lose(index) } else if !self.closing.isEmpty { self.endIfIdle() }
    }

    /// Sends queued data on all connections, as far as their sockets accept it.
    private func flush() {
        for index in self.slots.indices where self.slots[index].hasUnsent {
            switch self.slots[index].connection?.flush() {
            case .some(true): self.slots[index].hasUnsent = false
            case .some(false): break
            case nil: self.lose(index)
            }
        }
    }

    /// Closes the connection of slot `index`, which is lost or does not reply. Its units in flight are sent once more
    /// if they are retryable; others fail.
    private func lose(_ index: Int) {
        let inFlight = self.slots[index].inFlight
        self.slots[index].inFlight = []
        self.slots[index].disconnect()
        self.slots[index].machine.lost(self.clock.now, jitter: .random(in: 0...1))
        for flight in inFlight {
            if let failure = flight.failure, !failure.isFatal, failure.code != .connection {
                // The server reported the rollback of this unit before the connection was lost.
                flight.unit.continuation.resume(returning: .failure(PoolFailure(error: failure, mayHaveTakenEffect: false)))
            } else if flight.unit.isRetryable, !flight.unit.wasRetried, self.closing.isEmpty {
                var unit = flight.unit
                unit.wasRetried = true
                self.queues[unit.workload.rawValue].insert(unit, at: 0)
            } else {
                let error = flight.failure ?? PostgresError(.connection, "the connection to the database was lost")
                flight.unit.continuation.resume(returning: .failure(PoolFailure(error: error, mayHaveTakenEffect: true)))
            }
        }
        if !self.closing.isEmpty { self.endIfIdle() }
    }

    // MARK: Units

    /// Sends the workload's waiting units on its connections, up to ``PoolWorkload/depth`` units in flight on each.
    private func dispatch(_ workload: PoolWorkload) {
        guard !self.queues[workload.rawValue].isEmpty else { return }
        // A lease needs a connection without units in flight. If units that arrived after the request for a lease were
        // sent, the request might wait until its deadline.
        let waiter = self.leaseQueue.first { $0.workload == workload }?.deadline
        var sent = 0
        for unit in self.queues[workload.rawValue] {
            if let waiter, waiter < unit.deadline { break }
            guard let index = self.leastLoadedSlot(workload) else { break }
            sent += 1
            if !self.slots[index].send(unit, settings: self.transactionSettings[workload.rawValue]) {
                Self.reject(unit, PostgresError(.connection, "the connection to the database was lost"))
                self.queues[workload.rawValue].removeFirst(sent)
                self.lose(index)
                return
            }
        }
        self.queues[workload.rawValue].removeFirst(sent)
    }

    /// Index of the workload's slot with the fewest units in flight; `nil` if no slot can be sent another unit.
    private func leastLoadedSlot(_ workload: PoolWorkload) -> Int? {
        self.slots.indices.filter { self.slots[$0].workload == workload && self.slots[$0].isFree }
            .min { self.slots[$0].inFlight.count < self.slots[$1].inFlight.count }
    }

    /// Grants connections without units in flight to the callers that wait for a lease.
    private func serveLeases() {
        guard !self.leaseQueue.isEmpty else { return }
        var remaining: [(workload: PoolWorkload, deadline: ContinuousClock.Instant, continuation: LeaseContinuation)] = []
        for waiter in self.leaseQueue {
            let slot = self.slots.indices.first {
                self.slots[$0].workload == waiter.workload && self.slots[$0].isFree && self.slots[$0].inFlight.isEmpty
            }
            guard let slot else {
                remaining.append(waiter)
                continue
            }
            let ticket = LeaseTicket(number: self.nextLease, slot: slot, mode: self.slots[slot].mode)
            self.nextLease += 1
            self.slots[slot].lease = ticket
            waiter.continuation.resume(returning: .success(ticket))
        }
        self.leaseQueue = remaining
    }

    /// Fails the waiting units and requests for a lease whose deadline has passed, or all waiting ones of a workload of
    /// which every slot fails fast. Closes connections whose reply is overdue.
    private func failOverdue() {
        let now = self.clock.now
        for workload in PoolWorkload.allCases {
            let isFailingFast = self.slots.allSatisfy { $0.workload != workload || $0.machine.isFailingFast }
            let reason =
                isFailingFast ? self.lastFailure : PostgresError(.busy, "timed out waiting for a free database connection")
            self.queues[workload.rawValue].removeAll { unit in
                guard isFailingFast || unit.deadline <= now else { return false }
                Self.reject(unit, reason)
                return true
            }
            self.leaseQueue.removeAll { waiter in
                guard waiter.workload == workload, isFailingFast || waiter.deadline <= now else { return false }
                waiter.continuation.resume(returning: .failure(reason))
                return true
            }
        }
        for index in self.slots.indices {
            guard let overdue = self.overdueAt(self.slots[index]), overdue <= now else { continue }
            self.logger.warning("Postgres statement timed out; closing connection")
            self.lose(index)
        }
    }

    /// Answers the caller of a unit whose replies are complete.
    private static func complete(_ flight: PoolSlot.InFlightUnit) {
        if let failure = flight.failure {
            flight.unit.continuation.resume(returning: .failure(PoolFailure(error: failure, mayHaveTakenEffect: failure.isFatal)))
        } else {
            flight.unit.continuation.resume(returning: .success(flight.results))
        }
    }

    /// Fails the caller of a message that was sent after the close.
    static func reject(_ message: DriverMessage) {
        switch message {
        case .unit(let unit), .leasedUnit(_, let unit): Self.reject(unit, .poolClosed)
        case .lease(_, _, let continuation): continuation.resume(returning: .failure(.poolClosed))
        case .close(let continuation): continuation.resume()
        case .leaseEnded, .connected, .connectFailed: break
        }
    }

    /// Fails a unit that was not sent, and so has no effect.
    private static func reject(_ unit: PoolUnit, _ error: PostgresError) {
        unit.continuation.resume(returning: .failure(PoolFailure(error: error, mayHaveTakenEffect: false)))
    }
}

extension PostgresError {
    /// The error of an operation after ``PostgresPool/close()``.
    static var poolClosed: PostgresError { PostgresError(.closed, "the store is closed") }
}
