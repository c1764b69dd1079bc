public import FlowCore
import NIOCore
import Synchronization

/// Daily counters `metric:{name}:{YYYYMMDD}`, shared with the legacy service. Increments are added up in the process
/// and written regularly. The keys expire after 7 days.
public final class RedisCounters: Counters {
    private final class Cell: Sendable {
        /// Increments since the most recent write to Redis.
        let unwritten = Atomic<Int>(0)
    }

    /// TTL of a counter's key in seconds: 7 days.
    private static let retentionSeconds = 604_800

    private let link: RedisLink
    private let local: any Counters
    private let now: @Sendable () -> Timestamp
    private let cells: [Counter: Cell]
    /// Interval between two writes of the increments to Redis.
    private let interval: TimeAmount
    private let timer = Mutex<RepeatedTask?>(nil)

    /// - Parameters:
    ///   - local: the counters of this process, which ``totals()`` returns.
    ///   - seconds: interval between two writes of the increments to Redis.
    init(_ link: RedisLink, local: any Counters, seconds: Int64, now: @escaping @Sendable () -> Timestamp) {
        self.link = link
        self.local = local
        self.now = now
        self.interval = .seconds(seconds)
        self.cells = Dictionary(uniqueKeysWithValues: Counter.allCases.map { ($0, Cell()) })
    }

    /// Adds to this process's counter, and to the amount that the next write sends to Redis.
    public func add(_ amount: Int, to counter: Counter) {
        self.local.add(amount, to: counter)
        self.cells[counter]?.unwritten.add(amount, ordering: .relaxed)
    }

    /// The totals of this process alone.
    public func totals() -> [Counter: Int] { self.local.totals() }

    /// Starts the periodic writes to Redis.
    func start() {
        let task = self.link.loop.scheduleRepeatedTask(initialDelay: self.interval, delay: self.interval) { [weak self] _ in
            self?.flush()
        }
        self.timer.withLock { $0 = task }
    }

    /// Ends the periodic writes, and writes the increments since the last write. Waits at most 250 ms for Redis.
    func stop() async {
        self.timer.withLock { $0 }?.cancel()
        self.flush()
        // Replies arrive in order: when PING is answered, Redis has executed the increments before it.
        _ = try? await self.link.run([RESPCommand("PING")], within: 250)
    }

    /// Sends all unwritten increments to Redis, without waiting.
    private func flush() {
        let day = self.now().description.prefix(10).filter { $0 != "-" }
        for (counter, cell) in self.cells {
            let amount = cell.unwritten.exchange(0, ordering: .relaxed)
            guard amount != 0 else { continue }
            let key = "metric:\(counter.rawValue):\(day)"
            self.link.send([RESPCommand("INCRBY", key, "\(amount)"), RESPCommand("EXPIRE", key, "\(Self.retentionSeconds)")]) {
                // These errors mean that the commands were not sent: the next write repeats them. After any other error
                // Redis may have executed them, and an amount counted twice would be worse than a lost one.
                if case .failure(let error) = $0, error == .notConnected || error == .tooManyPending {
                    cell.unwritten.add(amount, ordering: .relaxed)
                }
            }
        }
    }
}
