import FlowCore
import Logging
import NIOCore

/// The state that the connections of one event loop share. Confined to the loop.
final class EventLoopContext {
    let loop: any EventLoop
    let shard: StreamShard
    let executor: LoopExecutor
    let application: HTTPApplication
    /// Answers the requests of the operations listener.
    let operations: HTTPApplication
    let configuration: HTTPConfiguration
    var requests = RequestCounters()

    /// Connections without an event stream, whose deadlines are checked.
    private var ordinary: [ObjectIdentifier: ConnectionHandler] = [:]
    /// Whether the hub drains: see ``startDraining()``.
    private(set) var isDraining = false
    private var dateSecond: Int64 = -1
    private var date = ""

    init(
        loop: any EventLoop, shard: StreamShard, application: HTTPApplication, operations: HTTPApplication,
        configuration: HTTPConfiguration
    ) {
        self.loop = loop
        self.shard = shard
        self.executor = LoopExecutor(loop)
        self.application = application
        self.operations = operations
        self.configuration = configuration
    }

    /// Adds a new connection, or one whose event stream has ended. From now on its deadline is checked every second.
    func opened(_ connection: ConnectionHandler) { self.ordinary[ObjectIdentifier(connection)] = connection }
    /// Removes a connection that was closed or now carries an event stream.
    func closed(_ connection: ConnectionHandler) { self.ordinary[ObjectIdentifier(connection)] = nil }

    /// Number of connections without an event stream.
    var ordinaryCount: Int { self.ordinary.count }

    /// Number of connections with a request that was not answered yet.
    var busyCount: Int { self.ordinary.values.count { $0.isBusy } }

    /// Number of connections that wait for a request.
    var idleCount: Int { self.ordinary.values.count { $0.isIdle } }

    /// From now on, every connection without an event stream is closed after its next response, and requests for streams get no
    /// response.
    func startDraining() { self.isDraining = true }

    /// Checks the deadlines of connections without an event stream, and calls the shard's ``StreamShard/tick()``. Called
    /// every second.
    func tick() {
        let now = NIODeadline.now()
        for connection in Array(self.ordinary.values) { connection.checkDeadline(now) }
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
