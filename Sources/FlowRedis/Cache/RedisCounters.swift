public import FlowCore
import NIOCore
import Synchronization

/// `metric:{name}:{YYYYMMDD}`, as the seed's services count: added up in the process and written in batches; kept for a week.
public final class RedisCounters: Counters {
    private final class Cell: Sendable {
        let unwritten = Atomic<Int>(0)
    }

    /// Between two batches.
    private static let interval = TimeAmount.seconds(5)
    private static let retentionSeconds = 604_800

    private let link: RedisLink
    private let local: any Counters
    private let now: @Sendable () -> Timestamp
    private let cells: [Counter: Cell]
    private let timer = Mutex<RepeatedTask?>(nil)

    /// - Parameter local: what ``totals()`` tells: the counts of this process.
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
        // Answers come in order: with this one, those of the batch are there.
        _ = try? await self.link.run([RESPCommand("PING")], within: 250)
    }

    private func flush() {
        let day = self.now().description.prefix(10).filter { $0 != "-" }
        for (counter, cell) in self.cells {
            let amount = cell.unwritten.exchange(0, ordering: .relaxed)
            guard amount != 0 else { continue }
            let key = "metric:\(counter.rawValue):\(day)"
            self.link.send([RESPCommand("INCRBY", key, "\(amount)"), RESPCommand("EXPIRE", key, "\(Self.retentionSeconds)")]) {
                // Not sent at all. Where the answer was lost nobody knows; twice would be worse than once less.
                if case .failure(let error) = $0, error == .notConnected || error == .tooManyPending {
                    cell.unwritten.add(amount, ordering: .relaxed)
                }
            }
        }
    }
}
