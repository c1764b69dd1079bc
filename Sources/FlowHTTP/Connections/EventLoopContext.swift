import FlowCore
import Logging
import NIOCore

/// The state that the connections of one event loop share. Confined to the loop.
final class EventLoopContext {
    let loop: any EventLoop
    let shard: StreamShard
    /// Decides about requests for event streams.
    let admission: StreamAdmission
    let executor: LoopExecutor
    let application: HTTPApplication
    /// Answers the requests of the operations listener.
    let operations: HTTPApplication
    let configuration: HTTPConfiguration
    let budgets: ConnectionBudgets
    /// `nil` if requests are not logged.
    let accessLog: AccessLog?
    var requests = RequestCounters()

    /// Connections without an event stream, whose deadlines are checked.
    private var ordinary: [ObjectIdentifier: ConnectionHandler] = [:]
    /// Idle connections on which no request was granted access yet, and unfinished requests without a token.
    private let idleUnauthenticated = IdleConnectionList()
    /// Idle connections on which a request was granted access.
    private let idleAuthenticated = IdleConnectionList()
    /// Connections of the reserve on which no request is in progress.
    private let idleReserve = IdleConnectionList()
    /// Number of connections with a request in progress that was granted access, by account.
    private var occupied: [String: Int] = [:]
    /// Whether the hub drains: see ``startDraining()``.
    private(set) var isDraining = false
    private var dateSecond: Int64 = -1
    private var date = ""

    /// Maximum number of connections that are accepted above the limit, for health checks and metrics only.
    private static let reserve = 8

    init(
        loop: any EventLoop, shard: StreamShard, application: HTTPApplication, operations: HTTPApplication,
        configuration: HTTPConfiguration, budgets: ConnectionBudgets, accessLog: AccessLog?
    ) {
        self.loop = loop
        self.shard = shard
        self.admission = StreamAdmission(access: application.access, shard: shard)
        self.executor = LoopExecutor(loop)
        self.application = application
        self.operations = operations
        self.configuration = configuration
        self.budgets = budgets
        self.accessLog = accessLog
    }

    // MARK: Connections

    /// Adds a new connection, or one whose event stream has ended. From now on its deadline is checked every second.
    func opened(_ connection: ConnectionHandler) { self.ordinary[ObjectIdentifier(connection)] = connection }
    /// Removes a connection that was closed or now carries an event stream.
    func closed(_ connection: ConnectionHandler) {
        self.ordinary[ObjectIdentifier(connection)] = nil
        IdleConnectionList.remove(connection)
        self.vacate(connection)
    }

    /// Counts a connection for the account whose request it begins to serve, until ``vacate(_:)``.
    /// - Returns: `false` if the account has its share of connections already; nothing is counted then.
    func occupy(_ connection: ConnectionHandler, for account: String) -> Bool {
        self.vacate(connection)
        let limit = self.configuration.maximumAccountConnections
        let share = limit > 0 ? limit : max(1, self.configuration.maximumOrdinaryConnections / 2)
        guard self.occupied[account, default: 0] < share else { return false }
        self.occupied[account, default: 0] += 1
        connection.occupant = account
        return true
    }

    /// The connection can be closed for others, or carries an event stream: it does not count for its account any more.
    private func vacate(_ connection: ConnectionHandler) {
        guard let account = connection.occupant, let count = self.occupied[account] else { return }
        connection.occupant = nil
        self.occupied[account] = count > 1 ? count - 1 : nil
    }

    /// Allows that the connection is closed to make room for others, until a request is in progress on it. It is now the one
    /// that was idle for the shortest time.
    func mayEvict(_ connection: ConnectionHandler) {
        self.vacate(connection)
        (connection.isAuthenticated ? self.idleAuthenticated : self.idleUnauthenticated).append(connection)
    }

    /// Allows that a new connection of the reserve is closed to make room for another one of the reserve, until its request is in
    /// progress.
    func mayEvictFromReserve(_ connection: ConnectionHandler) { self.idleReserve.append(connection) }

    /// Closes the connection that was idle for the longest time: one on which no request was granted access, if there is any.
    /// - Returns: the closed connection; `nil` if none was idle.
    @discardableResult
    func evictLongestIdle() -> ConnectionHandler? {
        guard let connection = self.idleUnauthenticated.longestIdle ?? self.idleAuthenticated.longestIdle else { return nil }
        self.evict(connection)
        return connection
    }

    private func evict(_ connection: ConnectionHandler) {
        self.budgets.countEviction()
        // The connection reports its end later.
        self.closed(connection)
        connection.closeNow()
    }

    /// Whether there are more connections without an event stream than their limit.
    var isOverLimit: Bool { self.ordinary.count > self.configuration.maximumOrdinaryConnections }

    /// What a new connection may be used for.
    enum Admission {
        case anyRequest
        /// Health checks and metrics only.
        case reserve
    }

    /// Decides about a new connection. Closes an idle one if the limit of connections is reached.
    /// - Returns: `nil` if the new connection must be closed.
    func admit() -> Admission? {
        let limit = self.configuration.maximumOrdinaryConnections
        if self.ordinary.count < limit { return .anyRequest }
        // The new connection takes the place of the closed one, and may be used for no more than that.
        if let evicted = self.evictLongestIdle() { return evicted.isReserve ? .reserve : .anyRequest }
        if self.ordinary.count < limit + Self.reserve { return .reserve }
        // A health check sends its request at once, so the longest silent connection is none.
        if let silent = self.idleReserve.longestIdle {
            self.evict(silent)
            return .reserve
        }
        self.budgets.countRefusal()
        return nil
    }

    /// Number of connections without an event stream.
    var ordinaryCount: Int { self.ordinary.count }

    /// Number of connections with a request that was not answered yet.
    var busyCount: Int { self.ordinary.values.count { $0.isBusy } }

    /// Number of connections that wait for a request.
    var idleCount: Int { self.ordinary.values.count { $0.isIdle } }

    /// From now on, every connection without an event stream is closed after its next response, and requests for streams get no
    /// response.
    func startDraining() { self.isDraining = true }

    // MARK: Time

    /// Checks the deadlines and unread responses of connections without an event stream, and calls the shard's
    /// ``StreamShard/tick()``. Called
    /// every second.
    func tick() {
        let now = NIODeadline.now()
        for connection in Array(self.ordinary.values) { connection.tick(now) }
        let unread = self.ordinary.values.filter { $0.countedResponseBytes > 0 }
        for connection in unread.sorted(by: { $0.countedResponseBytes > $1.countedResponseBytes }) {
            connection.shedUnreadResponse()
        }
        self.shard.tick()
    }

    /// Closes connections without an event stream: idle ones now, the others after their response.
    func quiesce() {
        for connection in Array(self.ordinary.values) { connection.quiesce() }
    }

    /// Closes every connection without an event stream immediately, also during a request.
    func closeNow() {
        for connection in Array(self.ordinary.values) { connection.closeNow() }
    }

    /// The value of `Date` (RFC 9110, 5.6.7), formatted at most once per second.
    var httpDate: String {
        let now = self.shard.now()
        if now.seconds != self.dateSecond {
            self.dateSecond = now.seconds
            self.date = HTTPDate.format(now)
        }
        return self.date
    }
}

/// Formatting of HTTP dates.
enum HTTPDate {
    private static let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    /// IMF-fixdate: `Mon, 23 Nov 2026 19:05:00 GMT`.
    static func format(_ time: Timestamp) -> String {
        let iso = Array(time.description.utf8)
        func text(_ range: Range<Int>) -> String { String(decoding: iso[range], as: UTF8.self) }
        let weekday = Self.days[Int((time.seconds / 86_400) % 7)]
        let month = Self.months[(Int(text(5..<7)) ?? 1) - 1]
        return "\(weekday), \(text(8..<10)) \(month) \(text(0..<4)) \(text(11..<19)) GMT"
    }
}
