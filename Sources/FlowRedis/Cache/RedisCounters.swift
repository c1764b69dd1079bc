public import FlowCore
import NIOCore
import Synchronization

/// Daily counters `metric:{name}:{YYYYMMDD}`, shared with the legacy service. Increments are added up in the process
/// and written every 5 s. The keys expire after 7 days.
public final class RedisCounters: Counters {
    private final class Cell: Sendable {
        let unwritten = Atomic<Int>(0)
    }

    /// Interval between two writes.
    private static let interval = TimeAmount.seconds(5)
    private static let retentionSeconds = 604_800

    private let link: RedisLink
    private let local: any Counters
    private let now: @Sendable () -> Timestamp
    private let cells: [Counter: Cell]
    private let timer = Mutex<RepeatedTask?>(nil)

    /// - Parameter local: the counters of this process, which ``totals()`` returns.
    init(_ link: RedisLink, local: any Counters, now: @escaping @Sendable () -> Timestamp) {
        self.link = link
        self.local = local
        self.now = now
        self.cells = Dictionary(uniqueKeysWithValues: Counter.allCases.map { ($0, Cell()) })
    }

    public func add(_ amount: Int, to counter: Counter) {
        self.local.add(amount, to: counter)
        self.cells[counter]?.unwritten.add(amount, ordering: .relaxed)
    }

    public func totals() -> [Counter: Int] { self.local.totals() }

    func start() {
        let task = self.link.loop.scheduleRepeatedTask(initialDelay: Self.interval, delay: Self.interval) { [weak self] _ in
            self?.flush()
        }
        self.timer.withLock { $0 = task }
    }

    func stop() async {
        self.timer.withLock { $0 }?.cancel()
        self.flush()
        // Replies arrive in order: after this one, the replies to the batch have arrived.
        _ = try? await self.link.run([RESPCommand("PING")], within: 250)
    }

    private func flush() {
        let day = self.now().description.prefix(10).filter { $0 != "-" }
        for (counter, cell) in self.cells {
            let amount = cell.unwritten.exchange(0, ordering: .relaxed)
            guard amount != 0 else { continue }
            let key = "metric:\(counter.rawValue):\(day)"
            self.link.send([RESPCommand("INCRBY", key, "\(amount)"), RESPCommand("EXPIRE", key, "\(Self.retentionSeconds)")]) {
                // The commands were not sent: write the amount with the next batch. If only the reply was lost, the
                // outcome is unknown, and an amount counted twice would be worse than a lost one.
                if case .failure(let error) = $0, error == .notConnected || error == .tooManyPending {
                    cell.unwritten.add(amount, ordering: .relaxed)
                }
            }
        }
    }
}
