public import FlowCore
import Synchronization

/// Counters of the current day, in this process. An addition costs one atomic operation and one read of the clock.
public final class MemoryCounters: Counters {
    private final class Cell: Sendable {
        let value = Atomic<Int>(0)
    }

    /// One counter for each case of `Counter`. The dictionary never changes, so it needs no lock.
    private let cells: [Counter: Cell]
    /// The day of the counts, in days since 1970.
    private let day: Atomic<Int64>
    private let now: @Sendable () -> Timestamp

    /// - Parameter now: the wall clock. A day begins at midnight UTC.
    public init(now: @escaping @Sendable () -> Timestamp) {
        self.cells = Dictionary(uniqueKeysWithValues: Counter.allCases.map { ($0, Cell()) })
        self.day = Atomic(Self.day(of: now()))
        self.now = now
    }

    /// Adds to today's count.
    public func add(_ amount: Int, to counter: Counter) {
        self.startDay()
        self.cells[counter]?.value.add(amount, ordering: .relaxed)
    }

    /// The counts of today (UTC) since this process started.
    public func totals() -> [Counter: Int] {
        self.startDay()
        return self.cells.mapValues { $0.value.load(ordering: .relaxed) }
    }

    /// Resets the counters on a new day. An addition concurrent with midnight may count for either day or be lost,
    /// which is accurate enough for statistics.
    private func startDay() {
        let today = Self.day(of: self.now())
        let known = self.day.load(ordering: .relaxed)
        // Only forward, so that setting the clock back does not reset today's counts.
        guard today > known, self.day.compareExchange(expected: known, desired: today, ordering: .relaxed).exchanged else {
            return
        }
        for cell in self.cells.values { cell.value.store(0, ordering: .relaxed) }
    }

    /// The day of a time, in days since 1970.
    private static func day(of moment: Timestamp) -> Int64 { moment.seconds / 86_400 }
}
