import FlowCore
import Logging
import NIOCore

/// What the connections of one event loop have in common. Confined to the loop.
final class EventLoopContext {
    let loop: any EventLoop
    let shard: StreamShard
    let executor: LoopExecutor
    let application: HTTPApplication
    let configuration: HTTPConfiguration
    var requests = RequestCounters()

    /// Connections that hold no event stream, for their time limits.
    private var ordinary: [ObjectIdentifier: ConnectionHandler] = [:]
    private var dateSecond: Int64 = -1
    private var date = ""

    init(loop: any EventLoop, shard: StreamShard, application: HTTPApplication, configuration: HTTPConfiguration) {
        self.loop = loop
        self.shard = shard
        self.executor = LoopExecutor(loop)
        self.application = application
        self.configuration = configuration
    }

    func opened(_ connection: ConnectionHandler) { self.ordinary[ObjectIdentifier(connection)] = connection }
    func closed(_ connection: ConnectionHandler) { self.ordinary[ObjectIdentifier(connection)] = nil }

    var ordinaryCount: Int { self.ordinary.count }

    /// Connections with a request that is not answered yet.
    var busyCount: Int { self.ordinary.values.count { $0.isBusy } }

    /// Once a second.
    func tick() {
        let now = NIODeadline.now()
        for connection in Array(self.ordinary.values) { connection.checkDeadline(now) }
        self.shard.tick()
    }

    /// Connections that wait for a request are closed; the others after their answer.
    func quiesce() {
        for connection in Array(self.ordinary.values) { connection.quiesce() }
    }

    /// Closes every connection that holds no event stream, whatever it is at.
    func closeNow() {
        for connection in Array(self.ordinary.values) { connection.closeNow() }
    }

    /// The value of `Date` (RFC 9110, 5.6.7), made once a second.
    var httpDate: String {
        let now = self.shard.now()
        if now.seconds != self.dateSecond {
            self.dateSecond = now.seconds
            self.date = HTTPDate.format(now)
        }
        return self.date
    }
}

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
